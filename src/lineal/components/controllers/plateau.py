"""`plateau`: stops a run whose metric no longer rises; the best round wins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from annotated_types import Ge

from lineal.components.base import MAIN, Columns, Component, Output, Role, Workspace
from lineal.components.controllers.values import values_of, write_settings
from lineal.data.store import Artifact
from lineal.recipe.compute import Positive
from lineal.recipe.groups import group_after
from lineal.recipe.references import ArtifactKind


class Plateau(Component):
    """Decides after each round: `stop: {use: plateau, metric: evaluation.accuracy, patience: 1}` at the top of a pipeline.

    Writes `stopped`, `best_round`, `best` (its metric), `gained` (the metric of the last gain), `waited` (rounds since then) and
    `artifacts`: for each of the best round's artifacts the step that made it and its digest. Where start has no node of a
    name, round 1's stands for it.

    Attributes:
        metric: an evaluation's number; larger is better.
        patience: after so many rounds without a gain the run stops.
        min_gain: a rise since the last gain counts as one when it is larger than this.
        mark: the result of the round before, which is round 0 except in later stages; the plan takes it from the node of the
            same name.
    """

    role: ClassVar[Role] = Role.CONTROLLER

    metric: float
    patience: Positive = 1
    min_gain: Annotated[float, Ge(0)] = 0.0
    mark: float | None = None

    def outputs(self, inputs: Mapping[str, Columns]) -> dict[str, Output]:
        return {MAIN: Output(ArtifactKind.SETTINGS)}

    def run(self, workspace: Workspace) -> None:
        """Continues from the decision before; once stopped, a run stays so."""
        before = [values_of(artifact) for artifact in workspace.inputs.get("before", ())]
        state = before[0] if before else self._before(workspace)
        if not state["stopped"]:
            state = self._decided(workspace, state)
        write_settings(workspace, state)

    def _before(self, workspace: Workspace) -> dict[str, Any]:
        """Returns the decision that the first round that may stop must beat: round 0's, or that of the stage before."""
        own, number = workspace.step.partition("/")[0], workspace.round - 1
        artifacts = {**_listed(workspace, own), **_listed(workspace, group_after(number))}
        return {
            "stopped": False,
            "best_round": number,
            "best": self.mark,
            "gained": self.mark,
            "waited": 0,
            "artifacts": artifacts,
        }

    def _decided(self, workspace: Workspace, state: Mapping[str, Any]) -> dict[str, Any]:
        best = {}
        if state["best"] is None or self.metric > state["best"]:
            best = {
                "best_round": workspace.round,
                "best": self.metric,
                "artifacts": _listed(workspace, workspace.step.partition("/")[0]),
            }
        gained = state["gained"] is None or self.metric > state["gained"] + self.min_gain
        waited = 0 if gained else state["waited"] + 1
        return {
            **state,
            **best,
            "gained": self.metric if gained else state["gained"],
            "waited": waited,
            "stopped": waited >= self.patience,
            "last_round": workspace.round,
        }


def _listed(workspace: Workspace, group: str) -> dict[str, dict[str, str]]:
    """Returns a group's artifacts by label."""
    found = {}
    for artifact in workspace.inputs["nodes"]:
        _, own, label = artifact.key.split("/", 2)
        if own == group:
            found[label] = _entry(artifact)
    return found


def _entry(artifact: Artifact) -> dict[str, str]:
    return {"step": artifact.key.partition("/")[2], "digest": artifact.digest}
