"""The parse tree of a mathematical text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any


@dataclass(frozen=True, slots=True)
class Expression:
    """An operation and what it is applied to: nodes, or plain values in leaves.

    Attributes:
        op: such as 'add', 'frac', 'symbol', 'set', 'relation'.
        args: by the operation.
    """

    op: str
    args: tuple[Any, ...] = ()

    def walk(self) -> Iterator[Expression]:
        """Yields this node and everything below it."""
        waiting: list[Expression] = [self]
        while waiting:
            node = waiting.pop()
            yield node
            waiting += [arg for arg in node.args if isinstance(arg, Expression)]


ELLIPSIS = Expression("ellipsis")
INFINITY = Expression("infinity")
REALS = Expression("interval", ("(", ")", Expression("neg", (INFINITY,)), INFINITY))


def number(value: int | Fraction, decimal: bool = False) -> Expression:
    """Makes a literal; `decimal` tells whether it was written with a point, and so may be rounded."""
    return Expression("number", (Fraction(value), decimal))
