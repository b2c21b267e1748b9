"""Checkpoints inside a training: killed at any moment it goes on, ends with the undisturbed bytes and tells the whole curve."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lineal.engines.training.execution import Execution
from lineal.engines.training.job import Checkpoint, TrainingJob
from lineal.engines.training.preference_training import (
    DpoLoss,
    KtoLoss,
    Labelled,
    Preference,
    train_dpo,
    train_kto,
)
from lineal.engines.training.preference_training import train_reward_model as train_reward
from lineal.engines.training.settings import Example, LoraSettings
from lineal.engines.training.train import TrainingReport, train_sft
from lineal.recipe.compute import Compute
from tests.unit.lab import Lab
from tests.unit.tiny_models import SETTINGS, in_order, put_model, tiny_model, weights, words

pytestmark = pytest.mark.model
LONG = replace(SETTINGS, steps=None, epochs=3.0, warmup=0.2)
"""12 steps, 4 in each epoch."""
LORA = LoraSettings(rank=4, alpha=8, dropout=0.2)
PAIRS = [Preference(f"{word}=", in_order(word), word) for word in words(32)]
LABELS = [
    Labelled(pair.prompt, pair.chosen if index % 2 else pair.rejected, bool(index % 2))
    for index, pair in enumerate(PAIRS)
]
EXAMPLES = [Example(pair.prompt, pair.chosen) for pair in PAIRS]
TRAINERS = {
    "sft": (lambda job: train_sft(job, EXAMPLES), LONG),
    "sft_accumulated": (
        lambda job: train_sft(job, EXAMPLES),
        replace(LONG, batch_size=4, gradient_accumulation=2),
    ),
    "sft_lora_with_dropout": (lambda job: train_sft(job, EXAMPLES), replace(LONG, lora=LORA)),
    "dpo": (lambda job: train_dpo(job, job.init, PAIRS, DpoLoss()), LONG),
    "kto": (lambda job: train_kto(job, job.init, LABELS, KtoLoss()), LONG),
    "reward_model": (lambda job: train_reward(job, PAIRS), LONG),
}


def trained(name: str, init: Path, output: Path, progress: Any, execution: Execution) -> Any:
    """Runs one of the trainings."""
    train, settings = TRAINERS[name]
    return train(TrainingJob(Checkpoint(init), settings, output, progress, execution))


class Stop(Exception):
    """Ends a training in the middle, as an error of the machine would."""


@pytest.fixture(scope="module")
def init(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("init") / "checkpoint")


def stop_at(step: int):
    """A progress that ends the training in step `step`, whose figures it would report."""

    def progress(done: int, *_: object) -> None:
        if done == step:
            raise Stop

    return progress


def kill_at(step: int):
    """A progress that kills its own process."""

    def progress(done: int, *_: object) -> None:
        if done == step:
            os.kill(os.getpid(), signal.SIGKILL)

    return progress


def forgetting(report: TrainingReport) -> TrainingReport:
    return replace(report, resumed_at=0)


@pytest.mark.parametrize(("name", "step"), [("sft", 7), ("dpo", 9)])
def test_training_killed_goes_on_and_ends_with_the_undisturbed_bytes(
    init: Path, tmp_path: Path, name: str, step: int
) -> None:
    undisturbed = trained(name, init, tmp_path / "undisturbed", None, Execution())
    saving = Execution(saves=tmp_path / "saves", save_seconds=0)
    code = (
        "import sys; from pathlib import Path; from tests.unit import test_training_saves as here\n"
        "init, root, name, step = sys.argv[1:]; saving = here.Execution(saves=Path(root) / 'saves', save_seconds=0)\n"
        "here.trained(name, Path(init), Path(root) / 'out', here.kill_at(int(step)), saving)"
    )
    killed = subprocess.run(
        [sys.executable, "-c", code, str(init), str(tmp_path), name, str(step)], cwd=Path(__file__).parents[2]
    )
    assert killed.returncode == -signal.SIGKILL
    assert not (tmp_path / "out").exists()
    report = trained(name, init, tmp_path / "out", None, saving)
    assert report.resumed_at == step - 1
    assert forgetting(report) == undisturbed
    assert weights(tmp_path / "out") == weights(tmp_path / "undisturbed")


@pytest.mark.parametrize("name", list(TRAINERS))
def test_training_stopped_again_and_again_ends_with_the_undisturbed_bytes(
    init: Path, tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    undisturbed = trained(name, init, tmp_path / "undisturbed", None, Execution())
    saving = Execution(saves=tmp_path / "saves", save_seconds=0)
    for step in (5, 11):  # after the first epoch, and inside the third
        with pytest.raises(Stop):
            trained(name, init, tmp_path / "out", stop_at(step), saving)
    report = trained(name, init, tmp_path / "out", None, saving)
    assert report.resumed_at == 10
    assert forgetting(report) == undisturbed
    assert weights(tmp_path / "out") == weights(tmp_path / "undisturbed")
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""


def test_saves_hold_one_whole_checkpoint_and_nothing_that_runs_code(init: Path, tmp_path: Path) -> None:
    saves = tmp_path / "saves"
    with pytest.raises(Stop):
        trained("sft", init, tmp_path / "out", stop_at(6), Execution(saves=saves, save_seconds=0))
    assert [path.name for path in saves.iterdir() if path.is_dir()] == ["whole-5"]
    files = {path.name for path in (saves / "whole-5").iterdir()}
    assert {
        "model.safetensors",
        "optimizer.pt",
        "scheduler.pt",
        "rng_state.pth",
        "trainer_state.json",
    } <= files
    assert "training_args.bin" not in files  # the one file that only a full unpickler could read


def test_save_cut_short_or_of_another_device_is_not_gone_on_from(init: Path, tmp_path: Path) -> None:
    saves = tmp_path / "saves"
    saving = Execution(saves=saves, save_seconds=0)
    with pytest.raises(Stop):
        trained("sft", init, tmp_path / "out", stop_at(6), saving)
    half = saves / "checkpoint-6"
    half.mkdir()
    (half / "trainer_state.json").write_text("{")
    with pytest.raises(Stop):
        trained("sft", init, tmp_path / "out", stop_at(7), replace(saving, save_seconds=1e9))
    assert not half.exists()
    stamp = saves / "made_with"
    stamp.write_text(stamp.read_text().replace('"cpu"', '"cuda"'))
    assert trained("sft", init, tmp_path / "out", None, saving).resumed_at == 0


def test_training_shorter_than_save_seconds_saves_nothing(init: Path, tmp_path: Path) -> None:
    saves = tmp_path / "saves"
    trained("sft", init, tmp_path / "out", None, Execution(saves=saves, save_seconds=300))
    assert [path.name for path in saves.iterdir()] == ["made_with"]


def test_step_that_was_stopped_goes_on_inside_its_partial_directory(init: Path, tmp_path: Path) -> None:
    lab = Lab(tmp_path, Compute(workers=1, save_seconds=0))
    inputs = {
        "rows": (
            lab.put(
                "round_01/filtered",
                [{"prompt": row.prompt, "completion": row.completion} for row in EXAMPLES],
            ),
        ),
        "init": (put_model(lab, "start/checkpoint", init),),
    }
    sft = lab.parse("sft", inputs, steps=6, batch_size=8, threads=1)
    step = lab._workspace("round_01/checkpoint", inputs)
    with pytest.raises(Stop):
        settings = sft.training_settings(step)
        sft.learn(
            step,
            32,
            Checkpoint(init),
            settings,
            lambda job: train_sft(replace(job, progress=stop_at(4)), EXAMPLES),
        )
    step.progress_file = tmp_path / "runs" / "checkpoint.progress"
    sft.run(step)
    assert step.facts["resumed_at_step"] == 3
    curve = step.facts["curve"]
    assert (
        list(curve) == ["step", "loss", "grad_norm", "learning_rate", "tokens"] and step.facts["steps"] == 6
    )
    assert curve["step"] == [1, 2, 3, 4, 5, 6] and sum(curve["tokens"]) == step.facts["tokens"]
    rates = [sft.learning_rate * share for share in (0.5, *cosine(5))]
    assert curve["learning_rate"] == pytest.approx(rates, rel=1e-5)
    lines = step.progress_file.with_suffix(".steps.csv").read_text().splitlines()
    assert lines[0] == ",".join(curve)
    assert [[float(cell) for cell in line.split(",")] for line in lines[1:]] == [
        pytest.approx(row, rel=1e-5) for row in zip(*curve.values(), strict=True)
    ]


def cosine(steps: int) -> list[float]:
    return [0.5 + 0.5 * math.cos(math.pi * step / steps) for step in range(steps)]
