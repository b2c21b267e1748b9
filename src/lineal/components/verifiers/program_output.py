"""Completions that are whole programs, judged by what they print."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import ClassVar

from lineal.components.base import Columns
from lineal.components.sandbox.values import printable, read_answer
from lineal.components.verifiers.base import FAIL, PASS, VERDICT
from lineal.components.verifiers.programs import Answered, Outcome, ProgramVerifier, told
from lineal.data.schema import types_of


class ProgramOutput(ProgramVerifier):
    """Passes a program that prints the answer; it reads the column `input`, where there is one.

    Lines are compared without white space at their ends. The score is the share of the answer's lines that the program
    prints in their places, so an answer of several lines can be met in part. The column `output` holds what a program that
    came to its end has printed.
    """

    version: ClassVar[int] = 2
    name_inside: ClassVar[str] = "__main__"
    reads: ClassVar[Columns] = ("completion", "answer")
    added: ClassVar[Mapping[str, str]] = types_of(*VERDICT, "output")

    def outcomes(self, answered: Iterable[Answered]) -> Iterator[Outcome]:
        """Compares what was printed with the answers."""
        return (_compared(str(each.row["answer"]), each.line) for each in answered)


def _compared(wanted_text: str, line: bytes) -> Outcome:
    try:
        answer = read_answer(line, 0)
    except ValueError as error:
        return Outcome(FAIL, 0.0, str(error))
    if answer.raised is not None:
        return Outcome(FAIL, 0.0, told(answer.raised))
    wanted, printed, output = _lines(wanted_text), _lines(answer.output), printable(answer.output)
    right = sum(ours == theirs for ours, theirs in zip(wanted, printed, strict=False))
    if wanted == printed:
        return Outcome(PASS, 1.0, None, output)
    detail = f"{right} of {len(wanted)} lines right" if len(wanted) > 1 else "prints another answer"
    return Outcome(FAIL, right / max(len(wanted), len(printed)), detail, output)


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.strip().split("\n")]
