"""TRL's preference trainers set up for equal bytes: rows already tokenised, the reference's log-probabilities among them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lineal.engines.training.optimizer_steps import with_own_steps
from lineal.engines.training.preference_losses import PairLoss, pair_batch
from lineal.engines.training.trainer_run import with_numbers, with_pictures
from lineal.engines.training.whole_steps import Batch, Counts, real_examples, with_whole_steps

if TYPE_CHECKING:
    from lineal.engines.training.job import Loaded

NUMBERS = ("weight", "margin")
"""Columns of pairs that TRL's collator does not pass on."""
ARGUMENTS: Mapping[str, Any] = {"precompute_ref_log_probs": True, "remove_unused_columns": False}
"""The reference runs once over all rows, before training, instead of beside the model at every step."""


WITHOUT_ESTIMATE = "apo_zero_unpaired"
"""KTO's loss that TRL lets have batches of one row."""


class PreparedRows:
    """Mixed into a TRL trainer: the rows are tokenised and have the reference's log-probabilities already."""

    def _prepare_dataset(self, dataset: Any, *_: Any, **__: Any) -> Any:
        return dataset

    def _precompute_ref_logps(self, dataset: Any, *_: Any, **__: Any) -> Any:
        return dataset


def dpo_trainer(
    loaded: Loaded, rows: list[dict[str, Any]], losses: Mapping[str, Any], own: PairLoss | None = None
) -> Any:
    """Makes a DPO trainer for rows of `prompt_ids`, `chosen_ids`, `rejected_ids`, and the further columns of the loss.

    That is `ref_chosen_logps` and `ref_rejected_logps` for TRL's losses. `losses` are the loss's own arguments of TRL's
    DPOConfig; `own` is a loss in place of TRL's, whose rows may have a `weight` and a `margin`. Where the
    model sees pictures, the rows name them in `SHOWN`.
    """
    from datasets import Dataset
    from trl.trainer.dpo_config import DPOConfig
    from trl.trainer.dpo_trainer import DPOTrainer

    class PreparedDPOTrainer(PreparedRows, DPOTrainer):
        """DPO on prepared rows."""

    whole = _even(PreparedDPOTrainer) if own is None else _with_loss(PreparedDPOTrainer, own)
    trainer = with_own_steps(with_whole_steps(whole, _pair_counts(own)), loaded.settings)(
        model=loaded.model,
        args=DPOConfig(**loaded.arguments(), **ARGUMENTS, **losses),
        train_dataset=Dataset.from_list(rows),
        processing_class=loaded.tokenizer,
    )
    numbers = tuple(name for name in NUMBERS if name in rows[0])
    if numbers:
        trainer.data_collator = with_numbers(trainer.data_collator, numbers)
    if loaded.sight is not None:
        trainer.data_collator = with_pictures(trainer.data_collator, loaded.sight, copies=2)
    return trainer


def _pairs(batch: Batch) -> int:
    return len(batch["input_ids"]) // 2


def _pair_counts(own: PairLoss | None) -> Counts:
    """Counts pairs, and the tokens of the chosen completions, or of the chosen rows where the loss learns prompts too."""
    mask = "attention_mask" if own is not None and own.learns_prompts else "completion_mask"
    return Counts(_pairs, lambda batch: int(batch[mask][: _pairs(batch), 1:].sum()))


def _even(base: Any) -> Any:
    """Makes a trainer whose loss per chosen token, beside TRL's loss per pair, weighs all tokens of a step the same."""

    class EvenTrainer(base):  # type: ignore[misc]
        """A trainer in which the weight of the loss per token changes with the forward pass."""

        def _compute_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool) -> Any:
            weights = zip(self.loss_types, self.args.loss_weights, strict=True)
            self.loss_weights = [
                weight * self.part.tokens if name == "sft" else weight for name, weight in weights
            ]
            return super()._compute_loss(model, inputs, return_outputs)

    return EvenTrainer


