"""Traces forward: rows by their parents, artifacts and checkpoints by their manifests, transitively."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from lineal.audit.catalog import Catalog, pipeline_of, step_name
from lineal.audit.query import connection
from lineal.audit.terminal import cut, printable
from lineal.audit.trace.descendants import Touched, Walk
from lineal.audit.trace.row_location import holding, sources, twins
from lineal.audit.trace.target import Target, TargetKind
from lineal.data.sql import literal
from lineal.recipe.compute import Compute
from lineal.recipe.references import ArtifactKind


def trace_forward(
    catalog: Catalog, target: Target, compute: Compute, pipeline: str | None = None
) -> list[Touched]:
    """Returns everything that was made from a row, a prompt or an artifact, each after its inputs.

    Args:
        catalog: the project's artifacts.
        target: what to trace.
        compute: DuckDB's limits.
        pipeline: only this pipeline's artifacts; default: all.

    Raises:
        ArtifactError: rows cannot be read.
    """
    with connection(compute) as opened:
        walk = Walk(catalog, opened, pipeline)
        if target.kind is TargetKind.ARTIFACT:
            return walk.from_artifact(target.name)
        held_in = [catalog.artifacts[key] for key in target.held_in] or holding(
            opened, sources(catalog), target.name
        )
        opened.execute(f"CREATE TABLE traced AS SELECT {literal(target.name)} AS id")
        return walk.from_rows("traced", twins(catalog, held_in))


def forward_json(touched: list[Touched]) -> list[dict[str, Any]]:
    """Returns the list for programs."""
    names = ("field", "key", "rows")
    return [
        asdict(one) | {"through": [dict(zip(names, part, strict=True)) for part in one.through]}
        for one in touched
    ]


def forward_text(touched: list[Touched], width: int) -> str:
    """Formats the list for people, by pipeline."""
    lines: list[str] = []
    for pipeline in dict.fromkeys(pipeline_of(one.key) for one in touched):
        own = [one for one in touched if pipeline_of(one.key) == pipeline]
        room = max(len(step_name(one.key)) for one in own)
        lines.append(pipeline)
        lines += [cut(f"  {step_name(one.key):<{room}}  {_told(one)}", width) for one in own]
    return "\n".join(lines)


def _told(one: Touched) -> str:
    if one.kind == ArtifactKind.MODEL:
        return f"CHECKPOINT @{one.digest[:12]}  {_reasons(one)}"
    if one.total is None:
        return f"{one.kind}  {_reasons(one)}"
    if not one.here:
        return f"unknown of {one.total:,} rows: they are not here (lineal run --pull)"
    counted = f"{one.rows:,} of {one.total:,} rows"
    if one.influenced:
        counted += (
            f": {one.made:,} its own, {one.influenced:,} influenced by it"
            if one.made
            else " influenced by it"
        )
    decisions = ", ".join(f"{count:,} {printable(name)}" for name, count in one.decisions.items())
    ids = ", ".join(printable(text) for text in one.ids[:3]) + (
        ", ..." if one.made > 3 < len(one.ids) else ""
    )
    return "  ".join(filter(None, (counted, decisions, ids)))


def _reasons(one: Touched) -> str:
    rows = [
        f"{count:,} row{'s'[: count - 1]} of {step_name(key)} ({field})"
        for field, key, count in one.through
        if count
    ]
    others = [f"{field} {step_name(key)}" for field, key, count in one.through if not count]
    return "from " + ", ".join([*rows, *others]) if one.through else "itself"
