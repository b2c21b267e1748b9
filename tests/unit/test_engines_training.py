"""Training: the same bytes for the same data, settings and seed, and nothing of this machine in any file."""

from __future__ import annotations

import getpass
import hashlib
import json
import random
import shutil
import socket
import string
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lineal.engines.sampling.sampler import Request, Sampler, SamplingSettings
from lineal.engines.text.tokens import load_tokenizer
from lineal.engines.training.execution import Execution
from lineal.engines.training.job import Checkpoint, Loaded, TrainingJob
from lineal.engines.training.optimizer_steps import learning_rates, warmup_steps
from lineal.engines.training.settings import Example, LoraSettings, Pace, TrainingSettings
from lineal.engines.training.sft_rows import tokenised
from lineal.engines.training.sft_trainer import sft_trainer
from lineal.engines.training.train import ModelShape, initialise, train_sft
from lineal.engines.training.trainable_model import trainable_model
from lineal.errors import EngineError

pytestmark = pytest.mark.model
SHAPE = ModelShape(
    hidden_size=32,
    layers=2,
    heads=2,
    intermediate_size=64,
    rope_theta=1e4,
    tie_embeddings=True,
    characters=string.ascii_lowercase + "=",
    max_positions=32,
)
SETTINGS = TrainingSettings(
    steps=4, epochs=None, batch_size=8, learning_rate=3e-3, warmup=0.25, seed=7, threads=1
)
LORA = LoraSettings(rank=4, alpha=8)
EXPECTED_FILES = [
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
]


def words(count: int, seed: int = 0) -> list[Example]:
    generator = random.Random(seed)
    drawn = ["".join(generator.sample(string.ascii_lowercase, generator.randint(2, 6))) for _ in range(count)]
    return [Example(word + "=", "".join(sorted(word))) for word in drawn]


