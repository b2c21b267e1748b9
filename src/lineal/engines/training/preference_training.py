"""Training on preferences with TRL: DPO and its kin, KTO, reward models. Same data, settings and seed give the same bytes."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lineal.data.conversations import Prompt
from lineal.data.media import Pictures
from lineal.engines.models.checkpoints import load_reward_model
from lineal.engines.models.sight import SHOWN, Encoded, Images, Showing, Sight, sight_of
from lineal.engines.sampling.scoring import LikelihoodScorer
from lineal.engines.text.tokens import Answer, encode_pairs, load_tokenizer
from lineal.engines.training.execution import ALONE, Execution
from lineal.engines.training.preference_losses import OrpoLoss, PairLoss, SigmoidLoss, SimpoLoss
from lineal.engines.training.preference_trainers import dpo_trainer, kto_trainer, reward_trainer
from lineal.engines.training.settings import TrainingSettings
from lineal.engines.training.train import TrainingReport, longest_row, refuse_lengths, run_training

if TYPE_CHECKING:
    from lineal.engines.training.trainer_run import Progress


@dataclass(frozen=True)
class Preference:
    """Two completions of one prompt, the first the better one; all rows have a weight, or none has, and so with margins.

    `images` are digests of the pictures that stand before the prompt.
    """

    prompt: Prompt
    chosen: Answer
    rejected: Answer
    weight: float | None = None
    margin: float | None = None
    images: Images = ()

    def numbers(self) -> dict[str, float]:
        """Returns weight and margin, as far as it has them."""
        found = {"weight": self.weight, "margin": self.margin}
        return {name: value for name, value in found.items() if value is not None}


@dataclass(frozen=True)
class Labelled:
    """A completion and whether it is desirable; `images` are digests of the pictures that stand before the prompt."""

    prompt: Prompt
    completion: Answer
    desirable: bool
    images: Images = ()


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint directory, and the full model under it where it is an adapter."""

    directory: Path
    base: Path | None = None

    def sight(self, pictures: Pictures | None) -> Sight | None:
        """Returns what shows it pictures; None where there are none."""
        return sight_of(self.directory, self.base, pictures)


@dataclass(frozen=True, kw_only=True)
class DpoLoss:
    """Direct preference optimization (arXiv:2305.18290).

    Attributes:
        beta: how strongly the model is kept near the reference.
        type: TRL's name of the loss; 'sigmoid' is the paper's, 'sigmoid_norm' divides log-ratios by the lengths.
        nll_weight: weight of the chosen completions' loss per token beside it (arXiv:2404.19733, equation 1).
        label_smoothing: share of pairs taken to be the wrong way round, for the losses that know it.
    """

    beta: float = 0.1
    type: str = "sigmoid"
    nll_weight: float = 0.0
    label_smoothing: float = 0.0

    def arguments(self) -> dict[str, Any]:
        """Returns the arguments by the names of TRL's DPOConfig."""
        types, weights = [self.type], [1.0]
        if self.nll_weight:
            types, weights = [*types, "sft"], [*weights, self.nll_weight]
        return {
            "beta": self.beta, "loss_type": types, "loss_weights": weights, "label_smoothing": self.label_smoothing,
        }  # fmt: skip

    def own(self, rows: Sequence[Preference]) -> PairLoss | None:
        """Returns the loss that replaces TRL's, for rows with weights or margins."""
        return SigmoidLoss(self.beta, self.nll_weight) if rows and rows[0].numbers() else None


@dataclass(frozen=True, kw_only=True)
class KtoLoss:
    """Kahneman-Tversky optimization (arXiv:2402.01306).

    Attributes:
        beta: how strongly the model is kept near the reference.
        type: TRL's name of the loss; 'kto' is the paper's, with its estimate of the divergence.
        desirable_weight, undesirable_weight: the paper's lambda_D and lambda_U.
    """

    beta: float = 0.1
    type: str = "kto"
    desirable_weight: float = 1.0
    undesirable_weight: float = 1.0

    @property
    def estimates_divergence(self) -> bool:
        """True if it compares rewards with the model's divergence from the reference."""
        return self.type == "kto"

    def arguments(self) -> dict[str, Any]:
        """Returns the arguments by the names of TRL's KTOConfig."""
        return {
            "beta": self.beta, "loss_type": self.type, "desirable_weight": self.desirable_weight,
            "undesirable_weight": self.undesirable_weight,
        }  # fmt: skip


