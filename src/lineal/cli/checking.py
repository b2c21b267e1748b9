"""`lineal check`: a project's declarations, for a commit hook or a CI."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.pass_obj
def check(directory: Path) -> None:
    """Check everything that needs no artifact and no model: all pipelines' plans, dvc.yaml, and SQL against its columns.

    Data of active pipelines must be here; of others that lack it only the settings are checked.
    Exit status 1 when something is wrong; every error is printed.
    """
    from lineal.errors import CheckFailure, number_of
    from lineal.orchestrate.checking import checked
    from lineal.recipe.project import find_root, open_project

    found = checked(open_project(find_root(directory)))
    if found.without_data:
        click.echo(_note(found.without_data))
    for problem in found.problems:
        click.echo(f"error: {problem}", err=True)
    if count := len(found.problems):
        told = f"{number_of(count, 'error')} in {len(found.steps)} steps, as told above"
        raise CheckFailure("declarations", told)
    click.echo(f"{len(found.steps)} steps are sound, and dvc.yaml is current")


def _note(names: list[str]) -> str:
    one, rest = len(names) == 1, f" and {len(names) - 1} more" if len(names) > 1 else ""
    return (
        f"note: {names[0]}{rest}: not active, and the data that {'it names is' if one else 'they name is'} not here, so only "
        f"{'its' if one else 'their'} settings were checked. See: lineal plan --pipeline {names[0]}"
    )
