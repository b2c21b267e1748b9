"""The value of a formula at given values of its letters: a fraction where that is exact, else a number of many digits.

Every step has a limit, since a model may have written the formula: `9**9**9**9` is refused, not computed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import lru_cache
from typing import Any

from lineal.components.mathematics.nodes import Expression
from lineal.components.mathematics.tokens import TooLarge, Unreadable

Value = Any
"""A `Fraction`, or a number of mpmath."""

MOST_BITS = 1 << 18
"""Of numerator or denominator."""
MOST_EXPONENT = 1 << 20
MOST_ANGLE = 1 << 200
MOST_STEPS = 50_000
_LARGEST_EXACT = 5_000


@lru_cache(maxsize=4)
def context(digits: int) -> Any:
    """Returns a context of mpmath with so many decimal digits, apart from the global one."""
    import mpmath

    made = mpmath.MPContext()
    made.dps = digits
    return made


class TreeEvaluator:
    """Evaluates trees.

    Args:
        letters: the value of each letter.
        digits: decimal digits of what is not a fraction.
    """

    def __init__(self, letters: Mapping[str, Fraction], digits: int) -> None:
        self.letters = dict(letters)
        self.mp = context(digits)
        self._steps = 0

    def value(self, node: Expression) -> Value:
        """Computes a formula's value.

        Raises:
            TooLarge: it would take more than an answer may.
            Unreadable: it has none that this reader could work out.
        """
        try:
            return self._value(node)
        except (ZeroDivisionError, ValueError, OverflowError) as error:
            raise Unreadable(f"no value: {error}") from error
        except (RecursionError, MemoryError) as error:
            raise TooLarge("too deeply nested") from error

    def _value(self, node: Expression) -> Value:
        self._steps += 1
        if self._steps > MOST_STEPS:
            raise TooLarge("too many steps")
        method = _METHODS.get(node.op)
        if method is None:
            raise Unreadable(f"{node.op} has no single value")
        return self._short(method(self, node))

    def _short(self, value: Value) -> Value:
        if isinstance(value, Fraction):
            if max(value.numerator.bit_length(), value.denominator.bit_length()) > MOST_BITS:
                raise TooLarge("a long number")
            return value
        if not self.mp.isfinite(value):
            raise Unreadable("no finite value")
        return value

    def number(self, value: Value) -> Value:
        """Converts a value to a number of mpmath."""
        if isinstance(value, Fraction):
            return self.mp.mpf(value.numerator) / value.denominator
        return value

    def pair(self, node: Expression) -> tuple[Value, Value]:
        """Returns both arguments' values, both fractions or both numbers of mpmath."""
        left, right = self._value(node.args[0]), self._value(node.args[1])
        if isinstance(left, Fraction) and isinstance(right, Fraction):
            return left, right
        return self.number(left), self.number(right)

    def literal(self, node: Expression) -> Value:
        return node.args[0]

    def symbol(self, node: Expression) -> Value:
        return self.letters[node.args[0]]

    def constant(self, node: Expression) -> Value:
        return {"pi": +self.mp.pi, "e": +self.mp.e, "i": self.mp.mpc(0, 1)}[node.args[0]]

    def add(self, node: Expression) -> Value:
        left, right = self.pair(node)
        return left + right

    def subtract(self, node: Expression) -> Value:
        left, right = self.pair(node)
        return left - right

    def multiply(self, node: Expression) -> Value:
        left, right = self.pair(node)
        return left * right

    def divide(self, node: Expression) -> Value:
        left, right = self.pair(node)
        return left / right

    def negate(self, node: Expression) -> Value:
        return -self._value(node.args[0])

    def modulo(self, node: Expression) -> Value:
        left, right = self.pair(node)
        if not isinstance(left, Fraction):
            raise Unreadable("a remainder of what is no fraction")
        return left % right

    def power(self, node: Expression) -> Value:
        base, exponent = self._value(node.args[0]), self._value(node.args[1])
        if isinstance(exponent, Fraction) and exponent.denominator == 1 and isinstance(base, Fraction):
            return self._whole_power(base, exponent.numerator)
        if (
            isinstance(exponent, Fraction)
            and isinstance(base, Fraction)
            and exponent.denominator == 2
            and base >= 0
        ):
            return self._whole_power(self._square_root(base), exponent.numerator)
        return self._power(self.number(base), self.number(exponent))

    def _power(self, base: Value, exponent: Value) -> Value:
        if abs(exponent) * (abs(self.mp.mag(base)) + 1 if base else 1) > MOST_EXPONENT:
            raise TooLarge("a large power")
        return self.mp.power(base, exponent)

    def _whole_power(self, base: Value, exponent: int) -> Value:
        if isinstance(base, Fraction):
            bits = max(base.numerator.bit_length(), base.denominator.bit_length(), 1)
            if abs(exponent) * bits <= MOST_BITS or base in (0, 1, -1):
                return base ** (exponent if base not in (1, -1) else exponent % 2)
            raise TooLarge("a long number")
        return self._power(self.number(base), self.mp.mpf(exponent))

    def _square_root(self, value: Fraction) -> Value:
        roots = math.isqrt(value.numerator), math.isqrt(value.denominator)
        if roots[0] ** 2 == value.numerator and roots[1] ** 2 == value.denominator:
            return Fraction(*roots)
        return self.mp.sqrt(self.number(value))

    def root(self, node: Expression) -> Value:
        radicand, degree = self._value(node.args[0]), self._value(node.args[1])
        if degree == 2 and isinstance(radicand, Fraction) and radicand >= 0:
            return self._square_root(radicand)
        if not isinstance(degree, Fraction) or degree.denominator != 1 or not 1 <= degree <= _LARGEST_EXACT:
            raise Unreadable("a root of no whole degree")
        number = self.number(radicand)
        if self.mp.im(number) == 0 and self.mp.re(number) < 0 and degree % 2:
            return -self.mp.root(-number, int(degree))
        return self.mp.root(number, int(degree))

    def factorial(self, node: Expression) -> Value:
        value = self._value(node.args[0])
        if isinstance(value, Fraction) and value.denominator == 1:
            if value < 0:
                raise Unreadable("a factorial of a negative number")
            if value > _LARGEST_EXACT:
                raise TooLarge("a large factorial")
            return Fraction(math.factorial(int(value)))
        return self.mp.factorial(self._bounded(value, MOST_EXPONENT))

    def _bounded(self, value: Value, limit: int) -> Value:
        number = self.number(value)
        if abs(number) > limit:
            raise TooLarge("a large argument")
        return number

    def degrees(self, node: Expression) -> Value:
        return self.number(self._value(node.args[0])) * self.mp.pi / 180

    def percent(self, node: Expression) -> Value:
        return self._value(node.args[0]) / 100

    def based(self, node: Expression) -> Value:
        digits, base = node.args
        if not digits.isdigit() or not base.isdigit() or not 2 <= int(base) <= 36:
            raise Unreadable("a number in no known base")
        return Fraction(int(digits, int(base)))

    def call(self, node: Expression) -> Value:
        name, *arguments = node.args
        values = [self._value(argument) for argument in arguments]
        exact = _EXACT.get(name)
        if exact is not None and all(isinstance(value, Fraction) for value in values):
            return Fraction(exact(*values))
        return self._transcendental(name, values)

    def _transcendental(self, name: str, values: list[Value]) -> Value:
        mp = self.mp
        if name == "log" and len(values) == 2:
            return mp.log(self.number(values[0])) / mp.log(self.number(values[1]))
        if name == "binom" and len(values) == 2:
            return mp.binomial(*(self._bounded(value, MOST_EXPONENT) for value in values))
        if len(values) != 1 or name not in _NAMES:
            raise Unreadable(f"the function {name}")
        limit = MOST_EXPONENT if name in ("exp", "sinh", "cosh", "tanh") else MOST_ANGLE
        number = (
            self.number(values[0]) if name in ("ln", "log", "lg", "abs") else self._bounded(values[0], limit)
        )
        return getattr(mp, _NAMES[name])(number)

    def series(self, node: Expression) -> Value:
        variable, start, stop, body = node.args
        first, last = self._value(start), self._value(stop)
        whole = all(isinstance(end, Fraction) and end.denominator == 1 for end in (first, last))
        if variable.op not in ("symbol", "constant") or not whole:
            raise Unreadable("a sum over no whole numbers")
        if last - first > MOST_STEPS:
            raise TooLarge("a long sum")
        outer = dict(self.letters)
        total: Value = Fraction(int(node.op == "prod"))
        for step in range(int(first), int(last) + 1):
            self.letters[variable.args[0]] = Fraction(step)
            term = self._value(body)
            both = isinstance(term, Fraction) and isinstance(total, Fraction)
            left, right = (total, term) if both else (self.number(total), self.number(term))
            total = self._short(left + right if node.op == "sum" else left * right)
        self.letters = outer
        return total


