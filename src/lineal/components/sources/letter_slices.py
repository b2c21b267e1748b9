"""Programs by example, small enough for a tiny model: a chain of Python slices that turns some words into others.

The words `qwer tzui` became `ewq uzt`: which program did it? `x[2::-1]`, or `x[::-1][1:]`. The prompt shows words and results,
the completion is the program. Since it runs (`program_output`), a wrong program is the right one for another task
(`hindsight.sql`).
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from itertools import count
from string import ascii_lowercase
from typing import Annotated, Any, ClassVar

import pydantic

from lineal.components.base import Columns, Workspace, merged
from lineal.components.sources.base import PROMPT_COLUMNS, Row, SyntheticSource
from lineal.components.sources.letter_sort import Range
from lineal.data.ids import row_id, row_seed
from lineal.recipe.compute import Positive

SLICES: Mapping[str, slice] = {
    "[::-1]": slice(None, None, -1),
    "[1:]": slice(1, None),
    "[2:]": slice(2, None),
    "[:-1]": slice(None, -1),
    "[:-2]": slice(None, -2),
    "[::2]": slice(None, None, 2),
    "[1::2]": slice(1, None, 2),
}
"""A part of a program: its text, and its function."""


class LetterSlices(SyntheticSource):
    """Prompts `WORDS>RESULTS=`, one word or result a line, of programs `x` with n slices, n drawn evenly from `slices`.

    The completion is the program that made the results; there may be others. A row's difficulty is its number of slices.

    Attributes:
        slices: the fewest and the most.
        words: how many words each program is shown on.
        length: letters of a word, all different.
        size: how many prompts.
        split: which split's prompts; default: the task set's name.
    """

    columns: ClassVar[Columns] = merged(PROMPT_COLUMNS, ("input", "completion"))

    slices: Range
    words: Positive = 2
    length: Annotated[int, pydantic.Field(ge=4, le=len(ascii_lowercase))] = 8

    @pydantic.field_validator("slices")
    @classmethod
    def _is_range(cls, value: Any) -> Any:
        if isinstance(value, tuple) and not 1 <= value[0] <= value[1] <= 4:
            raise ValueError("must be [low, high] with 1 <= low <= high <= 4")
        return value

    def candidates(self, workspace: Workspace) -> Iterator[Row]:
        """Yields random programs on random words; those that leave nothing, or everything, are skipped."""
        low, high = self.slices
        for index in count():
            draw = random.Random(row_seed(workspace.seed, workspace.step, index))  # noqa: S311 - reproducible on purpose
            number = low + int(draw.random() * (high - low + 1))
            chain = [list(SLICES)[int(draw.random() * len(SLICES))] for _ in range(number)]
            words = [_word(draw, self.length) for _ in range(self.words)]
            results = [sliced(word, chain) for word in words]
            if all(results) and results != words:
                given, answer = "\n".join(words), "\n".join(results)
                prompt = f"{given}>{answer}="
                yield {
                    "prompt_id": row_id(self.use, prompt),
                    "prompt": prompt,
                    "answer": answer,
                    "difficulty": float(number),
                    "task": self.use,
                    "input": given,
                    "completion": "x" + "".join(chain),
                }


def sliced(word: str, chain: list[str]) -> str:
    """Returns a word after all slices of a chain."""
    for written in chain:
        word = word[SLICES[written]]
    return word


def _word(draw: random.Random, length: int) -> str:
    return "".join(sorted(ascii_lowercase, key=lambda _: draw.random())[:length])