def train_dpo(
    init: Checkpoint,
    reference: Checkpoint,
    rows: Sequence[Preference],
    settings: TrainingSettings,
    loss: DpoLoss,
    output: Path,
    progress: Progress | None = None,
    execution: Execution = ALONE,
    pictures: Pictures | None = None,
) -> TrainingReport:
    """Trains `init` to prefer the chosen completions more than `reference` does; writes the new checkpoint to `output`.

    Full models give full models, and with `settings.lora` an adapter, as in `train_sft`. Rows with weights or margins need
    the loss 'sigmoid'.

    Raises:
        EngineError: no rows, rows too long or with unknown characters, or a checkpoint that does not fit.
    """
    tokenizer, sight = load_tokenizer(init.directory, settings.chat), init.sight(pictures)

    def prepare(model: Any, scratch: Path) -> Any:
        chosen, rejected = _sides(tokenizer, rows, settings, model, sight)
        known = _reference_logps(reference, [*chosen, *rejected], [*rows, *rows], execution, pictures)
        prepared = [
            {
                "prompt_ids": won[0], "chosen_ids": won[1], "rejected_ids": lost[1],
                "ref_chosen_logps": known[index], "ref_rejected_logps": known[len(rows) + index], **row.numbers(),
                SHOWN: list(row.images),
            }
            for index, (won, lost, row) in enumerate(zip(chosen, rejected, rows, strict=True))
        ]  # fmt: skip
        return dpo_trainer(model, tokenizer, prepared, settings, loss.arguments(), scratch, execution, loss.own(rows), sight)

    return run_training(init.directory, init.base, settings, output, prepare, progress, len(rows), execution=execution)


def train_without_reference(
    init: Checkpoint,
    rows: Sequence[Preference],
    settings: TrainingSettings,
    loss: OrpoLoss | SimpoLoss,
    output: Path,
    progress: Progress | None = None,
    execution: Execution = ALONE,
    pictures: Pictures | None = None,
) -> TrainingReport:
    """Trains `init` to prefer the chosen completions, by a loss that needs no reference; writes the checkpoint to `output`.

    Raises:
        EngineError: as `train_dpo`.
    """
    tokenizer, sight = load_tokenizer(init.directory, settings.chat), init.sight(pictures)

    def prepare(model: Any, scratch: Path) -> Any:
        prepared = [
            {"prompt_ids": won[0], "chosen_ids": won[1], "rejected_ids": lost[1], SHOWN: list(row.images)}
            for won, lost, row in zip(*_sides(tokenizer, rows, settings, model, sight), rows, strict=True)
        ]
        return dpo_trainer(model, tokenizer, prepared, settings, {"beta": loss.beta}, scratch, execution, loss, sight)

    return run_training(init.directory, init.base, settings, output, prepare, progress, len(rows), execution=execution)


def train_kto(
    init: Checkpoint,
    reference: Checkpoint,
    rows: Sequence[Labelled],
    settings: TrainingSettings,
    loss: KtoLoss,
    output: Path,
    progress: Progress | None = None,
    execution: Execution = ALONE,
    pictures: Pictures | None = None,
) -> TrainingReport:
    """Trains `init` towards desirable and away from undesirable completions, measured against `reference`.

    The divergence in an optimizer step is estimated from its prompts, each with the completion of the row before it (section 4.1
    of the paper), so rows are shuffled once, by the seed, and taken in that order in every epoch.

    Raises:
        EngineError: as `train_dpo`.
    """
    tokenizer, sight = load_tokenizer(init.directory, settings.chat), init.sight(pictures)
    draw = random.Random(settings.seed)  # noqa: S311 - reproducible on purpose
    shuffled = sorted(rows, key=lambda _: draw.random())

    def prepare(model: Any, scratch: Path) -> Any:
        matched = _encoded(tokenizer, shuffled, [row.completion for row in shuffled], settings, sight)
        _refuse_lengths(matched, settings, model)
        known = _reference_logps(reference, matched, shuffled, execution, pictures)
        prepared: list[dict[str, Any]] = [
            {
                "prompt_ids": prompt, "completion_ids": completion, "label": row.desirable, "ref_logps": logp,
                SHOWN: list(row.images),
            }
            for (prompt, completion), row, logp in zip(matched, shuffled, known, strict=True)
        ]  # fmt: skip
        if loss.estimates_divergence:
            crossed = _crossed(matched)
            _refuse_lengths(crossed, settings, model)
            known = _reference_logps(reference, crossed, shuffled, execution, pictures)
            for row, (_, completion), logp in zip(prepared, crossed, known, strict=True):
                row |= {"KL_completion_ids": completion, "ref_KL_logps": logp}
        return kto_trainer(model, tokenizer, prepared, settings, loss.arguments(), scratch, execution, sight)

    return run_training(init.directory, init.base, settings, output, prepare, progress, len(rows), execution=execution)


