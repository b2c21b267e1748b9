"""Sums and products of matrices, computed in the tree."""

from __future__ import annotations

from collections.abc import Callable

from lineal.components.mathematics.nodes import Expression
from lineal.components.mathematics.tokens import TooLarge, Unreadable

MOST_CELLS = 100


def worked_out(node: Expression) -> Expression:
    """Returns the tree with the sums, differences and products of its matrices computed.

    Raises:
        Unreadable: their shapes don't fit.
    """
    args = tuple(worked_out(arg) if isinstance(arg, Expression) else arg for arg in node.args)
    matrices = [isinstance(arg, Expression) and arg.op == "matrix" for arg in args]
    if not any(matrices):
        return Expression(node.op, args)
    if node.op == "neg":
        return _each(args[0], lambda cell: Expression("neg", (cell,)))
    if node.op in ("add", "sub") and all(matrices):
        return _matched(node.op, *args)
    if node.op == "mul" and all(matrices):
        return _product(*args)
    if node.op == "mul":
        matrix, factor = args if matrices[0] else args[::-1]
        return _each(matrix, lambda cell: Expression("mul", (factor, cell)))
    return Expression(node.op, args)


def _cells(matrix: Expression) -> list[tuple[Expression, ...]]:
    rows = [row.args for row in matrix.args]
    if sum(map(len, rows)) > MOST_CELLS:
        raise TooLarge("a large matrix")
    return rows


def _matrix(rows: list[tuple[Expression, ...]]) -> Expression:
    return Expression("matrix", tuple(Expression("row", row) for row in rows))


def _each(matrix: Expression, change: Callable[[Expression], Expression]) -> Expression:
    return _matrix([tuple(map(change, row)) for row in _cells(matrix)])


def _matched(op: str, left: Expression, right: Expression) -> Expression:
    rows, others = _cells(left), _cells(right)
    if [len(row) for row in rows] != [len(row) for row in others]:
        raise Unreadable("matrices of other shapes")
    pairs = zip(rows, others, strict=True)
    return _matrix(
        [tuple(Expression(op, pair) for pair in zip(row, other, strict=True)) for row, other in pairs]
    )


def _product(left: Expression, right: Expression) -> Expression:
    rows, columns = _cells(left), list(zip(*_cells(right), strict=True))
    if any(len(row) != len(columns[0]) for row in rows):
        raise Unreadable("matrices of other shapes")
    return _matrix([tuple(_dot(row, column) for column in columns) for row in rows])


def _dot(row: tuple[Expression, ...], column: tuple[Expression, ...]) -> Expression:
    total, *rest = (Expression("mul", pair) for pair in zip(row, column, strict=True))
    for term in rest:
        total = Expression("add", (total, term))
    return total
