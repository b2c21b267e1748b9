"""The columns that a verifier adds: declared with their types, and checked against its results."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lineal.data.schema import COLUMNS, TYPES, arrow_types
from lineal.recipe.references import NAME


def undeclared(added: Any) -> str:
    """Returns the problem of a declaration of added columns; empty when there is none."""
    if not isinstance(added, Mapping):
        return f"is {added!r}, expected each column with its type, such as {{**RowVerifier.added, 'words': 'int64'}}"
    for name, kind in added.items():
        if kind not in TYPES or not NAME.match(name):
            return f"has {name!r}: {kind!r}, expected a lower-case word and one of {', '.join(sorted(TYPES))}"
        if name in COLUMNS and COLUMNS[name][0] != kind:
            return f"has {name!r}: {kind!r}, but that column is of type {COLUMNS[name][0]} everywhere. Give yours another name"
    return ""


def typed_columns(given: Mapping[str, Any], added: Mapping[str, str], count: int) -> dict[str, Any]:
    """Converts the declared columns of `count` rows to their types.

    Raises:
        ValueError: a column is missing, or is not declared, or of another type or length; says got and expected.
    """
    import pyarrow as pa

    types, columns = arrow_types(), {}
    for name in given:
        if name not in added:
            raise ValueError(
                f"gave a column {name!r}; expected only those that `added` names: {', '.join(added)}"
            )
    for name, kind in added.items():
        if name not in given:
            raise ValueError(f"gave no column {name!r}; expected it, since `added` names it")
        if not isinstance(given[name], pa.Array | pa.ChunkedArray):
            got = f"{given[name]!r:.60} (a {type(given[name]).__name__})"
            raise ValueError(f"gave {name!r} as {got}; expected a pyarrow array: pa.array([...])")
        if len(given[name]) != count:
            raise ValueError(
                f"gave {len(given[name]):,} values of {name!r} for {count:,} rows; expected one a row, in their order"
            )
        try:
            columns[name] = given[name].cast(types[kind])
        except pa.ArrowException as error:
            raise ValueError(f"gave {name!r} as {given[name].type}; expected {kind} ({error})") from error
    return columns
