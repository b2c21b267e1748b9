"""Units after a value: `12 cm`, `36\\pi\\text{ cm}^2`, `\\$25`."""

from __future__ import annotations

import re
from collections.abc import Iterator

_WRITTEN: dict[str, str] = {
    "cm": "centimeter",
    "mm": "millimeter",
    "km": "kilometer",
    "m": "meter",
    "dm": "decimeter",
    "mi": "mile",
    "ft": "foot",
    "feet": "foot",
    "in": "inch",
    "inches": "inch",
    "yd": "yard",
    "g": "gram",
    "kg": "kilogram",
    "mg": "milligram",
    "lb": "pound",
    "lbs": "pound",
    "oz": "ounce",
    "l": "liter",
    "ml": "milliliter",
    "s": "second",
    "sec": "second",
    "secs": "second",
    "min": "minute",
    "mins": "minute",
    "h": "hour",
    "hr": "hour",
    "hrs": "hour",
    "mph": "mile/hour",
    "kph": "kilometer/hour",
    "$": "dollar",
    "usd": "dollar",
    "€": "euro",
    "eur": "euro",
    "£": "gbp",
    "¢": "cent",
    "deg": "degree",
    "metre": "meter",
    "metres": "meter",
    "litre": "liter",
    "litres": "liter",
    "centimetre": "centimeter",
    "centimetres": "centimeter",
    "kilometre": "kilometer",
    "kilometres": "kilometer",
    "percent": "%",
    "pct": "%",
    "percentage": "%",
    "sq": "square",
    "cu": "cubic",
}
_SHORT = frozenset(unit for unit in _WRITTEN if len(unit) <= 2 and unit.isalpha())
_QUOTED = re.compile(
    r"^(?P<value>.*?)\s*\\(?:text|mathrm|textnormal|mbox|textrm|textbf)\s*\{(?P<unit>[^{}]*)\}\s*(?P<power>\^\s*\{?\s*[23]\s*\}?)?\s*$",
    re.DOTALL,
)
_PLAIN = re.compile(
    r"^(?P<value>.*[\d)}\]%!²³]|.*\\pi)\s*(?P<unit>[A-Za-z][A-Za-z /.]*?)\s*(?P<power>\^\s*\{?\s*[23]\s*\}?|[²³])?\s*\.?$",
    re.DOTALL,
)
_BEFORE = re.compile(r"^\s*(?P<sign>[-+]?)\s*(?:\\?(?P<unit>[$€£]))\s*(?P<value>[-+]?[\d.].*)$", re.DOTALL)
_AFTER = re.compile(r"^(?P<value>.*\d)\s*\\?(?P<unit>[$€£¢])\.?$", re.DOTALL)
_NO_UNITS = frozenset({"and", "or", "mod", "to", "of", "x", "y", "z", "i", "e", "pi"})


def split_units(text: str) -> Iterator[tuple[str, str]]:
    """Yields the ways to remove a unit from a text: the rest, and the unit in the form that is compared."""
    for pattern in (_BEFORE, _AFTER, _QUOTED, _PLAIN):
        match = pattern.match(text)
        if match is None or not match["value"].strip():
            continue
        unit = match["unit"].strip(" .,")
        if (
            unit
            and not _NO_UNITS & set(unit.lower().split())
            and (pattern is not _PLAIN or len(unit) > 2 or unit in _SHORT)
        ):
            sign = match["sign"] if pattern is _BEFORE else ""
            yield sign + match["value"], _canonical(unit, match.groupdict().get("power") or "")


def _canonical(unit: str, power: str) -> str:
    words = [_word(word) for word in re.findall(r"[^\s/]+|/", unit.lower().replace(" per ", "/"))]
    raised = "^2" if re.search("[2²]", power) else "^3" if re.search("[3³]", power) else ""
    for name, mark in (("square", "^2"), ("cubic", "^3")):
        if name in words:
            words.remove(name)
            raised = mark
    return "".join(words) + raised


def _word(word: str) -> str:
    known = _WRITTEN.get(word)
    if known is not None:
        return known
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word
