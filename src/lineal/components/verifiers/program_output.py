"""Completions that are whole programs, judged by their output."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from math import isclose
from typing import Annotated, ClassVar

import pydantic
from annotated_types import Ge, Lt

from lineal.components.base import Columns
from lineal.components.sandbox.values import printable
from lineal.components.verifiers.base import FAIL, PASS, VERDICT
from lineal.components.verifiers.programs import Answered, ProgramVerdict, ProgramVerifier, ended
from lineal.data.schema import types_of


class ProgramOutput(ProgramVerifier):
    """Passes a program that prints the answer; it reads the column `input`, where there is one.

    Lines are compared without white space at their ends; with a tolerance, word by word. The score is the share of the
    answer's lines that the program prints in their places, so an answer of several lines can be met in part. The column
    `output` holds what a program that came to its end has printed.

    Attributes:
        tolerance: how far a printed number may be from the answer's, as it is or relative to it; 0 compares texts.
    """

    version: ClassVar[int] = 3
    name_inside: ClassVar[str] = "__main__"
    reads: ClassVar[Columns] = ("completion", "answer")
    added: ClassVar[Mapping[str, str]] = types_of(*VERDICT, "output")

    tolerance: Annotated[float, Ge(0.0), Lt(1.0), pydantic.Strict(False)] = 0.0

    def outcomes(self, answered: Iterable[Answered]) -> Iterator[ProgramVerdict]:
        """Compares what was printed with the answers."""
        return (_compared(str(each.row["answer"]), each.line, self.tolerance) for each in answered)


def _compared(wanted_text: str, line: bytes, tolerance: float) -> ProgramVerdict:
    answer = ended(line)
    if isinstance(answer, ProgramVerdict):
        return answer
    wanted, printed, output = _lines(wanted_text), _lines(answer.output), printable(answer.output)
    right = sum(_is_same_line(ours, theirs, tolerance) for ours, theirs in zip(wanted, printed, strict=False))
    if right == len(wanted) == len(printed):
        return ProgramVerdict(PASS, 1.0, None, output)
    detail = f"{right} of {len(wanted)} lines right" if len(wanted) > 1 else "prints another answer"
    return ProgramVerdict(FAIL, right / max(len(wanted), len(printed)), detail, output)


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.strip().split("\n")]


def _is_same_line(wanted: str, printed: str, tolerance: float) -> bool:
    if wanted == printed or not tolerance:
        return wanted == printed
    ours, theirs = wanted.split(), printed.split()
    return len(ours) == len(theirs) and all(map(partial(_is_near, tolerance), ours, theirs))


def _is_near(tolerance: float, wanted: str, printed: str) -> bool:
    try:
        return wanted == printed or isclose(
            float(wanted), float(printed), rel_tol=tolerance, abs_tol=tolerance
        )
    except ValueError:
        return False
