"""The signs and commands that the parser knows, by what they do."""

from __future__ import annotations

RELATIONS = {
    "=": "=",
    "==": "=",
    r"\equiv": "=",
    "<": "<",
    r"\lt": "<",
    ">": ">",
    r"\gt": ">",
    "<=": "<=",
    r"\le": "<=",
    r"\leq": "<=",
    r"\leqslant": "<=",
    ">=": ">=",
    r"\ge": ">=",
    r"\geq": ">=",
    r"\geqslant": ">=",
    r"\ne": "!=",
    r"\neq": "!=",
    "!=": "!=",
    r"\approx": "~",
    r"\in": "in",
}
TIMES = {"*", r"\cdot", r"\times", r"\ast"}
OVER = {"/", r"\div"}
SEPARATORS = {",", ";", r"\lor", r"\vee", r"\land", r"\wedge"}
DOTS = {r"\ldots", r"\dots", r"\cdots", "..."}
FRACTIONS = {r"\frac", r"\dfrac", r"\tfrac", r"\cfrac"}
CLOSING = {r"\rvert": r"\lvert", r"\rfloor": r"\lfloor", r"\rceil": r"\lceil"}
DELIMITED = {
    r"\lvert": (r"\rvert", "abs"),
    r"\lfloor": (r"\rfloor", "floor"),
    r"\lceil": (r"\rceil", "ceil"),
    "|": ("|", "abs"),
}
ENDS = {")", "]", "}", r"\}", "&", r"\\", *CLOSING, *SEPARATORS, *RELATIONS, ":", r"\cup", r"\cap"}
