"""`highest`: which of several evaluations has the highest value, so that the best of a node's turns can be kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from lineal.components.base import MAIN, Columns, Component, ManyValuesRef, Output, Role, Workspace
from lineal.components.controllers.values import values_of, write_settings
from lineal.errors import DataError, did_you_mean
from lineal.recipe.references import ArtifactKind


class Highest(Component):
    """Writes the `number` of the highest score, from 1 on in the order given, and its `score`; the first of equal ones wins.

    `chosen: {use: highest, scores: turns.evaluation, metric: accuracy}` and `checkpoint: {use: one_of, models: turns.trained,
    number: chosen.number}` keep the best of a round's turns (Auto-CEI, arXiv:2410.07627).

    Attributes:
        scores: evaluations, or controllers, that all have the value.
        metric: the value's name; larger is better.
    """

    role: ClassVar[Role] = Role.CONTROLLER

    scores: ManyValuesRef
    metric: str

    def outputs(self, inputs: Mapping[str, Columns]) -> dict[str, Output]:
        return {MAIN: Output(ArtifactKind.SETTINGS, values=("number", "score"))}

    def run(self, workspace: Workspace) -> None:
        """Compares the scores.

        Raises:
            DataError: one of them has no such number.
        """
        scores = []
        for artifact in workspace.inputs["scores"]:
            values = values_of(artifact)
            if not isinstance(values.get(self.metric), int | float):
                raise DataError(
                    f"{workspace.step}: {artifact.key} has no number {self.metric!r}. {did_you_mean(self.metric, values)}"
                )
            scores.append(values[self.metric])
        write_settings(workspace, {"number": scores.index(max(scores)) + 1, "score": max(scores)})
