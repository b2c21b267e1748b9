"""Add two numbers of the same number of digits, plainly or least significant digit first (arXiv:2502.01612)."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from itertools import count
from typing import Any

import pydantic

from lineal.components.base import Workspace
from lineal.components.sources.base import Row, SyntheticSource
from lineal.components.sources.letter_sort import Range, checked_range
from lineal.data.ids import row_id, row_seed

MOST_DIGITS = 1000
_PLAIN = re.compile(r"([0-9]{1,1000})\+([0-9]{1,1000})=")


class Addition(SyntheticSource):
    """Sums `12+34=`, both numbers of n digits without leading zeros, n drawn evenly from `digits: [low, high]`.

    Attributes:
        digits: the fewest and the most; a row's difficulty is its digits.
        reversed: whether numbers and sum stand with their least significant digit first.
        size: how many prompts.
        split: which split's prompts; default: the task set's name.
    """

    digits: Range
    reversed: bool = False

    @pydantic.field_validator("digits")
    @classmethod
    def _exists(cls, value: Any, info: pydantic.ValidationInfo) -> Any:
        return checked_range(value, info, MOST_DIGITS, _sums, "sums of so many digits")

    def space(self) -> int:
        """Returns how many sums there are."""
        return _sums(*self.digits)

    def candidates(self, workspace: Workspace) -> Iterator[Row]:
        """Yields random sums."""
        low, high = self.digits
        for index in count():
            draw = random.Random(row_seed(workspace.seed, workspace.step, index))  # noqa: S311 - reproducible on purpose
            digits = low + int(draw.random() * (high - low + 1))
            first, second = _number(draw, digits), _number(draw, digits)
            prompt = f"{self._written(first)}+{self._written(second)}="
            answer = self._written(first + second)
            yield {
                "prompt_id": row_id(self.use, prompt, answer),
                "prompt": prompt,
                "answer": answer,
                "difficulty": float(digits),
                "task": self.use,
            }

    def _written(self, number: int) -> str:
        return str(number)[::-1] if self.reversed else str(number)


def solved(prompt: str) -> str | None:
    """Solves a plain prompt such as `12+34=`; None where the text is none."""
    problem = _PLAIN.fullmatch(prompt)
    return str(int(problem[1]) + int(problem[2])) if problem else None


def _sums(low: int, high: int) -> int:
    return sum((10 if digits == 1 else 9 * 10 ** (digits - 1)) ** 2 for digits in range(low, high + 1))


def _number(draw: random.Random, digits: int) -> int:
    """Draws a number of that many digits; digit by digit, since a float holds only 15."""
    first = int(draw.random() * 10) if digits == 1 else 1 + int(draw.random() * 9)
    return int("".join([str(first), *(str(int(draw.random() * 10)) for _ in range(digits - 1))]))
