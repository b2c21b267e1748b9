"""Finds the artifacts that hold a row, reading few files: rows keep their ids through verifiers and selections.

An artifact that only passes on the rows of its inputs (a verifier's, a decision's) holds no id that its inputs lack. So an
id is searched where rows begin, and then in what was made from there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

from lineal.audit.catalog import Catalog, main_key, pipeline_of
from lineal.audit.query import Row, fetched, fetched_records, unreadable
from lineal.data.schema import row_key
from lineal.data.sql import literal, parquet, quoted
from lineal.data.store import Artifact, Rows

if TYPE_CHECKING:
    import duckdb

VERDICTS = frozenset({"pass", "fail", "error"})
"""What a verifier's manifest counts."""


def row_artifacts(artifacts: Iterable[Artifact]) -> list[Artifact]:
    """Returns the artifacts that hold rows with an id."""
    return [artifact for artifact in artifacts if has_ids(artifact)]


def has_ids(artifact: Artifact) -> bool:
    """Tells whether an artifact holds rows with an id."""
    return bool(artifact.parquet_files()) and id_column(artifact) in artifact.manifest.columns


def id_column(artifact: Artifact) -> str:
    """Returns the column that holds an artifact's row ids."""
    return row_key(list(artifact.manifest.columns))


def row_inputs(catalog: Catalog, artifact: Artifact) -> list[Artifact]:
    """Returns the artifacts with rows that an artifact was made from."""
    linked = {
        link.artifact.key: link.artifact for link in catalog.links(artifact) if link.artifact is not None
    }
    return row_artifacts(linked.values())


def added_columns(catalog: Catalog, artifact: Artifact) -> list[str]:
    """Returns the columns that an artifact has and none of its inputs' rows; artifacts beside it don't count."""
    before = {name for source in row_inputs(catalog, artifact) for name in source.manifest.columns}
    return [name for name in artifact.manifest.columns if name not in before]


def passes_on(artifact: Artifact) -> bool:
    """Tells whether an artifact's rows are, with their ids, rows of its input `rows`, by its manifest."""
    counts, further = artifact.manifest.counts, artifact.manifest.output
    verified = (
        counts.keys() >= VERDICTS or "joined" in counts
    ) and not further  # its other outputs hold rows of their own
    return verified or ("kept" in counts and ("out" not in counts or further == "dropped"))


def not_here_before(catalog: Catalog, artifact: Artifact) -> list[Artifact]:
    """Returns the artifacts that a row went through before one that passes it on and is not here, the nearest first."""
    links = (
        [link.artifact for link in catalog.links(artifact) if link.field == "rows"]
        if passes_on(artifact)
        else []
    )
    absent = [
        one for one in links if one is not None and not one.here and id_column(one) == id_column(artifact)
    ]
    return [found for one in absent for found in (one, *not_here_before(catalog, one))]


def repeats_input(catalog: Catalog, artifact: Artifact) -> bool:
    """Tells whether all of an artifact's rows are, with their ids, rows of its input `rows` that is here too."""
    own = id_column(artifact)
    links = [link for link in catalog.links(artifact) if link.field == "rows"]
    found = [link.artifact for link in links if link.artifact is not None and has_ids(link.artifact)]
    whole = bool(links) and len(found) == len(links) and all(id_column(source) == own for source in found)
    return whole and passes_on(artifact)


def repeated(catalog: Catalog, artifact: Artifact) -> Artifact | None:
    """Finds the artifact whose rows an artifact repeats with every column unchanged; a step moves replaced columns to the end.

    Raises:
        ArtifactError: a row file cannot be read.
    """
    links = [link.artifact for link in catalog.links(artifact) if link.field == "rows"]
    if (
        len(links) != 1
        or links[0] is None
        or not repeats_input(catalog, artifact)
        or "decision" in links[0].manifest.columns
    ):
        return None
    before = _columns_in_order(links[0])
    return links[0] if _columns_in_order(artifact)[: len(before)] == before else None


