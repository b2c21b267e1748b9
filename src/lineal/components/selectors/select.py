"""Selection by an SQL file: every input row is kept, or dropped with a reason."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import pydantic
from pydantic_core import InitErrorDetails, PydanticCustomError

import lineal
from lineal.components.base import MAIN, Columns, Component, Output, Role, RowsRef, Surroundings, Workspace, merged
from lineal.components.selectors.canonical import selector_digest
from lineal.components.selectors.decide import decide
from lineal.components.selectors.header import Selector, read_selector
from lineal.components.selectors.make import make
from lineal.errors import did_you_mean
from lineal.recipe.references import Accepts, ArtifactKind, SettingReference

DROPPED = "dropped"
SELECTORS = "selectors"


class Select(Component):
    """Runs `pipelines/selectors/SQL.sql` over rows; see `selectors/header.py` for how such a file is written.

    Attributes:
        rows: what to select from.
        sql: the file's name, without `.sql`.

    The file's own settings and further inputs stand beside these:
    `{use: select, rows: verified, sql: keep_correct, max_per_prompt: 4}`.
    """

    model_config = pydantic.ConfigDict(extra="allow")
    role: ClassVar[Role] = Role.SELECTOR
    kinds: ClassVar[tuple[str, ...]] = ("sql",)

    rows: RowsRef
    sql: str
    _selector: Selector = pydantic.PrivateAttr()

    @classmethod
    def parse(cls, settings: Mapping[str, Any], surroundings: Surroundings) -> Self:
        """Makes the component, its settings checked against the file's header.

        Raises:
            pydantic.ValidationError: a setting is unknown, missing or of the wrong type.
            DeclarationError: the file's header is wrong.
            ValueError: there is no such file.
        """
        component = cls.model_validate(dict(settings))
        component._selector = find_selector(component.sql, surroundings)
        component._check_settings()
        return component

    def resolved(self, values: Mapping[str, Any]) -> Self:
        """The same selection with controllers' values filled in.

        Raises:
            pydantic.ValidationError: a value doesn't fit its setting.
        """
        component = self.model_copy(update=dict(values))
        component._check_settings()
        return component

    @property
    def _extra(self) -> dict[str, Any]:
        return dict(self.model_extra or {})

    def _check_settings(self) -> None:
        selector, settings = self._selector, self._extra
        known = [*selector.parameters, *selector.inputs]
        problems = {}
        for name in settings.keys() - set(known):
            problems[name] = f"selector {selector.name!r} has no setting {name!r}. {did_you_mean(name, known)}"
        for name, parameter in selector.parameters.items():
            value = settings.get(name, parameter.default)
            if name not in settings and parameter.required:
                problems[name] = f"selector {selector.name!r} needs this setting ({parameter.text or parameter.type})"
            elif not isinstance(value, SettingReference) and parameter.problem(value):
                problems[name] = f"{parameter.problem(value)}"
        for name in selector.inputs:
            if not _is_reference(settings.get(name)):
                problems[name] = f"selector {selector.name!r} needs rows here: a node's name, or a list of names"
        if problems:
            raise _validation_error({name: problems[name] for name in sorted(problems)}, settings)

    def references(self) -> dict[str, tuple[list[str], Accepts]]:
        """`rows`, and the further inputs of the file's header."""
        found = super().references()
        for name in self._selector.inputs:
            value = self._extra[name]
            found[name] = (value if isinstance(value, list) else [value], found["rows"][1])
        return found

    def identity(self) -> dict[str, Any]:
        """The file's name and its settings, defaults filled in; its query enters by its digest."""
        return {"sql": self.sql, **self._selector.arguments(self._extra)}

    def files(self) -> dict[str, Path]:
        """The SQL file."""
        return {f"{SELECTORS}/{self.sql}.sql": self._selector.path}

    def file_identity(self, path: Path) -> str:
        """The digest of the query's canonical form: comments, blank lines and the summary decide no row."""
        return selector_digest(self._selector)

    def summary(self) -> str:
        """What the file's header says."""
        return self._selector.summary

    def empty_means(self) -> str:
        """What the file's header says."""
        return self._selector.empty

    def needs(self) -> dict[str, Columns]:
        """What the file's header says."""
        return {"rows": self._selector.needs, **self._selector.inputs}

    def outputs(self, inputs: Mapping[str, Columns]) -> dict[str, Output]:
        """The kept (or made) rows, and the dropped ones."""
        decision = ("decision", "reason", "weight", *self._selector.adds)
        main = dropped = merged(tuple(name for name in inputs["rows"] if name not in decision), decision)
        makes = self._selector.makes
        if makes is not None:
            key = ("sample_id",) if makes.kind == "rows" else ()
            available = merged(*inputs.values())
            main = (*key, "parents", *makes.columns(available), "round")
        return {MAIN: Output(ArtifactKind.ROWS, main), DROPPED: Output(ArtifactKind.ROWS, dropped)}

    def run(self, step: Workspace) -> None:
        """Runs the query and writes both outputs."""
        arguments = {**self._selector.arguments(self._extra), "seed": step.seed}
        if self._selector.makes is None:
            decide(step, self._selector, arguments)
        else:
            inputs = {name: step.rows(name).columns for name in self.references()}
            make(step, self._selector, arguments, self.outputs(inputs)[MAIN].columns)


def find_selector(name: str, surroundings: Surroundings) -> Selector:
    """The selector beside the project's pipelines, else the packaged one.

    Raises:
        ValueError: there is none of this name.
        DeclarationError: its header is wrong.
    """
    packaged = Path(lineal.__file__).parent / "_project" / "pipelines" / SELECTORS
    directories = (surroundings.pipeline_directory / SELECTORS, packaged)
    if name.isidentifier():
        for directory in directories:
            path = directory / f"{name}.sql"
            if path.is_file():
                return read_selector(name, path, f"pipelines/{SELECTORS}/{name}.sql")
    known = {path.stem for directory in directories for path in directory.glob("*.sql")}
    message = f"no selector file pipelines/{SELECTORS}/{name}.sql. {did_you_mean(name, known)}"
    raise _validation_error({"sql": message}, {"sql": name})


def _is_reference(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, list) and bool(value) and all(isinstance(item, str) for item in value))


def _validation_error(problems: Mapping[str, str], settings: Mapping[str, Any]) -> pydantic.ValidationError:
    details = []
    for name, text in problems.items():
        problem = PydanticCustomError("selector", "{problem}", {"problem": text})
        details.append(InitErrorDetails(type=problem, loc=(name,), input=settings.get(name)))
    return pydantic.ValidationError.from_exception_data("select", details)
