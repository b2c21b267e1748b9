"""Sort different letters: `qdxa=` -> `adqx`. Length generalizes by degrees, so filtering has something to amplify."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from itertools import count
from string import ascii_lowercase
from typing import Annotated, Any

import pydantic

from lineal.components.base import Workspace
from lineal.components.sources.base import Row, SyntheticSource
from lineal.data.ids import row_id, row_seed

LETTERS = len(ascii_lowercase)


def _pair(value: Any, convert: pydantic.ValidatorFunctionWrapHandler) -> Any:
    """Checks that a value is a pair; what it is of, pydantic tells."""
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise ValueError(f"expected [low, high], got {value!r}")
    return convert(value)


Range = Annotated[tuple[int, int], pydantic.Strict(False), pydantic.WrapValidator(_pair)]


def checked_range(
    value: Any, info: pydantic.ValidationInfo, most: int, space: Callable[[int, int], int], what: str
) -> Any:
    """Checks a range against its bounds and against how many prompts `size` asks for.

    Raises:
        ValueError: it is no range, or holds fewer prompts than `size`.
    """
    if isinstance(value, tuple):
        low, high = bounded_range(value, most)
        size = info.data.get("size")
        if isinstance(size, int) and size > space(low, high):
            raise ValueError(
                f"size is {size:,}, but only {space(low, high):,} {what} exist; lower size or widen the range"
            )
    return value


def bounded_range(value: tuple[int, int], most: int) -> tuple[int, int]:
    """Checks a range against its bounds.

    Raises:
        ValueError: it is no range from 1 to `most`.
    """
    low, high = value
    if not 1 <= low <= high <= most:
        raise ValueError(f"must be [low, high] with 1 <= low <= high <= {most}")
    return low, high


class LetterSort(SyntheticSource):
    """Strings of different lower-case letters, lengths drawn evenly from `length: [low, high]`.

    Attributes:
        length: the shortest and the longest; a row's difficulty is its length.
        size: how many prompts.
        split: which split's prompts; default: the task set's name.
    """

    length: Range

    @pydantic.field_validator("length")
    @classmethod
    def _exists(cls, value: Any, info: pydantic.ValidationInfo) -> Any:
        return checked_range(value, info, LETTERS, _strings, "strings of so many different letters")

    def space(self) -> int:
        """Returns how many strings there are."""
        return _strings(*self.length)

    def candidates(self, workspace: Workspace) -> Iterator[Row]:
        """Yields random strings."""
        for index in count():
            draw = random.Random(row_seed(workspace.seed, workspace.step, index))  # noqa: S311 - reproducible on purpose
            prompt, answer = sort_problem(draw, self.length)
            yield {
                "prompt_id": sort_problem_id(prompt, answer),
                "prompt": prompt,
                "answer": answer,
                "difficulty": float(len(answer)),
                "task": self.use,
            }


def sort_problem(draw: random.Random, length: tuple[int, int]) -> tuple[str, str]:
    """Draws a prompt and its answer; only `Random.random` is used, which Python keeps the same over its versions."""
    low, high = length
    chosen = low + int(draw.random() * (high - low + 1))
    letters = "".join(sorted(ascii_lowercase, key=lambda _: draw.random())[:chosen])
    return f"{letters}=", "".join(sorted(letters))


def solved(prompt: str) -> str | None:
    """Solves a prompt; None where it is none: different lower-case letters and `=`."""
    letters = prompt.removesuffix("=")
    is_problem = (
        prompt.endswith("=")
        and letters != ""
        and set(letters) <= set(ascii_lowercase)
        and len(set(letters)) == len(letters)
    )
    return "".join(sorted(letters)) if is_problem else None


def sort_problem_id(prompt: str, answer: str) -> str:
    """Returns the prompt's id, which decides its split."""
    return row_id("letter_sort", prompt, answer)


def _strings(low: int, high: int) -> int:
    return sum(math.perm(LETTERS, length) for length in range(low, high + 1))
