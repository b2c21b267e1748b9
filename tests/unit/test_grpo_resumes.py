"""A killed `grpo` continues from its last save: same weights, same rollouts."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lineal.components.trainers.rollouts import Rollouts
from lineal.data.workspace import Workspace
from lineal.recipe.compute import Compute
from lineal.recipe.references import ArtifactKind
from tests.unit.lab import ROOT, Lab, rows_of
from tests.unit.test_trainers_grpo import ENDS, SHORT, UNANSWERED, inputs_of, peak
from tests.unit.tiny_models import tiny_model, weights


class Stop(Exception):
    """Ends a training in the middle, as an error of the machine would."""


@pytest.mark.model
def test_stopped_grpo_goes_on_with_the_same_weights_and_rollouts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = tiny_model(tmp_path / "tiny")
    settings = {**SHORT, "rewards": {"ends": ENDS}, "steps": 6, "learning_rate": 1e-2}
    whole = Lab(tmp_path / "whole")
    wanted = whole.run("grpo", "round_01/checkpoint", inputs_of(whole, checkpoint, UNANSWERED), **settings)
    lab = Lab(tmp_path / "stopped", Compute(workers=1, save_seconds=0.0))
    inputs = inputs_of(lab, checkpoint, UNANSWERED)
    component = lab.parse("grpo", inputs, **settings)
    workspace = lab._workspace(
        "round_01/checkpoint", {name: (artifact,) for name, artifact in inputs.items()}, 1
    )
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
    assert (
        lab._publish(workspace, "rollouts", wanted["rollouts"].manifest.kind).digest
        == wanted["rollouts"].digest
    )
    assert rows_of(wanted["rollouts"])


EVERYTHING = {
    **SHORT,
    "rewards": {"ends": ENDS, "sure": {"use": "certainty", "scorer": "self", "weight": 0.1}},
    "steps": 6,
    "batch_size": 16,
    "learning_rate": 1e-2,
    "probe": {"peak": peak(1)},
    "keep_best": {"probe": "peak", "window": 1},
    "refill": {"attempts": 2},
}
PROGRAM = """
import os, signal, sys
from pathlib import Path
from lineal.components.trainers.rollouts import Rollouts
from tests.unit.test_grpo_resumes import trained

killed_at, judged = int(sys.argv[3]), Rollouts.reward
def reward(self, generation):
    if generation.optimizer_step == killed_at:
        os.kill(os.getpid(), signal.SIGKILL)
    return judged(self, generation)
Rollouts.reward = reward
print(*trained(Path(sys.argv[1]), Path(sys.argv[2])), sep="; ")
"""


def trained(path: Path, checkpoint: Path) -> tuple[str, str, str, str]:
    """What a training gives that may go on in a directory: weights, the rollouts' digest, counts, and where it went on."""
    lab = Lab(path, Compute(workers=1, save_seconds=0.0))
    inputs = inputs_of(lab, checkpoint, UNANSWERED)
    component, partial = lab.parse("grpo", inputs, **EVERYTHING), lab.path / "partial"
    partial.mkdir(exist_ok=True)
    given = {name: (artifact,) for name, artifact in inputs.items()}
    workspace = Workspace(lab.path, "round_01/checkpoint", 1, 0, lab.compute, given, partial)
    component.run(workspace)
    digest = lab._publish(workspace, "rollouts", ArtifactKind.ROWS).digest
    return (
        weights(workspace.directory()),
        digest,
        str(workspace.counts),
        str(workspace.facts.get("resumed_at_step", 0)),
    )


@pytest.mark.model
def test_grpo_that_is_killed_with_kill_9_ends_with_the_same_digests(tmp_path: Path) -> None:
    checkpoint = tiny_model(tmp_path / "tiny")

    def run(place: str, killed_at: int) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", PROGRAM, tmp_path / place, checkpoint, str(killed_at)]
        return subprocess.run(command, cwd=ROOT, text=True, capture_output=True)

    *wanted, at = trained(tmp_path / "whole", checkpoint)
    killed, resumed = run("killed", 3), run("killed", -1)
    assert killed.returncode == -signal.SIGKILL and killed.stdout == ""
    assert resumed.returncode == 0, resumed.stderr
    *found, went_on_at = resumed.stdout.strip().split("; ")
    assert found == wanted and (at, went_on_at) == ("0", "3")
    assert "'best_step': 1" in wanted[2]
