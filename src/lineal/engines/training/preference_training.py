"""Training on preferences with TRL: DPO and its kin, KTO, reward models. Same data, settings and seed give the same bytes."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lineal.data.conversations import Prompt
from lineal.engines.models.checkpoints import load_reward_model
from lineal.engines.models.sight import SHOWN, Encoded, Images, Showing
from lineal.engines.sampling.scoring import LikelihoodScorer
from lineal.engines.text.tokens import Answer, encode_pairs
from lineal.engines.training.job import Checkpoint, Loaded, TrainingJob
from lineal.engines.training.preference_losses import OrpoLoss, PairLoss, SigmoidLoss, SimpoLoss
from lineal.engines.training.preference_trainers import dpo_trainer, kto_trainer, reward_trainer
from lineal.engines.training.train import TrainingReport, longest_row, refuse_lengths, run_training


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
            "beta": self.beta,
            "loss_type": types,
            "loss_weights": weights,
            "label_smoothing": self.label_smoothing,
        }

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
            "beta": self.beta,
            "loss_type": self.type,
            "desirable_weight": self.desirable_weight,
            "undesirable_weight": self.undesirable_weight,
        }


def train_dpo(
    job: TrainingJob, reference: Checkpoint, rows: Sequence[Preference], loss: DpoLoss
) -> TrainingReport:
    """Trains a checkpoint to prefer the chosen completions more than `reference` does.

    Full models give full models, and with `settings.lora` an adapter, as in `train_sft`. Rows with weights or margins need
    the loss 'sigmoid'.

    Raises:
        EngineError: no rows, rows too long or with unknown characters, or a checkpoint that does not fit.
    """
    tokenizer, sight = job.tokenizer(), job.sight()

    def prepare(model: Any, scratch: Path) -> Any:
        loaded = job.loaded(model, tokenizer, scratch, sight)
        chosen, rejected = _sides(loaded, rows)
        known = _reference_logps(reference, [*chosen, *rejected], [*rows, *rows], job)
        prepared = [
            {
                "prompt_ids": won[0],
                "chosen_ids": won[1],
                "rejected_ids": lost[1],
                "ref_chosen_logps": known[index],
                "ref_rejected_logps": known[len(rows) + index],
                **row.numbers(),
                SHOWN: list(row.images),
            }
            for index, (won, lost, row) in enumerate(zip(chosen, rejected, rows, strict=True))
        ]
        return dpo_trainer(loaded, prepared, loss.arguments(), loss.own(rows))

    return run_training(job, prepare, len(rows))


def train_without_reference(
    job: TrainingJob, rows: Sequence[Preference], loss: OrpoLoss | SimpoLoss
) -> TrainingReport:
    """Trains a checkpoint to prefer the chosen completions, by a loss that needs no reference.

    Raises:
        EngineError: as `train_dpo`.
    """
    tokenizer, sight = job.tokenizer(), job.sight()

    def prepare(model: Any, scratch: Path) -> Any:
        loaded = job.loaded(model, tokenizer, scratch, sight)
        prepared = [
            {"prompt_ids": won[0], "chosen_ids": won[1], "rejected_ids": lost[1], SHOWN: list(row.images)}
            for won, lost, row in zip(*_sides(loaded, rows), rows, strict=True)
        ]
        return dpo_trainer(loaded, prepared, {"beta": loss.beta}, loss)

    return run_training(job, prepare, len(rows))


def train_kto(
    job: TrainingJob, reference: Checkpoint, rows: Sequence[Labelled], loss: KtoLoss
) -> TrainingReport:
    """Trains a checkpoint towards desirable and away from undesirable completions, measured against `reference`.

    The divergence in an optimizer step is estimated from its prompts, each with the completion of the row before it (section 4.1
    of the paper), so rows are shuffled once, by the seed, and taken in that order in every epoch.

    Raises:
        EngineError: as `train_dpo`.
    """
    tokenizer, sight = job.tokenizer(), job.sight()
    draw = random.Random(job.settings.seed)  # noqa: S311 - reproducible on purpose
    shuffled = sorted(rows, key=lambda _: draw.random())

    def prepare(model: Any, scratch: Path) -> Any:
        loaded = job.loaded(model, tokenizer, scratch, sight)
        matched = _encoded(loaded, shuffled, [row.completion for row in shuffled])
        _refuse_lengths(loaded, matched)
        known = _reference_logps(reference, matched, shuffled, job)
        prepared: list[dict[str, Any]] = [
            {
                "prompt_ids": prompt,
                "completion_ids": completion,
                "label": row.desirable,
                "ref_logps": logp,
                SHOWN: list(row.images),
            }
            for (prompt, completion), row, logp in zip(matched, shuffled, known, strict=True)
        ]
        if loss.estimates_divergence:
            crossed = _crossed(matched)
            _refuse_lengths(loaded, crossed)
            known = _reference_logps(reference, crossed, shuffled, job)
            for row, (_, completion), logp in zip(prepared, crossed, known, strict=True):
                row |= {"KL_completion_ids": completion, "ref_KL_logps": logp}
        return kto_trainer(loaded, prepared, loss.arguments())

    return run_training(job, prepare, len(rows))


def train_reward_model(
    job: TrainingJob, rows: Sequence[Preference], center: float | None = None
) -> TrainingReport:
    """Trains a model that scores chosen completions higher than rejected ones, by the Bradley-Terry likelihood.

    A language model gets a new head, a reward model is trained further.

    Args:
        job: starts from a full language model or reward model; its settings have no adapter.
        rows: pairs, without weights.
        center: weight of a term that keeps rewards around 0 (arXiv:2312.09244, equation 2).

    Raises:
        EngineError: as `train_dpo`.
    """
    import torch

    tokenizer = job.tokenizer()

    def load(checkpoint: Path, *_: Any) -> Any:
        return load_reward_model(checkpoint, torch.float32, int(tokenizer.pad_token_id or 0))

    def prepare(model: Any, scratch: Path) -> Any:
        loaded = job.loaded(model, tokenizer, scratch)
        prepared = [
            {"chosen_ids": won[0] + won[1], "rejected_ids": lost[0] + lost[1], **row.numbers()}
            for won, lost, row in zip(*_sides(loaded, rows), rows, strict=True)
        ]
        return reward_trainer(loaded, prepared, center)

    return run_training(job, prepare, len(rows), load)


def _sides(loaded: Loaded, rows: Sequence[Preference]) -> tuple[list[Encoded], list[Encoded]]:
    """Encodes the chosen and the rejected sides of pairs, none longer than the model or the settings allow."""
    chosen = _encoded(loaded, rows, [row.chosen for row in rows])
    rejected = _encoded(loaded, rows, [row.rejected for row in rows])
    _refuse_lengths(loaded, [*chosen, *rejected])
    return chosen, rejected


def _encoded(loaded: Loaded, rows: Sequence[Showing], answers: Sequence[Answer]) -> list[Encoded]:
    """Encodes answers to the prompts of some rows, behind the rows' pictures."""
    chat, sight = loaded.settings.chat, loaded.sight
    asked = [(row.prompt, answer) for row, answer in zip(rows, answers, strict=True)]
    pairs = encode_pairs(loaded.tokenizer, asked, chat)
    return pairs if sight is None else sight.placed_pairs(rows, pairs, chat)


def _refuse_lengths(loaded: Loaded, encoded: Sequence[Encoded]) -> None:
    lengths = [len(prompt) + len(completion) for prompt, completion in encoded]
    refuse_lengths(lengths, longest_row(loaded.model, loaded.settings))


def _reference_logps(
    reference: Checkpoint, encoded: Sequence[Encoded], rows: Sequence[Showing], job: TrainingJob
) -> list[float]:
    """Computes log-probabilities under the reference, which is freed before training begins."""
    device = "cpu" if job.execution.on_cpu else "auto"
    scorer = LikelihoodScorer(reference.directory, device, reference.base, job.pictures)
    images = () if job.pictures is None else [row.images for row in rows]
    return [found.logprob for found in scorer.score_ids(encoded, images=images)]


def _crossed(encoded: Sequence[Encoded]) -> list[Encoded]:
    """Pairs each prompt with the completion of the row before it, the first with that of the last."""
    return [(prompt, encoded[place - 1][1]) for place, (prompt, _) in enumerate(encoded)]
