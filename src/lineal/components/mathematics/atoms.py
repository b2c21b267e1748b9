"""Numbers, names and constants of mathematical texts."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from lineal.components.mathematics.nodes import INFINITY, Expression, number
from lineal.components.mathematics.tokens import Token, TooLarge, Unreadable

_ANGLES = ("sin", "cos", "tan", "cot", "sec", "csc")
FUNCTIONS = frozenset(
    (
        *_ANGLES,
        *(f"arc{name}" for name in _ANGLES),
        "sinh",
        "cosh",
        "tanh",
        "ln",
        "log",
        "lg",
        "exp",
        "abs",
        "max",
        "min",
        "gcd",
        "lcm",
        "floor",
        "ceil",
    )
)
TWO_ARGUMENTS = frozenset({"max", "min", "gcd", "lcm", "log"})
CONSTANTS: dict[str, Expression] = {
    **dict.fromkeys((r"\pi", "pi"), Expression("constant", ("pi",))),
    "e": Expression("constant", ("e",)),
    "i": Expression("constant", ("i",)),
    r"\infty": INFINITY,
    "inf": INFINITY,
    "infinity": INFINITY,
    "oo": INFINITY,
}
GREEK = frozenset(
    {
        "alpha",
        "beta",
        "gamma",
        "delta",
        "epsilon",
        "varepsilon",
        "zeta",
        "eta",
        "theta",
        "vartheta",
        "iota",
        "kappa",
        "lambda",
        "mu",
        "nu",
        "xi",
        "rho",
        "sigma",
        "tau",
        "phi",
        "varphi",
        "chi",
        "psi",
        "omega",
        "Gamma",
        "Delta",
        "Theta",
        "Lambda",
        "Xi",
        "Sigma",
        "Phi",
        "Psi",
        "Omega",
        "ell",
    }
)
_NAMES = FUNCTIONS | set(CONSTANTS) | {"and", "or", "sqrt", "mod"}
_ALIASES = {"asin": "arcsin", "acos": "arccos", "atan": "arctan", "infty": "infinity"}
_MOST_LETTERS_IN_PRODUCT = 3
_MOST_CAPITALS = 6
"""Of a figure's name, such as `ABCD`."""
_MOST_EXPONENT = 10_000


def literal(text: str) -> Expression:
    """Parses a number as written."""
    mantissa, _, exponent = text.lower().partition("e")
    if exponent and abs(int(exponent)) > _MOST_EXPONENT:
        raise TooLarge("a number with a large exponent")
    if not mantissa.strip("."):
        raise Unreadable(f"no number: {text!r}")
    return number(Fraction(text.rstrip(".") if not exponent else text), decimal="." in mantissa.rstrip("."))


def named_words(tokens: list[Token]) -> list[Token]:
    """Splits runs of letters into names of functions and constants, else single letters; text in \\text{...} stays."""
    found: list[Token] = []
    if (
        sum(
            token.kind == "word" and len(token.text) == _MOST_LETTERS_IN_PRODUCT and token.text not in _NAMES
            for token in tokens
        )
        > 1
    ):
        raise Unreadable("several words")
    for token in tokens:
        name = _ALIASES.get(token.text, token.text)
        if token.kind != "word":
            found.append(token)
        elif name in _NAMES and len(name) > 1:
            found.append(replace(token, kind="name", text=name))
        elif len(token.text) > (_MOST_CAPITALS if token.text.isupper() else _MOST_LETTERS_IN_PRODUCT):
            raise Unreadable(f"the word {token.text!r}")
        else:
            found += [
                Token("letter", letter, token.spaced and place == 0)
                for place, letter in enumerate(token.text)
            ]
    return found


def with_thousands(tokens: list[Token]) -> list[Token]:
    """Joins `1,000` outside brackets into one number."""
    found: list[Token] = []
    depth, place = 0, 0
    while place < len(tokens):
        token = tokens[place]
        depth += (token.text in ("(", "[", "{", r"\{")) - (token.text in (")", "]", "}", r"\}"))
        if (
            depth == 0
            and token.kind == "number"
            and token.text.isdigit()
            and len(token.text) <= 3
            and token.text[0] != "0"
        ):
            while (
                place + 2 < len(tokens)
                and token.text.isdigit()
                and _continues(tokens[place + 1], tokens[place + 2])
            ):
                token = replace(token, text=token.text + tokens[place + 2].text)
                place += 2
        found.append(token)
        place += 1
    return found


def _continues(comma: Token, group: Token) -> bool:
    whole = group.text.partition(".")[0]
    return (
        comma.text == ","
        and not comma.spaced
        and group.kind == "number"
        and not group.spaced
        and len(whole) == 3
        and whole.isdigit()
    )
