"""Compares two trees: values, relations, lists, sets, pairs, intervals, matrices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

from lineal.components.mathematics.matrices import worked_out
from lineal.components.mathematics.nodes import ELLIPSIS, Expression
from lineal.components.mathematics.numbers import Compared, letters_of, points, same_value
from lineal.components.mathematics.relations import Bound, bound_of, named, same_relation
from lineal.components.mathematics.tokens import TooLarge, Unreadable
from lineal.components.mathematics.values import TreeEvaluator

MOST_ITEMS = 40
_COLLECTIONS = {"list", "set", "tuple", "interval", "union", "matrix", "row", "ratio"}


def same(left: Expression, right: Expression, seed: str) -> Compared:
    """Compares two trees.

    Args:
        left, right: what to compare.
        seed: decides the values of letters; the reference's text.

    Raises:
        Unreadable: no answer can be given.
    """
    return SeededComparison(seed).same(_spread(left), _spread(right))


class SeededComparison:
    """Compares with one seed."""

    def __init__(self, seed: str) -> None:
        self.seed = seed

    def same(self, left: Expression, right: Expression) -> Compared:
        """Compares two trees; see `same`."""
        if left == right and left.op not in ("add", "sub", "mul", "div"):
            return Compared.EXACT
        for op, compare in self._by_kind():
            if op in (left.op, right.op):
                return compare(left, right)
        return self._values(left, right)

    def _by_kind(self) -> tuple[tuple[str, Callable[[Expression, Expression], Compared]], ...]:
        """Returns the comparisons by the kind of either side; the first that fits decides."""
        return (
            ("text", self._different),
            ("relation", self._relations),
            ("list", self._lists),
            ("union", self._unions),
            ("set", self._sets),
            ("interval", self._intervals),
            ("tuple", self._tuples),
            ("matrix", self._matrices),
            ("row", self._matrices),
            ("ratio", self._ratios),
            ("ellipsis", self._different),
            ("infinity", self._different),
            ("based", self._based),
        )

    def _different(self, left: Expression, right: Expression) -> Compared:
        return Compared.DIFFERENT

    def _values(self, left: Expression, right: Expression) -> Compared:
        try:
            found = same_value(left, right, self.seed)
        except Unreadable:
            if _infinite(left) or _infinite(right):
                return Compared.DIFFERENT
            raise
        bare = _bare(left), _bare(right)
        if found is Compared.DIFFERENT and bare != (left, right):
            return max(Compared.LENIENT, same_value(*bare, self.seed))
        return found

    def _based(self, left: Expression, right: Expression) -> Compared:
        """Compares numbers with a base: equal digits in equal bases, or equal values in different ones."""
        if left.op == right.op:
            return (
                Compared.DIFFERENT
                if left.args[1] == right.args[1]
                else max(Compared.LENIENT, self._values(left, right))
            )
        raise Unreadable("a number with a base beside one without")

    def _relations(self, left: Expression, right: Expression) -> Compared:
        first, second = bound_of(left), bound_of(right)
        if first is not None and second is not None:
            return self._bounds(first, second)
        if left.op == right.op:
            return same_relation(left, right, self.seed, self.same)
        relation, other = (left, right) if left.op == "relation" else (right, left)
        bound = first or second
        if bound is not None and other.op in ("interval", "tuple", "union"):
            return max(Compared.LENIENT, self.same(bound.interval, other))
        assignment = named(relation)
        if assignment is None:
            return Compared.DIFFERENT
        pair = (assignment.value, other) if relation is left else (other, assignment.value)
        return max(Compared.LENIENT, self.same(*pair))

    def _bounds(self, first: Bound, second: Bound) -> Compared:
        return (
            self.same(first.interval, second.interval)
            if first.letter == second.letter
            else Compared.DIFFERENT
        )

    def _lists(self, left: Expression, right: Expression) -> Compared:
        if left.op == "relation" or right.op == "relation":
            return self._relations(left, right)
        if left.op == right.op or "set" in (left.op, right.op):
            if ELLIPSIS in left.args or ELLIPSIS in right.args:
                return self._sequences(left.args, right.args)
            return self._repeated(left, right)
        if "tuple" in (left.op, right.op):
            return max(Compared.LENIENT, self._ordered(left.args, right.args))
        return Compared.DIFFERENT

    def _repeated(self, left: Expression, right: Expression) -> Compared:
        """Compares lists, or a list and a set, in any order; duplicates in a list count once where the other is shorter."""
        if left.op == right.op and len(left.args) == len(right.args):
            return self._unordered(left.args, right.args)
        return max(
            Compared.LENIENT,
            self._unordered(*(tuple(dict.fromkeys(node.args)) for node in (left, right))),
        )

    def _sets(self, left: Expression, right: Expression) -> Compared:
        if left.op == right.op:
            if ELLIPSIS in left.args or ELLIPSIS in right.args:
                return self._sequences(left.args, right.args)
            return self._unordered(left.args, right.args)
        one, other = (left, right) if left.op == "set" else (right, left)
        if len(one.args) == 1 and other.op not in _COLLECTIONS:
            pair = (one.args[0], other) if one is left else (other, one.args[0])
            return max(Compared.LENIENT, self.same(*pair))
        return Compared.DIFFERENT

    def _intervals(self, left: Expression, right: Expression) -> Compared:
        left, right = _as_interval(left), _as_interval(right)
        if left.op != right.op or left.args[:2] != right.args[:2]:
            return Compared.DIFFERENT
        return self._ordered(left.args[2:], right.args[2:])

    def _unions(self, left: Expression, right: Expression) -> Compared:
        parts = [_union_parts(_as_interval(node)) for node in (left, right)]
        return self._unordered(*parts)

    def _tuples(self, left: Expression, right: Expression) -> Compared:
        if "matrix" in (left.op, right.op):
            return self._matrices(left, right)
        return self._ordered(left.args, right.args) if left.op == right.op else Compared.DIFFERENT

    def _matrices(self, left: Expression, right: Expression) -> Compared:
        if left.op == right.op:
            return self._ordered(left.args, right.args)
        matrix, other = (left, right) if left.op == "matrix" else (right, left)
        if other.op == "tuple" and all(len(row.args) == 1 for row in matrix.args):
            column = tuple(row.args[0] for row in matrix.args)
            return max(
                Compared.LENIENT,
                self._ordered(*((column, other.args) if matrix is left else (other.args, column))),
            )
        return Compared.DIFFERENT

    def _ratios(self, left: Expression, right: Expression) -> Compared:
        if left.op != right.op:
            ratio, other = (left, right) if left.op == "ratio" else (right, left)
            if len(ratio.args) != 2 or other.op in _COLLECTIONS:
                return Compared.DIFFERENT
            fraction = Expression("div", ratio.args)
            return max(
                Compared.LENIENT,
                self._values(*((fraction, other) if ratio is left else (other, fraction))),
            )
        if ELLIPSIS in left.args or ELLIPSIS in right.args:
            return self._sequences(left.args, right.args)
        exactly = self._ordered(left.args, right.args)
        return exactly if exactly is not Compared.DIFFERENT else self._proportional(left.args, right.args)

    def _proportional(self, left: Sequence[Expression], right: Sequence[Expression]) -> Compared:
        """Compares ratios, `3:4` and `6:8`; never with a 0, as a time of day has."""
        if len(left) != len(right) or any(self._is_zero(node) for node in (*left, *right)):
            return Compared.DIFFERENT
        crossed = [
            self._values(Expression("mul", (left[0], b)), Expression("mul", (right[0], a)))
            for a, b in zip(left, right, strict=True)
        ]
        return max(Compared.LENIENT, *crossed)

    def _is_zero(self, node: Expression) -> bool:
        return not letters_of(node) and TreeEvaluator(next(points([], self.seed)), 50).value(node) == 0

    def _ordered(self, left: Sequence[Expression], right: Sequence[Expression]) -> Compared:
        if len(left) != len(right):
            return Compared.DIFFERENT
        return self._worst(zip(left, right, strict=True))

    def _worst(self, pairs: zip[tuple[Expression, Expression]]) -> Compared:
        """Returns the worst of the pairs' outcomes; a difference decides, also beside one that cannot be read."""
        worst, problem = Compared.EXACT, None
        for left, right in pairs:
            try:
                worst = max(worst, self.same(left, right))
            except Unreadable as error:
                problem = error
            if worst is Compared.DIFFERENT:
                return worst
        if problem is not None:
            raise problem
        return worst

    def _unordered(self, left: Sequence[Expression], right: Sequence[Expression]) -> Compared:
        if len(left) != len(right):
            return Compared.DIFFERENT
        if len(left) > MOST_ITEMS:
            raise TooLarge("a long list")
        worst, remaining = Compared.EXACT, list(right)
        for node in left:
            best, place = self._best(node, remaining)
            if best is Compared.DIFFERENT:
                return best
            worst = max(worst, best)
            del remaining[place]
        return worst

    def _best(self, node: Expression, others: Sequence[Expression]) -> tuple[Compared, int]:
        """Returns the best outcome of a node with any other, and which; an unreadable one counts when none is equal."""
        best, problem = (Compared.DIFFERENT, 0), None
        for place, other in enumerate(others):
            try:
                best = min(best, (self.same(node, other), place))
            except Unreadable as error:
                problem = error
        if best[0] is Compared.DIFFERENT and problem is not None:
            raise problem
        return best

    def _sequences(self, left: Sequence[Expression], right: Sequence[Expression]) -> Compared:
        """Compares lists with dots: what is before and after the dots is equal; one may show more of an arithmetic sequence."""
        (head, tail), (other_head, other_tail) = _around_dots(left), _around_dots(right)
        shared = min(len(head), len(other_head))
        parts = [self._ordered(tail, other_tail), self._ordered(head[:shared], other_head[:shared])]
        if len(head) != len(other_head):
            longer = max(head, other_head, key=len)
            if shared < 2 or not self._is_arithmetic(longer):
                return Compared.DIFFERENT
            parts.append(Compared.LENIENT)
        return max(parts)

    def _is_arithmetic(self, items: Sequence[Expression]) -> bool:
        steps = [Expression("sub", (after, before)) for before, after in pairwise(items)]
        return all(self._values(steps[0], step) is Compared.EXACT for step in steps)


