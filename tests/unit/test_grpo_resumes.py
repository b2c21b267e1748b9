"""A killed `grpo` continues from its last save: same weights, same rollouts."""

from __future__ import annotations

from pathlib import Path

import pytest

from lineal.components.trainers.rollouts import Rollouts
from lineal.recipe.compute import Compute
from tests.unit.lab import Lab, rows_of
from tests.unit.test_trainers_grpo import ENDS, SHORT, UNANSWERED, inputs_of
from tests.unit.tiny_models import tiny_model, weights


class Stop(Exception):
    """Ends a training in the middle, as an error of the machine would."""


@pytest.mark.model
def test_stopped_grpo_goes_on_with_the_same_weights_and_rollouts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = tiny_model(tmp_path / "tiny")
    settings = {**SHORT, "rewards": {"ends": ENDS}, "steps": 6, "learning_rate": 1e-2}
    whole = Lab(tmp_path / "whole")
    wanted = whole.run("grpo", "round_01/checkpoint", inputs_of(whole, checkpoint, UNANSWERED), **settings)
    lab = Lab(tmp_path / "stopped", Compute(workers=1, save_seconds=0.0))
    inputs = inputs_of(lab, checkpoint, UNANSWERED)
    component = lab.parse("grpo", inputs, **settings)
    workspace = lab._workspace("round_01/checkpoint", {name: (artifact,) for name, artifact in inputs.items()}, 1)
    judged, asked = Rollouts.reward, []

    def counted(self, generation):
        asked.append(generation.optimizer_step)
        if asked == [0, 1, 2, 3]:
            raise Stop
        return judged(self, generation)

    monkeypatch.setattr(Rollouts, "reward", counted)
    with pytest.raises(Stop):
        component.run(workspace)
    component.run(workspace)
    assert asked == [0, 1, 2, 3, 3, 4, 5]
    assert weights(workspace.directory()) == weights(wanted[""].directory)
    assert lab._publish(workspace, "rollouts", wanted["rollouts"].manifest.kind).digest == wanted["rollouts"].digest
    assert rows_of(wanted["rollouts"])
