"""`lineal try`: runs a component on a few rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from lineal.cli.look import output_width


@click.command("try")
@click.argument("name")
@click.option(
    "--rows",
    "files",
    multiple=True,
    required=True,
    metavar="[INPUT=]FILE",
    help="Rows to try it on; may be repeated.",
)
@click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="A setting, as in YAML; may be repeated."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with every column.")
@click.pass_obj
def try_(
    directory: Path, name: str, files: tuple[str, ...], settings: tuple[str, ...], as_json: bool
) -> None:
    """Try NAME on the rows of a file: a selector, a measure, a verifier or a template.

    Nothing is written, and no pipeline or model is needed.
    """
    from lineal.audit.show.trying import tried
    from lineal.recipe.project import find_root, open_project

    with tried(open_project(find_root(directory)), name, _by_input(files), _settings(settings)) as found:
        click.echo(
            json.dumps(found.as_json(), indent=2, default=str) if as_json else found.as_text(output_width())
        )


def _by_input(files: tuple[str, ...]) -> dict[str, Path]:
    """Maps each input field to its file; a file without a field is that of `rows`."""
    found: dict[str, Path] = {}
    for given in files:
        field, equals, path = given.partition("=")
        field, file = (field, Path(path)) if equals and field.isidentifier() else ("rows", Path(given))
        if not file.is_file():
            raise click.UsageError(f"--rows {given}: no such file")
        if field in found:
            raise click.UsageError(
                f"--rows {given}: {field} has a file already. Name further inputs: --rows INPUT=FILE"
            )
        found[field] = file
    if "rows" not in found:
        raise click.UsageError("no file is for the input rows: --rows FILE")
    return found


def _settings(given: tuple[str, ...]) -> dict[str, Any]:
    from lineal.recipe.document import parse_document

    found: dict[str, Any] = {}
    for setting in given:
        key, equals, text = setting.partition("=")
        if not equals:
            raise click.UsageError(f"--set {setting}: write KEY=VALUE")
        found[key] = parse_document(f"value: {text}", f"--set {key}").value["value"]
    return found
