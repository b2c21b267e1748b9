"""Training on preferences: the same bytes for the same data, and each setting does what it says."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lineal.engines.sampling.scoring import LikelihoodScorer, RewardScorer
from lineal.engines.training.job import Checkpoint, TrainingJob
from lineal.engines.training.preference_losses import OrpoLoss, PairBatch, SimpoLoss
from lineal.engines.training.preference_training import (
    DpoLoss,
    KtoLoss,
    Labelled,
    Preference,
    train_dpo,
    train_kto,
    train_reward_model,
    train_without_reference,
)
from lineal.engines.training.settings import Example, LoraSettings
from lineal.engines.training.train import train_sft
from lineal.errors import EngineError
from tests.unit.tiny_models import SETTINGS, in_order, tiny_model, weights, words

pytestmark = pytest.mark.model
PAIRS = [Preference(f"{word}=", in_order(word), word) for word in words(32)]
LABELS = [
    Labelled(pair.prompt, pair.chosen if index % 2 else pair.rejected, bool(index % 2))
    for index, pair in enumerate(PAIRS)
]
LORA = LoraSettings(rank=4, alpha=8)


@pytest.fixture(scope="module")
def init(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return Checkpoint(tiny_model(tmp_path_factory.mktemp("init") / "checkpoint"))


@pytest.fixture
def dpo(init: Checkpoint, tmp_path: Path) -> Any:
    """Trains, and gives the weights' digest."""

    def train(
        name: str,
        rows: list[Preference] = PAIRS,
        reference: Checkpoint = init,
        settings: Any = SETTINGS,
        **loss: Any,
    ) -> str:
        train_dpo(TrainingJob(init, settings, tmp_path / name), reference, rows, DpoLoss(**loss))
        return weights(tmp_path / name)

    return train


def log_ratio(model: Path, base: Path | None = None) -> float:
    """Returns how much likelier chosen completions are than rejected ones, in all."""
    scorer = LikelihoodScorer(model, "cpu", base)
    chosen = scorer.score([(pair.prompt, pair.chosen) for pair in PAIRS])
    rejected = scorer.score([(pair.prompt, pair.rejected) for pair in PAIRS])
    return sum(won.logprob - lost.logprob for won, lost in zip(chosen, rejected, strict=True))


def test_dpo_twice_writes_the_same_bytes_and_prefers_the_chosen(init: Checkpoint, tmp_path: Path) -> None:
    settings = replace(SETTINGS, steps=12, learning_rate=1e-2)
    reports = [
        train_dpo(TrainingJob(init, settings, tmp_path / name), init, PAIRS, DpoLoss())
        for name in ("one", "two")
    ]
    assert weights(tmp_path / "one") == weights(tmp_path / "two") and reports[0] == reports[1]
    assert reports[0].loss_curve[0] == pytest.approx(
        0.6931, abs=1e-4
    )  # log 2: the model is its own reference yet
    assert log_ratio(tmp_path / "one") > log_ratio(init.directory) + 10
    assert reports[0].figures["rewards/accuracies"] > 0.8
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "two"]


def test_dpo_settings_change_the_bytes(dpo: Any) -> None:
    found = {
        "plain": dpo("plain"),
        "beta": dpo("beta", beta=0.5),
        "nll": dpo("nll", nll_weight=1.0),
        "length": dpo("length", type="sigmoid_norm"),
        "smooth": dpo("smooth", type="robust", label_smoothing=0.1),
    }
    assert len(set(found.values())) == len(found)


def test_dpo_measures_against_the_reference_it_is_given(init: Checkpoint, tmp_path: Path) -> None:
    other = Checkpoint(tiny_model(tmp_path / "other", seed=1))
    report = train_dpo(TrainingJob(init, SETTINGS, tmp_path / "out"), other, PAIRS, DpoLoss(beta=1.0))
    assert report.loss_curve[0] != pytest.approx(0.6931, abs=1e-2)


def test_dpo_weights_of_one_are_no_weights_and_others_count(dpo: Any) -> None:
    ones = [replace(pair, weight=1.0) for pair in PAIRS]
    assert dpo("ones", ones, nll_weight=1.0) == dpo("none", nll_weight=1.0)
    uneven = [replace(pair, weight=float(index % 2)) for index, pair in enumerate(PAIRS)]
    assert dpo("uneven", uneven) != dpo("plain")


def test_dpo_of_pairs_without_weight_learns_nothing(init: Checkpoint, dpo: Any) -> None:
    nothing = replace(SETTINGS, weight_decay=0.0)
    assert dpo(
        "zero", [replace(pair, weight=0.0) for pair in PAIRS], settings=nothing, nll_weight=1.0
    ) == weights(init.directory)


