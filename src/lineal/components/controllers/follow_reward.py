"""`follow_reward`: a target difficulty that rises while the reward is above a goal, else falls (AdaRFT, arXiv:2504.05520)."""

from __future__ import annotations

from collections.abc import Mapping
from math import tanh
from typing import Annotated, ClassVar

from annotated_types import Gt

from lineal.components.base import MAIN, Columns, Component, Output, Role, RowsRef, Workspace
from lineal.components.controllers.pass_rates import pass_rate
from lineal.components.controllers.values import write_settings
from lineal.components.verifiers.base import Share
from lineal.recipe.references import ArtifactKind


class FollowReward(Component):
    """Writes `difficulty`: the old one plus `step` * tanh(`sharpness` * (share of passes - `goal`)), inside the bounds.

    Attributes:
        rows: judged rows, made at the old difficulty.
        difficulty: the old target, from the controller of the round before.
        goal: the share of passes to hold.
        step: the most that the target moves in a round.
        sharpness: how fast the move grows with the distance from the goal.
        lowest, highest: bounds of the target.
    """

    role: ClassVar[Role] = Role.CONTROLLER

    rows: RowsRef
    difficulty: float
    goal: Share = 0.5
    step: Annotated[float, Gt(0)]
    sharpness: Annotated[float, Gt(0)] = 2.0
    lowest: float | None = None
    highest: float | None = None

    def needs(self) -> dict[str, Columns]:
        return {"rows": ("verdict",)}

    def outputs(self, inputs: Mapping[str, Columns]) -> dict[str, Output]:
        return {MAIN: Output(ArtifactKind.SETTINGS, values=("difficulty", "pass_rate"))}

    def run(self, workspace: Workspace) -> None:
        """Moves the target.

        Raises:
            DataError: nothing was judged.
        """
        rate = pass_rate(workspace)
        moved = self.difficulty + self.step * tanh(self.sharpness * (rate - self.goal))
        if self.lowest is not None:
            moved = max(self.lowest, moved)
        if self.highest is not None:
            moved = min(self.highest, moved)
        write_settings(workspace, {"difficulty": moved, "pass_rate": rate})
        workspace.counts.update({"in": workspace.rows("rows").count})
