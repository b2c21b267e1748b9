"""`lineal components`: the components that `use:` may name, and their settings."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lineal.errors import DeclarationError, did_you_mean

if TYPE_CHECKING:
    from lineal.components.base import Surroundings
    from lineal.components.reference import Description

WIDTH = 100


@click.command()
@click.argument("name", required=False)
@click.option(
    "--markdown", is_flag=True, help="Print the page of all components, those of installed packages included."
)
@click.pass_obj
def components(directory: Path, name: str | None, markdown: bool) -> None:
    """List the components, or show one: what it does, its settings, a correct node.

    NAME may also be a selector, a measure or a policy, whose files `select` and `measure` list. Without NAME, all that `use:` may
    name, by role.
    """
    from lineal.components.base import Surroundings
    from lineal.components.file_reference import files_of
    from lineal.components.reference_page import file_list, page
    from lineal.recipe.project import PIPELINES

    surroundings = Surroundings(directory.absolute(), directory.absolute() / PIPELINES)
    files = files_of(name, surroundings) if name else []
    if markdown and name == "select":
        click.echo(file_list(files))
        return
    try:
        found = _found(name, surroundings)
    except KeyError as error:
        raise DeclarationError(str(error.args[0])) from error
    if markdown or name is None:
        click.echo(page(found).rstrip() if markdown else "\n".join(_listed(found)))
        return
    shown = ["\n".join(_shown(one)) for one in found]
    click.echo("\n\n".join([*shown, *(["\n".join(_files(files))] if files else [])]))


def _found(name: str | None, surroundings: Surroundings) -> list[Description]:
    """Returns all components, or those of a name and the files of that name.

    Raises:
        KeyError: its package gives no component.
        DeclarationError: there is none.
    """
    from lineal.components.file_reference import described_files, file_names
    from lineal.components.reference import describe
    from lineal.components.registry import FROM_A_PACKAGE, Registry
    from lineal.environments.registry import locations

    registry = Registry()
    if name is None:
        return [describe(one, registry, surroundings) for one in registry.names]
    found = [describe(name, registry, surroundings)] if name in registry.names else []
    found += described_files(name, surroundings)
    if not found and name in locations():
        fix = "Task rows name it, as those of environment_tasks do (docs/environments.md)"
        raise DeclarationError(f"{name!r} is an environment, not a component. {fix}")
    if not found:
        near = did_you_mean(name, [*registry.names, *file_names(surroundings)])
        raise DeclarationError(f"no component, selector, measure or policy {name!r}. {near} {FROM_A_PACKAGE}")
    return found


def _files(files: list[Description]) -> Iterator[str]:
    width = max(len(one.name) for one in files)
    yield "Files that `sql` may name (show one: lineal components NAME; docs/selectors.md has the format):"
    yield from (_entry(one, width) for one in files)


def _listed(found: list[Description]) -> Iterator[str]:
    from lineal.components.reference import ROLES
    from lineal.environments.registry import locations

    width = max(len(one.name) for one in found)
    for role, heading in ROLES.items():
        yield from (f"{heading}:", *(_entry(one, width) for one in found if one.role is role), "")
    yield _wrapped(f"Environments that tasks may name (docs/environments.md): {', '.join(locations())}", "")
    yield "Show one: lineal components NAME"


def _entry(one: Description, width: int) -> str:
    return f"  {one.name:{width}}  {textwrap.shorten(one.in_short, WIDTH - width, placeholder=' ...')}"


def _shown(one: Description) -> Iterator[str]:
    yield f"{one.name} ({one.kind or one.role})"
    for text in one.summary:
        yield from ("", _wrapped(text, "  "))
    if one.example:
        yield from ("", "Example:", f"  {one.example}")
    yield from chain.from_iterable(
        ("", f"Needs in {field}: {', '.join(columns)}") for field, columns in one.needs.items()
    )
    if one.adds:
        yield from ("", _wrapped(f"Adds: {', '.join(one.adds)}", ""))
    yield from ("", "Settings:")
    for setting in one.settings:
        default = (
            setting.default if setting.default in ("required", "unset") else f"default {setting.default}"
        )
        yield (
            f"  {setting.name}: {setting.value} ({default})"
            if setting.value
            else f"  {setting.name} ({default})"
        )
        if setting.meaning:
            yield _wrapped(setting.meaning, "      ")


def _wrapped(text: str, indent: str) -> str:
    if "\n" in text:
        return textwrap.indent(text, indent)
    return textwrap.fill(text, WIDTH, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)
