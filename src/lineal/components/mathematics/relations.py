"""Equations and inequalities."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from lineal.components.mathematics.nodes import INFINITY, Expression, number
from lineal.components.mathematics.numbers import (
    FEW_DIGITS,
    Compared,
    letters_of,
    points,
    same_value,
)
from lineal.components.mathematics.tokens import Unreadable
from lineal.components.mathematics.values import TreeEvaluator

_FLIPPED = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "=": "=", "!=": "!=", "~": "~"}
_BELOW = {"<": ("(", ")"), "<=": ("(", "]"), ">": ("(", ")"), ">=": ("[", ")")}


@dataclass(frozen=True)
class Assignment:
    """`x = 3`: a name and what it is.

    Attributes:
        target: the name's tree; None for `6 * 7 = 42`, in which nothing is named.
        value: what stands last.
    """

    target: Expression | None
    value: Expression


@dataclass(frozen=True)
class Bound:
    """An inequality, or a membership, of one letter.

    Attributes:
        letter: the letter.
        interval: where it may lie: an interval, or any set that is named.
    """

    letter: str
    interval: Expression


def named(relation: Expression) -> Assignment | None:
    """Reads a relation as the assignment of a value; None where it is none."""
    signs, sides = relation.args[0], relation.args[1:]
    if signs == ("in",):
        return Assignment(sides[0], sides[1])
    if not set(signs) <= {"=", "~"}:
        return None
    exact = next((place for place, sign in enumerate(signs) if sign == "~"), len(signs))
    if _is_name(sides[0]):
        return Assignment(sides[0], sides[max(exact, 1)])
    if len(sides) == 2 and _is_name(sides[1]):
        return Assignment(sides[1], sides[0])
    return (
        Assignment(None, sides[-1])
        if not letters_of(*(side for side in sides if isinstance(side, Expression)))
        else None
    )


def _is_name(node: Expression) -> bool:
    """Tells whether a tree is a name, letters without numbers or signs: `x`, `AB`, `f(x)`, `|AB|`, `AB/CD`, `A:B`, `(x, y)`."""
    if node.op == "call":
        return node.args[0] == "abs" and _is_name(node.args[1])
    return node.op in ("symbol", "constant") or (
        node.op in ("mul", "div", "ratio", "tuple") and all(map(_is_name, node.args))
    )


def bound_of(node: Expression) -> Bound | None:
    """Returns the bound that an inequality or a membership sets to its only letter; None where it sets none."""
    if node.op != "relation":
        return None
    signs, sides = node.args[0], node.args[1:]
    if signs == ("in",) and sides[0].op == "symbol":
        return Bound(sides[0].args[0], sides[1])
    if len(signs) == 1 and signs[0] in _BELOW:
        return _half_line(signs[0], sides[0], sides[1])
    return _between(signs, sides) if len(signs) == 2 else None


def _called(node: Expression) -> str:
    return node.args[0] if node.op == "symbol" else repr(node)


def _between(signs: tuple[str, ...], sides: tuple[Expression, ...]) -> Bound | None:
    if not all(sign in _BELOW and sign[0] == signs[0][0] for sign in signs) or not _is_name(sides[1]):
        return None
    if letters_of(sides[0], sides[2]):
        return None
    if signs[0][0] == ">":
        signs, sides = (_FLIPPED[signs[1]], _FLIPPED[signs[0]]), sides[::-1]
    ends = "[" if signs[0] == "<=" else "(", "]" if signs[1] == "<=" else ")"
    return Bound(_called(sides[1]), _made(*ends, sides[0], sides[2]))


def _half_line(sign: str, left: Expression, right: Expression) -> Bound | None:
    """Solves a linear inequality of one letter."""
    letters = letters_of(left, right)
    if len(letters) != 1:
        return None
    gap = Expression("sub", (left, right))
    try:
        at = [_at(gap, letters[0], Fraction(place)) for place in (0, 1, 2, 7)]
    except Unreadable:
        return None
    slope = at[1] - at[0]
    if (
        not all(isinstance(value, Fraction) for value in at)
        or slope == 0
        or (at[2] - at[0], at[3] - at[0]) != (2 * slope, 7 * slope)
    ):
        return _as_it_stands(sign, left, right)
    sign = sign if slope > 0 else _FLIPPED[sign]
    return Bound(letters[0], _ray(sign, number(-at[0] / slope)))


def _as_it_stands(sign: str, left: Expression, right: Expression) -> Bound | None:
    """Reads `m >= sqrt(2)`: a letter alone compared with a value that is no fraction."""
    if right.op == "symbol":
        sign, left, right = _FLIPPED[sign], right, left
    return Bound(left.args[0], _ray(sign, right)) if left.op == "symbol" and not letters_of(right) else None


def _ray(sign: str, end: Expression) -> Expression:
    ends = _BELOW[sign]
    return (
        _made(*ends, end, INFINITY) if sign[0] == ">" else _made(*ends, Expression("neg", (INFINITY,)), end)
    )


def _made(opened: str, closed: str, low: Expression, high: Expression) -> Expression:
    return Expression("interval", (opened, closed, low, high))


def _at(node: Expression, letter: str, value: Fraction) -> Fraction:
    found: Fraction = TreeEvaluator({letter: value}, FEW_DIGITS).value(node)
    return found


def same_relation(
    left: Expression,
    right: Expression,
    seed: str,
    same: Callable[[Expression, Expression], Compared],
) -> Compared:
    """Compares two relations that are no bounds of one letter.

    Raises:
        Unreadable: no answer can be given.
    """
    first, second = named(left), named(right)
    if first is not None and second is not None and first.target == second.target:
        return same(first.value, second.value)
    signs, other_signs = left.args[0], right.args[0]
    if len(signs) != 1 or len(other_signs) != 1:
        raise Unreadable("a chain of relations")
    if other_signs[0] not in (signs[0], _FLIPPED.get(signs[0])):
        return Compared.DIFFERENT
    gaps = Expression("sub", left.args[1:]), Expression("sub", right.args[1:])
    if signs[0] in ("=", "!="):
        found = _proportional(*gaps, seed)
        return found if found is not Compared.DIFFERENT else _substituted(first, second, left, right, seed)
    mirrored = gaps[1] if other_signs == signs else Expression("neg", (gaps[1],))
    return _proportional(gaps[0], mirrored, seed, positive=True)


def _proportional(left: Expression, right: Expression, seed: str, positive: bool = False) -> Compared:
    """Compares two sides that may be constant multiples of each other, by a positive constant where the sign matters."""
    letters = letters_of(left, right)
    point = next(points(letters, seed))
    evaluator = TreeEvaluator(point, FEW_DIGITS)
    values = evaluator.value(left), evaluator.value(right)
    if any(value == 0 for value in values) or (
        positive and evaluator.mp.re(evaluator.number(values[0]) / evaluator.number(values[1])) <= 0
    ):
        return Compared.DIFFERENT
    other = TreeEvaluator(point, FEW_DIGITS)
    if not all(isinstance(value, Fraction) for value in values):
        return _nearly_proportional(left, right, letters, seed, other)
    return same_value(
        Expression("mul", (left, number(values[1]))), Expression("mul", (right, number(values[0]))), seed
    )


def _nearly_proportional(
    left: Expression, right: Expression, letters: list[str], seed: str, evaluator: TreeEvaluator
) -> Compared:
    """Compares as `_proportional`, by numbers of many digits."""
    ratios = []
    for point in points(letters, seed):
        evaluator.letters = dict(point)
        ratios.append(evaluator.number(evaluator.value(left)) / evaluator.number(evaluator.value(right)))
    spread = max(abs(ratio - ratios[0]) for ratio in ratios)
    return Compared.LENIENT if spread <= abs(ratios[0]) * evaluator.mp.mpf(10) ** -30 else Compared.DIFFERENT


def _substituted(
    first: Assignment | None, second: Assignment | None, left: Expression, right: Expression, seed: str
) -> Compared:
    """Checks an assignment against the other equation; both are lines or curves of one letter solved for."""
    for assignment, equation in ((first, right), (second, left)):
        if assignment is not None and assignment.target is not None and assignment.target.op == "symbol":
            letter = assignment.target.args[0]
            if letter in letters_of(assignment.value):
                continue
            sides = [_replaced(side, letter, assignment.value) for side in equation.args[1:]]
            return max(Compared.LENIENT, same_value(sides[0], sides[1], seed))
    raise Unreadable("two equations that are no multiples of each other")


def _replaced(node: Expression, letter: str, value: Expression) -> Expression:
    if node == Expression("symbol", (letter,)):
        return value
    return Expression(
        node.op,
        tuple(_replaced(arg, letter, value) if isinstance(arg, Expression) else arg for arg in node.args),
    )
