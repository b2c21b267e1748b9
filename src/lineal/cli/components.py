"""`lineal components`: the components that `use:` may name, and their settings."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lineal.errors import DeclarationError

if TYPE_CHECKING:
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

    Without NAME, all that `use:` may name, by role.
    """
    from lineal.components.base import Surroundings
    from lineal.components.reference import describe
    from lineal.components.reference_page import page
    from lineal.components.registry import Registry
    from lineal.recipe.project import PIPELINES

    registry, surroundings = Registry(), Surroundings(directory.absolute(), directory.absolute() / PIPELINES)
    try:
        found = [describe(one, registry, surroundings) for one in ([name] if name else registry.names)]
    except KeyError as error:
        raise DeclarationError(str(error.args[0])) from error
    click.echo(page(found).rstrip() if markdown else "\n".join(_shown(found[0]) if name else _listed(found)))


def _listed(found: list[Description]) -> Iterator[str]:
    from lineal.components.reference import ROLES

    width = max(len(one.name) for one in found)
    for role, heading in ROLES.items():
        yield from (f"{heading}:", *(_entry(one, width) for one in found if one.role is role), "")
    yield "Show one: lineal components NAME"


def _entry(one: Description, width: int) -> str:
    return f"  {one.name:{width}}  {textwrap.shorten(one.in_short, WIDTH - width, placeholder=' ...')}"


def _shown(one: Description) -> Iterator[str]:
    yield f"{one.name} ({one.role})"
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
        yield f"  {setting.name}: {setting.value} ({default})"
        yield _wrapped(setting.meaning, "      ")


def _wrapped(text: str, indent: str) -> str:
    if "\n" in text:
        return textwrap.indent(text, indent)
    return textwrap.fill(text, WIDTH, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)
