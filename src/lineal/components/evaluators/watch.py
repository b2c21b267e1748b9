"""Warnings about an evaluation's numbers, as `warnings:` declares them."""

from __future__ import annotations

import re
from collections.abc import Iterable
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

    falls: Annotated[pydantic.FiniteFloat, Ge(0), Le(1)] | None = None
    rises: Annotated[pydantic.FiniteFloat, Ge(0)] | None = None
    below: pydantic.FiniteFloat | None = None
    above: pydantic.FiniteFloat | None = None

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
        parsed = [_parsed(part) for part in text.split(",")]
        if len(dict(parsed)) < len(parsed):
            raise ValueError(text)
        return Watch.model_validate(dict(parsed))
    except ValueError:
        forms = "falls, rises, falls SHARE, rises SHARE, below LEVEL or above LEVEL"
        raise ValueError(f"expected {forms}, each once and with finite numbers, got {text!r}") from None


def check_name(number: str) -> str:
    """Names the check of a number: `warning_gap`."""
    return "warning_" + re.sub(r"\W+", "_", number)


def require_own_checks(numbers: Iterable[str]) -> None:
    """Refuses numbers whose checks would have one name, such as `a/b` and `a_b`.

    Raises:
        ValueError: names the two numbers and the check.
    """
    named: dict[str, str] = {}
    for number in numbers:
        other = named.setdefault(check_name(number), number)
        if other != number:
            raise ValueError(
                f"{other!r} and {number!r} would both be the check {check_name(number)}; warn about one of them"
            )


def _parsed(text: str) -> tuple[str, float]:
    word, *numbers = text.split()
    if word not in (*MOVES, *LEVELS) or len(numbers) > 1 or (word in LEVELS and not numbers):
        raise ValueError(text)
    return word, float(numbers[0]) if numbers else 0.0
