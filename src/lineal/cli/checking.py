"""`lineal check`: a project's declarations, for a commit hook or a CI."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.pass_obj
def check(directory: Path) -> None:
    """Check everything that needs no artifact and no model: all pipelines' plans, dvc.yaml, and SQL against its columns.

    Exit status 1 when something is wrong; every error is printed.
    """
    from lineal.errors import CheckFailure
    from lineal.orchestrate.checking import problems
    from lineal.recipe.project import find_root, open_project

    found, steps = problems(open_project(find_root(directory)))
    for problem in found:
        click.echo(f"error: {problem}", err=True)
    if found:
        raise CheckFailure(
            "declarations",
            f"{len(found)} error{'s' if len(found) > 1 else ''} in {steps} steps, as told above",
        )
    click.echo(f"{steps} steps are sound, and dvc.yaml is current")
