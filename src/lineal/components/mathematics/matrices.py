"""Sums and products of matrices, computed in the tree."""

from __future__ import annotations

from collections.abc import Callable

from lineal.components.mathematics.nodes import Node
from lineal.components.mathematics.tokens import TooLarge, Unreadable

MOST_CELLS = 100


def worked_out(node: Node) -> Node:
    """Returns the tree with the sums, differences and products of its matrices computed.

    Raises:
        Unreadable: their shapes don't fit.
    """
    args = tuple(worked_out(arg) if isinstance(arg, Node) else arg for arg in node.args)
    matrices = [isinstance(arg, Node) and arg.op == "matrix" for arg in args]
    if not any(matrices):
        return Node(node.op, args)
    if node.op == "neg":
        return _each(args[0], lambda cell: Node("neg", (cell,)))
    if node.op in ("add", "sub") and all(matrices):
        return _matched(node.op, *args)
    if node.op == "mul" and all(matrices):
        return _product(*args)
    if node.op == "mul":
        matrix, factor = args if matrices[0] else args[::-1]
        return _each(matrix, lambda cell: Node("mul", (factor, cell)))
    return Node(node.op, args)


def _cells(matrix: Node) -> list[tuple[Node, ...]]:
    rows = [row.args for row in matrix.args]
    if sum(map(len, rows)) > MOST_CELLS:
        raise TooLarge("a large matrix")
    return rows


def _matrix(rows: list[tuple[Node, ...]]) -> Node:
    return Node("matrix", tuple(Node("row", row) for row in rows))


def _each(matrix: Node, change: Callable[[Node], Node]) -> Node:
    return _matrix([tuple(map(change, row)) for row in _cells(matrix)])


def _matched(op: str, left: Node, right: Node) -> Node:
    rows, others = _cells(left), _cells(right)
    if [len(row) for row in rows] != [len(row) for row in others]:
        raise Unreadable("matrices of other shapes")
    pairs = zip(rows, others, strict=True)
    return _matrix([tuple(Node(op, pair) for pair in zip(row, other, strict=True)) for row, other in pairs])


def _product(left: Node, right: Node) -> Node:
    rows, columns = _cells(left), list(zip(*_cells(right), strict=True))
    if any(len(row) != len(columns[0]) for row in rows):
        raise Unreadable("matrices of other shapes")
    return _matrix([tuple(_dot(row, column) for column in columns) for row in rows])


def _dot(row: tuple[Node, ...], column: tuple[Node, ...]) -> Node:
    total, *rest = (Node("mul", pair) for pair in zip(row, column, strict=True))
    for term in rest:
        total = Node("add", (total, term))
    return total
