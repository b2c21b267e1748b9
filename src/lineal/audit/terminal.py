"""Text that models and users wrote, shown safely: control characters escaped, long values cut visibly."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

CUT = "…"
GAP = "  "
_SHORT = {"\n": r"\n", "\t": r"\t", "\r": r"\r"}


def printable(text: str) -> str:
    """Escapes the text on one line: whatever a terminal could obey (escapes, bidirectional marks) is spelled out."""
    if text.isprintable():
        return text
    return text.translate({ord(letter): _escaped(letter) for letter in set(text) if not letter.isprintable()})


def _escaped(letter: str) -> str:
    code = ord(letter)
    return _SHORT.get(letter) or (
        f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
    )


def display_width(text: str) -> int:
    """Counts the terminal cells that a printable text takes."""
    return len(text) if text.isascii() else sum(map(_cells, text))


def _cells(letter: str) -> int:
    if unicodedata.combining(letter):
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1


def cut(text: str, width: int) -> str:
    """Cuts the text to at most `width` cells; a cut ends in an ellipsis."""
    used = kept = 0
    for place, letter in enumerate(text, start=1):
        used += _cells(letter)
        if used > width:
            return text[:kept] + CUT
        kept = place if used < width else kept
    return text


def shown(value: Any, width: int) -> str:
    """Formats any value as one safe line of at most `width` cells; of a long one only the beginning is read."""
    return cut(show_value(_beginning(value, width)), width)


def _beginning(value: Any, width: int) -> Any:
    """Returns at least as much of a value as `width` cells can show: letters may be of no width, but an item takes a cell."""
    if isinstance(value, str):
        return value if len(value) <= 8 * width else value[: 8 * width] + CUT
    if isinstance(value, list | tuple):
        return [_beginning(item, width) for item in value[:width]]
    if isinstance(value, dict):
        return {name: _beginning(item, width) for name, item in value.items()}
    return value


def show_value(value: Any) -> str:
    """Formats any value as one safe line."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(show_value(item) for item in value) + "]"
    return printable(str(value))


def facts_text(facts: Mapping[str, Any], width: int = 100) -> str:
    """Formats facts as `temperature=1 samples=8`, cut at `width`."""
    return cut(
        " ".join(f"{name}={show_value(_beginning(value, width))}" for name, value in facts.items()), width
    )


def table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table with a rule under its head; columns of numbers are right-aligned."""
    widths = [max(display_width(line[index]) for line in (names, *rows)) for index in range(len(names))]
    right = [bool(rows) and all(_is_number(row[index]) for row in rows) for index in range(len(names))]
    lines = [names, ["─" * width for width in widths], *rows]
    return [
        GAP.join(_padded(cell, w, r) for cell, w, r in zip(line, widths, right, strict=True)).rstrip()
        for line in lines
    ]


def _padded(cell: str, width: int, right: bool) -> str:
    space = " " * (width - display_width(cell))
    return space + cell if right else cell + space


def _is_number(cell: str) -> bool:
    return cell.strip("%-").replace(",", "").replace(".", "", 1).isdigit() or cell == "-"
