"""Training on a GPU in bf16: it learns, it says what it is, and 4-bit bases carry adapters."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lineal.engines.training.execution import Execution
from lineal.engines.training.job import Checkpoint, TrainingJob
from lineal.engines.training.preference_training import DpoLoss, Preference, train_dpo
from lineal.engines.training.settings import Example, LoraSettings
from lineal.engines.training.train import train_sft
from lineal.errors import EngineError
from tests.unit.tiny_models import SETTINGS, in_order, tiny_model, words

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.model,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU; torch sees none"),
]
BF16 = replace(SETTINGS, steps=40, learning_rate=1e-2, precision="bf16")
PAIRS = [Preference(f"{word}=", in_order(word), word) for word in words(32)]
EXAMPLES = [Example(pair.prompt, pair.chosen) for pair in PAIRS]


@pytest.fixture(scope="module")
def init(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("init") / "checkpoint")


def test_sft_in_bf16_on_the_gpu_learns_and_writes_the_type_it_was_given(init: Path, tmp_path: Path) -> None:
    report = train_sft(
        TrainingJob(
            Checkpoint(init),
            BF16,
            tmp_path / "out",
            execution=Execution(saves=tmp_path / "saves", save_seconds=0),
        ),
        EXAMPLES,
    )
    assert report.final_loss < 0.8 * report.loss_curve[0]
    assert json.loads((tmp_path / "out" / "config.json").read_text())["dtype"] == "float32"
    assert torch.cuda.max_memory_allocated() > 0


def test_dpo_in_bf16_on_the_gpu_prefers_the_chosen(init: Path, tmp_path: Path) -> None:
    report = train_dpo(
        TrainingJob(Checkpoint(init), BF16, tmp_path / "out"), Checkpoint(init), PAIRS, DpoLoss()
    )
    assert report.loss_curve[0] == pytest.approx(0.6931, abs=2e-2)
    assert report.figures["rewards/accuracies"] > 0.8


def test_gpu_training_that_was_stopped_goes_on(init: Path, tmp_path: Path) -> None:
    def stop(step: int, *_: object) -> None:
        if step == 20:
            raise KeyboardInterrupt

    saving = Execution(saves=tmp_path / "saves", save_seconds=0)
    with pytest.raises(KeyboardInterrupt):
        train_sft(TrainingJob(Checkpoint(init), BF16, tmp_path / "out", stop, execution=saving), EXAMPLES)
    report = train_sft(TrainingJob(Checkpoint(init), BF16, tmp_path / "out", execution=saving), EXAMPLES)
    assert (report.resumed_at, report.steps) == (19, 40)


@pytest.mark.skipif(importlib.util.find_spec("bitsandbytes") is None, reason="needs the package bitsandbytes")
def test_adapter_on_a_4_bit_base_learns(init: Path, tmp_path: Path) -> None:
    lora = LoraSettings(rank=8, alpha=16, quantize="4bit")
    report = train_sft(TrainingJob(Checkpoint(init), replace(BF16, lora=lora), tmp_path / "out"), EXAMPLES)
    assert report.final_loss < report.loss_curve[0]
    assert (tmp_path / "out" / "adapter_model.safetensors").is_file()


def test_memory_that_the_gpu_does_not_have_is_an_error(init: Path, tmp_path: Path) -> None:
    free, _ = torch.cuda.mem_get_info()
    held = torch.empty(max(0, free - 2**20), dtype=torch.uint8, device="cuda")
    with pytest.raises(EngineError, match="GiB free on the GPU"):
        train_sft(
            TrainingJob(
                Checkpoint(init), replace(BF16, lora=LoraSettings(rank=20_000, alpha=1)), tmp_path / "out"
            ),
            EXAMPLES,
        )
    del held
    torch.cuda.empty_cache()
