"""`lineal resolve`: merges files that git cannot merge by lines."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.pass_obj
def resolve(directory: Path) -> None:
    """Merge dvc.yaml and dvc.lock where git left them in conflict. Merge params.yaml and pipelines/ first.

    Of each stage the record is kept that the merged plan asks for, whichever branch has it; both branches' own stages,
    keys and comments stay. Nothing is made. Then: git add --all dvc.yaml dvc.lock records
    """
    from lineal.data.records import RECORDS
    from lineal.orchestrate.dvc_yaml import write_dvc_yaml
    from lineal.orchestrate.resolve import resolve as merge
    from lineal.plan import make_plan
    from lineal.recipe.project import find_root, open_project

    plan = make_plan(open_project(find_root(directory)))
    merged = merge(plan)
    if write_dvc_yaml(plan) and "dvc.yaml" not in merged:
        merged.append("dvc.yaml")
    for name in merged:
        click.echo(f"{name} merged")
    click.echo(
        f"Then: git add --all {' '.join(merged)} {RECORDS}"
        if merged
        else "nothing to merge: dvc.yaml and dvc.lock hold no conflict"
    )
