"""Every trainer and every loss as one function, on a few rows of different lengths: for what must hold for all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any, get_args

from lineal.components.trainers.dpo import SMOOTHED
from lineal.components.trainers.dpo import Loss as PairLossName
from lineal.components.trainers.grpo import OF_SEQUENCES
from lineal.components.trainers.grpo import Loss as OnlineLossName
from lineal.data.steps import steps_of
from lineal.engines.sampling.rollouts import Generation
from lineal.engines.training.job import Checkpoint, TrainingJob
from lineal.engines.training.online_training import GrpoSettings, OnlinePrompts, train_grpo
from lineal.engines.training.preference_losses import OrpoLoss, SimpoLoss
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
from lineal.engines.training.process_training import Rated, train_process_reward
from lineal.engines.training.settings import Example, LoraSettings, TrainingSettings
from lineal.engines.training.train import TrainingReport, train_sft
from tests.unit.tiny_models import in_order, tiny_model, words

ROWS = 10
"""The last optimizer step of an epoch has two of them, where one has eight."""
WORDS = [word for word in dict.fromkeys(words(40)) if in_order(word) != word][:ROWS]
PAIRS = [
    Preference(f"{word}=", in_order(word), word[: 1 + place % len(word)]) for place, word in enumerate(WORDS)
]
EXAMPLES = [Example(pair.prompt, pair.chosen) for pair in PAIRS]
LABELS = [
    Labelled(pair.prompt, pair.chosen if place % 3 else pair.rejected, bool(place % 3))
    for place, pair in enumerate(PAIRS)
]
WEIGHTS = [0.25 + 0.5 * (place % 4) for place in range(ROWS)]
WEIGHED = [
    replace(pair, weight=weight, margin=0.1 * weight) for pair, weight in zip(PAIRS, WEIGHTS, strict=True)
]
SEPARATOR = "e"
STEPS = [
    Rated(pair.prompt, begun, 0.25 * (place % 5))
    for place, pair in enumerate(PAIRS)
    for begun in accumulate(steps_of(str(pair.chosen), SEPARATOR))
]
LORA = LoraSettings(rank=4, alpha=8)
GENERATION = GrpoSettings(samples=4, max_tokens=5)
Train = Callable[[Path, TrainingSettings, Path, Any], TrainingReport]


class Counting:
    """Rewards letters: completions of one prompt get different rewards."""

    def reward(self, generation: Generation) -> list[float | None]:
        return [float(sum(map(ord, rollout.text)) % 7) for rollout in generation.rollouts]

    def learned(self, advantages: Sequence[float | None]) -> None:
        pass


def _sft(
    rows: list[Example], changes: dict[str, Any], init: Path, settings: TrainingSettings, out: Path, seen: Any
) -> Any:
    return train_sft(TrainingJob(Checkpoint(init), replace(settings, **changes), out, seen), rows)


def _dpo(
    rows: list[Preference], loss: DpoLoss, init: Path, settings: TrainingSettings, out: Path, seen: Any
) -> Any:
    return train_dpo(TrainingJob(Checkpoint(init), settings, out, seen), Checkpoint(init), rows, loss)


def _kto(loss: KtoLoss, init: Path, settings: TrainingSettings, out: Path, seen: Any) -> Any:
    reference = init.with_name("reference")  # another one, so that there is a divergence
    if not reference.exists():
        tiny_model(reference, seed=5)
    return train_kto(TrainingJob(Checkpoint(init), settings, out, seen), Checkpoint(reference), LABELS, loss)


def _unmeasured(
    loss: OrpoLoss | SimpoLoss, init: Path, settings: TrainingSettings, out: Path, seen: Any
) -> Any:
    return train_without_reference(TrainingJob(Checkpoint(init), settings, out, seen), PAIRS, loss)


def _reward(rows: list[Preference], init: Path, settings: TrainingSettings, out: Path, seen: Any) -> Any:
    return train_reward_model(TrainingJob(Checkpoint(init), settings, out, seen), rows, center=0.1)


def _process(init: Path, settings: TrainingSettings, out: Path, seen: Any) -> Any:
    return train_process_reward(TrainingJob(Checkpoint(init), settings, out, seen), STEPS, SEPARATOR)


def _grpo(changes: dict[str, Any], init: Path, settings: TrainingSettings, out: Path, seen: Any) -> Any:
    prompts = [pair.prompt for pair in PAIRS]
    job = TrainingJob(Checkpoint(init), settings, out, seen)
    return train_grpo(job, OnlinePrompts(prompts), Counting(), replace(GENERATION, **changes))


def _dpo_losses() -> dict[str, Train]:
    plain = {
        name: DpoLoss(type=name, label_smoothing=0.1 * (name in SMOOTHED)) for name in get_args(PairLossName)
    }
    told = {
        f"{name} nll_weight": replace(loss, nll_weight=1.0)
        for name, loss in plain.items()
        if name in ("sigmoid", "ipo")
    }
    return {f"dpo {name}": partial(_dpo, PAIRS, loss) for name, loss in (plain | told).items()}


def _grpo_losses() -> dict[str, Train]:
    levels = {name: "sequence" if name == "luspo" else "token" for name in get_args(OnlineLossName)}
    plain = {
        f"grpo {name}": {"loss": name, "importance_sampling_level": level} for name, level in levels.items()
    }
    gspo = {"loss": OF_SEQUENCES[0], "importance_sampling_level": "sequence"}
    shared = {"updates_per_generation": 2, "beta": 0.1}
    return {
        name: partial(_grpo, changes)
        for name, changes in (plain | {"grpo gspo": gspo, "grpo of two updates": shared}).items()
    }


ONLINE: dict[str, Train] = _grpo_losses()
TRAINERS: dict[str, Train] = {
    "sft": partial(_sft, EXAMPLES, {}),
    "sft weight": partial(
        _sft, [replace(row, weight=weight) for row, weight in zip(EXAMPLES, WEIGHTS, strict=True)], {}
    ),
    "sft lora": partial(_sft, EXAMPLES, {"lora": LORA}),
    "sft packing": partial(_sft, EXAMPLES * 3, {"packing": True, "max_tokens": 24}),
    **_dpo_losses(),
    "dpo weight, margin, nll_weight": partial(_dpo, WEIGHED, DpoLoss(nll_weight=1.0)),
    "kto": partial(_kto, KtoLoss(undesirable_weight=2.0)),
    "kto apo_zero_unpaired": partial(_kto, KtoLoss(type="apo_zero_unpaired")),
    "orpo": partial(_unmeasured, OrpoLoss(0.5)),
    "simpo": partial(_unmeasured, SimpoLoss(nll_weight=0.5)),
    "reward_model": partial(_reward, PAIRS),
    "reward_model margin": partial(_reward, [replace(pair, margin=pair.margin) for pair in WEIGHED]),
    "process_reward_model": _process,
    **ONLINE,
}
