"""Parts that the design's examples name and that don't exist yet: enough of each to plan, nothing that runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from lineal.components.base import (
    Columns,
    Component,
    Output,
    Role,
    RowsRef,
    merged,
)
from lineal.components.registry import BUILT_IN
from lineal.recipe.references import ArtifactKind

SAMPLED: Columns = ("sample_id", "parents", "completion", "sample_index")


class Puzzles(Component):
    """Prompts with a column of the user's own."""

    role: ClassVar[Role] = Role.SOURCE

    def outputs(self, inputs: Mapping[str, Columns]) -> dict[str, Output]:
        return {
            "": Output(ArtifactKind.ROWS, ("prompt_id", "prompt", "answer", "tests", "socratic_question"))
        }


class RowsPart(Component):
    """Passes its input rows' columns on and adds its own."""

    role: ClassVar[Role] = Role.GENERATOR
    needed: ClassVar[Columns] = ()
    added: ClassVar[Columns] = ()

    def needs(self) -> dict[str, Columns]:
        return {"rows": self.needed}

    def outputs(self, inputs: Mapping[str, Columns]) -> dict[str, Output]:
        return {"": Output(ArtifactKind.ROWS, merged(*inputs.values(), self.added))}


class VerifierPart(RowsPart):
    role: ClassVar[Role] = Role.VERIFIER
    needed: ClassVar[Columns] = ("prompt", "completion")
    added: ClassVar[Columns] = ("verdict", "score", "detail")

    rows: RowsRef


class TaskFilter(VerifierPart):
    """Its numeric check finds the answer of a posed prompt."""

    added: ClassVar[Columns] = (*VerifierPart.added, "answer")
    needed: ClassVar[Columns] = ("prompt_id", "prompt")

    checks: list[str]


class RolloutsOf(RowsPart):
    role: ClassVar[Role] = Role.VERIFIER
    needed: ClassVar[Columns] = ("verdict",)

    rows: RowsRef


_ALL: dict[str, type[Component]] = {
    "puzzles": Puzzles,
    "task_filter": TaskFilter,
    "rollouts_of": RolloutsOf,
}

STAND_INS = {name: part for name, part in _ALL.items() if name not in BUILT_IN}
"""A real component takes its stand-in's place as soon as the registry has it."""
