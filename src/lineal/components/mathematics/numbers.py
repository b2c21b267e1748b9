"""Compares the values of two formulas, at fixed points where they have letters."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from enum import IntEnum
from fractions import Fraction

from lineal.components.mathematics.nodes import Expression
from lineal.components.mathematics.tokens import Unreadable
from lineal.components.mathematics.values import TreeEvaluator, Value

FEW_DIGITS, MANY_DIGITS = 50, 400
TOLERANCE = Fraction(1, 10**6)
"""The relative error allowed between a decimal and a number that is not whole; math-verify compares 6 decimals."""
_WHOLE_LETTERS = frozenset("kmnN")
_POINTS = 4


class Compared(IntEnum):
    """The result of a comparison. The worst of several parts holds for all."""

    EXACT = 0
    LENIENT = 1  # equal but for rounding, a unit, a name, or a sign of letters
    DIFFERENT = 2


def letters_of(*nodes: Expression) -> list[str]:
    """Returns the free letters of formulas."""
    found: set[str] = set()
    for node in nodes:
        found |= _free(node)
    return sorted(found)


def _free(node: Expression) -> set[str]:
    if node.op == "symbol":
        return {node.args[0]}
    found: set[str] = set().union(*(_free(arg) for arg in node.args if isinstance(arg, Expression)))
    return found - {node.args[0].args[0]} if node.op in ("sum", "prod") else found


def points(letters: list[str], seed: str) -> Iterator[dict[str, Fraction]]:
    """Yields values for letters that nobody can predict without the seed; positive at the first half of the points.

    `k`, `m`, `n` and `N` are positive whole numbers.
    """
    for index in range(_POINTS if letters else 1):
        yield {letter: _point(letter, index, seed) for letter in letters}


def _point(letter: str, index: int, seed: str) -> Fraction:
    drawn = int.from_bytes(hashlib.sha256(f"{seed}\x00{letter}\x00{index}".encode()).digest()[:8])
    if letter in _WHOLE_LETTERS:
        return Fraction(3 + index * 4 + drawn % 4)
    value = Fraction(1 + drawn % 999_983, 333_331)
    return value if index < _POINTS // 2 or drawn % 3 == 0 else -value


def is_decimal(node: Expression) -> bool:
    """Tells whether a literal in it was written with a point, so that it may be rounded."""
    return any(part.op == "number" and part.args[1] for part in node.walk())


def _is_literal(node: Expression) -> bool:
    return (node.op == "number" and (node.args[1] or node.args[0].denominator == 1)) or (
        node.op == "neg" and _is_literal(node.args[0])
    )


def _decimals(value: Fraction) -> int:
    """Returns the decimal places of a value that was written as a decimal."""
    return next(
        places for places in range(value.denominator.bit_length() + 1) if 10**places % value.denominator == 0
    )


def same_value(left: Expression, right: Expression, seed: str) -> Compared:
    """Compares two formulas.

    Raises:
        Unreadable: one of them has no value, or none at enough points.
    """
    outcomes, problem = [], Unreadable("no value")
    for point in points(letters_of(left, right), seed):
        try:
            outcomes.append(_same_at(left, right, point))
        except Unreadable as error:
            problem = error
    if len(outcomes) < (2 if letters_of(left, right) else 1):
        raise problem
    half = outcomes[: max(1, len(outcomes) // 2)]
    worst = max(outcomes)
    return (
        Compared.LENIENT
        if worst is Compared.DIFFERENT and max(half) is not worst and _signs_matter(left, right)
        else worst
    )


def _signs_matter(left: Expression, right: Expression) -> bool:
    """Tells whether roots, logarithms, powers or absolute values may differ where letters are negative."""
    return any(part.op in ("root", "pow", "call") for node in (left, right) for part in node.walk())


def _same_at(left: Expression, right: Expression, point: Mapping[str, Fraction]) -> Compared:
    few = TreeEvaluator(point, FEW_DIGITS)
    values = few.value(left), few.value(right)
    if all(isinstance(value, Fraction) for value in values):
        return Compared.EXACT if values[0] == values[1] else _rounded(left, right, values[0], values[1])
    many = TreeEvaluator(point, MANY_DIGITS)
    precise = many.value(left), many.value(right)
    if _close(many, *(_settled(many, *pair) for pair in zip(values, precise, strict=True))):
        return Compared.EXACT
    return _rounded(left, right, many.number(precise[0]), many.number(precise[1]))


def _settled(evaluator: TreeEvaluator, few: Value, many: Value) -> Value:
    """Returns the value, or 0 where it is only rounding noise, which shrinks with more digits."""
    number = evaluator.number(many)
    return (
        evaluator.mp.mpf(0)
        if abs(number) < abs(evaluator.number(few)) * evaluator.mp.mpf(10) ** -20
        else number
    )


def _close(evaluator: TreeEvaluator, left: Value, right: Value) -> bool:
    return bool(abs(left - right) <= max(abs(left), abs(right)) * evaluator.mp.mpf(10) ** (30 - MANY_DIGITS))


def _rounded(left: Expression, right: Expression, value: Value, other: Value) -> Compared:
    """Compares within the tolerance, where a decimal may be rounded and no side is a whole number."""
    sides = ((left, value), (right, other))
    whole = any(
        isinstance(number, Fraction) and number.denominator == 1 and not is_decimal(node)
        for node, number in sides
    )
    if whole or not any(is_decimal(node) for node, _ in sides):
        return Compared.DIFFERENT
    largest, gap = max(abs(value), abs(other)), abs(value - other)
    if isinstance(gap, Fraction) and all(_is_literal(node) for node, _ in sides):
        return (
            Compared.LENIENT
            if 2 * gap * 10 ** min(_decimals(value), _decimals(other)) <= 1 and gap <= largest * TOLERANCE
            else Compared.DIFFERENT
        )
    within = (
        gap * TOLERANCE.denominator <= largest
        if not isinstance(gap, Fraction)
        else gap <= largest * TOLERANCE
    )
    return Compared.LENIENT if within else Compared.DIFFERENT
