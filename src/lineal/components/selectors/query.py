"""A DuckDB session over artifacts: out of core, locked down, the same result for every thread count."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lineal.components.base import Columns, Workspace
from lineal.components.selectors.guard import check_query
from lineal.components.selectors.header import Selector
from lineal.data.schema import COLUMNS, MESSAGES_TYPE, arrow_type
from lineal.data.sql import literal, lock, open_database, quoted, small_cursor
from lineal.data.store import Artifact, Rows, rows_at_once
from lineal.errors import DataError, DeclarationError

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

BATCH_ROWS = 1 << 15
SQL_TYPES = {
    "string": "VARCHAR",
    "double": "DOUBLE",
    "int64": "BIGINT",
    "uint64": "UBIGINT",
    "bool": "BOOLEAN",
    "list<string>": "VARCHAR[]",
    "list<int32>": "INTEGER[]",
    MESSAGES_TYPE: "STRUCT(role VARCHAR, content VARCHAR, tool_calls VARCHAR, name VARCHAR)[]",
}

UNIFORM = (
    "CREATE MACRO uniform(key, seed) AS "
    "('0x' || left(md5(concat(seed, '/', key)), 13))::BIGINT / 4503599627370496.0"  # 52 bits, evenly in [0, 1)
)


RETRACTED = "lineal_retracted"
"""Table of (row_id, reason): rows that no view shows, since they are retracted."""
ALL_ROWS = "lineal_all_rows"
"""View of (row_id, position) of the input `rows`, retracted ones too."""


@dataclass(frozen=True)
class Session:
    """An open connection with its views; its queries are lineal's own, or have passed the guard.

    Attributes:
        connection: DuckDB's.
        query_seconds: how long a selector's query may run.
        parameters: what the selector's query names.
    """

    connection: duckdb.DuckDBPyConnection
    query_seconds: float
    parameters: frozenset[str] = frozenset()

    def create(self, table: str, query: str) -> None:
        """Runs a query into a temporary table."""
        self.connection.execute(f"CREATE TEMP TABLE {table} AS {query}")

    def run(self, table: str, selector: Selector, arguments: Mapping[str, Any]) -> None:
        """Runs a selector's query into a temporary table.

        Raises:
            DeclarationError: DuckDB refuses it, or it takes too long.
            duckdb.OutOfMemoryException: it needs more than `compute.memory_limit`.
        """
        import duckdb

        used = {name: arguments[name] for name in self.parameters}
        clock = threading.Timer(self.query_seconds, self.connection.interrupt)
        clock.start()
        try:
            self.connection.execute(f"CREATE TEMP TABLE {table} AS {selector.query}", used)
        except duckdb.InterruptException as error:
            raise DeclarationError(
                f"{selector.shown}: the query was ended after {self.query_seconds:g} s. A recursion without an end, or a join "
                "without a condition, never finishes: give it one. If it only needs longer, raise compute.query_seconds"
            ) from error
        except duckdb.OutOfMemoryException:
            raise
        except duckdb.Error as error:
            raise DeclarationError(f"{selector.shown}: {str(error).strip()}") from error
        finally:
            clock.cancel()

    def fetch(self, query: str) -> list[tuple[Any, ...]]:
        """Returns a small result as tuples."""
        return list(self.connection.execute(query).fetchall())

    def columns(self, table: str) -> dict[str, str]:
        """Returns a table's columns and their DuckDB types."""
        return {
            row[0]: row[1] for row in self.fetch(f"SELECT column_name, column_type FROM (DESCRIBE {table})")
        }

    def stream(self, query: str) -> Iterator[pa.Table]:
        """Yields a large result in tables of bounded size; no rows give one empty table."""
        import pyarrow as pa

        reader = self.connection.sql(query).to_arrow_reader(BATCH_ROWS)
        empty = True
        for batch in reader:
            empty = False
            yield pa.Table.from_batches([batch])
        if empty:
            yield reader.schema.empty_table()


def beside(session: Session, rows: Rows, query: str) -> Iterator[tuple[pa.Table, pa.Table]]:
    """Yields slices of an input's rows, and of a query that answers for each of them in their order.

    The rows come straight from their files: they are in order already, and wide rows would be sorted on disk here.
    """
    import pyarrow as pa

    answers, pending = session.stream(query), None
    for start, stop, table in rows.slices(rows_at_once(len(rows.columns))):
        while pending is None or pending.num_rows < stop - start:
            answer = next(answers)
            pending = answer if pending is None else pa.concat_tables([pending, answer])
        yield table, pending.slice(0, stop - start)
        pending = pending.slice(stop - start)


def with_columns(table: pa.Table, added: pa.Table) -> pa.Table:
    """Returns the table with further columns after its own, which they replace where the names are equal."""
    result = table.drop_columns([name for name in added.column_names if name in table.column_names])
    for name in added.column_names:
        result = result.append_column(name, added[name])
    return result


