"""Completions that are whole programs without a reference: other components judge their output."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import ClassVar

from lineal.components.sandbox.values import printable
from lineal.components.verifiers.base import PASS, VERDICT
from lineal.components.verifiers.programs import Answered, ProgramVerdict, ProgramVerifier, ended
from lineal.data.schema import types_of


class RunProgram(ProgramVerifier):
    """Passes a program that runs to its end; the column `output` holds what it printed.

    It reads the column `input`, where there is one. A pass does not mean that the output is right: a judge whose template names
    `{output}` says that, or a `render` makes the output the completion that another verifier reads.
    """

    name_inside: ClassVar[str] = "__main__"
    added: ClassVar[Mapping[str, str]] = types_of(*VERDICT, "output")

    def outcomes(self, answered: Iterable[Answered]) -> Iterator[ProgramVerdict]:
        """Yields how each ended."""
        return map(_outcome, answered)


def _outcome(each: Answered) -> ProgramVerdict:
    answer = ended(each.line)
    return (
        answer
        if isinstance(answer, ProgramVerdict)
        else ProgramVerdict(PASS, 1.0, None, printable(answer.output))
    )