def _columns_in_order(artifact: Artifact) -> list[str]:
    """Returns the columns in the order of the files; a manifest has them by name."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return list(pq.read_schema(artifact.parquet_files()[0]).names)
    except (pa.ArrowException, OSError) as error:
        raise unreadable(artifact, error) from error


def repetitions(catalog: Catalog, artifacts: Iterable[Artifact]) -> dict[str, Artifact]:
    """Maps an artifact that repeats all rows of another (or does so with its fellow output) to that one; it need not be read.

    Whether it is all of them, the row counts of the manifests say.

    Raises:
        ArtifactError: a row file cannot be read.
    """
    found = {
        artifact.key: (source, Rows((artifact,)).count)
        for artifact in artifacts
        if (source := repeated(catalog, artifact))
    }
    told: dict[tuple[str, str], int] = {}
    for key, (source, count) in found.items():
        told[source.key, main_key(key)] = told.get((source.key, main_key(key)), 0) + count
    return {
        key: source
        for key, (source, _) in found.items()
        if told[source.key, main_key(key)] == Rows((source,)).count
    }


def sources(catalog: Catalog) -> list[Artifact]:
    """Returns the artifacts in which rows begin; equal ones once."""
    distinct: dict[str, Artifact] = {}
    for artifact in row_artifacts(catalog.artifacts.values()):
        if not repeats_input(catalog, artifact):
            distinct.setdefault(artifact.digest, artifact)
    return list(distinct.values())


def ids_sql(artifacts: Sequence[Artifact]) -> str:
    """Writes a query for every (id, file) of some artifacts."""
    paths = {
        name: [a for a in artifacts if id_column(a) == name]
        for name in dict.fromkeys(map(id_column, artifacts))
    }
    return " UNION ALL ".join(
        f"SELECT {quoted(name)}::VARCHAR AS id, lineal_file AS file FROM "
        + parquet(
            [path for artifact in own for path in artifact.parquet_files()], ", filename = 'lineal_file'"
        )
        for name, own in paths.items()
    )


def holding(opened: duckdb.DuckDBPyConnection, artifacts: Sequence[Artifact], row_id: str) -> list[Artifact]:
    """Returns those of some artifacts that hold a row, in their order.

    Raises:
        ArtifactError: rows cannot be read.
    """
    if not artifacts:
        return []
    found = fetched(
        opened, f"SELECT DISTINCT file FROM ({ids_sql(artifacts)}) WHERE id = {literal(row_id)}", artifacts
    )
    files = {file for (file,) in found}
    return [artifact for artifact in artifacts if not files.isdisjoint(map(str, artifact.parquet_files()))]


def twins(catalog: Catalog, artifacts: Iterable[Artifact]) -> list[Artifact]:
    """Returns all artifacts with the same bytes as one of these, in the catalog's order."""
    digests = {artifact.digest for artifact in artifacts}
    return [artifact for artifact in catalog.artifacts.values() if artifact.digest in digests]


def holders(
    catalog: Catalog,
    opened: duckdb.DuckDBPyConnection,
    row_id: str,
    first: Collection[Artifact],
    pipeline: str | None,
) -> list[tuple[Artifact, Row]]:
    """Returns the artifacts of one pipeline that hold a row, with the pipeline, each after its inputs.

    Args:
        catalog: the project's artifacts.
        opened: a connection.
        row_id: the row's id.
        first: artifacts that hold it.
        pipeline: the pipeline to take if it is there; default: the catalog's first.

    Raises:
        ArtifactError: rows cannot be read.
    """
    own = twins(catalog, first)
    chosen = next((a.key for a in own if pipeline_of(a.key) == pipeline), own[0].key if own else "")
    waiting = [artifact for artifact in own if pipeline_of(artifact.key) == pipeline_of(chosen)]
    seen = {artifact.key for artifact in waiting}
    found: list[tuple[Artifact, Row]] = []
    while waiting:
        rows = [(artifact, row) for artifact in waiting for row in _row(opened, artifact, row_id)]
        found += rows
        near = {one.key: one for artifact, _ in rows for one in _neighbours(catalog, artifact)}
        waiting = [
            one for key, one in near.items() if key not in seen and pipeline_of(key) == pipeline_of(chosen)
        ]
        seen |= near.keys()
    return sorted(found, key=lambda pair: (catalog.order[pair[0].key], pair[0].key))


def _row(opened: duckdb.DuckDBPyConnection, artifact: Artifact, row_id: str) -> list[Row]:
    sql = f"SELECT * FROM {parquet(artifact.parquet_files())} WHERE {quoted(id_column(artifact))} = {literal(row_id)}"
    return fetched_records(opened, sql, artifact)


def _neighbours(catalog: Catalog, artifact: Artifact) -> list[Artifact]:
    """Returns the artifacts with rows, under the same kind of id, that an artifact was made from or that were made from it."""
    consumers = [catalog.artifacts[key] for key in catalog.consumers.get(artifact.key, [])]
    return [
        one
        for one in [*row_inputs(catalog, artifact), *row_artifacts(consumers)]
        if id_column(one) == id_column(artifact)
    ]
