"""The answer to a formula without letters, or to a linear equation of one letter: exact, and by this package's own parser."""

from __future__ import annotations

from fractions import Fraction

from lineal.components.mathematics.nodes import Expression
from lineal.components.mathematics.numbers import letters_of
from lineal.components.mathematics.parser import parse
from lineal.components.mathematics.tokens import TooLarge, Unreadable
from lineal.components.mathematics.values import TreeEvaluator

_PROBES = tuple(map(Fraction, (-7, -3, 2, 3, 5, 11)))
"""Points beside 0 and 1 at which an equation is tested: linear there counts as linear, and the solution is checked."""
_DIGITS = 30


def solved(prompt: str) -> str | None:
    """Solves `12*(3+4)=` or `3x+2=11`, in lowest terms; None where the text is neither, or has no unique answer."""
    try:
        tree = parse(prompt.strip().removesuffix("="))
        answer = _root(tree) if tree.op == "relation" else _exact(tree, {})
    except (Unreadable, TooLarge):
        return None
    return None if answer is None else str(answer)


def _exact(tree: Expression, letters: dict[str, Fraction]) -> Fraction | None:
    """Returns a formula's value, if that is a fraction."""
    value = TreeEvaluator(letters, _DIGITS).value(tree)
    return value if isinstance(value, Fraction) else None


def _root(relation: Expression) -> Fraction | None:
    """Returns the one solution of a linear equation in one letter."""
    signs, *sides = relation.args
    letters = sorted(letters_of(*sides))
    if signs != ("=",) or len(letters) != 1:
        return None

    def gap(value: Fraction) -> Fraction | None:
        left, right = (_exact(side, {letters[0]: value}) for side in sides)
        return None if left is None or right is None else left - right

    base, one = gap(Fraction(0)), gap(Fraction(1))
    if base is None or one is None or base == one:
        return None
    root = -base / (one - base)
    straight = all(gap(place) == base + place * (one - base) for place in _PROBES)
    return root if straight and gap(root) == 0 else None