def train_reward_model(
    init: Path,
    rows: Sequence[Preference],
    settings: TrainingSettings,
    output: Path,
    progress: Progress | None = None,
    center: float | None = None,
    execution: Execution = ALONE,
) -> TrainingReport:
    """Trains a model that scores chosen completions higher than rejected ones, by the Bradley-Terry likelihood.

    A language model gets a new head, a reward model is trained further.

    Args:
        init: a full language model or reward model.
        rows: pairs, without weights.
        settings: hyperparameters, without an adapter.
        output: directory to write.
        progress: called after each optimizer step.
        center: weight of a term that keeps rewards around 0 (arXiv:2312.09244, equation 2).
        execution: how it runs.

    Raises:
        EngineError: as `train_dpo`.
    """
    import torch

    tokenizer = load_tokenizer(init, settings.chat)

    def load(checkpoint: Path, *_: Any) -> Any:
        return load_reward_model(checkpoint, torch.float32, int(tokenizer.pad_token_id or 0))

    def prepare(model: Any, scratch: Path) -> Any:
        prepared = [
            {"chosen_ids": won[0] + won[1], "rejected_ids": lost[0] + lost[1], **row.numbers()}
            for won, lost, row in zip(*_sides(tokenizer, rows, settings, model), rows, strict=True)
        ]
        return reward_trainer(model, tokenizer, prepared, settings, center, scratch, execution)

    return run_training(init, None, settings, output, prepare, progress, len(rows), load, execution)


def _sides(
    tokenizer: Any, rows: Sequence[Preference], settings: TrainingSettings, model: Any, sight: Sight | None = None
) -> tuple[list[Encoded], list[Encoded]]:
    """Encodes the chosen and the rejected sides of pairs, none longer than the model or the settings allow."""
    chosen = _encoded(tokenizer, rows, [row.chosen for row in rows], settings, sight)
    rejected = _encoded(tokenizer, rows, [row.rejected for row in rows], settings, sight)
    _refuse_lengths([*chosen, *rejected], settings, model)
    return chosen, rejected


def _encoded(
    tokenizer: Any, rows: Sequence[Showing], answers: Sequence[Answer], settings: TrainingSettings, sight: Sight | None
) -> list[Encoded]:
    """Encodes answers to the prompts of some rows, behind the rows' pictures."""
    pairs = encode_pairs(tokenizer, [(row.prompt, answer) for row, answer in zip(rows, answers, strict=True)], settings.chat)
    return pairs if sight is None else sight.placed_pairs(rows, pairs, settings.chat)


def _refuse_lengths(encoded: Sequence[Encoded], settings: TrainingSettings, model: Any) -> None:
    lengths = [len(prompt) + len(completion) for prompt, completion in encoded]
    refuse_lengths(lengths, longest_row(model, settings))


def _reference_logps(
    reference: Checkpoint, encoded: Sequence[Encoded], rows: Sequence[Showing], execution: Execution, pictures: Pictures | None
) -> list[float]:
    """Computes log-probabilities under the reference, which is freed before training begins."""
    scorer = LikelihoodScorer(reference.directory, "cpu" if execution.on_cpu else "auto", reference.base, pictures)
    images = () if pictures is None else [row.images for row in rows]
    return [found.logprob for found in scorer.score_ids(encoded, images=images)]


def _crossed(encoded: Sequence[Encoded]) -> list[Encoded]:
    """Pairs each prompt with the completion of the row before it, the first with that of the last."""
    return [(prompt, encoded[place - 1][1]) for place, (prompt, _) in enumerate(encoded)]
