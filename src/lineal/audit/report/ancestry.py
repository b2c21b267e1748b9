"""The ancestry of the rows that a report shows: all rows of a pipeline together, each artifact asked once.

The answer for one row is that of `lineal trace`; asking for one row after the other would read the files as often.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lineal.audit.catalog import Catalog, Link
from lineal.audit.query import Row, fetched_records
from lineal.audit.trace.backward import DECISION_FACTS, SAMPLE_FACTS, TEXTS
from lineal.audit.trace.lineage import mix_lines
from lineal.audit.trace.origins import origins
from lineal.audit.trace.row_location import added_columns, id_column, repeats_input, row_inputs
from lineal.data.sql import literal, parquet, quoted
from lineal.data.store import Artifact

if TYPE_CHECKING:
    import duckdb

MOST_PARENTS = 6
"""Parents of a row that are followed; the page says how many more there are."""


@dataclass(frozen=True)
class AncestryStage:
    """One artifact's facts about a row that it passed on."""

    key: str
    component: str
    facts: Row


@dataclass
class Ancestor:
    """A row, where it began, and the judgements on it since.

    Attributes:
        row_id: its id.
        kind: sample or prompt.
        made_in: key of the artifact in which it began; empty when no artifact here holds it.
        component: what made it there.
        facts: its sampling settings, or the task.
        texts: its prompt, completion, ...
        parents: the rows that it was made from, `MOST_PARENTS` of them.
        parent_count: how many rows it was made from.
        checkpoint: digest of the model that sampled it.
        stages: the judgements on it, the first one first.
    """

    row_id: str
    kind: str = "row"
    made_in: str = ""
    component: str = ""
    facts: Row = field(default_factory=dict)
    texts: Row = field(default_factory=dict)
    parents: list[Ancestor] = field(default_factory=list)
    parent_count: int = 0
    checkpoint: str | None = None
    stages: list[AncestryStage] = field(default_factory=list)


@dataclass(frozen=True)
class Ingredient:
    """One input of a model: which, and for rows where they were sampled."""

    field: str
    key: str
    mix: tuple[str, ...]


@dataclass(frozen=True)
class Model:
    """One model of a chain; a base was made from no other model."""

    key: str
    digest: str
    component: str
    is_base: bool
    ingredients: tuple[Ingredient, ...]


@dataclass(frozen=True)
class Ancestry:
    """The rows that were asked for, by id; by a model's digest, it and the models that it came from, latest first."""

    rows: Mapping[str, Ancestor] = field(default_factory=dict)
    models: Mapping[str, tuple[Model, ...]] = field(default_factory=dict)


def ancestry_of(
    catalog: Catalog, opened: duckdb.DuckDBPyConnection, begun: Mapping[str, set[str]]
) -> Ancestry:
    """Returns the ancestry of some rows, as far as the tasks and the base.

    Args:
        catalog: the project's artifacts.
        opened: a connection.
        begun: by the keys of artifacts, ids of rows that they may hold.

    Raises:
        ArtifactError: rows cannot be read.
    """
    walk = _Walk(catalog, opened, _Models(catalog, opened))
    rows = {row_id: Ancestor(row_id) for ids in begun.values() for row_id in sorted(ids)}
    for key, ids in begun.items():
        walk.ask([catalog.artifacts[key]], [rows[row_id] for row_id in sorted(ids)])
    walk.run()
    return Ancestry(rows, walk.chains)


