"""Descriptions of SQL files and policies, read from their headers: `lineal components NAME` and the list in docs/selectors.md."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from lineal.components.base import ROWS, Columns, Role, Surroundings
from lineal.components.evaluators.measure import Measure
from lineal.components.reference import FURTHER_ROWS, REQUIRED, Description, Setting, default_text
from lineal.components.selectors.header import Parameter, Selector
from lineal.components.selectors.select import Select
from lineal.components.selectors.sql_file import SqlFile, find_sql, sql_names
from lineal.recipe.policies import POLICIES, SETTINGS, Policies, Policy, read_policy

SQL_FILES: dict[str, type[SqlFile]] = {"select": Select, "measure": Measure}
"""By the name in `use:`, the component that runs such files."""
_NUMBERS = {"integer": "whole number", "number": "number", "boolean": "true or false", "text": "text"}
_DECIDES: Columns = ("decision", "reason", "weight")


def files_of(use: str, surroundings: Surroundings) -> list[Description]:
    """Describes the files that `sql:` of a component may name; none for other components.

    Raises:
        DeclarationError: a file's header is wrong.
    """
    names = sorted(sql_names(SQL_FILES[use], surroundings)) if use in SQL_FILES else []
    return [_of_sql(use, name, surroundings) for name in names]


def described_files(name: str, surroundings: Surroundings) -> list[Description]:
    """Describes the selector, the measure and the policy of a name, as far as there are such.

    Raises:
        DeclarationError: the file is wrong.
    """
    found = [
        _of_sql(use, name, surroundings)
        for use, kind in SQL_FILES.items()
        if name in sql_names(kind, surroundings)
    ]
    policy = Policies.of(surroundings.project).files().get(name.removeprefix(f"{POLICIES}."))
    return found if policy is None else [*found, _of_policy(policy)]


def file_names(surroundings: Surroundings) -> list[str]:
    """Returns the names of all selectors, measures and policies."""
    found = {name for kind in SQL_FILES.values() for name in sql_names(kind, surroundings)}
    return sorted(found | Policies.of(surroundings.project).files().keys())


def _of_sql(use: str, name: str, surroundings: Surroundings) -> Description:
    selector = find_sql(SQL_FILES[use], name, surroundings)
    inputs = {ROWS: selector.needs, **selector.inputs}
    summary = (
        selector.summary,
        f"File: {selector.shown}{f'. After {selector.source}' if selector.source else ''}",
    )
    return Description(
        selector.name,
        SQL_FILES[use].role,
        (*summary, *_gives(selector)),
        tuple(_settings_of(selector)),
        _example(use, selector),
        {field: columns for field, columns in inputs.items() if columns},
        () if selector.makes or selector.gives else (*_DECIDES, *selector.adds),
        SQL_FILES[use].what,
    )


def _gives(selector: Selector) -> Iterator[str]:
    if selector.makes:
        columns = (
            *selector.makes.required,
            *(f"{name} (where an input has it)" for name in selector.makes.optional),
        )
        yield f"Makes new {selector.makes.kind}: {', '.join(columns)}"
    if selector.gives:
        yield f"Gives: {', '.join(selector.gives)}; the first is the headline (better: {selector.better})"


def _settings_of(selector: Selector) -> Iterator[Setting]:
    yield Setting(ROWS, FURTHER_ROWS, REQUIRED, "what it reads.")
    for name in selector.inputs:
        yield Setting(name, FURTHER_ROWS, REQUIRED, selector.texts.get(name, ""))
    for name, parameter in sorted(selector.parameters.items(), key=lambda item: not item[1].required):
        yield Setting(name, _values_of(parameter), _default_of(parameter), parameter.text)


def _values_of(parameter: Parameter) -> str:
    """Writes a parameter's type and bounds."""
    allowed = parameter.allowed
    if allowed is None:
        return _NUMBERS[parameter.type]
    return allowed.text if allowed.listed else f"{_NUMBERS[parameter.type]} in {allowed.text}"


def _default_of(parameter: Parameter) -> str:
    return REQUIRED if parameter.required else default_text(parameter.default)


def _example(use: str, selector: Selector) -> str:
    given = [f"{name}: ..." for name, one in selector.parameters.items() if one.required]
    keys = [
        f"use: {use}",
        "rows: NODE",
        f"sql: {selector.name}",
        *(f"{name}: NODE" for name in selector.inputs),
    ]
    return f"name: {{{', '.join([*keys, *given])}}}"


def _of_policy(path: Path) -> Description:
    policy = read_policy(path)
    value = policy.document.value
    after = f" ({value['paper']})" if "paper" in value else ""
    return Description(
        path.stem,
        Role.GENERATOR,
        (value["summary"], f"File: {POLICIES}/{path.name}, {value['policy']}{after}"),
        tuple(_settings_of_policy(policy, path)),
        f"name: {{use: {POLICIES}.{path.stem}, {', '.join(f'{name}: ...' for name in policy.required)}}}",
        {},
        (),
        "policy",
    )


def _settings_of_policy(policy: Policy, path: Path) -> Iterator[Setting]:
    for name in policy.known:
        default = REQUIRED if name in policy.required else default_text(policy.settings[name])
        yield Setting(name, "", default, _comment(policy, path, name))


def _comment(policy: Policy, path: Path, name: str) -> str:
    """Returns the comment behind a setting's line."""
    if name in policy.required:
        return ""
    line = path.read_text(encoding="utf-8").splitlines()[policy.document.lines[SETTINGS, name] - 1]
    return line.partition(" # ")[2].strip()