def test_dpo_margins_of_nothing_are_no_margins_and_others_must_be_reached(
    init: Checkpoint, tmp_path: Path, dpo: Any
) -> None:
    assert dpo("none") == dpo("zero", [replace(pair, margin=0.0) for pair in PAIRS])
    shifted = [replace(pair, margin=0.5 * (index % 2)) for index, pair in enumerate(PAIRS)]
    settings = replace(SETTINGS, batch_size=32, steps=2)
    report = train_dpo(TrainingJob(init, settings, tmp_path / "shifted"), init, shifted, DpoLoss())
    assert report.loss_curve[0] == pytest.approx((math.log(2) + math.log1p(math.exp(0.5))) / 2, abs=1e-5)
    weighed = train_dpo(
        TrainingJob(init, settings, tmp_path / "weighed"),
        init,
        [replace(p, weight=2.0) for p in shifted],
        DpoLoss(),
    )
    assert weighed.loss_curve[0] == pytest.approx(2 * report.loss_curve[0], abs=1e-5)


def random_batch() -> PairBatch:
    import torch

    torch.manual_seed(0)
    learnt = (torch.arange(9) < torch.tensor([[9], [6], [7], [4]])).long()
    completion = learnt * (torch.arange(9) >= 3)
    return PairBatch(-torch.rand(4, 9) * learnt, completion, {"learnt": learnt})


def test_losses_without_reference_are_those_of_trl(recwarn: pytest.WarningsRecorder) -> None:
    from trl.experimental.cpo import CPOTrainer
    from trl.experimental.orpo import ORPOTrainer

    batch = random_batch()
    chosen, rejected = batch.means()
    theirs = SimpleNamespace(
        beta=0.7,
        simpo_gamma=0.4,
        alpha=0.0,
        label_smoothing=0.0,
        loss_type="simpo",
        accelerator=SimpleNamespace(device="cpu"),
    )
    losses, *_, ratio, lead = ORPOTrainer.odds_ratio_loss(theirs, chosen, rejected)
    loss, own = OrpoLoss(0.7)(batch)
    nll = -batch.logps[:2].sum() / batch.known["learnt"][:2].sum()
    assert loss.item() == pytest.approx((nll - losses.mean()).item(), abs=1e-6)
    assert own.mean().item() == pytest.approx(lead.item(), abs=1e-6)
    expected = CPOTrainer.cpo_loss(theirs, chosen, rejected)[0].mean().item()
    assert SimpoLoss(0.7, 0.4)(batch)[0].item() == pytest.approx(expected, abs=1e-6)
    told = batch.logps.mul(batch.completion)[:2].sum() / batch.completion[:2].sum()
    assert SimpoLoss(0.7, 0.4, 0.5)(batch)[0].item() == pytest.approx(expected - 0.5 * told.item(), abs=1e-6)


@pytest.mark.parametrize("loss", [OrpoLoss(1.0), SimpoLoss()])
def test_training_without_reference_twice_writes_the_same_bytes_and_prefers_the_chosen(
    init: Checkpoint, tmp_path: Path, loss: OrpoLoss | SimpoLoss
) -> None:
    settings = replace(SETTINGS, steps=12, learning_rate=1e-2)
    reports = [
        train_without_reference(TrainingJob(init, settings, tmp_path / name), PAIRS, loss)
        for name in ("one", "two")
    ]
    assert weights(tmp_path / "one") == weights(tmp_path / "two") and reports[0] == reports[1]
    assert log_ratio(tmp_path / "one") > log_ratio(init.directory) + 5
    adapter = train_without_reference(
        TrainingJob(init, replace(settings, steps=2, lora=LORA), tmp_path / "adapter"), PAIRS, loss
    )
    assert adapter.steps == 2 and (tmp_path / "adapter" / "adapter_model.safetensors").exists()


def test_reward_model_leads_by_the_margin(init: Checkpoint, tmp_path: Path) -> None:
    settings = replace(SETTINGS, batch_size=32, steps=2)
    plain, wide = (
        train_reward_model(
            TrainingJob(init, settings, tmp_path / str(margin)),
            [replace(pair, margin=margin) for pair in PAIRS],
        )
        for margin in (None, 2.0)
    )
    assert wide.loss_curve[0] > plain.loss_curve[0] + 1


