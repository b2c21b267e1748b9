"""Mathematical equality: `1/2`, `0.5` and `\\frac{1}{2}` are the same answer.

math-verify judges, and a second comparison confirms what it passes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

from lineal.components.base import Columns, missing_package
from lineal.components.mathematics.answers import (
    Answers,
    SecondOpinion,
    agreement,
    answers_in,
    clean,
    formula_of,
    readings,
)
from lineal.components.mathematics.tokens import TooLarge
from lineal.components.verifiers.base import NO_ANSWER
from lineal.components.verifiers.scored import ScoredVerifier

MOST_SHOWN = 80
CONFIRMED_ALONE = "equal by the second comparison; math-verify reads it otherwise"
TOO_LARGE = "the answer is too long, too deep or too large to compare"


class Math(ScoredVerifier):
    """Finds the answer in the completion (a box, a formula, the last number) and compares it with the reference.

    Nothing passes on math-verify's word alone: a second comparison, which shares no code with it, must find the same
    (docs/verifiers.md). Where math-verify finds an answer equal and the second comparison does not, the row is an error.
    """

    version: ClassVar[int] = 3
    function: ClassVar[str] = "lineal.components.verifiers.math:score_math"
    reads: ClassVar[Columns] = ("completion", "answer")

    def lacks(self) -> list[str]:
        return missing_package("math_verify", "math-verify", "math")


class Disagreement(ValueError):
    """The two comparisons contradict each other, or only one of them could read an answer."""


def prepare() -> None:
    """Imports what scoring needs.

    Raises:
        ModuleNotFoundError: math-verify is not installed; says how to.
    """
    try:
        from math_verify import parse
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"{error}; install it: pip install 'lineal[math]'") from error

    parse("$\\frac{1}{2}$", parsing_timeout=0)
    agreement("\\sqrt{2}", answers_in("2^{1/2}"))


@dataclass(frozen=True)
class _First:
    """The result of math-verify: whether it finds the answers equal, None where it broke; why; and the text that it read."""

    equal: bool | None
    detail: str
    read: str = ""


def score_math(row: Mapping[str, str]) -> tuple[float, str | None]:
    """Returns score (1 or 0) and detail of one row.

    Raises:
        ValueError: the reference answer cannot be read, or the two comparisons disagree.
    """
    reference, completion = row["answer"], row["completion"]
    answers = answers_in(completion)
    second = agreement(reference, answers)
    if second is SecondOpinion.TOO_LARGE:
        if agreement(reference, Answers(("0",), True)) is SecondOpinion.TOO_LARGE:
            raise ValueError(f"the reference answer {reference[:MOST_SHOWN]!r} is too large to compare")
        return 0.0, TOO_LARGE
    first = _math_verify(reference, completion)
    if first.equal and second > SecondOpinion.LENIENT:
        read = () if answers.certain or "\\" in completion else (first.read,)
        second = min(second, agreement(reference, Answers((*answers.further, *read), False)))
    if first.equal and second <= SecondOpinion.LENIENT:
        return 1.0, None
    if second is SecondOpinion.EXACT and answers.certain:
        return 1.0, CONFIRMED_ALONE
    if first.equal is None and not (
        second is SecondOpinion.DIFFERENT and answers.certain and _is_text(reference)
    ):
        raise ValueError(first.detail)
    if first.equal:
        found = "different" if second is SecondOpinion.DIFFERENT else "unreadable"
        raise Disagreement(
            f"math-verify finds the answer equal, the second comparison {found}: {_shown(answers, completion)}"
        )
    return 0.0, first.detail


def _is_text(reference: str) -> bool:
    return all(reading.tree.op == "text" for reading in readings(reference))


def _shown(answers: Answers, completion: str) -> str:
    return repr((answers.texts[-1] if answers.texts else completion.strip())[-MOST_SHOWN:])


def _math_verify(reference: str, completion: str) -> _First:
    from math_verify import parse, verify

    gold = _gold(reference)
    if not gold:
        return _First(None, f"the reference answer {reference!r} cannot be read as mathematics")
    # math-verify's own limits need the main thread's alarm, which ends this process instead: the row is timed outside
    found = parse(_plain(completion), parsing_timeout=0)
    if not found:
        return _First(False, NO_ANSWER)
    try:
        equal = verify(list(gold), found, timeout_seconds=None, raise_on_error=True)
    except Exception as error:
        # an answer is read in several ways, and one that breaks need not be the one that is equal ('12:00')
        if not verify(list(gold), found, timeout_seconds=None, raise_on_error=False):
            return _First(None, f"{type(error).__name__}: {error}")
        equal = True
    return _First(bool(equal), f"read as {str(found[-1])[:MOST_SHOWN]}", str(found[-1])[:MOST_SHOWN])


@lru_cache(maxsize=256)
def _gold(reference: str) -> tuple[Any, ...]:
    """Parses the reference with math-verify, once for all samples of a prompt."""
    from math_verify import parse

    plain = _ascii(reference)
    return tuple(parse(marked(plain), parsing_timeout=0) or parse(plain, parsing_timeout=0))


def _ascii(text: str) -> str:
    return re.sub(r"(?<!\w)\u2013(?=\d)", "-", text.replace("\u2212", "-").replace("\\$", ""))


def _plain(completion: str) -> str:
    """Returns the completion with ASCII minus signs; marked as a formula where all of it is one, as math-verify needs."""
    text = _ascii(completion)
    if any(mark in text for mark in ("$", "\\boxed", "\\(", "\\[")):
        return text
    try:
        formula = formula_of(text) if len(text) <= MOST_SHOWN else None
    except TooLarge:
        formula = None
    return f"${clean(text)}$" if formula is not None else text


def marked(answer: str) -> str:
    """Marks the answer as a formula, unless it is marked as one already."""
    return answer if any(mark in answer for mark in ("$", "\\boxed", "\\(", "\\[")) else f"${answer}$"
