"""SQL bound against declared columns: what DuckDB would refuse is found before anything is made, and without a row."""

from __future__ import annotations

from collections.abc import Mapping

from lineal.components.base import Columns
from lineal.components.selectors.guard import check_query
from lineal.components.selectors.header import Selector
from lineal.components.selectors.query import SQL_TYPES, UNIFORM, quoted, small_database
from lineal.components.selectors.sql_file import SqlFile
from lineal.data.schema import COLUMNS
from lineal.errors import DeclarationError
from lineal.recipe.references import SettingReference

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
        try:
            connection.execute(f"EXPLAIN {selector.query}", {name: arguments[name] for name in query.parameters})
        except duckdb.Error as error:
            raise DeclarationError(f"{selector.shown}: {str(error).strip()}") from error


def _empty(selector: Selector, columns: Columns) -> str:
    names = dict.fromkeys([*columns, *selector.optional])
    shown = [f"{_value(name)} AS {quoted(name)}" for name in names]
    return f"SELECT {', '.join([*shown, *OWN])} WHERE false"


def _value(name: str) -> str:
    return f"NULL::{SQL_TYPES[COLUMNS[name][0]]}" if name in COLUMNS else "NULL"
