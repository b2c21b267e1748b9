"""DuckDB as lineal opens it: in memory, within the project's limits, closed to files and network; and SQL's quotes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from lineal.recipe.compute import Compute

if TYPE_CHECKING:
    import duckdb

_CLOSED: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "python_enable_replacements": False,
}
"""No extension is fetched, and no Python variable is read as a table."""


def open_database(compute: Compute, spill: Path, keeps_order: bool = True) -> duckdb.DuckDBPyConnection:
    """Opens a database in memory within the project's memory and core limits.

    Args:
        compute: the limits.
        spill: the directory for what memory does not hold; DuckDB makes it.
        keeps_order: whether a query without ORDER BY gives rows in the order of their files, which takes memory.
    """
    import duckdb

    limits: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": compute.memory_limit,
        "threads": compute.worker_count,
        "temp_directory": str(spill),
        "preserve_insertion_order": keeps_order,
    }
    return duckdb.connect(":memory:", config=limits | _CLOSED)


def lock(connection: duckdb.DuckDBPyConnection, paths: Iterable[Path]) -> None:
    """Closes a connection for good: it reads these files, and no others and no network, and cannot be unlocked."""
    connection.execute(f"SET allowed_paths = [{', '.join(literal(str(path)) for path in paths)}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def small_database() -> duckdb.DuckDBPyConnection:
    """Opens a database in memory for lineal's own queries over small tables."""
    import duckdb

    return duckdb.connect(":memory:", config={"threads": 1, **_CLOSED})


def small_cursor() -> duckdb.DuckDBPyConnection:
    """Opens a cursor for lineal's own queries over registered tables, on a database that the process opens once.

    Opening a database takes 20 ms, and an online training asks its verifiers at every step.
    """
    return _database_of(os.getpid()).cursor()


@cache
def _database_of(process: int) -> duckdb.DuckDBPyConnection:
    """Opens one database for each process: after a fork, the parent's is not used."""
    return small_database()


def quoted(name: str) -> str:
    """Quotes a name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Quotes a text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def parquet(paths: Sequence[Path], options: str = "") -> str:
    """Writes `read_parquet` over exactly these files; wildcards in their names are taken literally."""
    listed = ", ".join(literal("".join(f"[{c}]" if c in "*?[" else c for c in str(path))) for path in paths)
    return f"read_parquet([{listed}]{options})"
