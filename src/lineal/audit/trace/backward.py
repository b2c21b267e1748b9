"""Traces back: a row to its prompt and checkpoint, a checkpoint to its init and its training rows, down to the base."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lineal.audit.catalog import Catalog, Link, pipeline_of
from lineal.audit.query import Row, connection
from lineal.audit.trace.lineage import Graph, LineageNode
from lineal.audit.trace.origins import origins
from lineal.audit.trace.row_location import (
    holders,
    holding,
    id_column,
    not_here_before,
    passes_on,
    row_inputs,
    sources,
    twins,
)
from lineal.audit.trace.target import Target, TargetKind
from lineal.data.store import Artifact, Rows
from lineal.recipe.compute import Compute

if TYPE_CHECKING:
    import duckdb

TEXTS = ("prompt", "completion", "observation", "chosen", "rejected", "answer")
SAMPLE_FACTS = (
    "sample_index",
    "seed",
    "temperature",
    "round",
    "optimizer_step",
    "advantage",
    "tokens",
    "finish_reason",
    "logprob",
    "hinted",
)
DECISION_FACTS = ("decision", "reason", "weight")
_NOT_FACTS = {*TEXTS, "sample_id", "prompt_id", "parents", "checkpoint", "entry", "task", "difficulty"}


def trace_back(catalog: Catalog, target: Target, compute: Compute, pipeline: str | None = None) -> Graph:
    """Returns everything that a row, a prompt or an artifact came from.

    Args:
        catalog: the project's artifacts.
        target: what to trace.
        compute: DuckDB's limits.
        pipeline: where to look first for a row that several pipelines hold; default: the catalog's first.

    Raises:
        ArtifactError: rows cannot be read.
    """
    with connection(compute) as opened:
        tracer = _Tracer(catalog, opened, pipeline)
        if target.kind is TargetKind.ROW:
            tracer.graph.root = tracer.row(target.name, [catalog.artifacts[key] for key in target.held_in])
        else:
            tracer.graph.root = tracer.artifact(catalog.artifacts[target.name])
    return tracer.graph


class _Tracer:
    def __init__(self, catalog: Catalog, opened: duckdb.DuckDBPyConnection, pipeline: str | None) -> None:
        self._catalog, self._opened, self._pipeline = catalog, opened, pipeline
        self.graph = Graph("")
        self._pooled: set[str] = set()

    # -- rows -------------------------------------------------------------------------------------------------------

    def row(self, row_id: str, near: Sequence[Artifact] = (), beside: Sequence[Artifact] = ()) -> str:
        """Adds a row, its way through the artifacts that hold it, and what it was made from.

        Artifacts that may hold it are looked through first: those `near`, then those `beside`.
        """
        node_id = f"row:{row_id}"
        if node_id in self.graph.nodes:
            return node_id
        held = holders(self._catalog, self._opened, row_id, self._begin(row_id, near, beside), self._pipeline)
        if not held:
            self.graph.add(
                LineageNode(
                    node_id, "missing", row_id, {"missing": f"no artifact here holds it{self._unread()}"}
                )
            )
            return node_id
        kind = "sample" if id_column(held[0][0]) == "sample_id" else "prompt"
        latest = held[-1][1]
        names = (*TEXTS, "task", "difficulty")
        facts = {"kind": kind} | {name: latest[name] for name in names if latest.get(name) is not None}
        self.graph.add(LineageNode(node_id, kind, row_id, facts))
        self._pipeline = self._pipeline or pipeline_of(held[0][0].key)
        for place in reversed(range(len(held))):
            self._stage(node_id, held, place)
        for artifact in not_here_before(self._catalog, held[0][0]):
            told = f"what it said of this row: its rows are not here (lineal run --pull {artifact.key})"
            self.graph.connect(node_id, "unknown", self._leaf(artifact), unknown=told)
        self._parents(node_id, held)
        return node_id

    def _stage(self, node_id: str, held: list[tuple[Artifact, Row]], place: int) -> None:
        """Describes the row in one artifact that holds it, with what changed there."""
        artifact, row = held[place]
        before = self._before(artifact, held[:place])
        changed = {
            name: value for name, value in row.items() if name not in _NOT_FACTS and value != before.get(name)
        }
        relation, facts = _stage_facts(artifact, row, changed, first=place == 0 and not passes_on(artifact))
        self.graph.connect(node_id, relation, self._leaf(artifact), **facts)

    def _before(self, artifact: Artifact, held: list[tuple[Artifact, Row]]) -> Row:
        """Returns the row as it entered the artifact, without what another verifier beside this one said of it."""
        if not held:
            return {}
        inputs = {one.key for one in row_inputs(self._catalog, artifact)}
        found = held[0][1]
        for source, row in held:
            found = found | row if source.key in inputs else found
        return found

    def _parents(self, node_id: str, held: list[tuple[Artifact, Row]]) -> None:
        origin, row = held[0]
        for place, parent in enumerate(row.get("parents") or []):
            parent_id = self.row(parent, row_inputs(self._catalog, origin), [origin])
            relation = "prompt" if self.graph.nodes[parent_id].kind == "prompt" else "made from"
            shown = place and row.get(
                "checkpoint"
            )  # what is sampled has one parent, and the examples that it was shown
            further = (
                "example" if row.get("turns") is None else "last turn"
            )  # the turns of an episode are parents of each other
            self.graph.connect(node_id, further if shown else relation, parent_id)
        if row.get("checkpoint"):
            self.graph.connect(node_id, "model", self._checkpoint(origin, row["checkpoint"]))

    def _begin(self, row_id: str, near: Sequence[Artifact], beside: Sequence[Artifact]) -> list[Artifact]:
        """Returns artifacts that hold a row: nearby ones, else those where rows begin, those of the preferred pipeline first."""
        found = holding(self._opened, near, row_id) or holding(self._opened, beside, row_id)
        begun = sources(self._catalog)
        preferred = [a for a in twins(self._catalog, begun) if pipeline_of(a.key) == self._pipeline]
        return found or holding(self._opened, preferred, row_id) or holding(self._opened, begun, row_id)

    def _checkpoint(self, origin: Artifact, digest: str) -> str:
        """Adds the model that sampled a row: the input of the step that sampled, else any artifact with these bytes."""
        linked = next(
            (
                link.artifact
                for link in self._catalog.links(origin)
                if link.digest == digest and link.artifact
            ),
            None,
        )
        artifact = linked or self._catalog.with_digest(digest, origin.key)
        return self.artifact(artifact) if artifact else self._missing("checkpoint", digest)

    # -- artifacts --------------------------------------------------------------------------------------------------

    def artifact(self, artifact: Artifact) -> str:
        """Adds an artifact and what it was made from, down to the tasks and the base."""
        is_model = artifact.manifest.kind.is_model
        fresh = artifact.key not in self.graph.nodes
        node_id = self._leaf(artifact)
        if fresh:
            for link in self._catalog.links(artifact):
                target = self._linked(link, rows_as_leaves=is_model)
                self.graph.connect(node_id, link.field, target)
                if is_model:
                    self._samplers(node_id, link)
        return node_id

    def _linked(self, link: Link, rows_as_leaves: bool) -> str:
        if link.artifact is None:
            return self._missing(link.step, link.digest)
        has_rows = bool(link.artifact.manifest.columns)
        return (
            self._training_rows(link.artifact)
            if has_rows and rows_as_leaves
            else self.artifact(link.artifact)
        )

    def _training_rows(self, artifact: Artifact) -> str:
        """Adds a model's training rows where they were sampled, without the steps between. Pools hold them again."""
        if artifact.key in self._pooled:
            return artifact.key
        self._pooled.add(artifact.key)
        found = origins(self._catalog, artifact, self._opened)
        mix = [
            {**part, "sampled_by": self._catalog.name_of(part["checkpoint"], artifact.key)} for part in found
        ]
        told = {"mix": mix} if artifact.manifest.inputs else {}
        self.graph.add(LineageNode(artifact.key, "rows", artifact.key, _artifact_facts(artifact) | told))
        upstream = self._catalog.upstream(artifact)
        sources = [source for source in upstream if not source.manifest.inputs and source.manifest.columns]
        for source in sources:
            if source.key != artifact.key:
                self.graph.connect(artifact.key, "tasks", self._leaf(source))
        return artifact.key

    def _samplers(self, node_id: str, link: Link) -> None:
        """Adds the checkpoints that wrote a model's training rows, the latest first."""
        if link.artifact is None or not link.artifact.manifest.columns:
            return
        for part in self.graph.nodes[link.artifact.key].facts.get("mix", ()):
            if part["checkpoint"]:
                self.graph.connect(node_id, "sampler", self._checkpoint(link.artifact, part["checkpoint"]))

    def _leaf(self, artifact: Artifact) -> str:
        self.graph.add(
            LineageNode(artifact.key, str(artifact.manifest.kind), artifact.key, _artifact_facts(artifact))
        )
        return artifact.key

    def _missing(self, step: str, digest: str) -> str:
        node_id = f"missing:{step}@{digest}"
        missing = f"no artifact here has these bytes{self._unread()}"
        self.graph.add(LineageNode(node_id, "missing", step, {"digest": digest, "missing": missing}))
        return node_id

    def _unread(self) -> str:
        """Names the artifacts that are not here and may hold a row that no artifact here holds."""
        absent = {
            key for key, artifact in self._catalog.artifacts.items() if not artifact.here
        } | self._catalog.unknown
        bring = "bring them: lineal run --pull"
        return (
            f"; {len(absent)} artifacts are recorded and not here, one of which may; {bring}"
            if absent
            else ""
        )


