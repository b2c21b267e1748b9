"""`lineal prune`: deletes what the project need not keep on disk."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from lineal.orchestrate.pruning import Pruning

MOST_SHOWN = 8


@click.command()
@click.option("--dry-run", is_flag=True, help="Show what would be deleted, and delete nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def prune(directory: Path, dry_run: bool, as_json: bool) -> None:
    """Delete what `retain:` in params.yaml does not keep of the rounds, and what no pipeline plans any more.

    Manifests, metrics and costs stay in records/. To get a deleted artifact back: lineal run --remake KEY.
    """
    import json

    from lineal.orchestrate.dvc_yaml import write_dvc_yaml
    from lineal.orchestrate.pruning import prune as take_away
    from lineal.orchestrate.pruning import pruning_of
    from lineal.plan import make_plan
    from lineal.recipe.project import find_root, open_project

    project = open_project(find_root(directory))
    found = pruning_of(project)
    freed = sum(one.size_bytes for one in found.lying if one.goes)
    if not dry_run:
        take_away(project, found)
        write_dvc_yaml(make_plan(project))
        _clear_dagster(project.root, found)
    if as_json:
        said = {
            "going": found.going,
            "leftovers": list(found.leftovers),
            "held": dict(found.held),
            "bytes": freed,
        }
        click.echo(json.dumps({"dry_run": dry_run, **said}, indent=2))
        return
    click.echo("\n".join(_lines(found)))
    verb = "would go" if dry_run else "went"
    click.echo(f"{freed:,} bytes in {len(found.going)} artifacts {verb}")
    if found.going and not dry_run:
        click.echo("Commit dvc.lock and records/. Get one back: lineal run --remake KEY")


def _lines(found: Pruning) -> list[str]:
    """Formats a table of bytes by pipeline, round and kind, and the notes below it."""
    from lineal.audit.terminal import table

    sizes: dict[tuple[str, str, str], list[int]] = {}
    for one in found.lying:
        pipeline, group, _ = one.key.split("/", 2)
        cell = sizes.setdefault((pipeline, group, one.kind), [0, 0])
        cell[0] += one.size_bytes
        cell[1] += one.size_bytes if one.goes else 0
    rows = [[*place, f"{total:,}", f"{going:,}" if going else ""] for place, (total, going) in sizes.items()]
    lines = list(table(["pipeline", "round", "kind", "bytes", "to go"], rows)) if rows else []
    if found.leftovers:
        rest = f" and {len(found.leftovers) - MOST_SHOWN} more" if len(found.leftovers) > MOST_SHOWN else ""
        lines.append(
            f"leftovers, which no pipeline plans ({len(found.leftovers)}): {', '.join(found.leftovers[:MOST_SHOWN])}{rest}"
        )
    for why in dict.fromkeys(found.held.values()):
        keys = [key for key in found.held if found.held[key] == why]
        lines.append(
            f"stays for now: {', '.join(keys[:MOST_SHOWN])}{', ...' if len(keys) > MOST_SHOWN else ''} ({why})"
        )
    return lines


def _clear_dagster(root: Path, found: Pruning) -> None:
    """Removes the leftovers from the project's Dagster instance, if it has one, and runs of which nothing is shown any more."""
    from lineal.orchestrate.instance import DIRECTORY

    if (root / DIRECTORY / "dagster.yaml").is_file():
        from lineal.orchestrate.dagster_pruning import clear
        from lineal.orchestrate.instance import use_project_instance

        use_project_instance(root)
        assets, runs = clear(found.leftovers)
        if assets or runs:
            click.echo(f"Dagster: {assets} assets and {runs} runs deleted", err=True)
