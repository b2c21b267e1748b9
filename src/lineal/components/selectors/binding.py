"""Binds SQL to declared columns: what DuckDB would refuse is found before any step runs, and without a row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lineal.components.base import Columns
from lineal.components.selectors.guard import check_query
from lineal.components.selectors.header import ParameterType, Selector
from lineal.components.selectors.query import SQL_TYPES, UNIFORM
from lineal.components.selectors.sql_file import SqlFile
from lineal.data.schema import COLUMNS
from lineal.data.sql import quoted, small_cursor
from lineal.errors import DeclarationError, did_you_mean
from lineal.recipe.references import SettingReference

if TYPE_CHECKING:
    import duckdb

BESIDE_NUMBERS = ("prompt_id", "difficulty", "task")
"""What a measure's query may give beside its numbers."""
SAMPLES: Mapping[ParameterType, int | float | bool | str] = {
    "integer": 1,
    "number": 1.0,
    "boolean": True,
    "text": "1",
}
"""Values of parameters that are not known before the run."""
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
    selector = component._selector
    views = {name: inputs.get(name, ()) for name in ("rows", *selector.inputs)}
    given = {**selector.arguments(component._extra), "seed": seed}
    with small_cursor() as connection:
        connection.execute(UNIFORM.replace("CREATE", "CREATE TEMP", 1))
        query = check_query(connection, selector, views)
        for name, columns in views.items():
            connection.execute(f"CREATE TEMP VIEW {quoted(name)} AS {_empty(selector, columns)}")
        arguments = {name: _sample(selector, name, given[name]) for name in query.parameters}
        _require_given(selector, _made(connection, selector, arguments))


def binding_key(component: SqlFile, inputs: Mapping[str, Columns]) -> tuple[object, ...]:
    """Returns what decides whether a file's query binds: equal ones need no second look."""
    selector = component._selector
    given = selector.arguments(component._extra)
    kinds = tuple(sorted((name, type(_sample(selector, name, value))) for name, value in given.items()))
    return selector.path, tuple(sorted((name, frozenset(columns)) for name, columns in inputs.items())), kinds


def _sample(selector: Selector, name: str, value: Any) -> Any:
    """Returns a parameter's value; of one that a controller writes, some value of its type."""
    return SAMPLES[selector.parameters[name].type] if isinstance(value, SettingReference) else value


def _made(
    connection: duckdb.DuckDBPyConnection, selector: Selector, arguments: Mapping[str, Any]
) -> list[str]:
    """Binds the query; returns the columns that it gives.

    Raises:
        DeclarationError: DuckDB refuses it; names the file.
    """
    import duckdb

    try:
        connection.execute(f"EXPLAIN {selector.query}", arguments)
        return [name for name, *_ in connection.execute(f"DESCRIBE {selector.query}", arguments).fetchall()]
    except duckdb.Error as error:
        raise DeclarationError(f"{selector.shown}: {str(error).strip()}") from error


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