@dataclass
class _Walk:
    """Goes back artifact by artifact, the latest first: by then everything that could ask for its rows has asked.

    An id alone does not say which row is meant: a prompt that was selected again keeps its id and gets parents. So a row is
    looked for only in the inputs of what names it.
    """

    catalog: Catalog
    opened: duckdb.DuckDBPyConnection
    models: _Models
    chains: dict[str, tuple[Model, ...]] = field(default_factory=dict)
    _waiting: dict[str, dict[str, list[Ancestor]]] = field(default_factory=dict)
    _named: list[tuple[Artifact, Ancestor]] = field(default_factory=list)

    def ask(self, artifacts: Iterable[Artifact], wanted: Iterable[Ancestor]) -> None:
        """Queues rows to be searched for in some artifacts."""
        for artifact in artifacts:
            for row in wanted:
                asking = self._waiting.setdefault(artifact.key, {}).setdefault(row.row_id, [])
                if not any(row is other for other in asking):
                    asking.append(row)

    def run(self) -> None:
        """Fills in all queued rows, and those that they were made from."""
        self._through_inputs()
        while lost := [(artifact, row) for artifact, row in self._named if not row.made_in]:
            self._named = []
            for artifact, row in lost:  # rows of a tree: made from rows of the same artifact
                self.ask([artifact], [row])
            self._through_inputs()

    def _through_inputs(self) -> None:
        while self._waiting:
            artifact = self.catalog.artifacts[
                max(self._waiting, key=lambda key: (self.catalog.order[key], key))
            ]
            asking = self._waiting.pop(artifact.key)
            passes_on = repeats_input(self.catalog, artifact)
            for row in _rows(artifact, sorted(asking), self.opened):
                own = asking[row[id_column(artifact)]]
                if passes_on:
                    self._pass_on(artifact, row, own)
                else:
                    self._begin(artifact, row, [ancestor for ancestor in own if not ancestor.made_in])

    def _pass_on(self, artifact: Artifact, row: Row, own: list[Ancestor]) -> None:
        stage = AncestryStage(artifact.key, _component(artifact), _said(self.catalog, artifact, row))
        for ancestor in own:
            ancestor.stages.insert(0, stage)
        self.ask(row_inputs(self.catalog, artifact), own)

    def _begin(self, artifact: Artifact, row: Row, own: list[Ancestor]) -> None:
        digest, names = row.get("checkpoint"), list(row.get("parents") or ())
        parents = [Ancestor(name) for name in names[:MOST_PARENTS]]
        for ancestor in own:
            ancestor.kind = "sample" if id_column(artifact) == "sample_id" else "prompt"
            ancestor.made_in, ancestor.component = artifact.key, _component(artifact)
            facts = SAMPLE_FACTS if digest else ("task", "difficulty")
            ancestor.facts = {name: row[name] for name in facts if row.get(name) is not None}
            ancestor.texts = {name: row[name] for name in TEXTS if row.get(name) is not None}
            ancestor.checkpoint, ancestor.parents, ancestor.parent_count = digest, parents, len(names)
        self.ask(row_inputs(self.catalog, artifact), parents)
        self._named += [(artifact, parent) for parent in parents if parent.row_id != row[id_column(artifact)]]
        if digest and digest not in self.chains:
            self.chains[digest] = self.models.chain(artifact, digest)


def _rows(artifact: Artifact, ids: list[str], opened: duckdb.DuckDBPyConnection) -> list[Row]:
    listed = ", ".join(map(literal, ids))
    sql = (
        f"SELECT * FROM {parquet(artifact.parquet_files())} WHERE {quoted(id_column(artifact))} IN ({listed})"
    )
    return fetched_records(opened, sql, artifact)


def _said(catalog: Catalog, artifact: Artifact, row: Row) -> Row:
    """Returns an artifact's facts about a row that it passes on: the columns that its inputs lack, and a decision of its own."""
    own = {*added_columns(catalog, artifact), *(DECISION_FACTS if "kept" in artifact.manifest.counts else ())}
    return {name: value for name, value in row.items() if value not in (None, "") and name in own}


def _component(artifact: Artifact) -> str:
    return f"{artifact.manifest.component}@{artifact.manifest.version}"


@dataclass
class _Models:
    """Models and what they were made from, each read once."""

    catalog: Catalog
    opened: duckdb.DuckDBPyConnection
    _known: dict[str, Model] = field(default_factory=dict)

    def chain(self, origin: Artifact, digest: str) -> tuple[Model, ...]:
        """Returns the model with a digest that sampled an artifact's rows, and its ancestors; empty if it is not here."""
        linked = next(
            (link.artifact for link in self.catalog.links(origin) if link.digest == digest and link.artifact),
            None,
        )
        artifact = linked or self.catalog.with_digest(digest, origin.key)
        upstream = self.catalog.upstream(artifact) if artifact else []
        return tuple(self._model(one) for one in reversed(upstream) if one.manifest.kind.is_model)

    def _model(self, artifact: Artifact) -> Model:
        if artifact.key not in self._known:
            links = self.catalog.links(artifact)
            is_base = not any(link.artifact and link.artifact.manifest.kind.is_model for link in links)
            told = tuple(self._ingredient(link, artifact) for link in links)
            self._known[artifact.key] = Model(
                artifact.key, artifact.digest, _component(artifact), is_base, told
            )
        return self._known[artifact.key]

    def _ingredient(self, link: Link, near: Artifact) -> Ingredient:
        if link.artifact is None or not link.artifact.manifest.columns:
            return Ingredient(link.field, link.artifact.key if link.artifact else link.step, ())
        parts = origins(self.catalog, link.artifact, self.opened)
        mix = [{**part, "sampled_by": self.catalog.name_of(part["checkpoint"], near.key)} for part in parts]
        return Ingredient(link.field, link.artifact.key, tuple(mix_lines(mix)))
