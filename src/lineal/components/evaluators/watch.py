"""Warnings about an evaluation's numbers, as `warnings:` declares them."""

from __future__ import annotations

from typing import Annotated, Any, Self

import pydantic
from annotated_types import Ge, Le

from lineal.recipe.compute import Strict

MOVES = ("falls", "rises")
LEVELS = ("below", "above")


class Watch(Strict):
    """The warnings about one number: at least one.

    Attributes:
        falls, rises: a warning when the number fell (rose) since an earlier round by more than this share of what it was, and by
            more than noise; the words `falls` and `rises` alone stand for 0.
        below, above: a warning when the whole interval of the number is below (above) this level.
    """

    falls: Annotated[float, Ge(0), Le(1)] | None = None
    rises: Annotated[float, Ge(0)] | None = None
    below: float | None = None
    above: float | None = None

    @pydantic.model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.model_dump(exclude_none=True):
            raise ValueError(f"says nothing. Write one of {', '.join((*MOVES, *LEVELS))}")
        return self


def _spelled(value: Any) -> Any:
    """Writes `falls` as `{falls: 0}`."""
    return {value: 0.0} if value in MOVES else value


Watched = Annotated[Watch, pydantic.BeforeValidator(_spelled)]


def parse_watch(text: str) -> Watch:
    """Parses the warnings of a measure's header: `falls`, `falls 0.25`, `below 0.05`, or several, separated by commas.

    Raises:
        ValueError: the text is something else; the message says what is expected.
    """
    try:
        return Watch.model_validate(dict(map(_parsed, text.split(","))))
    except ValueError:
        raise ValueError(f"expected falls, rises, falls SHARE, rises SHARE, below LEVEL or above LEVEL, got {text!r}") from None


def _parsed(text: str) -> tuple[str, float]:
    word, *numbers = text.split()
    if word not in (*MOVES, *LEVELS) or len(numbers) > 1 or (word in LEVELS and not numbers):
        raise ValueError(text)
    return word, float(numbers[0]) if numbers else 0.0
