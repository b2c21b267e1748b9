"""`lineal retract`: rows that nothing may be trained on any more."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lineal.cli.revision import warn_of_missing

if TYPE_CHECKING:
    from lineal.audit.trace.retraction import Effect
    from lineal.recipe.retractions import Retraction

MOST_SHOWN = 10


@click.command()
@click.option(
    "--where", metavar="SQL", help="Which rows, as after WHERE; includes future rows: \"verdict = 'error'\"."
)
@click.option(
    "--id", "ids", multiple=True, metavar="ID", help="One row by its id, or a prompt; may be repeated."
)
@click.option("--reason", required=True, help="Why, in one line; rows are dropped as 'retracted: REASON'.")
@click.option(
    "--in", "within", metavar="KEY", help="Only rows of this artifact, round or pipeline (default: all)."
)
@click.option(
    "--name", help="The retraction's name in retractions.yaml (default: the first words of the reason)."
)
@click.option("--dry-run", is_flag=True, help="Show what it would touch, and write nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def retract(
    directory: Path,
    where: str | None,
    ids: tuple[str, ...],
    reason: str,
    within: str | None,
    name: str | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Retract rows: selections drop them and what was made from them, from the next `lineal run` on."""
    from datetime import date

    from lineal.audit.catalog import read_catalog
    from lineal.audit.trace.retraction import effect_json
    from lineal.orchestrate.recording import with_records
    from lineal.orchestrate.retracting import retract as add
    from lineal.recipe.project import find_root, open_project
    from lineal.recipe.retraction_files import name_for

    if (where is None) == (not ids):
        raise click.UsageError("say which rows: --where SQL, or --id ID once or more")
    project = with_records(open_project(find_root(directory)))
    name = name or name_for(reason, project.retractions.declared)
    within = within and within.strip("/")
    values = {
        "reason": reason,
        "date": date.today().isoformat(),
        "where": where,
        "ids": list(ids) or None,
        "in": within,
    }
    warn_of_missing(project, read_catalog(project), None)
    effect = add(project, name, _entry(values), dry_run)
    if not dry_run:
        _tell_dagster(project.root)
    click.echo(json.dumps(effect_json(effect), indent=2) if as_json else "\n".join(effect_lines(effect)))
    if not as_json:
        click.echo(
            "nothing was written: --dry-run"
            if dry_run
            else "lineal run reruns what lost rows, and what depends on it"
        )


def _entry(values: dict[str, Any]) -> Retraction:
    from pydantic import ValidationError

    from lineal.recipe.retractions import Retraction

    try:
        return Retraction.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        said = first["msg"].removeprefix("Value error, ")
        raise click.UsageError(
            f"--{first['loc'][0]} {first['input']!r}: {said}" if first["loc"] else said
        ) from error


def effect_lines(effect: Effect) -> list[str]:
    """Describes the effect of a retraction for people."""
    found = effect.tainted
    lacking = f"; {len(found.passed_over)} lack its columns" if found.passed_over else ""
    lost = [f"{key} ({count:,})" for key, count in effect.lost.items()]
    return [
        f"retraction {effect.name}: {found.rows:,} rows match in {len(found.matched)} artifacts "
        f"({len(found.searched)} searched{lacking})",
        f"  selections that lose rows ({len(effect.lost)}): {_listed(lost)}",
        f"  checkpoints that descend from them ({len(found.checkpoints)}): {_listed(list(found.checkpoints))}",
        *(_unknown(effect) if effect.unknown else ()),
        *(
            f"warning: {key} trains on {_listed(read)}, which no selection made: nothing can drop these rows there. "
            "Put a selection between"
            for key, read in effect.direct.items()
        ),
    ]


def _unknown(effect: Effect) -> Iterator[str]:
    known = "selections of which it is not known, since rows that they read are not here"
    yield f"  {known} ({len(effect.unknown)}): {_listed(list(effect.unknown))}. Bring them: lineal run --pull"


def _listed(names: list[str]) -> str:
    rest = f" and {len(names) - MOST_SHOWN} more" if len(names) > MOST_SHOWN else ""
    return (", ".join(names[:MOST_SHOWN]) or "none") + rest


def _tell_dagster(root: Path) -> None:
    """Fails the checks of tainted checkpoints in the project's Dagster instance, if it has one."""
    from lineal.orchestrate.instance import DIRECTORY

    if (root / DIRECTORY).is_dir():
        from lineal.orchestrate.dagster_retractions import report_tainted
        from lineal.orchestrate.instance import use_project_instance
        from lineal.plan import make_plan
        from lineal.recipe.project import open_project

        use_project_instance(root)
        report_tainted(make_plan(open_project(root)))