@contextmanager
def open_session(
    workspace: Workspace, views: Mapping[str, Rows], optional: Columns = (), selector: Selector | None = None
) -> Iterator[Session]:
    """Opens a session with a view for each input: its columns, `row_id` and `position` (its place in the input, from 0).

    Rows that are retracted from the step are in no view.

    Args:
        workspace: gives threads, memory limit and a place to spill to.
        views: rows by view name.
        optional: known columns that are null where an input lacks them.
        selector: the SQL of others that will run; it is looked through before anything else.

    Raises:
        DeclarationError: the selector's SQL may not run.
        DataError: DuckDB cannot read the rows, or its limits are too small for them.
    """
    import duckdb

    spill = workspace.partial / "duckdb"
    connection = open_database(workspace.compute, spill, keeps_order=False)
    try:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(UNIFORM)
        query = None if selector is None else check_query(connection, selector, views)
        if query is not None and query.serial:
            connection.execute(
                "SET threads = 1"
            )  # sums of floats round by the order in which threads meet rows
        _create_views(connection, workspace, views, optional)
        lock(connection, (path for rows in views.values() for path in rows.paths()))
        yield Session(
            connection,
            workspace.compute.query_seconds,
            query.parameters if query is not None else frozenset(),
        )
    except duckdb.OutOfMemoryException as error:
        limits = (
            f"memory_limit {workspace.compute.memory_limit}, and the room to spill at {workspace.partial}"
        )
        told = str(error).strip().splitlines()[0]
        raise DataError(
            f"{workspace.step}: DuckDB gave up on its rows ({limits}): {told}. Raise compute.memory_limit"
        ) from error
    except duckdb.Error as error:
        raise DataError(
            f"{workspace.step}: DuckDB cannot put the rows of {', '.join(views)} together: {error}"
        ) from error
    finally:
        connection.close()
        shutil.rmtree(spill, ignore_errors=True)


@contextmanager
def table_session(table: pa.Table, columns: Columns) -> Iterator[Session]:
    """Opens a session for lineal's own queries over a small table: its view `rows` has these columns and `position`.

    Args:
        table: the rows.
        columns: known columns; those that the table lacks are null.
    """
    import pyarrow as pa

    shown = {
        name: table[name] if name in table.column_names else pa.nulls(table.num_rows, arrow_type(name))
        for name in columns
    }
    with small_cursor() as connection:
        connection.register(
            "rows", pa.table({**shown, "position": pa.array(range(table.num_rows), pa.int64())})
        )
        yield Session(connection, float("inf"))


def _create_views(
    connection: duckdb.DuckDBPyConnection, workspace: Workspace, views: Mapping[str, Rows], optional: Columns
) -> None:
    connection.execute(f"CREATE TABLE {RETRACTED} (row_id VARCHAR, reason VARCHAR)")
    if workspace.retracted:
        pair = [list(workspace.retracted), list(workspace.retracted.values())]
        connection.execute(f"INSERT INTO {RETRACTED} SELECT unnest($1), unnest($2)", pair)
    for name, rows in views.items():
        every = _view(rows, optional)
        if name == "rows":
            connection.execute(f"CREATE VIEW {ALL_ROWS} AS SELECT row_id, position FROM ({every})")
        standing = (
            f"SELECT * FROM ({every}) ANTI JOIN {RETRACTED} USING (row_id)" if workspace.retracted else every
        )
        connection.execute(f"CREATE VIEW {quoted(name)} AS {standing}")


def _view(rows: Rows, optional: Columns) -> str:
    columns = rows.columns
    for name in ("row_id", "position", "file_row_number", "file_index"):
        if name in columns:
            raise DataError(
                f"{rows.artifacts[0].key} has a column {name!r}, which is a selector's own; rename it"
            )
    missing = [
        f"NULL::{SQL_TYPES[COLUMNS[name][0]]} AS {quoted(name)}" for name in optional if name not in columns
    ]
    chosen = [*(quoted(name) for name in columns), *missing, f"{_row_id(columns)} AS row_id", "position"]
    return f"SELECT {', '.join(chosen)} FROM ({' UNION ALL BY NAME '.join(_artifacts(rows))})"


def _row_id(columns: Columns) -> str:
    keys = [name for name in ("sample_id", "prompt_id") if name in columns]
    return f"coalesce({', '.join(keys)})" if keys else "NULL::VARCHAR"


def _artifacts(rows: Rows) -> Iterator[str]:
    """Makes one scan per artifact: a scan per file takes memory for each, and 10 M rows in 40 files did not fit into 4 GB."""
    start = 0
    for artifact in rows.artifacts:
        names = ", ".join(quoted(name) for name in artifact.manifest.columns)
        paths = artifact.parquet_files()
        starts = list(accumulate((_count(artifact, path) for path in paths), initial=start))
        source = f"read_parquet([{', '.join(literal(str(path)) for path in paths)}], file_row_number = true)"
        yield f"SELECT {names}, ({starts}::BIGINT[])[file_index::BIGINT + 1] + file_row_number AS position FROM {source}"
        start = starts[-1]


def _count(artifact: Artifact, path: Path) -> int:
    return artifact.manifest.files[path.relative_to(artifact.directory).as_posix()].rows or 0