def test_dpo_trains_an_adapter_and_trains_it_on(init: Checkpoint, tmp_path: Path) -> None:
    settings = replace(SETTINGS, steps=10, lora=LORA, learning_rate=1e-2)
    train_dpo(TrainingJob(init, settings, tmp_path / "one"), init, PAIRS, DpoLoss())
    assert (tmp_path / "one" / "adapter_model.safetensors").is_file()
    first = Checkpoint(tmp_path / "one", init.directory)
    report = train_dpo(TrainingJob(first, settings, tmp_path / "two"), first, PAIRS, DpoLoss())
    assert report.loss_curve[0] == pytest.approx(0.6931, abs=1e-4)
    assert (
        log_ratio(tmp_path / "two", init.directory)
        > log_ratio(tmp_path / "one", init.directory)
        > log_ratio(init.directory)
    )


def test_kto_twice_writes_the_same_bytes_and_separates_the_labels(init: Checkpoint, tmp_path: Path) -> None:
    settings = replace(SETTINGS, steps=12, learning_rate=1e-2)
    for name in ("one", "two"):
        train_kto(TrainingJob(init, settings, tmp_path / name), init, LABELS, KtoLoss())
    assert weights(tmp_path / "one") == weights(tmp_path / "two")
    assert log_ratio(tmp_path / "one") > log_ratio(init.directory) + 10
    train_kto(TrainingJob(init, settings, tmp_path / "three"), init, LABELS, KtoLoss(undesirable_weight=0.1))
    assert weights(tmp_path / "three") != weights(tmp_path / "one")


def test_reward_model_learns_the_order_and_trains_on(init: Checkpoint, tmp_path: Path) -> None:
    settings = replace(SETTINGS, steps=40, batch_size=32, learning_rate=5e-3)
    first = train_reward_model(TrainingJob(init, settings, tmp_path / "one"), PAIRS)
    train_reward_model(TrainingJob(init, settings, tmp_path / "two"), PAIRS)
    assert weights(tmp_path / "one") == weights(tmp_path / "two")
    assert first.figures["accuracy"] > 0.8
    scorer = RewardScorer(tmp_path / "one", "cpu")
    chosen = scorer.score([(pair.prompt, pair.chosen) for pair in PAIRS])
    rejected = scorer.score([(pair.prompt, pair.rejected) for pair in PAIRS])
    assert sum(won > lost for won, lost in zip(chosen, rejected, strict=True)) > 24
    again = train_reward_model(TrainingJob(Checkpoint(tmp_path / "one"), SETTINGS, tmp_path / "next"), PAIRS)
    assert again.loss_curve[0] < 0.9 * first.loss_curve[0]


def test_weighted_sft_weighs_rows_and_one_is_no_weight(init: Checkpoint, tmp_path: Path) -> None:
    plain = [Example(pair.prompt, pair.chosen) for pair in PAIRS]
    rows = {
        "plain": plain,
        "ones": [replace(row, weight=1.0) for row in plain],
        "half": [replace(row, weight=float(index % 2)) for index, row in enumerate(plain)],
    }
    for name, examples in rows.items():
        train_sft(TrainingJob(init, SETTINGS, tmp_path / name), examples)
    assert weights(tmp_path / "ones") == weights(tmp_path / "plain") != weights(tmp_path / "half")


def test_pair_too_long_on_either_side_is_an_error(init: Checkpoint, tmp_path: Path) -> None:
    rows = [*PAIRS[:7], Preference("abcdefghijklmnop=", "a", "abcdefghijklmnopq")]
    with pytest.raises(EngineError, match=r"1 of 16 examples are longer than 32 tokens, the longest 36"):
        train_dpo(TrainingJob(init, SETTINGS, tmp_path / "out"), init, rows, DpoLoss())
    with pytest.raises(EngineError, match="0 examples"):
        train_kto(TrainingJob(init, SETTINGS, tmp_path / "out"), init, [], KtoLoss())
    assert not (tmp_path / "out").exists()


def test_reward_model_does_not_start_from_an_adapter(init: Checkpoint, tmp_path: Path) -> None:
    train_dpo(
        TrainingJob(init, replace(SETTINGS, lora=LORA, steps=1, warmup=0.0), tmp_path / "adapter"),
        init,
        PAIRS,
        DpoLoss(),
    )
    with pytest.raises(EngineError, match="got a LoRA adapter, expected a full model"):
        train_reward_model(TrainingJob(Checkpoint(tmp_path / "adapter"), SETTINGS, tmp_path / "out"), PAIRS)


def test_training_on_preferences_prints_nothing(
    init: Checkpoint, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    train_dpo(TrainingJob(init, SETTINGS, tmp_path / "dpo"), init, PAIRS, DpoLoss())
    train_kto(TrainingJob(init, SETTINGS, tmp_path / "kto"), init, LABELS, KtoLoss())
    train_reward_model(TrainingJob(init, SETTINGS, tmp_path / "reward"), PAIRS)
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""