def digests(directory: Path) -> dict[str, str]:
    files = [path for path in sorted(directory.rglob("*")) if path.is_file()]
    return {str(path.relative_to(directory)): hashlib.md5(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def init(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("init") / "checkpoint"
    initialise(SHAPE, 0, directory)
    return directory


@pytest.fixture(scope="module")
def adapter(init: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("adapter") / "checkpoint"
    train_sft(TrainingJob(Checkpoint(init), replace(SETTINGS, lora=LORA), directory), words(32))
    return directory


def test_initialise_bytes_depend_on_the_seed_alone(init: Path, tmp_path: Path) -> None:
    initialise(SHAPE, 0, tmp_path / "same")
    initialise(SHAPE, 1, tmp_path / "other")
    assert digests(tmp_path / "same") == digests(init)
    assert list(digests(init)) == EXPECTED_FILES
    assert digests(tmp_path / "other")["model.safetensors"] != digests(init)["model.safetensors"]


def test_initialise_refuses_heads_that_do_not_divide(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="3 heads"):
        initialise(replace(SHAPE, heads=3), 0, tmp_path / "init")


def test_training_twice_writes_the_same_bytes(init: Path, tmp_path: Path) -> None:
    reports = [
        train_sft(TrainingJob(Checkpoint(init), SETTINGS, tmp_path / name), words(32))
        for name in ("one", "two")
    ]
    assert digests(tmp_path / "one") == digests(tmp_path / "two")
    assert list(digests(tmp_path / "one")) == EXPECTED_FILES
    assert reports[0] == reports[1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "two"]


@pytest.mark.parametrize(
    "change", [{"seed": 8}, {"learning_rate": 1e-3}, {"steps": 5}, {"precision": "bf16"}]
)
def test_training_with_another_setting_writes_other_weights(
    init: Path, tmp_path: Path, change: dict[str, Any]
) -> None:
    train_sft(TrainingJob(Checkpoint(init), SETTINGS, tmp_path / "one"), words(32))
    train_sft(TrainingJob(Checkpoint(init), replace(SETTINGS, **change), tmp_path / "two"), words(32))
    one, two = digests(tmp_path / "one"), digests(tmp_path / "two")
    assert one.pop("model.safetensors") != two.pop("model.safetensors")
    assert one == two


def test_training_lowers_the_loss_and_reports_it(init: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int, float]] = []
    settings = replace(SETTINGS, steps=30, learning_rate=1e-2)
    report = train_sft(
        TrainingJob(
            Checkpoint(init),
            settings,
            tmp_path / "out",
            lambda step, total, log: seen.append((step, total, log["loss"])),
        ),
        words(64),
    )
    assert [(step, total) for step, total, _ in seen] == [(step, 30) for step in range(1, 31)]
    assert report.loss_curve == tuple(loss for _, _, loss in seen)
    assert report.final_loss == report.loss_curve[-1] < 0.9 * report.loss_curve[0]
    assert (report.steps, report.examples, report.truncated) == (30, 64, 0)


def test_epochs_see_every_token_once_each(init: Path, tmp_path: Path) -> None:
    examples = words(20)
    settings = replace(SETTINGS, steps=None, epochs=2.0)
    report = train_sft(TrainingJob(Checkpoint(init), settings, tmp_path / "out"), examples)
    # bos, prompt, completion, eos
    assert report.tokens == 2 * sum(len(row.prompt) + len(row.completion) + 2 for row in examples)
    assert report.steps == 6


def test_loss_is_on_the_completion_only(init: Path, tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    row = words(1)[0]
    report = train_sft(
        TrainingJob(Checkpoint(init), replace(SETTINGS, steps=1, batch_size=1, warmup=0.0), tmp_path / "out"),
        [row],
    )
    model = AutoModelForCausalLM.from_pretrained(str(init))
    tokenizer = AutoTokenizer.from_pretrained(str(init))
    ids = torch.tensor([[*tokenizer(row.prompt + row.completion)["input_ids"], tokenizer.eos_token_id]])
    with torch.no_grad():
        logprobs = model(ids).logits[0, :-1].log_softmax(-1).gather(-1, ids[0, 1:, None])[:, 0]
    expected = -logprobs[-(len(row.completion) + 1) :].mean().item()
    assert report.final_loss == pytest.approx(expected, abs=1e-3)


def test_gradient_accumulation_counts_optimizer_steps(init: Path, tmp_path: Path) -> None:
    settings = replace(SETTINGS, batch_size=4, gradient_accumulation=2, steps=3)
    assert train_sft(TrainingJob(Checkpoint(init), settings, tmp_path / "out"), words(32)).steps == 3


def test_written_checkpoint_loads_and_names_nothing_of_this_machine(
    init: Path, adapter: Path, tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM

    train_sft(TrainingJob(Checkpoint(init), SETTINGS, tmp_path / "out"), words(16))
    config = json.loads((tmp_path / "out" / "config.json").read_text(encoding="utf-8"))
    assert config["use_cache"] is True
    assert (
        AutoModelForCausalLM.from_pretrained(str(tmp_path / "out"), local_files_only=True).config.hidden_size
        == 32
    )
    private = [str(tmp_path), str(init), str(Path.cwd()), str(Path.home()) + "/", socket.gethostname()]
    for path in [*(tmp_path / "out").iterdir(), *adapter.iterdir()]:
        content = path.read_bytes()
        assert not [text for text in private if text.encode() in content], path.name
        assert f'"{getpass.getuser()}"'.encode() not in content
        assert path.suffix in {".json", ".safetensors"}


def test_training_prints_nothing_and_restores_the_threads(
    init: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    import torch

    before = torch.get_num_threads()
    train_sft(
        TrainingJob(Checkpoint(init), replace(SETTINGS, threads=before + 1), tmp_path / "out"), words(16)
    )
    assert torch.get_num_threads() == before
    assert capfd.readouterr().out == ""


def test_bf16_model_stays_a_bf16_model(init: Path, tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    half = tmp_path / "half"
    model = AutoModelForCausalLM.from_pretrained(str(init), dtype=torch.bfloat16)
    model.save_pretrained(str(half))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (half / name).write_bytes((init / name).read_bytes())
    train_sft(TrainingJob(Checkpoint(half), SETTINGS, tmp_path / "out"), words(16))
    assert json.loads((tmp_path / "out" / "config.json").read_text(encoding="utf-8"))["dtype"] == "bfloat16"
    assert (tmp_path / "out" / "model.safetensors").stat().st_size < (
        init / "model.safetensors"
    ).stat().st_size


def test_adapter_is_small_deterministic_and_names_no_base(init: Path, adapter: Path, tmp_path: Path) -> None:
    train_sft(TrainingJob(Checkpoint(init), replace(SETTINGS, lora=LORA), tmp_path / "again"), words(32))
    assert digests(tmp_path / "again") == digests(adapter)
    config = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    assert config["base_model_name_or_path"] is None
    assert config["target_modules"] == sorted(config["target_modules"])
    assert sorted(digests(adapter)) == [
        "adapter_config.json",
        "adapter_model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ]


def test_adapter_samples_with_its_base_and_differs_from_it(init: Path, tmp_path: Path) -> None:
    strong = replace(SETTINGS, steps=20, learning_rate=5e-2, lora=LORA)
    train_sft(TrainingJob(Checkpoint(init), strong, tmp_path / "adapter"), words(32))
    requests = [Request("dca=", seed) for seed in range(20)]
    settings = SamplingSettings(max_tokens=6)
    adapted = Sampler(tmp_path / "adapter", device="cpu", base=init).sample(requests, settings)
    plain = Sampler(init, device="cpu").sample(requests, settings)
    assert adapted != plain


def test_adapter_trains_on_and_stays_an_adapter(init: Path, adapter: Path, tmp_path: Path) -> None:
    train_sft(
        TrainingJob(Checkpoint(adapter, init), replace(SETTINGS, lora=LORA), tmp_path / "next"),
        words(32, seed=1),
    )
    assert digests(tmp_path / "next").keys() == digests(adapter).keys()
    assert (
        digests(tmp_path / "next")["adapter_model.safetensors"]
        != digests(adapter)["adapter_model.safetensors"]
    )
    assert digests(tmp_path / "next")["adapter_config.json"] == digests(adapter)["adapter_config.json"]


def test_adapter_without_base_or_with_other_settings_is_an_error(
    init: Path, adapter: Path, tmp_path: Path
) -> None:
    with pytest.raises(EngineError, match="without its base model"):
        train_sft(TrainingJob(Checkpoint(adapter), replace(SETTINGS, lora=LORA), tmp_path / "out"), words(8))
    with pytest.raises(EngineError, match="expected a full model"):
        train_sft(
            TrainingJob(Checkpoint(adapter, adapter), replace(SETTINGS, lora=LORA), tmp_path / "out"),
            words(8),
        )
    with pytest.raises(EngineError, match=r"made with \(4, 8, 0.0\)"):
        train_sft(
            TrainingJob(
                Checkpoint(adapter, init),
                replace(SETTINGS, lora=LoraSettings(rank=2, alpha=8)),
                tmp_path / "out",
            ),
            words(8),
        )
    with pytest.raises(EngineError, match="got lora"):
        train_sft(TrainingJob(Checkpoint(adapter, init), SETTINGS, tmp_path / "out"), words(8))
    assert not (tmp_path / "out").exists()


def test_adapter_that_goes_on_keeps_its_layers(init: Path, adapter: Path, tmp_path: Path) -> None:
    few = replace(SETTINGS, lora=replace(LORA, target_modules=("q_proj", "v_proj")))
    with pytest.raises(
        EngineError, match=r"\('q_proj', 'v_proj'\) for an adapter that sits on .*, too, expected the layers"
    ):
        train_sft(TrainingJob(Checkpoint(adapter, init), few, tmp_path / "out"), words(8))
    train_sft(TrainingJob(Checkpoint(init), few, tmp_path / "few"), words(8))
    with pytest.raises(
        EngineError, match=r"'all-linear' for an adapter that does not sit on .*layers.0.mlp.down_proj"
    ):
        train_sft(
            TrainingJob(Checkpoint(tmp_path / "few", init), replace(SETTINGS, lora=LORA), tmp_path / "out"),
            words(8),
        )
    same = replace(few, lora=replace(LORA, target_modules=("v_proj", "q_proj")))
    assert (
        train_sft(TrainingJob(Checkpoint(tmp_path / "few", init), same, tmp_path / "on"), words(8)).steps == 4
    )
    assert not (tmp_path / "out").exists()


def test_unknown_target_modules_are_an_error(init: Path, tmp_path: Path) -> None:
    settings = replace(SETTINGS, lora=LoraSettings(rank=2, alpha=2, target_modules=("nothing",)))
    with pytest.raises(EngineError, match="nothing"):
        train_sft(TrainingJob(Checkpoint(init), settings, tmp_path / "out"), words(8))


@pytest.mark.parametrize("schedule", ["cosine", "linear", "constant", "constant_with_warmup"])
@pytest.mark.parametrize(("steps", "rising"), [(10, 0), (10, 1), (10, 3), (10, 10), (4, 100), (1, 1)])
def test_rates_are_those_of_transformers_without_the_one_that_is_0(
    schedule: str, steps: int, rising: int
) -> None:
    import torch
    from transformers import get_scheduler

    rate = learning_rates(replace(SETTINGS, schedule=schedule, warmup_steps=rising), steps)
    (theirs,) = get_scheduler(schedule, torch.optim.SGD([torch.zeros(1)], lr=1.0), rising, steps).lr_lambdas
    risen = 0 if schedule == "constant" else min(rising, steps)
    assert [rate(step) for step in range(risen)] == pytest.approx(
        [(step + 1) / (rising + 1) for step in range(risen)]
    )
    assert [rate(step) for step in range(risen, steps)] == pytest.approx(
        [theirs(step) for step in range(risen, steps)]
    )
    assert all(rate(step) > 0 for step in range(steps))


@pytest.mark.parametrize(
    ("share", "steps", "rising"), [(0.0, 9, 0), (0.05, 1, 1), (0.05, 40, 2), (0.07, 100, 7), (1.0, 40, 40)]
)
def test_warmup_is_a_share_of_the_steps(share: float, steps: int, rising: int) -> None:
    assert warmup_steps(replace(SETTINGS, warmup=share), steps) == rising
    assert warmup_steps(replace(SETTINGS, warmup=share, warmup_steps=100), steps) == 100


def test_training_that_moves_no_stored_weight_is_an_error(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    init = tmp_path / "init"
    initialise(replace(SHAPE, tie_embeddings=False), 0, init)
    AutoModelForCausalLM.from_pretrained(str(init)).bfloat16().save_pretrained(str(init))
    message = (
        "4 optimizer steps with a learning rate of up to 1e-12 changed no weight as the checkpoint stores it"
    )
    with pytest.raises(EngineError, match=message):
        train_sft(
            TrainingJob(Checkpoint(init), replace(SETTINGS, learning_rate=1e-12), tmp_path / "out"), words(8)
        )
    assert not train_sft(TrainingJob(Checkpoint(init), SETTINGS, tmp_path / "moved"), words(8)).unchanged


def test_training_without_a_gradient_says_so(init: Path, tmp_path: Path) -> None:
    idle = [replace(row, weight=0.0) for row in words(8)]
    assert train_sft(TrainingJob(Checkpoint(init), SETTINGS, tmp_path / "full"), idle).unchanged
    assert digests(tmp_path / "full")["model.safetensors"] == digests(init)["model.safetensors"]
    assert train_sft(
        TrainingJob(Checkpoint(init), replace(SETTINGS, lora=LORA), tmp_path / "adapter"), idle
    ).unchanged
    assert not train_sft(
        TrainingJob(Checkpoint(init), replace(SETTINGS, lora=LORA), tmp_path / "learnt"), words(8)
    ).unchanged


def test_weights_of_either_sign_are_an_offline_policy_gradient(init: Path, tmp_path: Path) -> None:
    from lineal.engines.sampling.scoring import LikelihoodScorer

    won, lost = [("ab=", "ab"), ("cd=", "cd")], [("ab=", "ba"), ("cd=", "dc")]
    games = [*(Example(*pair, 1.0) for pair in won), *(Example(*pair, -1.0) for pair in lost)]
    train_sft(TrainingJob(Checkpoint(init), SETTINGS, tmp_path / "out"), games)
    before, after = (
        [one.logprob for one in LikelihoodScorer(place, "cpu").score([*won, *lost])]
        for place in (init, tmp_path / "out")
    )
    assert all(now > was for was, now in zip(before[:2], after[:2], strict=True))
    assert all(now < was for was, now in zip(before[2:], after[2:], strict=True))


@pytest.mark.parametrize("lora", [None, LORA])
def test_trainings_that_keep_the_optimizer_are_one_long_training(
    lora: LoraSettings | None, init: Path, tmp_path: Path
) -> None:
    same = words(1) * 8  # so that the order in which a training sees them does not matter
    steady = replace(SETTINGS, schedule="constant", warmup=0.0, lora=lora)
    base = None if lora is None else init
    train_sft(
        TrainingJob(Checkpoint(init), replace(steady, steps=8, keep_optimizer=True), tmp_path / "long"), same
    )
    for name, kept in (("continued", True), ("begun_again", False)):
        half = replace(steady, keep_optimizer=kept)
        train_sft(TrainingJob(Checkpoint(init), half, tmp_path / name / "1"), same)
        train_sft(TrainingJob(Checkpoint(tmp_path / name / "1", base), half, tmp_path / name / "2"), same)
    long = digests(tmp_path / "long")
    assert "optimizer/state.safetensors" in long
    assert digests(tmp_path / "continued" / "2") == long
    assert digests(tmp_path / "begun_again" / "2") != {
        name: digest for name, digest in long.items() if "/" not in name
    }


def test_training_killed_inside_a_round_keeps_the_later_state(init: Path, tmp_path: Path) -> None:
    kept = replace(SETTINGS, keep_optimizer=True)
    train_sft(TrainingJob(Checkpoint(init), kept, tmp_path / "1"), words(32))
    train_sft(TrainingJob(Checkpoint(tmp_path / "1"), kept, tmp_path / "undisturbed"), words(32, seed=1))

    def stop(done: int, total: int, figures: dict[str, float]) -> None:
        if done == 3:
            raise KeyboardInterrupt

    saving = Execution(saves=tmp_path / "saves", save_seconds=0)
    with pytest.raises(KeyboardInterrupt):
        train_sft(
            TrainingJob(Checkpoint(tmp_path / "1"), kept, tmp_path / "out", stop, execution=saving),
            words(32, seed=1),
        )
    report = train_sft(
        TrainingJob(Checkpoint(tmp_path / "1"), kept, tmp_path / "out", execution=saving), words(32, seed=1)
    )
    assert report.resumed_at
    assert digests(tmp_path / "out") == digests(tmp_path / "undisturbed")


def test_optimizer_state_of_other_weights_is_an_error(init: Path, tmp_path: Path) -> None:
    train_sft(
        TrainingJob(
            Checkpoint(init), replace(SETTINGS, keep_optimizer=True, lora=LORA), tmp_path / "adapter"
        ),
        words(8),
    )
    mixed = tmp_path / "mixed"
    shutil.copytree(init, mixed)
    shutil.copytree(tmp_path / "adapter" / "optimizer", mixed / "optimizer")
    with pytest.raises(
        EngineError, match=r"state for base_model\..*expected no such weight.*Set keep_optimizer: false"
    ):
        train_sft(
            TrainingJob(Checkpoint(mixed), replace(SETTINGS, keep_optimizer=True), tmp_path / "out"), words(8)
        )


def test_examples_too_long_are_an_error_never_cut(init: Path, tmp_path: Path) -> None:
    examples = [*words(6), Example("abcdefghijklm=", "abcdefghijklmnopqr"), Example("abcdefg=", "abcdefghij")]
    with pytest.raises(EngineError, match=r"1 of 8 examples are longer than 32 tokens, the longest 34"):
        train_sft(TrainingJob(Checkpoint(init), SETTINGS, tmp_path / "out"), examples)
    with pytest.raises(EngineError, match=r"2 of 8 examples are longer than 18 tokens"):
        train_sft(TrainingJob(Checkpoint(init), replace(SETTINGS, max_tokens=18), tmp_path / "out"), examples)


def test_examples_missing_or_unknown_are_an_error(init: Path, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="0 examples"):
        train_sft(TrainingJob(Checkpoint(init), SETTINGS, tmp_path / "out"), [])
    with pytest.raises(EngineError, match="'ab9'"):
        train_sft(TrainingJob(Checkpoint(init), SETTINGS, tmp_path / "out"), [Example("ba=", "ab9")])


@pytest.mark.parametrize(("steps", "epochs"), [(None, None), (3, 1.0)])
def test_settings_need_exactly_one_length(steps: int | None, epochs: float | None) -> None:
    with pytest.raises(EngineError, match="exactly one"):
        replace(SETTINGS, steps=steps, epochs=epochs)


def seen(init: Path, scratch: Path, examples: list[Example], **changes: object) -> list[str]:
    """Reads the prompts of all batches of an epoch as the trainer draws them."""
    settings, tokenizer = replace(SETTINGS, **changes), load_tokenizer(init)
    model = trainable_model(init, None, settings)
    loaded = Loaded(model, tokenizer, settings, scratch)
    trainer = sft_trainer(loaded, tokenised(tokenizer, examples, False, "training"))
    batches = [batch["input_ids"] for batch in trainer.get_train_dataloader()]
    return [tokenizer.decode(row, skip_special_tokens=True) for ids in batches for row in ids]


def test_examples_are_learnt_in_order_or_at_a_pace(init: Path, tmp_path: Path):
    examples = words(40)
    told = [f"{one.prompt}{one.completion}" for one in examples]
    assert seen(init, tmp_path / "a", examples, in_order=True) == told
    shuffled = seen(init, tmp_path / "b", examples)
    assert shuffled != told and sorted(shuffled) == sorted(told)
    paced = seen(init, tmp_path / "c", examples, in_order=True, pace=Pace(0.1, 0.5))
    assert len(paced) == SETTINGS.steps * SETTINGS.batch_size == 32
    assert set(paced[:8]) <= set(told[:4]) and set(paced[8:16]) <= set(
        told[:29]
    )  # sqrt(0.5 * 0.99 + 0.01) of 40 is 28.4
    assert set(paced[16:]) - set(told[:29])
    assert paced == seen(init, tmp_path / "d", examples, in_order=True, pace=Pace(0.1, 0.5))


def test_training_in_order_is_another_one_with_equal_bytes(init: Path, tmp_path: Path):
    settings = replace(SETTINGS, in_order=True, pace=Pace(0.2, 1.0))
    for name, own in (("a", settings), ("b", settings), ("shuffled", SETTINGS)):
        train_sft(TrainingJob(Checkpoint(init), own, tmp_path / name), words(32))
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("a", "b", "shuffled")]
    assert weights[0] == weights[1] != weights[2]
