"""`drawn_letters`: the problems of `letter_sort`, their letters drawn."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from itertools import count
from typing import Any

import pydantic

from lineal.components.base import Workspace
from lineal.components.sources.base import Row
from lineal.components.sources.bitmaps import LETTERS, Mark, Scale, drawn
from lineal.components.sources.letter_sort import LETTERS as MOST
from lineal.components.sources.letter_sort import Range, bounded_range, sort_problem, sort_problem_id
from lineal.components.sources.pictured import PicturedSource
from lineal.data.ids import row_seed

PROMPT = "Sort the letters."


class DrawnLetters(PicturedSource):
    """Pictures of different letters, lengths drawn evenly from `length: [low, high]`; the answer is the letters, sorted.

    Letters stand line by line in the smallest square of cells that holds the longest. A problem is of the split that it has in
    `letter_sort`, so that what is held out as a text is held out as a picture.

    Attributes:
        length: the shortest and the longest; a row's difficulty is its length.
        scale: pixels on the side of a dot; a letter's cell has 8 x 8 dots.
        size: how many prompts.
        split: which split's prompts; default: the task set's name.
    """

    length: Range
    scale: Scale = 1

    @pydantic.field_validator("length")
    @classmethod
    def _exists(cls, value: Any) -> Any:
        return bounded_range(value, MOST)

    def candidates(self, workspace: Workspace) -> Iterator[Row]:
        """Yields random problems."""
        side = math.isqrt(self.length[1] - 1) + 1
        for index in count():
            draw = random.Random(row_seed(workspace.seed, workspace.step, index))  # noqa: S311 - reproducible on purpose
            prompt, answer = sort_problem(draw, self.length)
            marks = [
                Mark(*divmod(place, side), LETTERS[letter], "white")
                for place, letter in enumerate(prompt.removesuffix("="))
            ]
            row = self.asked(drawn(side, self.scale, marks), PROMPT, answer, float(len(answer)))
            yield {**row, "problem": sort_problem_id(prompt, answer)}

    def split_id(self, row: Row) -> str:
        problem: str = row["problem"]
        return problem
