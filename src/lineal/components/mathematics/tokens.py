"""Mathematical text, LaTeX or plain, as tokens."""

from __future__ import annotations

import re
from dataclasses import dataclass

MOST_LETTERS = 4000
MOST_DIGITS = 2000
MOST_TOKENS = 1500
"""Beyond these an answer is not compared: nobody writes such an answer, and reading it takes time."""


class Unreadable(Exception):
    """This reader does not know such a text; it may still be mathematics."""


class TooLarge(Unreadable):
    """Reading or evaluating the text would take more than an answer may."""


@dataclass(frozen=True, slots=True)
class Token:
    """One token.

    Attributes:
        kind: 'number', 'letter', 'word', 'command', 'text' (the contents of \\text{...}) or 'sign'.
        text: what stands there.
        spaced: whether white space stands before it.
    """

    kind: str
    text: str
    spaced: bool = False


_SIGNS = {
    "−": "-", "–": "-", "×": r"\cdot ", "·": r"\cdot ", "∙": r"\cdot ", "÷": "/", "∕": "/", "⁄": "/", "π": r"\pi ", "∞": r"\infty ",
    "≤": r"\le ", "≥": r"\ge ", "≠": r"\ne ", "√": r"\sqrt ", "°": r"^\circ ", "±": r"\pm ", "∪": r"\cup ", "∈": r"\in ", "∅": r"\emptyset ",
    "θ": r"\theta ", "α": r"\alpha ", "β": r"\beta ", "λ": r"\lambda ", "ℝ": r"\mathbb{R}", "…": r"\ldots ", "\u00a0": " ", "\u202f": " ",
    "⋯": r"\ldots ", "½": r"\frac{1}{2}", "⅓": r"\frac{1}{3}", "⅔": r"\frac{2}{3}", "¼": r"\frac{1}{4}", "¾": r"\frac{3}{4}",
    "⁰": "^{0}", "¹": "^{1}", "²": "^{2}", "³": "^{3}", "⁴": "^{4}", "⁵": "^{5}", "⁶": "^{6}", "⁷": "^{7}", "⁸": "^{8}", "⁹": "^{9}",
    "，": ",", "：": ":", "（": "(", "）": ")", "＝": "=",
}  # fmt: skip
_TABLE = str.maketrans(_SIGNS)
_LAYOUT = re.compile(
    r"\\(?:left|right|[bB]ig{1,2}[lrm]?|displaystyle|textstyle|limits|nolimits|hfill|bf|rm|it|middle)(?![A-Za-z])\.?"
    r"|\\q?quad|\\[;:>!]|~|(?<!\\)\\(?=\s)"
)
_THIN = re.compile(r"(?<=\d)(?:,?\\[,!]\s*|\{,\})(?=\d{3}(?!\d))")
_WORDS_IN = re.compile(r"\\(?:text|textbf|textit|textnormal|textrm|mbox|mathrm|operatorname|mathbf|boldsymbol|mathit|bm)\s*\{([^{}]*)\}")
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
    """The text with typographic signs as LaTeX or ASCII, and without marks of layout."""
    return _LAYOUT.sub(" ", _THIN.sub("", text.translate(_TABLE)))


def tokens_of(text: str) -> list[Token]:
    """The tokens of a text.

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
