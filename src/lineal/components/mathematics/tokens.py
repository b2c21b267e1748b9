"""Mathematical text, LaTeX or plain, as tokens."""

from __future__ import annotations

import re
from dataclasses import dataclass

MOST_LETTERS = 4000
MOST_DIGITS = 2000
MOST_TOKENS = 1500
"""Beyond these an answer is not compared: nobody writes such an answer, and reading it takes time."""


class Unreadable(Exception):
    """This reader cannot parse such a text; it may still be mathematics."""


class TooLarge(Unreadable):
    """Reading or evaluating the text would take more than an answer may."""


@dataclass(frozen=True, slots=True)
class Token:
    """One token.

    Attributes:
        kind: 'number', 'letter', 'word', 'command', 'text' (the contents of \\text{...}) or 'sign'.
        text: its text.
        spaced: whether white space comes before it.
    """

    kind: str
    text: str
    spaced: bool = False


_SIGNS = {
    "\u2212": "-",
    "\u2013": "-",
    "\u00d7": r"\cdot ",
    "\u00b7": r"\cdot ",
    "\u2219": r"\cdot ",
    "\u00f7": "/",
    "\u2215": "/",
    "\u2044": "/",
    "\u03c0": r"\pi ",
    "\u221e": r"\infty ",
    "\u2264": r"\le ",
    "\u2265": r"\ge ",
    "\u2260": r"\ne ",
    "\u221a": r"\sqrt ",
    "\u00b0": r"^\circ ",
    "\u00b1": r"\pm ",
    "\u222a": r"\cup ",
    "\u2208": r"\in ",
    "\u2205": r"\emptyset ",
    "\u03b8": r"\theta ",
    "\u03b1": r"\alpha ",
    "\u03b2": r"\beta ",
    "\u03bb": r"\lambda ",
    "\u211d": r"\mathbb{R}",
    "\u2026": r"\ldots ",
    "\u00a0": " ",
    "\u202f": " ",
    "\u22ef": r"\ldots ",
    "\u00bd": r"\frac{1}{2}",
    "\u2153": r"\frac{1}{3}",
    "\u2154": r"\frac{2}{3}",
    "\u00bc": r"\frac{1}{4}",
    "\u00be": r"\frac{3}{4}",
    "\u2070": "^{0}",
    "\u00b9": "^{1}",
    "\u00b2": "^{2}",
    "\u00b3": "^{3}",
    "\u2074": "^{4}",
    "\u2075": "^{5}",
    "\u2076": "^{6}",
    "\u2077": "^{7}",
    "\u2078": "^{8}",
    "\u2079": "^{9}",
    "\uff0c": ",",
    "\uff1a": ":",
    "\uff08": "(",
    "\uff09": ")",
    "\uff1d": "=",
}
"""Typographic signs: minus signs and dashes, operators, relations, Greek letters, fractions, superscripts, full-width signs."""
_TABLE = str.maketrans(_SIGNS)
_LAYOUT = re.compile(
    r"\\(?:left|right|[bB]ig{1,2}[lrm]?|displaystyle|textstyle|limits|nolimits|hfill|bf|rm|it|middle)(?![A-Za-z])\.?"
    r"|\\q?quad|\\[;:>!]|~|(?<!\\)\\(?=\s)"
)
_THIN = re.compile(r"(?<=\d)(?:,?\\[,!]\s*|\{,\})(?=\d{3}(?!\d))")
_WORDS_IN = re.compile(
    r"\\(?:text|textbf|textit|textnormal|textrm|mbox|mathrm|operatorname|mathbf|boldsymbol|mathit|bm)\s*\{([^{}]*)\}"
)
_TOKEN = re.compile(
    r"""(?P<space>\s+)
    | (?P<number>(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,9}(?![\dA-Za-z]))?)
    | (?P<environment>\\(?:begin|end)\s*\{[a-z]*\*?\})
    | (?P<command>\\[A-Za-z]+|\\\\|\\.)
    | (?P<held>\x00\d+\x00)
    | (?P<word>[A-Za-z]+)
    | (?P<sign>\*\*|\.\.\.|<=|>=|!=|==|[-+*/^_=<>()\[\]{}|,;:!%'&.])
    """,
    re.VERBOSE,
)


def plain_signs(text: str) -> str:
    """Replaces typographic signs by LaTeX or ASCII, and removes marks of layout."""
    return _LAYOUT.sub(" ", _THIN.sub("", text.translate(_TABLE)))


def tokens_of(text: str) -> list[Token]:
    """Splits a text into tokens.

    Raises:
        TooLarge: it is longer than an answer may be.
        Unreadable: it holds a sign that this reader doesn't know.
    """
    if len(text) > MOST_LETTERS:
        raise TooLarge(f"{len(text):,} letters")
    held: list[str] = []
    text = _WORDS_IN.sub(lambda match: _held(held, match.group(1)), plain_signs(text.replace("\x00", " ")))
    found: list[Token] = []
    place, spaced = 0, False
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None:
            raise Unreadable(f"the sign {text[place]!r}")
        place = match.end()
        if match.lastgroup == "space" or match.group() == r"\,":
            spaced = True
            continue
        found += _made(str(match.lastgroup), match.group(), spaced, held)
        spaced = False
    if len(found) > MOST_TOKENS:
        raise TooLarge(f"{len(found):,} tokens")
    return found


def _held(held: list[str], text: str) -> str:
    held.append(text)
    return f"\x00{len(held) - 1}\x00"


def _made(kind: str, text: str, spaced: bool, held: list[str]) -> list[Token]:
    if kind == "number" and len(text) > MOST_DIGITS:
        raise TooLarge(f"a number of {len(text):,} digits")
    if kind == "held":
        return [Token("text", held[int(text.strip("\x00"))], spaced)]
    if kind == "environment":
        return [Token("command", re.sub(r"\s", "", text), spaced)]
    return [Token(kind, text, spaced)]
