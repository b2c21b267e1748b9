"""`follow_signal`: a place in an order of data that moves on with success and a signal (GAIN-RL, arXiv:2506.02281)."""

from __future__ import annotations

from collections.abc import Mapping
from math import fsum, tanh
from typing import Annotated, ClassVar

from annotated_types import Gt

from lineal.components.base import MAIN, Columns, Component, Output, Role, RowsRef, Workspace
from lineal.components.controllers.pass_rates import pass_rate
from lineal.components.controllers.values import write_settings
from lineal.components.verifiers.base import Share
from lineal.errors import DataError
from lineal.recipe.references import ArtifactKind


class FollowSignal(Component):
    """Writes `center`: the old one plus `step` * (tanh(`sharpness` * (pass rate - `goal`)) + tanh(`sharpness` * signal)).

    It moves forward only. `pass_rate` and `signal`, the mean score of the rows that were trained on, are written too.

    Attributes:
        rows: judged rows, made at the old center.
        scored: the rows that were trained on, with the signal as their `score`: of a `hidden_signal`, say.
        center: the old place, from the controller of the round before.
        step: the most that each of the two moves it.
        goal: the share of passes at which the first doesn't move it.
        sharpness: how fast the move grows with each of the two.
    """

    role: ClassVar[Role] = Role.CONTROLLER

    rows: RowsRef
    scored: RowsRef
    center: float
    step: Annotated[float, Gt(0)]
    goal: Share = 0.5
    sharpness: Annotated[float, Gt(0)] = 2.0

    def needs(self) -> dict[str, Columns]:
        return {"rows": ("verdict",), "scored": ("score",)}

    def outputs(self, inputs: Mapping[str, Columns]) -> dict[str, Output]:
        return {MAIN: Output(ArtifactKind.SETTINGS, values=("center", "pass_rate", "signal"))}

    def run(self, workspace: Workspace) -> None:
        """Moves the center.

        Raises:
            DataError: nothing was judged, or nothing has a score.
        """
        rate = pass_rate(workspace)
        scores = [
            score
            for score in workspace.rows("scored").read(["score"])["score"].to_pylist()
            if score is not None
        ]
        if not scores:
            raise DataError(f"{workspace.step}: no row of {workspace.inputs['scored'][0].key} has a score")
        signal = fsum(scores) / len(scores)
        away = self.step * (tanh(self.sharpness * (rate - self.goal)) + tanh(self.sharpness * signal))
        write_settings(
            workspace, {"center": self.center + max(0.0, away), "pass_rate": rate, "signal": signal}
        )
        workspace.counts.update({"in": workspace.rows("rows").count})
