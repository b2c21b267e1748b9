"""Kinds of rounds and the nodes of each: all alike, or the stages one after another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from lineal.plan.compile import CompiledNode
from lineal.recipe.groups import round_group
from lineal.recipe.nodes import Node, Part, Section
from lineal.recipe.pipeline import Pipeline

TASKS, START, FINISH = Part(Section.TASKS), Part(Section.START), Part(Section.FINISH)


def turn_label(turn: int) -> str:
    """Returns a turn's name in the keys of its steps: `turn_2`; nothing where nothing is repeated."""
    return f"turn_{turn}" if turn else ""


class Kinds:
    """The rounds of a pipeline.

    Args:
        pipeline: the pipeline.
        rounds: how many rounds `params.yaml` asks for.

    Attributes:
        total: how many there are in all.
        last: the part that declares the last round's nodes.
    """

    def __init__(self, pipeline: Pipeline, rounds: int) -> None:
        self._parts: Mapping[Part, Mapping[str, Node]] = pipeline.parts
        self._of: list[Part] = []
        for stage in pipeline.stages:
            self._of += [Part(Section.ROUND, stage.name)] * (stage.rounds or rounds)
        self.total, self.last = len(self._of), self._of[-1]
        self._first = {part: self._of.index(part) + 1 for part in dict.fromkeys(self._of)}

    def rounds(self) -> Iterator[tuple[int, Part]]:
        """Yields every round's number, from 1 on, and the part that declares its nodes."""
        return enumerate(self._of, 1)

    def first_round(self, part: Part) -> int:
        """Returns the number of the first round of a kind."""
        return self._first[part]

    def names(self) -> dict[str, None]:
        """Returns the names of nodes that are in some round."""
        return {name: None for part in dict.fromkeys(self._of) for name in self._parts[part]}

    def rounds_with(self, name: str, last: int) -> Iterator[tuple[int, Part]]:
        """Returns the rounds up to `last` that have a node."""
        return ((number, part) for number, part in enumerate(self._of[:last], 1) if name in self._parts[part])

    def last_with(self, name: str, last: int) -> tuple[int, Part] | None:
        """Returns the last of them; None where there is none."""
        for number in range(last, 0, -1):
            if name in self._parts[self._of[number - 1]]:
                return number, self._of[number - 1]
        return None


@dataclass(frozen=True)
class Place:
    """The position of the unrolling: a part of the pipeline, the round in a round's part, and the turn of a repeated node."""

    part: Part
    round: int = 0
    turn: int = 0

    def label(self, item: CompiledNode) -> str:
        """Returns a step's key without pipeline and group: `checkpoint`, `revised/turn_2`, `revised/turn_2/a`."""
        return "/".join(word for word in (item.node.name, turn_label(self.turn), item.instance) if word)

    @property
    def section(self) -> Section:
        """The part's section."""
        return self.part.section

    @property
    def group(self) -> str:
        """The middle part of step keys."""
        return round_group(self.round) if self.section is Section.ROUND else str(self.section)
