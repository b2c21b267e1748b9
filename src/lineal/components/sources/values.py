"""Converts one value of a file to the type of its column, or raises an error that names its place."""

from __future__ import annotations

import json
import math
import re
from decimal import Decimal
from typing import Any

from lineal.data.ids import canonical_json
from lineal.data.schema import COLUMNS
from lineal.errors import DataError

RECORDS = frozenset({"entry", "options", "tests"})
"""Columns of JSON text; a file may give their values as they are."""
MOST_DIGITS = 400
"""The longest number that becomes text; a double has at most 309 digits before its point."""
TRUTH = {"true": True, "false": False}

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_LARGEST = 2**63


def checked_text(where: str, text: str) -> str:
    """Checks that a value is a text.

    Raises:
        DataError: it holds a NUL, at which many programs end a text, or half of a surrogate pair, which has no UTF-8.
    """
    if "\0" in text:
        raise DataError(
            f"{where} has a NUL at character {text.index(chr(0)) + 1}, expected text. Remove it from the file"
        )
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            got = f"half of a surrogate pair ({text[error.start]!r}) at character {error.start + 1}"
            raise DataError(f"{where} has {got}, expected valid Unicode. Mend the text in the file") from None
    return text


def number_text(where: str, value: float | Decimal) -> str:
    """Returns the canonical text of a number with a fraction: all digits, no exponent, no trailing zeros (`3.0` is `3`)."""
    exact = Decimal(repr(value)) if isinstance(value, float) else value
    if not exact.is_finite() or (exact and abs(exact.adjusted()) > MOST_DIGITS):
        raise DataError(
            f"{where} is {value}, expected a finite number. Write it as text, or leave the row out"
        )
    text = format(exact, "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text


def known_value(where: str, column: str, value: Any) -> Any:
    """Converts a value to the type of a known column: numbers may stand for text, and text for numbers (CSV has only text).

    Raises:
        DataError: it cannot stand there.
    """
    wanted = COLUMNS[column][0]
    if column in RECORDS and isinstance(value, list | dict):
        return canonical_json(plain(where, value))
    if wanted == "string":
        return _text(where, value)
    if wanted == "bool":
        return _truth(where, value)
    return finite(where, value)


def own_value(where: str, kind: str, value: Any) -> Any:
    """Converts a value to the type that `kind_of` found for a column of the user's own."""
    if kind == "text":
        return checked_text(where, value)
    if kind == "record":
        return json.dumps(plain(where, value), ensure_ascii=False)
    if kind == "number":
        return finite(where, value)
    if kind == "integer" and not -_LARGEST <= value < _LARGEST:
        raise DataError(f"{where} is {value}, which 64 bits don't hold. Write it as text")
    return value


def kind_of(value: Any) -> str:
    """Returns the kind of a value: text, truth, integer, number or record; else its Python type's name."""
    if isinstance(value, bool):
        return "truth"
    if isinstance(value, int):
        return "integer"
    kinds: tuple[tuple[Any, str], ...] = ((str, "text"), (float | Decimal, "number"), (list | dict, "record"))
    return next((kind for types, kind in kinds if isinstance(value, types)), type(value).__name__)


def finite(where: str, value: Any) -> float:
    """Checks that a value is a finite number.

    Raises:
        DataError: it is something else.
    """
    number = math.nan
    if (isinstance(value, str) and _NUMBER.fullmatch(value.strip())) or kind_of(value) in (
        "integer",
        "number",
    ):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
    if not math.isfinite(number):
        raise DataError(
            f"{where} must be a finite number, got {_shown(value)}. Correct it, or leave the row out"
        )
    if isinstance(value, int) and int(number) != value:
        raise DataError(
            f"{where} is {value}, which a column of numbers would round to {number:.0f}. Write it as text"
        )
    return number


def plain(where: str, value: Any) -> Any:
    """Converts a record to JSON's types: texts checked, numbers unchanged.

    Raises:
        DataError: it holds something that JSON has not.
    """
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, str):
        return checked_text(where, value)
    if isinstance(value, float | Decimal):
        return finite(where, value)
    if isinstance(value, list):
        return [plain(where, item) for item in value]
    if isinstance(value, dict):
        return {checked_text(f"a key in {where}", name): plain(where, item) for name, item in value.items()}
    raise DataError(f"{where} holds {_shown(value)}, which JSON has no form for. Write it as text")


def _text(where: str, value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float | Decimal):
        return number_text(where, value)
    if isinstance(value, str | int):
        return checked_text(where, str(value))
    raise DataError(f"{where} must be a text, got {_shown(value)}. {_list_fix(value)}")


def _list_fix(value: Any) -> str:
    turns = isinstance(value, list) and value and isinstance(value[0], dict)
    return "A list of messages is named as such: columns: {messages: ...}" if turns else "Write it as text"


def _truth(where: str, value: Any) -> bool:
    found = TRUTH.get(value.strip().lower()) if isinstance(value, str) else value
    if not isinstance(found, bool):
        raise DataError(f"{where} must be true or false, got {_shown(value)}")
    return found


def _shown(value: Any) -> str:
    return ascii(value) if len(ascii(value)) <= 120 else f"{ascii(value)[:120]}..."
