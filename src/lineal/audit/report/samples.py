"""A few rows of every round, with what verifiers and selectors said of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lineal.audit.query import Row, fetched, fetched_records
from lineal.components.base import Role
from lineal.components.verifiers.base import Verifier
from lineal.data.manifest import MANIFEST
from lineal.data.media import IMAGES
from lineal.data.sql import literal, parquet, quoted
from lineal.data.store import Artifact, open_artifact
from lineal.plan import Plan, Step
from lineal.recipe.groups import round_group

if TYPE_CHECKING:
    import duckdb

TEXTS = ("prompt", "completion", "answer", "finish_reason")
VERDICT_FACTS = ("verdict", "detail")


@dataclass(frozen=True)
class Decision:
    """The decision of one selector on a row."""

    label: str
    decision: str
    reason: str


@dataclass(frozen=True)
class SampleRow:
    """One row as the report shows it; None where its artifact has no such column.

    Attributes:
        sample_id: its id.
        held_in: keys of the artifacts of its round's verifiers that hold it.
        verdict, detail: what the last of them said.
        decisions: what the round's selectors did with it.
        images: digests of the pictures that its prompt shows.
    """

    sample_id: str
    held_in: tuple[str, ...]
    prompt: str | None
    completion: str | None
    answer: str | None
    finish_reason: str | None
    verdict: str | None
    detail: str | None
    decisions: tuple[Decision, ...]
    images: list[str] | None = None


def round_samples(
    plan: Plan, pipeline: str, round_number: int, per_verdict: int, opened: duckdb.DuckDBPyConnection
) -> list[SampleRow]:
    """Returns the rows with the lowest ids of each verdict in a round; where nothing is judged, as many generated rows.

    Ids are hashes, so these are drawn evenly and are the same whenever the round is the same.

    Raises:
        ArtifactError: rows cannot be read.
    """
    group = round_group(round_number)
    steps = [step for step in plan.steps.values() if step.pipeline == pipeline and step.group == group]
    judged = _judged(plan, steps)
    ids = sorted(
        {row_id for step, artifact in judged for row_id in _lowest(step, artifact, per_verdict, opened)}
    )
    found: dict[str, Row] = {}
    held_in: dict[str, list[str]] = {row_id: [] for row_id in ids}
    for step, artifact in judged if ids else ():
        for row in fetched_records(opened, _rows(step, artifact, ids), artifact):
            found[row["sample_id"]] = row
            held_in[row["sample_id"]].append(artifact.key)
    decisions = _decisions(plan, steps, ids, opened)
    return [
        SampleRow(**found[name], held_in=tuple(held_in[name]), decisions=tuple(decisions[name]))
        for name in ids
    ]


def _judged(plan: Plan, steps: Sequence[Step]) -> list[tuple[Step, Artifact]]:
    for role in (Role.VERIFIER, Role.GENERATOR):
        found = [
            (step, a)
            for step in steps
            if step.component.role is role
            for a in _artifacts(plan, step, "sample_id")
        ]
        if found:
            return found
    return []


def _artifacts(plan: Plan, step: Step, column: str) -> Iterable[Artifact]:
    """Yields a step's existing artifacts that have a column."""
    for key in step.artifact_keys().values():
        directory = plan.project.directory(key)
        if (directory / MANIFEST).exists():
            artifact = open_artifact(key, directory)
            if column in artifact.manifest.columns and artifact.parquet_files():
                yield artifact


def _verdict_columns(step: Step) -> dict[str, str]:
    return {
        name: step.component.column(name) if isinstance(step.component, Verifier) else name
        for name in VERDICT_FACTS
    }


def _lowest(step: Step, artifact: Artifact, per_verdict: int, opened: duckdb.DuckDBPyConnection) -> list[str]:
    """Returns the lowest ids of every verdict."""
    verdict = _verdict_columns(step)["verdict"]
    groups = f"GROUP BY {quoted(verdict)}" if verdict in artifact.manifest.columns else ""
    sql = f"SELECT unnest(min(sample_id, {per_verdict})) FROM {parquet(artifact.parquet_files())} {groups}"
    return [row_id for (row_id,) in fetched(opened, sql, artifact)]


def _rows(step: Step, artifact: Artifact, ids: list[str]) -> str:
    columns = {name: name for name in (*TEXTS, IMAGES)} | _verdict_columns(step)
    has = artifact.manifest.columns
    listed = ", ".join(
        f"{quoted(column) if column in has else 'NULL'} AS {name}" for name, column in columns.items()
    )
    wanted = ", ".join(map(literal, ids))
    return (
        f"SELECT sample_id, {listed} FROM {parquet(artifact.parquet_files())} WHERE sample_id IN ({wanted})"
    )


def _decisions(
    plan: Plan, steps: list[Step], ids: list[str], opened: duckdb.DuckDBPyConnection
) -> dict[str, list[Decision]]:
    """Returns by row what the round's selectors decided."""
    found: dict[str, list[Decision]] = {row_id: [] for row_id in ids}
    if not ids:
        return found
    listed = ", ".join(literal(row_id) for row_id in ids)
    for step in steps:
        for artifact in _artifacts(plan, step, "decision") if step.component.role is Role.SELECTOR else ():
            if "sample_id" in artifact.manifest.columns:
                source = parquet(artifact.parquet_files())
                sql = f"SELECT sample_id, decision, reason FROM {source} WHERE sample_id IN ({listed}) ORDER BY sample_id"
                for row in fetched_records(opened, sql, artifact):
                    found[row["sample_id"]].append(
                        Decision(step.label, row["decision"] or "", row["reason"] or "")
                    )
    return found