def _binomial(upper: Fraction, lower: Fraction) -> int:
    if upper.denominator != 1 or lower.denominator != 1 or upper < 0 or lower < 0:
        raise Unreadable("a binomial coefficient of other than whole numbers")
    if upper > _LARGEST_EXACT and min(lower, upper - lower) > 50:
        raise TooLarge("a large binomial coefficient")
    return math.comb(int(upper), int(lower))


def _whole(function: Callable[..., int]) -> Callable[..., int]:
    def checked(*values: Fraction) -> int:
        if any(value.denominator != 1 for value in values):
            raise Unreadable("whole numbers are needed")
        return function(*(int(value) for value in values))

    return checked


_EXACT: dict[str, Callable[..., Any]] = {
    "abs": abs,
    "floor": math.floor,
    "ceil": math.ceil,
    "max": max,
    "min": min,
    "binom": _binomial,
    "gcd": _whole(math.gcd),
    "lcm": _whole(math.lcm),
}
_NAMES = {
    "ln": "ln",
    "log": "ln",
    "lg": "log10",
    "exp": "exp",
    "abs": "fabs",
    "floor": "floor",
    "ceil": "ceil",
    "sinh": "sinh",
    "cosh": "cosh",
    "tanh": "tanh",
    **{name: name for name in ("sin", "cos", "tan", "cot", "sec", "csc")},
    **{f"arc{name}": f"a{name}" for name in ("sin", "cos", "tan", "cot", "sec", "csc")},
}
_METHODS: dict[str, Callable[[TreeEvaluator, Expression], Value]] = {
    "number": TreeEvaluator.literal,
    "symbol": TreeEvaluator.symbol,
    "constant": TreeEvaluator.constant,
    "add": TreeEvaluator.add,
    "sub": TreeEvaluator.subtract,
    "mul": TreeEvaluator.multiply,
    "div": TreeEvaluator.divide,
    "neg": TreeEvaluator.negate,
    "mod": TreeEvaluator.modulo,
    "pow": TreeEvaluator.power,
    "root": TreeEvaluator.root,
    "factorial": TreeEvaluator.factorial,
    "degrees": TreeEvaluator.degrees,
    "percent": TreeEvaluator.percent,
    "based": TreeEvaluator.based,
    "call": TreeEvaluator.call,
    "sum": TreeEvaluator.series,
    "prod": TreeEvaluator.series,
}
