"""`hill_climb`: one setting moved step by step towards a better score, as Auto-CEI moves its boundary (arXiv:2410.07627)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

from annotated_types import Gt

from lineal.components.base import MAIN, Columns, Component, Output, Role, ValuesRef, Workspace
from lineal.components.controllers.values import values_of, write_settings
from lineal.errors import DataError
from lineal.recipe.references import ArtifactKind


class HillClimb(Component):
    """Writes the `value` to try next, and `best_value`, `best_score` and `direction` for the climb after.

    While the score rises the value keeps moving in the same direction; when it doesn't, the next one lies on the other side of
    the best.

    Attributes:
        before: the controller of the round before (at the start: `settings` with a `value`).
        score: the score of the round with that value, mostly an evaluation's number.
        step: how far the value moves.
    """

    role: ClassVar[Role] = Role.CONTROLLER

    before: ValuesRef
    score: float
    step: Annotated[float, Gt(0)]

    def outputs(self, inputs: Mapping[str, Columns]) -> dict[str, Output]:
        return {
            MAIN: Output(ArtifactKind.SETTINGS, values=("value", "best_value", "best_score", "direction"))
        }

    def run(self, workspace: Workspace) -> None:
        """Takes one step."""
        (artifact,) = workspace.inputs["before"]
        before = values_of(artifact)
        if not isinstance(before.get("value"), int | float):
            fix = "Start with {use: settings, value: NUMBER}"
            raise DataError(f"{workspace.step}: {artifact.key} has no number 'value' to climb from. {fix}")
        direction, best = before.get("direction", 1), before.get("best_score")
        improved = best is None or self.score > best
        best_value = before["value"] if improved else before["best_value"]
        direction = direction if improved else -direction
        write_settings(
            workspace,
            {
                "value": best_value + direction * self.step,
                "best_value": best_value,
                "best_score": self.score if improved else best,
                "direction": direction,
            },
        )
