"""JSON values and calls in texts, read within limits, as fields that can be compared."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

MOST_LETTERS = 200_000
MOST_DEPTH = 64
MOST_FIELDS = 20_000
MOST_STARTS = 200
"""How many places of a text are tried as the beginning of a value."""
MOST_DIGITS = 1000

Path = tuple[str | int, ...]
Field = tuple[str, Any]
"""A value's type and itself, so that `true`, `1` and `"1"` differ, and `1` and `1.0` don't."""

_FENCED = re.compile(r"```[A-Za-z0-9_+-]*[ \t]*\r?\n(.*?)```", re.DOTALL)
_CALL = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*\s*\(")
_START = re.compile(r"[{\[]|[A-Za-z_][A-Za-z0-9_.]*\s*\(")
_PAIRS = {"(": ")", "[": "]", "{": "}"}
_TOKEN = re.compile(r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'|[()\[\]{}]", re.DOTALL)


class Unusable(Exception):
    """A text that is no value, or a value beyond the limits."""


def structure_in(text: str) -> Any:
    """Returns the value in a completion: in its last fenced block that holds one, the whole of it, or the last in it.

    Raises:
        Missing: there is none.
        Broken: it is a value with two equal keys, or one beyond the limits.
    """
    text = text[-MOST_LETTERS:]
    for candidate in (*reversed(_FENCED.findall(text)), text):
        try:
            return structure_of(candidate)
        except Broken:
            raise
        except Unusable:
            continue
    return _last(text)


class Missing(Unusable):
    """A text without a value."""


class Broken(Unusable):
    """A value that is refused: two equal keys, NaN, too deep, too large."""


def structure_of(text: str) -> Any:
    """Parses a text as a value.

    Raises:
        Unusable: it is neither JSON nor a call.
    """
    text = text.strip()
    _bounded(text)
    if _CALL.match(text):
        return _call(text)
    try:
        return json.loads(
            text,
            object_pairs_hook=_object,
            parse_constant=_constant,
            parse_float=_number,
            parse_int=_number,
            strict=False,
        )
    except RecursionError as error:
        raise Broken("too deeply nested") from error
    except json.JSONDecodeError as error:
        raise Unusable(f"no JSON: {error}") from error


def _bounded(text: str) -> None:
    if len(text) > MOST_LETTERS:
        raise Broken(f"{len(text):,} letters are too many")
    depth = 0
    for match in _TOKEN.finditer(text):
        depth += (match.group() in _PAIRS) - (match.group() in _PAIRS.values())
        if depth > MOST_DEPTH:
            raise Broken("too deeply nested")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        raise Broken(f"the key {next(name for name in names if names.count(name) > 1)!r} comes twice")
    return made


def _constant(name: str) -> Any:
    raise Broken(f"{name} is no JSON value")


def _number(text: str) -> Decimal:
    if len(text) > MOST_DIGITS:
        raise Broken("a number of too many digits")
    return Decimal(text)


def _call(text: str) -> Any:
    """Parses a call as `{"name": ..., "arguments": ...}`, positional arguments under their places.

    Raises:
        Unusable: it is no single call of plain values.
    """
    try:
        tree = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise Unusable(f"no call: {type(error).__name__}") from error
    if not isinstance(tree, ast.Call) or any(word.arg is None for word in tree.keywords):
        raise Unusable("no single call")
    positional = [(str(place), _plain(value)) for place, value in enumerate(tree.args)]
    return {
        "name": ast.unparse(tree.func),
        "arguments": _object([*positional, *((str(word.arg), _plain(word.value)) for word in tree.keywords)]),
    }


def _plain(node: ast.expr) -> Any:
    """Returns a literal's value; JSON's `true`, `false` and `null` count, other names don't."""
    if isinstance(node, ast.Constant) and isinstance(node.value, bool | str | None):
        return node.value
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return _number(repr(node.value))
    if (
        isinstance(node, ast.UnaryOp)
        and isinstance(node.op, ast.USub | ast.UAdd)
        and isinstance(node.operand, ast.Constant)
    ):
        value = _plain(node.operand)
        if isinstance(value, Decimal):
            return -value if isinstance(node.op, ast.USub) else value
    if isinstance(node, ast.Name) and node.id in ("true", "false", "null"):
        return {"true": True, "false": False, "null": None}[node.id]
    if isinstance(node, ast.List | ast.Tuple):
        return [_plain(item) for item in node.elts]
    if isinstance(node, ast.Dict) and all(
        isinstance(key, ast.Constant) and isinstance(key.value, str) for key in node.keys
    ):
        keys = [str(key.value) for key in node.keys if isinstance(key, ast.Constant)]
        return _object(list(zip(keys, map(_plain, node.values), strict=True)))
    raise Unusable("an argument is no plain value")


def _last(text: str) -> Any:
    """Finds the last object, list or call in a text; an inner one never in place of the outer."""
    found: list[Any] = []
    ended = tried = 0
    for match in _START.finditer(text):
        if match.start() < ended:
            continue
        end = _end(text, match.start())
        try:
            if end is not None:
                found, ended = [structure_of(text[match.start() : end])], end
                continue
        except Broken:
            raise
        except Unusable:
            pass
        tried += 1
        if tried > MOST_STARTS:
            raise Broken("too many brackets that are no value")
    if not found:
        raise Missing("no value found in the completion")
    return found[0]


def _end(text: str, start: int) -> int | None:
    """Returns where the brackets that open at or after a place are closed again."""
    open_brackets: list[str] = []
    for match in _TOKEN.finditer(text, start):
        bracket = match.group()
        if len(open_brackets) > MOST_DEPTH:
            raise Broken("too deeply nested")
        if bracket in _PAIRS:
            open_brackets.append(_PAIRS[bracket])
        elif open_brackets and bracket == open_brackets[-1]:
            open_brackets.pop()
            if not open_brackets:
                return match.end()
        elif bracket in _PAIRS.values():
            return None
    return None


def fields_of(value: Any) -> dict[Path, Field]:
    """Returns every leaf of a value by its path; an empty object or list is a leaf too.

    Raises:
        Broken: there are too many.
    """
    found: dict[Path, Field] = {}
    for path, leaf in _leaves(value, ()):
        found[path] = leaf
        if len(found) > MOST_FIELDS:
            raise Broken("too many fields")
    return found


def _leaves(value: Any, path: Path) -> Iterator[tuple[Path, Field]]:
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _leaves(item, (*path, key))
    elif isinstance(value, list) and value:
        for place, item in enumerate(value):
            yield from _leaves(item, (*path, place))
    else:
        yield path, (type(value).__name__, value)
