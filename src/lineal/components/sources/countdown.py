"""Reach a target with given numbers, step by step: `3,5,20>35:` -> `5*3=15|15,20` and then `20+15=35`."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from functools import lru_cache
from itertools import count
from typing import Annotated, Any, ClassVar, Self

import pydantic
from annotated_types import Ge, Le

from lineal.components.base import Columns, Workspace
from lineal.components.sources.base import PROMPT_COLUMNS, Row, SyntheticSource
from lineal.components.sources.letter_sort import Range, bounded_range
from lineal.data.ids import row_id, row_seed

MOST_NUMBERS = 6
"""A table of all ways to put six numbers together takes a second."""
Numbers = tuple[int, ...]
"""In ascending order."""


class Countdown(SyntheticSource):
    """Numbers and a target that they reach, each used once, with `+`, `-`, `*` and `/`; no value is above `largest`.

    `answer` is a solution drawn at random: a model that is taught such answers computes rightly and chooses blindly. Each of its
    lines puts two numbers together and names what is left. `arithmetic_steps` judges any solution.

    Attributes:
        numbers: the fewest and the most; a row's difficulty is how many there are.
        largest: the largest value of a number, a result and the target.
        drawn_up_to: the largest of the numbers that are given.
        size: how many prompts.
        split: which split's prompts; default: the task set's name.
    """

    columns: ClassVar[Columns] = (*PROMPT_COLUMNS, "entry")

    numbers: Range
    largest: Annotated[int, Ge(2), Le(9999)] = 99
    drawn_up_to: Annotated[int, Ge(2), Le(9999)] = 20

    @pydantic.field_validator("numbers")
    @classmethod
    def _few_enough(cls, value: Any) -> Any:
        return bounded_range(value, MOST_NUMBERS) if isinstance(value, tuple) else value

    @pydantic.model_validator(mode="after")
    def _within(self) -> Self:
        if self.drawn_up_to > self.largest:
            raise ValueError(
                f"drawn_up_to is {self.drawn_up_to}, but no value may be above largest, {self.largest}"
            )
        return self

    def candidates(self, workspace: Workspace) -> Iterator[Row]:
        """Yields numbers, and targets that random steps reach."""
        low, high = self.numbers
        for index in count():
            draw = random.Random(row_seed(workspace.seed, workspace.step, index))  # noqa: S311 - reproducible on purpose
            many = low + int(draw.random() * (high - low + 1))
            given = tuple(sorted(1 + int(draw.random() * self.drawn_up_to) for _ in range(many)))
            target, lines = _walk(given, self.largest, draw)
            if target is not None:
                yield self._row(given, target, "\n".join(lines))

    def _row(self, given: Numbers, target: int, answer: str) -> Row:
        prompt = f"{_listed(given)}>{target}:"
        entry = {"largest": self.largest, "numbers": list(given), "target": target}
        return {
            "prompt_id": row_id(self.use, prompt),
            "prompt": prompt,
            "answer": answer,
            "difficulty": float(len(given)),
            "task": self.use,
            "entry": json.dumps(entry, sort_keys=True),
        }


def _walk(given: Numbers, largest: int, draw: random.Random) -> tuple[int | None, list[str]]:
    """Returns the end of random steps, and their lines; None where no step is left before a single number remains."""
    lines: list[str] = []
    while len(given) > 1:
        steps = moves(given, largest)
        if not steps:
            return None, lines
        text, given = steps[int(draw.random() * len(steps))]
        lines.append(line_of(text, given))
    return given[0], lines


@lru_cache(maxsize=1 << 16)
def moves(numbers: Numbers, largest: int) -> tuple[tuple[str, Numbers], ...]:
    """Returns all ways to combine two of the numbers: `a+b=c`, the larger number first, and the numbers after it."""
    found: dict[str, Numbers] = {}
    for high in range(len(numbers)):
        for low in range(high):
            rest = [number for place, number in enumerate(numbers) if place not in (low, high)]
            for sign, result in results(numbers[high], numbers[low]).items():
                if 1 <= result <= largest:
                    found[f"{numbers[high]}{sign}{numbers[low]}={result}"] = tuple(sorted([*rest, result]))
    return tuple(found.items())


def results(first: int, second: int) -> dict[str, int]:
    """Returns the result of each sign for two numbers, where that is a whole number."""
    found = {"+": first + second, "-": first - second, "*": first * second}
    return found | ({"/": first // second} if second and first % second == 0 else {})


@lru_cache(maxsize=1 << 20)
def reaches(numbers: Numbers, target: int, largest: int) -> bool:
    """Tells whether the numbers, each used once, can reach the target."""
    if len(numbers) == 1:
        return numbers[0] == target
    return any(reaches(left, target, largest) for _, left in moves(numbers, largest))


def line_of(text: str, left: Numbers) -> str:
    """Writes a step as a solution's line: with the remaining numbers, where there are others than the result."""
    return f"{text}|{_listed(left)}" if len(left) > 1 else text


def _listed(numbers: Numbers) -> str:
    return ",".join(map(str, numbers))
