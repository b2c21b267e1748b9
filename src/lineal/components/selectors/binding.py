"""Binds SQL to declared columns: what DuckDB would refuse is found before any step runs, and without a row."""

from __future__ import annotations

from collections.abc import Mapping

from lineal.components.base import Columns
from lineal.components.selectors.guard import check_query
from lineal.components.selectors.header import Selector
from lineal.components.selectors.query import SQL_TYPES, UNIFORM
from lineal.components.selectors.sql_file import SqlFile
from lineal.data.schema import COLUMNS
from lineal.data.sql import quoted, small_database
from lineal.errors import DeclarationError, did_you_mean
from lineal.recipe.references import SettingReference

BESIDE_NUMBERS = ("prompt_id", "difficulty", "task")
"""What a measure's query may give beside its numbers."""
OWN = ("NULL::VARCHAR AS row_id", "NULL::BIGINT AS position")


def bind(component: SqlFile, inputs: Mapping[str, Columns], seed: int) -> None:
    """Has DuckDB bind a file's query to empty views of its inputs.

    A column that the project named itself has no type here, and fits everything.

    Args:
        component: what has the file.
        inputs: by field, the columns of what goes in.
        seed: the run's seed.

    Raises:
        DeclarationError: the query names a column or function that is not there, or may not run; names the file.
    """
    import duckdb

    selector = component._selector
    views = {name: inputs.get(name, ()) for name in ("rows", *selector.inputs)}
    given = {**selector.arguments(component._extra), "seed": seed}
    arguments = {name: 1 if isinstance(value, SettingReference) else value for name, value in given.items()}
    with small_database() as connection:
        connection.execute(UNIFORM)
        query = check_query(connection, selector, views)
        for name, columns in views.items():
            connection.execute(f"CREATE VIEW {quoted(name)} AS {_empty(selector, columns)}")
        given = {name: arguments[name] for name in query.parameters}
        try:
            connection.execute(f"EXPLAIN {selector.query}", given)
            made = [name for name, *_ in connection.execute(f"DESCRIBE {selector.query}", given).fetchall()]
        except duckdb.Error as error:
            raise DeclarationError(f"{selector.shown}: {str(error).strip()}") from error
    _require_given(selector, made)


def _require_given(selector: Selector, made: list[str]) -> None:
    """Compares the numbers of a measure's header with its query's columns."""
    for name in selector.gives:
        if name not in made:
            raise DeclarationError(
                f"{selector.shown}: '-- gives' names {name!r}, which the query doesn't give. {did_you_mean(name, made)}"
            )
    for name in made if selector.gives else ():
        if name not in (*selector.gives, *BESIDE_NUMBERS):
            raise DeclarationError(
                f"{selector.shown}: the query gives a column {name!r} that '-- gives' doesn't name"
            )


def _empty(selector: Selector, columns: Columns) -> str:
    names = dict.fromkeys([*columns, *selector.optional])
    shown = [f"{_value(name)} AS {quoted(name)}" for name in names]
    return f"SELECT {', '.join([*shown, *OWN])} WHERE false"


def _value(name: str) -> str:
    return f"NULL::{SQL_TYPES[COLUMNS[name][0]]}" if name in COLUMNS else "NULL"
