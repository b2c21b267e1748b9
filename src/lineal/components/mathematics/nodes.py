"""The parse tree of a mathematical text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any


@dataclass(frozen=True, slots=True)
class Node:
    """An operation and what it is applied to: nodes, or plain values in leaves.

    Attributes:
        op: such as 'add', 'frac', 'symbol', 'set', 'relation'.
        args: by the operation.
    """

    op: str
    args: tuple[Any, ...] = ()

    def walk(self) -> Iterator[Node]:
        """Yields this node and everything below it."""
        waiting: list[Node] = [self]
        while waiting:
            node = waiting.pop()
            yield node
            waiting += [arg for arg in node.args if isinstance(arg, Node)]


ELLIPSIS = Node("ellipsis")
INFINITY = Node("infinity")
REALS = Node("interval", ("(", ")", Node("neg", (INFINITY,)), INFINITY))


def number(value: int | Fraction, decimal: bool = False) -> Node:
    """Makes a literal; `decimal` tells whether it was written with a point, and so may be rounded."""
    return Node("number", (Fraction(value), decimal))
