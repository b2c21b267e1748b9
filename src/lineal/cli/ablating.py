"""`lineal ablate`: a comparison of a pipeline with itself without one of its parts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lineal.cli.revision import opened_project, rev_option

if TYPE_CHECKING:
    from lineal.audit.ablations import Ablated


@click.command()
@click.argument("pipeline")
@click.argument("parts", nargs=-1, metavar="[PART]...")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@rev_option
@click.pass_obj
def ablate(directory: Path, pipeline: str, parts: tuple[str, ...], as_json: bool, rev: str | None) -> None:
    """Compare a pipeline with itself without one of its parts.

    A PART is a node (`filtered`), whose readers then read its input, or a setting (`generated.hint`), which then has its default.
    Without PARTs: those that params.yaml names under `pipelines: NAME: ablate:`. The last round's evaluations are compared prompt
    by prompt. Named in params.yaml, the variants are planned and run with the pipeline; what they share with it is made once.
    """
    from lineal.audit.ablations import ablations, own_steps, plan_variants, with_parts

    opened = opened_project(directory, rev)
    project = with_parts(opened, pipeline, parts)
    plan = plan_variants(project, pipeline)
    found = list(ablations(plan, pipeline))
    asked = project.params.pipelines[pipeline].ablate
    if as_json:
        click.echo(json.dumps([_fields(one) for one in found], indent=2))
        return
    for part in asked:
        own, all_steps = own_steps(plan, pipeline, part)
        click.echo(f"without {part}: {own} of {all_steps} steps differ; the others are made once")
    for line in _table(found):
        click.echo(line)
    lacking = [part for part in asked if part not in {one.part for one in found}]
    declared = opened.params.pipelines.get(pipeline)
    if lacking and (declared is None or not set(lacking) <= set(declared.ablate)):
        named = f"pipelines: {{{pipeline}: {{ablate: [{', '.join(lacking)}]}}}}"
        click.echo(
            f"not made: {', '.join(lacking)}. Write into params.yaml: {named}, then run: lineal plan --write && lineal run"
        )
    elif lacking:
        click.echo(f"not made: {', '.join(lacking)}. Make the last round's evaluations: lineal run")


def _table(found: list[Ablated]) -> list[str]:
    rows: list[tuple[str, ...]] = [
        ("without", "seed", "evaluation", "figure", "whole", "without it", "difference (95%)", "p")
    ]
    rows += [_row(one) for one in found]
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
        if found
    ]


def _row(one: Ablated) -> tuple[str, ...]:
    shown, chance = "no intervals", ""
    if one.change is not None:
        change = one.change.difference
        pairing = f"{one.change.prompts:,} prompts" if one.change.prompts else "unpaired"
        shown = f"{change.value:+.3f} ({change.low:+.3f} to {change.high:+.3f}; {pairing})"
        chance = f"{one.change.chance:.2g}"
    return (
        one.part,
        str(one.seed),
        one.label,
        one.headline,
        f"{one.whole:.4g}",
        f"{one.without:.4g}",
        shown,
        chance,
    )


def _fields(one: Ablated) -> dict[str, Any]:
    fields = {name: getattr(one, name) for name in ("part", "seed", "label", "headline", "whole", "without")}
    if one.change is None:
        return {**fields, "difference": None}
    change = one.change.difference
    return {
        **fields,
        "difference": [change.value, change.low, change.high],
        "p": one.change.chance,
        "prompts": one.change.prompts,
    }
