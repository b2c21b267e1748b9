"""What holds for the optimizer steps of every trainer and loss: the first one learns, and one that diverges ends the training."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from lineal.engines.training.job import Checkpoint, TrainingJob
from lineal.engines.training.settings import Example
from lineal.engines.training.train import train_sft
from lineal.errors import EngineError
from tests.unit.every_trainer import TRAINERS
from tests.unit.tiny_models import SETTINGS, tiny_model, weights

pytestmark = pytest.mark.model
BENCH = Path(__file__).parents[2] / "bench"
CUT = [
    "dpo sigmoid",
    "dpo ipo nll_weight",
    "dpo sigmoid nll_weight",
    "dpo weight, margin, nll_weight",
    "orpo",
    "simpo",
]
ONE_OF_A_KIND = [
    "sft",
    "sft weight",
    "sft lora",
    "sft packing",
    "dpo sigmoid",
    "dpo weight, margin, nll_weight",
    "kto",
    "orpo",
    "simpo",
    "reward_model",
    "process_reward_model",
    "grpo dapo",
]


@pytest.fixture(scope="module")
def init(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("init") / "checkpoint")


@pytest.mark.parametrize("name", ONE_OF_A_KIND)
def test_training_of_one_step_that_is_all_warmup_learns(init: Path, tmp_path: Path, name: str) -> None:
    seen = []
    one = replace(SETTINGS, steps=1, warmup=0.05, weight_decay=0.0)
    report = TRAINERS[name](
        init, one, tmp_path / "out", lambda *figures: seen.append(figures[2]["learning_rate"])
    )
    assert seen == [pytest.approx(SETTINGS.learning_rate / 2)]
    assert not report.unchanged and weights(tmp_path / "out") != weights(init)


@pytest.mark.parametrize("name", ONE_OF_A_KIND)
def test_training_that_diverges_is_an_error_and_writes_nothing(init: Path, tmp_path: Path, name: str) -> None:
    wild = replace(SETTINGS, steps=3, warmup=0.0, learning_rate=1e30)
    with pytest.raises(
        EngineError, match=r"of optimizer step [23] of 3 is (nan|inf), .* diverged, and nothing is published"
    ):
        TRAINERS[name](init, wild, tmp_path / "out", None)
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def equivalence():
    """The module that measures how far updates are apart."""
    sys.path.insert(0, str(BENCH))
    try:
        yield import_module("equivalence")
    finally:
        sys.path.remove(str(BENCH))


@pytest.mark.parametrize(
    "name",
    [*CUT, *(name for name in TRAINERS if name.startswith(("kto", "reward", "process", "sft", "grpo")))],
)
def test_update_is_the_same_however_its_rows_are_cut(
    init: Path, tmp_path: Path, equivalence: Any, name: str
) -> None:
    for one in (init, init.with_name("reference")):
        if one.exists():
            shutil.copytree(one, tmp_path / ("init" if one == init else one.name))
    whole, cut = (
        equivalence.update(name, tmp_path, sizes) for sizes in ((12, 1), (4, 3))
    )  # ten rows: 4, 4 and 2
    assert equivalence.apart(whole, cut) < equivalence.MOST


def test_update_of_two_processes_is_that_of_one(tmp_path: Path, equivalence: Any) -> None:
    names = ["sft packing", "dpo sigmoid nll_weight", "kto"]
    equivalence.share(tmp_path, names)
    for name in names:
        for whole in ((12, 1), (8, 1)):
            found = equivalence.shared_figures(
                name, tmp_path, whole, equivalence.update(name, tmp_path, whole)
            )
            assert found and max(found.values()) < equivalence.MOST


def test_weights_that_the_last_step_made_infinite_are_an_error(init: Path, tmp_path: Path) -> None:
    wild = replace(SETTINGS, steps=1, warmup=0.0, learning_rate=1e39)
    with pytest.raises(
        EngineError, match=r"embed_tokens.weight and \d+ more have values that are not finite after the last"
    ):
        train_sft(TrainingJob(Checkpoint(init), wild, tmp_path / "out"), [Example("abc=", "abc")])
    assert not (tmp_path / "out").exists()
