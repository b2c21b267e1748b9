"""The SQL that a selector may contain: one SELECT over its own views, with the same result on every machine.

DuckDB's parser gives the statement as a tree; nothing runs before it has been looked through. Beyond what is
forbidden (files, other statements), this refuses what has no single answer: random numbers and clocks, and anything
that depends on the order in which threads meet rows.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from lineal.components.selectors.header import Selector
from lineal.data.sql import small_cursor
from lineal.errors import DeclarationError, did_you_mean

if TYPE_CHECKING:
    import duckdb

TIE_BREAKERS = ("position", "row_id", "sample_id", "prompt_id")
"""Columns that order rows (or prompts) completely; an order that results depend on must name one."""

TABLE_FUNCTIONS = frozenset({"unnest", "range", "generate_series"})
ORDERED_AGGREGATES = frozenset(
    {
        "any_value",
        "arbitrary",
        "array_agg",
        "first",
        "group_concat",
        "json_group_array",
        "json_group_object",
        "last",
        "list",
        "listagg",
        "mode",
        "string_agg",
        "variant_group_array",
    }
)
TIED_AGGREGATES = frozenset(
    {
        "approx_quantile",
        "approx_top_k",
        "arg_max",
        "arg_max_null",
        "arg_max_nulls_last",
        "arg_min",
        "arg_min_null",
        "arg_min_nulls_last",
        "argmax",
        "argmin",
        "lttb",
        "max_by",
        "min_by",
        "reservoir_quantile",
    }
)
ORDERED_WINDOWS = frozenset(
    {"row_number", "first_value", "last_value", "nth_value", "lag", "lead", "ntile", "fill"}
)
EXACT_AGGREGATES = frozenset(
    {
        "approx_count_distinct",
        "bit_and",
        "bit_or",
        "bit_xor",
        "bool_and",
        "bool_or",
        "count",
        "count_if",
        "count_star",
        "countif",
        "histogram",
        "max",
        "median",
        "min",
        "quantile",
        "quantile_cont",
        "quantile_disc",
    }
)
"""Aggregates whose result can't depend on the order of rows. Sums of floats can: in the last digits."""

UNSTEADY = frozenset(
    {
        "age",
        "current_localtime",
        "current_localtimestamp",
        "current_time",
        "current_timestamp",
        "localtime",
        "localtimestamp",
    }
)
"""Names that read the clock but that DuckDB's catalog doesn't list as such."""
STEADY = frozenset({"error"})

FORMULA = "formula"
"""What messages call an expression that stands alone in a setting."""
_HINTS = {
    "random": "uniform(row_id, $seed)",
    "uuid": "row_id",
    "gen_random_uuid": "row_id",
    "setseed": "uniform(row_id, $seed)",
}


@dataclass(frozen=True)
class Query:
    """A query that may run.

    Attributes:
        parameters: the parameters it names.
        serial: whether it sums in an order that matters, so that it must run on one thread.
    """

    parameters: frozenset[str]
    serial: bool


def check_query(connection: duckdb.DuckDBPyConnection, selector: Selector, views: Iterable[str]) -> Query:
    """Checks a selector's SQL.

    Raises:
        DeclarationError: it is not one SELECT, or says something that it may not; names file, line and fix.
    """
    guard = _guard(connection, selector, views)
    guard.check()
    return Query(guard.parameters(), guard.serial)


def _guard(connection: duckdb.DuckDBPyConnection, selector: Selector, views: Iterable[str]) -> _Guard:
    text = connection.execute("SELECT json_serialize_sql($query)", {"query": selector.query}).fetchall()[0][0]
    parsed = json.loads(text)
    if parsed["error"]:
        message = str(parsed["error_message"])
        if "SELECT statements" in message:
            message = "only a SELECT may stand in a selector"
        raise DeclarationError(
            f"{selector.shown}:{_line(selector.query, int(parsed.get('position') or 0))}: {message}"
        )
    if len(parsed["statements"]) != 1:
        raise DeclarationError(
            f"{selector.shown}: {len(parsed['statements'])} statements; a selector is exactly one SELECT"
        )
    (statement,) = parsed["statements"]
    return _Guard(connection, selector, frozenset(views), list(_walk(statement)))