def _around_dots(items: Sequence[Expression]) -> tuple[Sequence[Expression], Sequence[Expression]]:
    if list(items).count(ELLIPSIS) != 1:
        return items, ()
    place = list(items).index(ELLIPSIS)
    return items[:place], items[place + 1 :]


def _infinite(node: Expression) -> bool:
    return any(part.op == "infinity" for part in node.walk())


def _bare(node: Expression) -> Expression:
    """Strips the sign of degrees or percent from a value."""
    if node.op == "neg":
        return Expression("neg", (_bare(node.args[0]),))
    return node.args[0] if node.op in ("degrees", "percent") else node


def _as_interval(node: Expression) -> Expression:
    if node.op == "tuple" and len(node.args) == 2:
        return Expression("interval", ("(", ")", *node.args))
    bound = bound_of(node)
    return node if bound is None else bound.interval


def _union_parts(node: Expression) -> tuple[Expression, ...]:
    """Returns a union's intervals, and all its finite sets' items as one set."""
    parts = [_as_interval(part) for part in (node.args if node.op == "union" else (node,))]
    items = tuple(dict.fromkeys(item for part in parts if part.op == "set" for item in part.args))
    return (*(part for part in parts if part.op != "set"), *((Expression("set", items),) if items else ()))


def _spread(node: Expression) -> Expression:
    """Expands the tree: `±` as two items, sets united, and an assignment before commas applied to every item: `n = 2, 3`."""
    node = _without_pm(worked_out(node))
    if node.op == "union" and all(part.op == "set" for part in node.args):
        return Expression("set", _union_parts(node)[0].args) if _union_parts(node) else Expression("set")
    if node.op in ("list", "set"):
        items = [
            part for item in node.args for part in (item.args if item.op == "pair of signs" else (item,))
        ]
        return Expression(node.op, tuple(_said_of_all(items)))
    return Expression("list", node.args) if node.op == "pair of signs" else node


def _said_of_all(items: list[Expression]) -> list[Expression]:
    first = named(items[0]) if items and items[0].op == "relation" else None
    if first is None or any(item.op == "relation" for item in items[1:]):
        return items
    sign, target = items[0].args[0], items[0].args[1]
    return [
        items[0],
        *(
            item if item == ELLIPSIS else Expression("relation", (sign[:1], target, item))
            for item in items[1:]
        ),
    ]


def _without_pm(node: Expression) -> Expression:
    if node.op in ("list", "set"):
        return Expression(node.op, tuple(_without_pm(item) for item in node.args))
    if not any(part.op in ("pm", "mp") for part in node.walk()):
        return node
    upper, lower = _signed(node, True), _signed(node, False)
    return Expression("pair of signs", (upper, lower))


def _signed(node: Expression, upper: bool) -> Expression:
    args = tuple(_signed(arg, upper) if isinstance(arg, Expression) else arg for arg in node.args)
    if node.op in ("pm", "mp"):
        return Expression("add" if (node.op == "pm") == upper else "sub", args)
    return Expression(node.op, args)
