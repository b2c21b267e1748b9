"""Plain values out of a sandboxed program's answer. They hold nothing of the program's: equality here is Python's own.

The judge's sandbox reads values with this module too, and would pay 15 ms of every start for `typing` and `dataclasses`.
"""

from __future__ import annotations

import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

UNREADABLE = (ValueError, TypeError, KeyError, RecursionError, ArithmeticError)
"""What reading a hostile answer may raise."""


class NotPlain:
    """A value of a type that only the program knows. It is neither equal nor unequal to anything, nor true, nor false.

    Attributes:
        type_name: how the program calls the type.
        number: by which a request can name it (`inside.py`).
    """

    __slots__ = ("number", "type_name")

    def __init__(self, type_name: str, number: int = 0) -> None:
        self.type_name, self.number = type_name, number

    def _refuse(self, *_: object) -> bool:
        raise TypeError(f"{self.type_name!r} is no plain value")

    __eq__ = __ne__ = __bool__ = _refuse
    __hash__ = object.__hash__

    def __repr__(self) -> str:
        return f"a {self.type_name}"

    def __str__(self) -> str:
        raise TypeError(f"{self.type_name!r} is no plain value")

    def __format__(self, specification: str) -> str:
        return str(self)


class Raised:
    """A call's exception.

    Attributes:
        text: its type and message.
    """

    def __init__(self, text: str) -> None:
        self.text = text


class ProgramAnswer:
    """The answer of a program.

    Attributes:
        raised: what it raised itself, or None.
        output: what it wrote; bytes that are no UTF-8 are lone surrogates.
        results: for each call its value, or `Raised`.
    """

    def __init__(self, raised: str | None, output: str, results: tuple[Any, ...]) -> None:
        self.raised, self.output, self.results = raised, output, results


def read_answer(line: bytes, calls: int) -> ProgramAnswer:
    """Reads the answer in a sandbox's line.

    Args:
        line: what the program's process wrote.
        calls: how many results there must be.

    Raises:
        ValueError: it is none, for whatever reason.
    """
    try:
        found = json.loads(line.decode("ascii"))
        raised, output, results = found["raised"], found["output"], found["results"]
        if not isinstance(raised, str | None) or not isinstance(output, str) or not isinstance(results, list):
            raise ValueError("parts of other types")
        if len(results) != (0 if raised else calls):
            raise ValueError("another number of results")
        values = tuple(map(_result, results))
    except UNREADABLE as error:
        raise ValueError(_told(error)) from error
    return ProgramAnswer(None if raised is None else printable(raised), output, values)


def read_result(line: bytes) -> Any:
    """Reads the value, or `Raised`, in a line of a program that serves.

    Raises:
        ValueError: it holds none, for whatever reason.
    """
    try:
        return _result(json.loads(line.decode("ascii")))
    except UNREADABLE as error:
        raise ValueError(_told(error)) from error


def printable(text: str) -> str:
    """Escapes lone surrogates in the text, so that it can be stored; those that stand for bytes become bytes."""
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # another surrogate, which no byte stands for
        return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _told(error: Exception) -> str:
    return f"no answer can be read from what it wrote ({type(error).__name__})"


def _result(item: Any) -> Any:
    ok, content = item
    return _value(content) if ok is True else Raised(printable(str(content)))


def _value(data: Any) -> Any:
    if isinstance(data, list):
        return [_value(item) for item in data]
    if isinstance(data, dict):
        ((kind, content),) = data.items()
        return _KINDS[kind](content)
    return data


def _whole(text: str) -> int:
    return int(text, 16)


def _other(content: Any) -> NotPlain:
    name, number = content
    return NotPlain(printable(str(name)), int(number))


def _fraction(parts: Any) -> Any:
    from fractions import Fraction

    return Fraction(*map(_value, parts))


def _decimal(text: str) -> Any:
    from decimal import Decimal

    return Decimal(text)


_KINDS: Mapping[str, Callable[[Any], Any]] = {
    "int": _whole,
    "complex": lambda parts: complex(*parts),
    "bytes": bytes.fromhex,
    "bytearray": bytearray.fromhex,
    "tuple": lambda items: tuple(map(_value, items)),
    "set": lambda items: set(map(_value, items)),
    "frozenset": lambda items: frozenset(map(_value, items)),
    "dict": lambda pairs: {_value(key): _value(item) for key, item in pairs},
    "fraction": _fraction,
    "decimal": _decimal,
    "other": _other,
}