def columns_of_formula(connection: duckdb.DuckDBPyConnection, selector: Selector) -> tuple[str, ...]:
    """Returns the columns that an expression names, which `selector` runs alone over the view `rows`.

    Raises:
        DeclarationError: it says what no query may, or looks beyond its own row.
    """
    guard = _guard(connection, selector, {"rows"})
    guard.check()
    query = guard.nodes[0]["node"]
    if query["type"] != "SELECT_NODE" or query.get("where_clause") or len(query["select_list"]) != 1:
        raise DeclarationError(
            f"{selector.shown}: got more than one expression; write a single one, such as length(completion) < 100"
        )
    for node in guard.nodes:
        name = str(node.get("function_name", "")).lower()
        if node.get("class") in ("WINDOW", "SUBQUERY", "STAR", "PARAMETER") or name in guard.aggregates:
            what = name or str(node["class"]).lower()
            raise guard.error(
                node, f"{what}: a formula is about one row; it names columns, and functions of their values"
            )
    named = (str(node["column_names"][-1]) for node in guard.nodes if node.get("class") == "COLUMN_REF")
    return tuple(dict.fromkeys(named))


def _walk(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for item in value.values():
            yield from _walk(item)
    elif isinstance(value, list):
        for item in value:
            yield from _walk(item)


def _line(text: str, offset: int) -> int:
    return text.encode()[:offset].count(b"\n") + 1


@dataclass(frozen=True)
class _Guard:
    connection: duckdb.DuckDBPyConnection
    selector: Selector
    views: frozenset[str]
    nodes: list[dict[str, Any]]

    def check(self) -> None:
        for node in self.nodes:
            kind, group = str(node.get("type", "")), str(node.get("class", ""))
            if kind == "BASE_TABLE":
                self._table(node)
            elif kind == "TABLE_FUNCTION":
                self._table_function(node)
            elif kind == "SHOW_REF":
                raise self.error(node, "DESCRIBE, SHOW and SUMMARIZE don't belong into a selector")
            elif kind == "JOIN" and node.get("ref_type") in ("POSITIONAL", "ASOF"):
                raise self.error(
                    node, f"a {node['ref_type']} join depends on the order of rows; join on columns"
                )
            elif group == "FUNCTION":
                self._function(node)
            elif group == "WINDOW":
                self._window(node)
            elif group == "COLUMN_REF" and len(node["column_names"]) == 1:
                self._column(node, node["column_names"][0].lower())
            if node.get("sample"):
                raise self.error(
                    node, "a SAMPLE draws other rows each time; write WHERE uniform(row_id, $seed) < 0.1"
                )
            if "modifiers" in node:
                self._modifiers(node)

    def parameters(self) -> frozenset[str]:
        """Returns the parameters that the statement names, each declared."""
        names = frozenset(str(entry["key"]) for entry in self.nodes[0]["named_param_map"])
        known = {*self.selector.parameters, "seed"}
        for name in sorted(names - known):
            message = f"${name} is no parameter of the header ('-- param {name}: TYPE'). {did_you_mean(name, known)}"
            raise DeclarationError(f"{self.selector.shown}: {message}")
        for name in sorted(set(self.selector.parameters) - names):
            raise DeclarationError(
                f"{self.selector.shown}: the query never uses its parameter ${name}; delete the header's line"
            )
        return names

    @property
    def serial(self) -> bool:
        """True if some aggregate rounds differently when rows come in another order."""
        called = {
            str(node["function_name"]).lower()
            for node in self.nodes
            if node.get("class") in ("FUNCTION", "WINDOW")
        }
        return bool(called & self.aggregates - EXACT_AGGREGATES - ORDERED_AGGREGATES)

    def error(self, node: Mapping[str, Any], message: str) -> DeclarationError:
        offset = int(node.get("query_location") or 0)
        line = _line(self.selector.query, offset) if offset < len(self.selector.query.encode()) else 1
        return DeclarationError(f"{self.selector.shown}:{line}: {message}")

    @property
    def aggregates(self) -> frozenset[str]:
        """The names of functions over many rows."""
        return _functions()[0]

    @property
    def _unsteady(self) -> frozenset[str]:
        return _functions()[1]

    def _table(self, node: Mapping[str, Any]) -> None:
        names = {
            key
            for other in self.nodes
            if "cte_map" in other
            for key in (entry["key"] for entry in other["cte_map"]["map"])
        }
        known = self.views | names
        if node["schema_name"] or node["catalog_name"] or node["table_name"] not in known:
            fix = f"A selector reads only {', '.join(sorted(self.views))}; declare others as '-- input NAME: COLUMNS'"
            raise self.error(
                node, f"unknown table {node['table_name']!r}. {did_you_mean(node['table_name'], known)} {fix}"
            )

    def _table_function(self, node: Mapping[str, Any]) -> None:
        name = str(node["function"].get("function_name", "")).lower()
        if name not in TABLE_FUNCTIONS:
            fix = f"A selector reads only {', '.join(sorted(self.views))}"
            raise self.error(
                node,
                f"table function {name}() is not allowed. {fix}; declare others as '-- input NAME: COLUMNS'",
            )

    def _steady(self, node: Mapping[str, Any], name: str, more: str = "") -> None:
        if name in self._unsteady:
            hint = f"; use {_HINTS[name]}" if name in _HINTS else "; pass what it would give as a parameter"
            if self.selector.shown == FORMULA:  # which has no seed and no parameters
                hint = "; let a selector's SQL draw rows, with uniform(row_id, $seed)"
            raise self.error(
                node, f"{name} gives another value each time, so the rows could not be made again{hint}{more}"
            )

    def _column(self, node: Mapping[str, Any], name: str) -> None:
        """Notes a name that may be a column's, or refuses a clock that SQL reads without parentheses: `current_date`."""
        if name in self._unsteady and _is_value(self.connection, name):
            self._steady(node, name, f"; a column of that name is written rows.{name}")

    def _function(self, node: Mapping[str, Any]) -> None:
        name = str(node["function_name"]).lower()
        self._steady(node, name)
        if name in TIED_AGGREGATES:
            raise self.error(
                node, f"{name}() leaves ties to chance; write first(x ORDER BY y DESC, position)"
            )
        if name in ORDERED_AGGREGATES and not _breaks_ties(node.get("order_bys", {}).get("orders", [])):
            fix = f"write {name}(x ORDER BY ..., position), or min(x) where all are equal"
            raise self.error(node, f"{name}() depends on the order of rows; {fix}")

    def _window(self, node: Mapping[str, Any]) -> None:
        name = str(node["function_name"]).lower()
        framed = "ROWS" in f"{node.get('start')} {node.get('end')}"
        orders = [*node.get("orders", []), *node.get("arg_orders", [])]
        if (name in ORDERED_WINDOWS | ORDERED_AGGREGATES | TIED_AGGREGATES or framed) and not _breaks_ties(
            orders
        ):
            fix = f"end its ORDER BY with one of {', '.join(TIE_BREAKERS)}"
            raise self.error(node, f"{name}() OVER (...) leaves ties to chance; {fix}")

    def _modifiers(self, node: Mapping[str, Any]) -> None:
        orders: list[Any] = []
        for modifier in node["modifiers"]:
            if modifier["type"] == "ORDER_MODIFIER":
                orders = modifier["orders"]
            elif modifier["type"] == "DISTINCT_MODIFIER" and modifier.get("distinct_on_targets"):
                raise self.error(
                    node,
                    "DISTINCT ON leaves ties to chance; write QUALIFY row_number() OVER (... position) = 1",
                )
        if any("LIMIT" in modifier["type"] for modifier in node["modifiers"]) and not _breaks_ties(orders):
            raise self.error(node, f"LIMIT needs an ORDER BY that ends with one of {', '.join(TIE_BREAKERS)}")


@cache
def _functions() -> tuple[frozenset[str], frozenset[str]]:
    """Returns the names of DuckDB's aggregates, and of what gives another value each time; macros of them included."""
    columns = "lower(function_name), function_type, coalesce(stability, ''), coalesce(macro_definition, '')"
    with small_cursor() as connection:
        catalog = connection.execute(f"SELECT {columns} FROM duckdb_functions()").fetchall()
    macros = [(name, _words(text)) for name, _, _, text in catalog if text]
    plain = {name for name, kind, _, _ in catalog if kind == "aggregate"}
    drawn = {name for name, kind, stability, _ in catalog if kind == "scalar" and stability != "CONSISTENT"}
    drawn = (drawn | UNSTEADY) - STEADY
    return (
        frozenset(plain | {name for name, words in macros if plain & words}),
        frozenset(drawn | {name for name, words in macros if drawn & words}),
    )


def _is_value(connection: duckdb.DuckDBPyConnection, name: str) -> bool:
    """Tells whether SQL takes a function's bare name for a call; most functions' names can be columns' too."""
    import duckdb

    try:
        connection.execute(f"EXPLAIN SELECT {name}")
    except duckdb.Error:
        return False
    return True


def _words(text: str) -> set[str]:
    return set(re.findall(r"[a-z_0-9]+", text.lower()))


def _breaks_ties(orders: Iterable[Mapping[str, Any]]) -> bool:
    """Tells whether an ORDER BY names a column that orders rows completely."""
    for order in orders:
        names = order["expression"].get("column_names") or [""]
        if names[-1].lower() in TIE_BREAKERS:
            return True
    return False