def _stage_facts(artifact: Artifact, row: Row, changed: Row, first: bool) -> tuple[str, dict[str, Any]]:
    """Returns the relation of an artifact to a row that it holds, and the values that describe it."""
    if first:
        told = (*SAMPLE_FACTS, "verdict", "score", "detail")  # an evaluator judges what it draws
        named = {name: row[name] for name in told if row.get(name) is not None}
        return ("sample" if row.get("checkpoint") else "made"), named
    if "kept" in artifact.manifest.counts and "decision" in row:
        extra = {
            name: value for name, value in changed.items() if name not in DECISION_FACTS and value is not None
        }
        return "decision", {
            name: row.get(name) for name in DECISION_FACTS if row.get(name) not in (None, "")
        } | extra
    judged = any(name.endswith("verdict") for name in changed)
    return ("verdict" if judged else "held"), {
        name: value for name, value in changed.items() if value is not None
    }


def _artifact_facts(artifact: Artifact) -> dict[str, Any]:
    manifest = artifact.manifest
    facts: dict[str, Any] = {"component": f"{manifest.component}@{manifest.version}"}
    if manifest.columns:
        facts["rows"] = Rows((artifact,)).count
    return facts | {"digest": artifact.digest, "settings": manifest.settings, "seed": manifest.seed}
