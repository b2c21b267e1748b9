"""How a training runs: what may not change its bytes does not, what changes them is a setting, and bad input stops early."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from pydantic import ValidationError

from lineal.components.trainers.lora import Lora
from lineal.components.trainers.sft import Sft
from lineal.data.manifest import InputEntry
from lineal.engines.in_process import base_of
from lineal.engines.training.execution import Execution
from lineal.engines.training.hardware import require_memory, training_memory, weight_shapes
from lineal.engines.training.job import Checkpoint, TrainingJob
from lineal.engines.training.processes import shared_batch
from lineal.engines.training.reporting import PLACES, reporting
from lineal.engines.training.settings import Example, LoraSettings
from lineal.engines.training.sft_trainer import packed
from lineal.engines.training.train import train_sft
from lineal.errors import EngineError
from tests.unit.lab import Lab
from tests.unit.tiny_models import SETTINGS, in_order, put_model, tiny_model, weights, words

EXAMPLES = [Example(f"{word}=", in_order(word)) for word in words(32)]
LORA = LoraSettings(rank=4, alpha=8, dropout=0.2)


@pytest.fixture(scope="module")
def init(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("init") / "checkpoint")


@pytest.mark.model
@pytest.mark.parametrize(
    "settings", [SETTINGS, replace(SETTINGS, lora=LORA), replace(SETTINGS, precision="bf16")]
)
def test_gradient_checkpointing_gives_equal_bytes(init: Path, tmp_path: Path, settings) -> None:
    kept = train_sft(TrainingJob(Checkpoint(init), settings, tmp_path / "kept"), EXAMPLES)
    again = train_sft(
        TrainingJob(
            Checkpoint(init), settings, tmp_path / "again", execution=Execution(recompute_activations=True)
        ),
        EXAMPLES,
    )
    assert weights(tmp_path / "again") == weights(tmp_path / "kept")
    assert again == kept


@pytest.mark.model
def test_packing_keeps_every_token_and_each_example_to_itself(init: Path, tmp_path: Path) -> None:
    whole = replace(SETTINGS, steps=1, batch_size=32, warmup=0.0)
    padded = train_sft(TrainingJob(Checkpoint(init), whole, tmp_path / "padded"), EXAMPLES)
    together = train_sft(
        TrainingJob(Checkpoint(init), replace(whole, packing=True), tmp_path / "packed"), EXAMPLES
    )
    assert together.tokens == padded.tokens
    assert together.loss_curve[0] == pytest.approx(padded.loss_curve[0], abs=1e-5)
    shorter = train_sft(
        TrainingJob(Checkpoint(init), replace(whole, packing=True, max_tokens=16), tmp_path / "shorter"),
        EXAMPLES,
    )
    assert shorter.loss_curve[0] == pytest.approx(padded.loss_curve[0], abs=1e-5)


def test_packed_rows_hold_each_example_once_and_no_more_than_fits() -> None:
    rows = [
        {"input_ids": [index] * size, "labels": [-index] * size}
        for index, size in enumerate([3, 5, 2, 7, 4, 1], start=1)
    ]
    made = packed(pa.Table.from_pylist(rows), 8).to_pylist()
    assert [row["seq_lengths"] for row in made] == [[7, 1], [5, 3], [4, 2]]
    assert sorted(token for row in made for token in row["input_ids"]) == sorted(
        sum((row["input_ids"] for row in rows), [])
    )
    assert all(row["labels"] == [-token for token in row["input_ids"]] for row in made)


def test_packing_of_weighted_rows_is_refused_and_stays_out_of_other_identities(
    init: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValidationError, match="packing and weight exclude each other"):
        Sft(use="sft", init="a", rows="b", steps=1, packing=True, weight="score")
    with pytest.raises(EngineError, match="packing"):
        train_sft(
            TrainingJob(Checkpoint(init), replace(SETTINGS, packing=True), tmp_path / "out"),
            [replace(row, weight=1.0) for row in EXAMPLES],
        )
    plain = Sft(use="sft", init="a", rows="b", steps=1, lora=Lora(rank=2, alpha=4))
    assert "packing" not in plain.identity() and "quantize" not in plain.identity()["lora"]
    chosen = Sft(
        use="sft", init="a", rows="b", steps=1, packing=True, lora=Lora(rank=2, alpha=4, quantize="4bit")
    )
    assert chosen.identity()["packing"] is True and chosen.identity()["lora"]["quantize"] == "4bit"


@pytest.mark.parametrize(
    ("batch_size", "accumulation", "processes", "expected"),
    [
        (64, 1, 1, (64, 1)),
        (64, 1, 4, (16, 1)),
        (4, 8, 8, (4, 1)),
        (4, 8, 16, (2, 1)),
        (6, 2, 4, (3, 1)),
        (2, 6, 3, (2, 2)),
    ],
)
def test_batch_is_shared_without_changing_the_step(batch_size, accumulation, processes, expected) -> None:
    assert shared_batch(batch_size, accumulation, processes) == expected
    assert expected[0] * expected[1] * processes == batch_size * accumulation


def test_batch_that_cannot_be_shared_is_an_error() -> None:
    with pytest.raises(
        EngineError, match=r"got 3 processes for 64 examples per step .* expected a divisor of 64"
    ):
        shared_batch(64, 1, 3)


def test_memory_of_a_training_counts_weights_gradients_and_adam(init: Path) -> None:
    shapes = {
        "model.embed_tokens.weight": (100, 8),
        "model.layers.0.mlp.up_proj.weight": (32, 8),
        "model.norm.weight": (8,),
    }
    count = 100 * 8 + 32 * 8 + 8
    full = training_memory(shapes, SETTINGS)
    assert (full.weights, full.gradients, full.optimizer) == (4 * count, 4 * count, 8 * count)
    assert training_memory(shapes, replace(SETTINGS, precision="bf16")).total == full.total + 2 * count
    adapted = training_memory(shapes, replace(SETTINGS, lora=LoraSettings(rank=2, alpha=2)))
    assert (adapted.weights, adapted.gradients) == (4 * (count + 2 * 40), 4 * 2 * 40)
    named = training_memory(
        shapes, replace(SETTINGS, lora=LoraSettings(rank=2, alpha=2, target_modules=("down_proj",)))
    )
    assert named.gradients == 0
    small = training_memory(shapes, replace(SETTINGS, lora=LoraSettings(rank=2, alpha=2, quantize="4bit")))
    assert small.weights == pytest.approx(adapted.weights - 256 * (4 - 0.629), abs=1)
    assert sum(a * b for a, b in [(*shape, 1)[:2] for _, shape in weight_shapes(init)]) > 10_000


def test_memory_that_is_not_there_is_an_error_with_figures_and_settings() -> None:
    needed = training_memory({"model.layers.0.weight": (2**16, 2**15)}, SETTINGS)
    with pytest.raises(
        EngineError, match=r"got 20.0 GiB free on the GPU, expected at least 32.0 GiB .* lora.quantize: 4bit"
    ):
        require_memory(Path("base"), needed, 20 * 2**30)
    require_memory(Path("base"), needed, 32 * 2**30)


@pytest.mark.skipif(os.path.exists("/dev/nvidiactl"), reason="says what happens without a GPU; there is one")
def test_gpu_that_is_not_there_is_an_error_before_the_model_is_loaded(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="compute.device: got 'cuda', expected a GPU"):
        train_sft(
            TrainingJob(
                Checkpoint(tiny_model(tmp_path / "a")),
                SETTINGS,
                tmp_path / "out",
                execution=Execution(device="cuda"),
            ),
            EXAMPLES,
        )
    quantized = replace(SETTINGS, lora=replace(LORA, quantize="4bit"))
    with pytest.raises(EngineError, match="lora.quantize: got '4bit' without a GPU"):
        train_sft(TrainingJob(Checkpoint(tmp_path / "a"), quantized, tmp_path / "out"), EXAMPLES)
    assert not (tmp_path / "out").exists()


def test_tracker_that_is_not_installed_is_an_error() -> None:
    missing = [name for name in PLACES if importlib.util.find_spec(name) is None]
    if not missing:
        pytest.skip("all trackers are installed")
    with (
        pytest.raises(EngineError, match=rf"compute.report_to: got {missing[0]}, which is not installed"),
        reporting(Execution(report_to=(missing[0],))),
    ):
        pass


def test_trackers_write_beside_the_run_log_unless_told_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)  # packages of their names, to be found
    for name in ("mlflow", "wandb"):
        (tmp_path / f"{name}.py").write_text("")
    importlib.invalidate_caches()
    monkeypatch.setenv("WANDB_DIR", "elsewhere")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with reporting(Execution(report_to=("mlflow", "wandb"), reports=tmp_path / "runs")):
        assert os.environ["WANDB_DIR"] == "elsewhere"
        assert os.environ["MLFLOW_TRACKING_URI"] == f"sqlite:///{tmp_path}/runs/mlflow.db"
    assert os.environ["WANDB_DIR"] == "elsewhere" and "MLFLOW_TRACKING_URI" not in os.environ


@pytest.mark.model
@pytest.mark.skipif(importlib.util.find_spec("tensorboard") is None, reason="needs the package tensorboard")
def test_tensorboard_gets_the_loss_and_changes_no_byte(init: Path, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    reports = Execution(
        report_to=("tensorboard",), reports=tmp_path / "reports", run_name="p/round_01/checkpoint"
    )
    train_sft(TrainingJob(Checkpoint(init), SETTINGS, tmp_path / "plain"), EXAMPLES)
    report = train_sft(TrainingJob(Checkpoint(init), SETTINGS, tmp_path / "out", execution=reports), EXAMPLES)
    assert weights(tmp_path / "out") == weights(tmp_path / "plain")
    events = EventAccumulator(str(tmp_path / "reports")).Reload()
    assert [event.value for event in events.Scalars("train/loss")] == pytest.approx(report.loss_curve)


def test_adapter_for_another_base_is_an_error(init: Path, tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    base, other = (
        put_model(lab, "start/checkpoint", init),
        put_model(lab, "start/other", tiny_model(tmp_path / "seed1", seed=1)),
    )
    adapter = put_model(lab, "round_01/checkpoint", init)
    recorded = {"init": [InputEntry(step="start/checkpoint", digest=base.digest)]}
    adapter = replace(adapter, manifest=adapter.manifest.model_copy(update={"inputs": recorded}))
    step = lab._workspace("round_02/checkpoint", {"init": (adapter,), "init_base": (base,)})
    assert base_of(step, "init") == base.directory
    step.inputs = {"init": (adapter,), "init_base": (other,)}
    with pytest.raises(
        EngineError,
        match=r"got p/start/other .* as the base of this adapter, .* trained on, start/checkpoint",
    ):
        base_of(step, "init")
