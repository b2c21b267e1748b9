"""Conditions of assertions on the values of calls, computed by a few operations of lineal: Python evaluates nothing here."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lineal.components.sandbox.values import NotPlain

_MOST_DIGITS = 300


def _rounded(number: Any, digits: int | None = None) -> Any:
    if digits is not None and abs(digits) > _MOST_DIGITS:
        raise ValueError("too many digits")
    return round(number, digits)


def _same(left: Any, right: Any) -> bool:
    for side in (left, right):
        if isinstance(side, NotPlain):
            raise TypeError(f"{side.type_name!r} is no plain value")
    return left is right


FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "abs": abs,
    "all": all,
    "any": any,
    "bool": bool,
    "dict": dict,
    "float": float,
    "frozenset": frozenset,
    "int": int,
    "len": len,
    "list": list,
    "max": max,
    "min": min,
    "round": _rounded,
    "set": set,
    "sorted": sorted,
    "sum": sum,
    "tuple": tuple,
    "math.isclose": math.isclose,
}
"""Operations that an assertion may apply to a call's value."""
ITERATING = frozenset(
    {"all", "any", "dict", "frozenset", "list", "max", "min", "set", "sorted", "sum", "tuple"}
)
"""Those that iterate over their first argument, so that a generator will do."""
_COMPARISONS: Mapping[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Is: _same,
    ast.IsNot: lambda left, right: not _same(left, right),
    ast.In: lambda item, items: item in items,
    ast.NotIn: lambda item, items: item not in items,
}
_ARITHMETIC: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}
_UNARY: Mapping[type[ast.unaryop], Callable[[Any], Any]] = {
    ast.Not: operator.not_,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}
_MOST_POWER = 1000
_MOST_REPEATED = 1 << 20


class Slot(ast.expr):
    """The place of a call's value in a condition."""

    _fields = ("number",)

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


def is_known(node: ast.AST) -> bool:
    """Tells whether a condition needs only these operations."""
    if isinstance(node, Slot | ast.expr_context | ast.boolop):
        return True
    if isinstance(node, ast.Call):
        fine = ast.unparse(node.func) in FUNCTIONS and all(keyword.arg for keyword in node.keywords)
        parts: list[ast.AST] = [*node.args, *(keyword.value for keyword in node.keywords)]
    else:
        fine = type(node) in _KNOWN and not (isinstance(node, ast.Dict) and None in node.keys)
        parts = list(ast.iter_child_nodes(node))
    return fine and all(map(is_known, parts))


def worked_out(node: ast.expr, values: Sequence[Any]) -> Any:
    """Computes a checked condition's value."""
    if isinstance(node, Slot):
        return values[node.number]
    return _WORK[type(node)](node, lambda part: worked_out(part, values))


def _compared(node: ast.Compare, of: Callable[[ast.expr], Any]) -> bool:
    left = of(node.left)
    for operation, part in zip(node.ops, node.comparators, strict=True):
        right = of(part)
        if not _COMPARISONS[type(operation)](left, right):
            return False
        left = right
    return True


def _calculated(operation: ast.operator, left: Any, right: Any) -> Any:
    """Computes arithmetic whose result is no larger than what a test can mean."""
    numbers = [abs(side) for side in (left, right) if isinstance(side, int)]
    lengths = [len(side) for side in (left, right) if isinstance(side, list | tuple | str | bytes)]
    if isinstance(operation, ast.Pow) and max(numbers, default=0) > _MOST_POWER:
        raise OverflowError("too large a power")
    if isinstance(operation, ast.Mult) and lengths and max(numbers, default=0) * lengths[0] > _MOST_REPEATED:
        raise OverflowError("too long a repetition")
    return _ARITHMETIC[type(operation)](left, right)


def _called(node: ast.Call, of: Callable[[ast.expr], Any]) -> Any:
    named = {str(keyword.arg): of(keyword.value) for keyword in node.keywords}
    return FUNCTIONS[ast.unparse(node.func)](*map(of, node.args), **named)


def _joined(node: ast.BoolOp, of: Callable[[ast.expr], Any]) -> bool:
    parts = map(of, node.values)
    return all(parts) if isinstance(node.op, ast.And) else any(parts)


_WORK: Mapping[type[ast.expr], Callable[[Any, Callable[[ast.expr], Any]], Any]] = {
    ast.Constant: lambda node, of: node.value,
    ast.Compare: _compared,
    ast.BoolOp: _joined,
    ast.UnaryOp: lambda node, of: _UNARY[type(node.op)](of(node.operand)),
    ast.BinOp: lambda node, of: _calculated(node.op, of(node.left), of(node.right)),
    ast.Call: _called,
    ast.Subscript: lambda node, of: of(node.value)[of(node.slice)],
    ast.List: lambda node, of: list(map(of, node.elts)),
    ast.Tuple: lambda node, of: tuple(map(of, node.elts)),
    ast.Set: lambda node, of: set(map(of, node.elts)),
    ast.Dict: lambda node, of: dict(zip(map(of, node.keys), map(of, node.values), strict=True)),
}
_KNOWN = frozenset({*_WORK, *_COMPARISONS, *_ARITHMETIC, *_UNARY})