def _with_loss(base: Any, own: PairLoss) -> Any:
    """Makes a trainer with a loss that TRL does not have."""

    class OwnLossTrainer(base):  # type: ignore[misc]
        """A trainer with a loss of lineal's."""

        def _compute_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool) -> Any:
            loss, lead = own(pair_batch(model, inputs, own.learns_prompts, self.part.tokens))
            self._total_train_tokens += int(self.accelerator.gather(inputs["attention_mask"].sum()).sum())
            metrics = self._metrics["train"]
            metrics["num_tokens"] = [self._total_train_tokens]
            metrics["rewards/accuracies"].append((lead > 0).float().mean().item())
            metrics["rewards/margins"].append(self.beta * lead.detach().mean().item())
            return loss

    return OwnLossTrainer


def kto_trainer(loaded: Loaded, rows: list[dict[str, Any]], losses: Mapping[str, Any]) -> Any:
    """Makes a KTO trainer for rows of `prompt_ids`, `completion_ids`, `label`, `ref_logps`, in the order in which it takes them.

    Rows that also have `KL_completion_ids` and `ref_KL_logps` give an estimate of the divergence. It is one for each optimizer
    step, over all its rows; TRL makes one for each forward pass, and refuses passes of one row. Where the
    model sees pictures, the rows name them in `SHOWN`.
    """
    from datasets import Dataset
    from trl.trainer.kto_config import KTOConfig
    from trl.trainer.kto_trainer import KTOTrainer

    class PreparedKTOTrainer(PreparedRows, KTOTrainer):
        """KTO on prepared rows."""

    whole = with_whole_steps(_with_divergence(PreparedKTOTrainer), Counts(lambda batch: len(batch["label"])))
    trainer = with_own_steps(whole, loaded.settings)(
        model=loaded.model,
        args=KTOConfig(**loaded.arguments(), **ARGUMENTS, **{**losses, "loss_type": WITHOUT_ESTIMATE}),
        train_dataset=Dataset.from_list(rows),
        processing_class=loaded.tokenizer,
    )
    trainer.loss_type, trainer.calculate_KL = losses["loss_type"], "KL_completion_ids" in rows[0]
    if loaded.sight is not None:
        trainer.data_collator = with_pictures(trainer.data_collator, loaded.sight)
    return trainer


def _with_divergence(base: Any) -> Any:
    """Makes a KTO trainer with one estimate of the divergence for each optimizer step."""
    import torch

    class DivergenceTrainer(base):  # type: ignore[misc]
        """A trainer whose estimate is over all rows of the step, in all processes."""

        def get_batch_samples(self, *arguments: Any) -> Any:
            batches, items = super().get_batch_samples(*arguments)
            if self.calculate_KL:
                self._divergence = self._over_step(batches)
            return batches, items

        def _over_step(self, batches: Sequence[Batch]) -> Any:
            self.model_wrapped.train()
            real = real_examples([len(batch["label"]) for batch in batches], self.accelerator)
            with torch.no_grad(), self.compute_loss_context_manager():
                leads = [
                    self._lead(self._prepare_inputs(batch))[:count]
                    for batch, count in zip(batches, real, strict=True)
                ]
            total = torch.stack(
                [torch.cat(leads).sum(), torch.tensor(float(sum(real)), device=leads[0].device)]
            )
            lead, rows = self.accelerator.reduce(total, "sum")
            return lead / rows

        def _lead(self, batch: dict[str, Any]) -> Any:
            return super()._compute_kl_logps(self.model_wrapped, batch) - batch["ref_KL_logps"]

        def _compute_kl_logps(self, model: Any, batch: dict[str, Any]) -> Any:
            return batch["ref_KL_logps"] + self._divergence if self.calculate_KL else None

    return DivergenceTrainer


def reward_trainer(loaded: Loaded, rows: list[dict[str, Any]], center: float | None) -> Any:
    """Makes a reward trainer for rows of `chosen_ids` and `rejected_ids`, prompt included; they may have a `margin`."""
    from datasets import Dataset
    from trl.trainer.reward_config import RewardConfig
    from trl.trainer.reward_trainer import RewardTrainer

    return with_own_steps(with_whole_steps(RewardTrainer, Counts(_pairs)), loaded.settings)(
        model=loaded.model,
        args=RewardConfig(**loaded.arguments(), center_rewards_coefficient=center),
        train_dataset=Dataset.from_list(rows),
        processing_class=loaded.tokenizer,
    )
