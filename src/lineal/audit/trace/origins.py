"""Origins of an artifact's rows: the checkpoint and round that sampled them, or the samples that they were made from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lineal.audit.catalog import Catalog
from lineal.audit.query import UNITED, fetched
from lineal.audit.trace.row_location import id_column, row_inputs
from lineal.data.sql import parquet, quoted
from lineal.data.store import Artifact, Rows

if TYPE_CHECKING:
    import duckdb


def origins(catalog: Catalog, artifact: Artifact, opened: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    """Counts the artifact's rows by the checkpoint that sampled them (or their parents) and the round of that sample.

    Returns:
        the latest round first; each with `rows`, `checkpoint` (a digest) and `round`, the last two None for rows that
        no model wrote. Where rows that they come from are not here, those say `unknown`: a model may have written them.

    Raises:
        ArtifactError: rows cannot be read.
    """
    if not artifact.here:
        return [{"rows": Rows((artifact,)).count, "checkpoint": None, "round": None, "unknown": True}]
    shared = _shared_origin(catalog, artifact, opened)
    if shared is not None:
        return [shared | {"rows": Rows((artifact,)).count}]
    columns = "checkpoint, CASE WHEN checkpoint IS NOT NULL THEN round END, count(*)"
    source = _origin_sql(catalog, artifact, opened)
    sql = f"SELECT {columns} FROM ({source}) GROUP BY ALL ORDER BY 2 DESC NULLS LAST, 1 NULLS LAST"
    found = fetched(opened, sql, [artifact, *catalog.upstream(artifact)])
    lacking = (
        {"unknown": True}
        if any(one.manifest.columns and not one.here for one in catalog.upstream(artifact))
        else {}
    )
    return [
        {
            "rows": int(rows),
            "checkpoint": checkpoint,
            "round": number,
            **(lacking if checkpoint is None else {}),
        }
        for checkpoint, number, rows in found
    ]


def _shared_origin(
    catalog: Catalog, artifact: Artifact, opened: duckdb.DuckDBPyConnection
) -> dict[str, Any] | None:
    """Returns the common origin when all inputs have the same single one, so that no row's parents need to be read."""
    if "checkpoint" in artifact.manifest.columns or not Rows((artifact,)).count:
        return None
    found = [part for source in row_inputs(catalog, artifact) for part in origins(catalog, source, opened)]
    distinct = {(part["checkpoint"], part["round"]) for part in found}
    return found[0] if len(distinct) == 1 and found[0]["checkpoint"] is not None else None


def _origin_sql(catalog: Catalog, artifact: Artifact, opened: duckdb.DuckDBPyConnection) -> str:
    """Writes a query for (id, round, checkpoint) of an artifact's rows.

    Rows without a checkpoint of their own look for it in the inputs: under their parents' ids, or their own.
    """
    columns = artifact.manifest.columns
    has_own = "checkpoint" in columns
    own = [name if name in columns else f"NULL AS {name}" for name in ("round", "checkpoint", "parents")]
    rows = f"SELECT {quoted(id_column(artifact))} AS id, {', '.join(own)} FROM {parquet(artifact.parquet_files(), UNITED)}"
    sources = [] if has_own and not _lacking(artifact, opened) else row_inputs(catalog, artifact)
    if not sources:
        return f"SELECT id, round::BIGINT AS round, checkpoint::VARCHAR AS checkpoint FROM ({rows})"
    inputs = " UNION ALL ".join(f"({_origin_sql(catalog, source, opened)})" for source in sources)
    return f"""
        WITH mine AS (SELECT row_number() OVER () AS place, * FROM ({rows})),
        ancestors AS (SELECT place, unnest(list_append(coalesce(parents, [])::VARCHAR[], id)) AS ancestor FROM mine),
        known AS (SELECT * FROM ({inputs}) WHERE checkpoint IS NOT NULL),
        reached AS (SELECT place, max((known.round, known.checkpoint)) AS origin
                    FROM ancestors JOIN known ON ancestor = known.id GROUP BY place)
        SELECT mine.id,
               CASE WHEN mine.checkpoint IS NULL THEN origin[1] ELSE mine.round END::BIGINT AS round,
               coalesce(mine.checkpoint, origin[2])::VARCHAR AS checkpoint
        FROM mine LEFT JOIN reached USING (place)"""


def _lacking(artifact: Artifact, opened: duckdb.DuckDBPyConnection) -> bool:
    """Tells whether some of the artifact's rows name no checkpoint."""
    sql = f"SELECT 1 FROM {parquet(artifact.parquet_files())} WHERE checkpoint IS NULL LIMIT 1"
    return bool(fetched(opened, sql, artifact))
