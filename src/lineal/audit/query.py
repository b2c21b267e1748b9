"""Rows by SQL: a locked-down connection for users' conditions, a plain one for lineal's own queries."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from lineal.data.sql import lock, open_database, parquet
from lineal.data.store import Artifact
from lineal.errors import ArtifactError, UsageError
from lineal.recipe.compute import Compute

if TYPE_CHECKING:
    import duckdb

Row = dict[str, Any]

UNITED = ", union_by_name = true"
"""Option of `parquet` for files of several artifacts: columns by name, null where one lacks them."""


@contextmanager
def connection(compute: Compute) -> Iterator[duckdb.DuckDBPyConnection]:
    """Opens an in-memory DuckDB within the project's memory and core limits; its spill files go away with it."""
    with TemporaryDirectory(prefix="lineal-duckdb-") as spill, open_database(compute, Path(spill)) as opened:
        yield opened


def fetched(
    opened: duckdb.DuckDBPyConnection, sql: str, artifacts: Artifact | Sequence[Artifact]
) -> list[tuple[Any, ...]]:
    """Runs one of lineal's own queries on artifacts' rows.

    Raises:
        ArtifactError: a row file cannot be read.
    """
    return list(_asked(opened, sql, artifacts).fetchall())


def fetched_records(
    opened: duckdb.DuckDBPyConnection, sql: str, artifacts: Artifact | Sequence[Artifact]
) -> list[Row]:
    """Runs a query and returns dicts; see `fetched`."""
    return records(_asked(opened, sql, artifacts))


def _asked(
    opened: duckdb.DuckDBPyConnection, sql: str, artifacts: Artifact | Sequence[Artifact]
) -> duckdb.DuckDBPyConnection:
    import duckdb

    try:
        return opened.execute(sql)
    except duckdb.Error as error:
        raise unreadable(artifacts, error) from error


def matching_rows(
    artifact: Artifact, where: str | None, limit: int, compute: Compute
) -> tuple[int, list[Row]]:
    """Returns the number of an artifact's rows that fulfil a user's condition, and the first `limit` of them.

    The connection sees the artifact's rows as `rows` and nothing else: no file, no network, no second statement.

    Raises:
        UsageError: the condition is not one; DuckDB's message says why.
        ArtifactError: a row file cannot be read.
    """
    import duckdb

    condition = f"\nWHERE (\n{where}\n)" if where is not None else ""
    paths = artifact.parquet_files()
    try:
        with connection(compute) as opened:
            opened.execute(f"CREATE VIEW rows AS FROM {parquet(paths)}")
            lock(opened, paths)
            require_condition(opened, condition)
            count = opened.execute(f"SELECT count(*) FROM rows{condition}").fetchall()[0][0]
            return int(count), records(opened.execute(f"SELECT * FROM rows{condition}\nLIMIT {limit}"))
    except duckdb.Error as error:
        if where is None or of_its_files(artifact, error):
            raise unreadable(artifact, error) from error
        raise UsageError(
            f"--where {where!r}: {first_lines(error)}\n  {artifact.key} has {column_list(artifact)}"
        ) from error


def of_its_files(artifact: Artifact, error: duckdb.Error) -> bool:
    """Tells whether an error comes from an artifact's row files rather than from a condition on its rows."""
    import duckdb

    return isinstance(error, duckdb.IOException | duckdb.InvalidInputException) and str(
        artifact.directory
    ) in str(error)


def require_condition(opened: duckdb.DuckDBPyConnection, condition: str) -> None:
    """Parses, without running, the one SELECT that the condition must leave a plain SELECT.

    Raises:
        UsageError: it holds further statements, or ends the condition and adds something else.
    """
    sql = f"SELECT * FROM rows{condition}"
    parsed = json.loads(opened.execute("SELECT json_serialize_sql($sql)", {"sql": sql}).fetchall()[0][0])
    if parsed["error"]:
        raise UsageError(f"--where: {parsed['error_message']}")
    nodes = [statement["node"] for statement in parsed["statements"]]
    if (
        len(nodes) != 1
        or nodes[0]["type"] != "SELECT_NODE"
        or nodes[0]["modifiers"]
        or nodes[0]["group_expressions"]
    ):
        raise UsageError("--where takes one condition, as after WHERE, and nothing else")


def first_lines(error: Exception) -> str:
    """Cuts DuckDB's picture of the statement off an error, since it shows the query around the user's condition."""
    return str(error).partition("\n\nLINE ")[0].replace("\n", " ")


def column_list(artifact: Artifact) -> str:
    """Lists the artifact's columns for a message."""
    return f"columns {', '.join(artifact.manifest.columns)}" if artifact.manifest.columns else "no rows"


def unreadable(artifacts: Artifact | Sequence[Artifact], error: Exception) -> ArtifactError:
    """Makes the error for row files that cannot be read; of several artifacts it names the one whose file the error names."""
    several = [artifacts] if isinstance(artifacts, Artifact) else list(artifacts)
    artifact = next((one for one in several if f"{one.directory}/" in str(error)), several[0])
    fix = f"Delete {artifact.directory} and remake it: lineal run {artifact.key}"
    return ArtifactError(f"{artifact.key}: its rows cannot be read ({first_lines(error)}). {fix}")


def records(result: duckdb.DuckDBPyConnection) -> list[Row]:
    """Returns a result's rows as dicts of JSON values."""
    names = [column[0] for column in result.description or []]
    return [{name: plain(value) for name, value in zip(names, row, strict=True)} for row in result.fetchall()]


def plain(value: Any) -> Any:
    """Converts a value to JSON's types; infinities and NaN become null, bytes their number."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, bytes):
        return f"<{len(value):,} bytes>"
    return str(value)
