"""TRL's preference trainers set up for equal bytes: rows already tokenised, the reference's log-probabilities among them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lineal.engines.optimizer_steps import with_own_steps
from lineal.engines.preference_losses import PairLoss, pair_batch
from lineal.engines.trainer_run import trainer_arguments, with_numbers
from lineal.engines.training_execution import ALONE, Execution

if TYPE_CHECKING:
    from lineal.engines.training import TrainingSettings

NUMBERS = ("weight", "margin")
"""Columns of pairs that TRL's collator does not pass on."""
ARGUMENTS: Mapping[str, Any] = {"precompute_ref_log_probs": True, "remove_unused_columns": False}
"""The reference runs once over all rows, before training, instead of beside the model at every step."""


class PreparedRows:
    """Mixed into a TRL trainer: the rows are tokenised and have the reference's log-probabilities already."""

    def _prepare_dataset(self, dataset: Any, *_: Any, **__: Any) -> Any:
        return dataset

    def _precompute_ref_logps(self, dataset: Any, *_: Any, **__: Any) -> Any:
        return dataset


def dpo_trainer(
    model: Any,
    tokenizer: Any,
    rows: list[dict[str, Any]],
    settings: TrainingSettings,
    losses: Mapping[str, Any],
    scratch: Path,
    execution: Execution = ALONE,
    own: PairLoss | None = None,
) -> Any:
    """A DPO trainer for rows of `prompt_ids`, `chosen_ids`, `rejected_ids`, and what the loss knows of them.

    That is `ref_chosen_logps` and `ref_rejected_logps` for TRL's losses. `losses` are the loss's own arguments of TRL's
    DPOConfig; `own` is a loss in place of TRL's, whose rows may have a `weight` and a `margin`.
    """
    from datasets import Dataset
    from trl.trainer.dpo_config import DPOConfig
    from trl.trainer.dpo_trainer import DPOTrainer

    class PreparedDPOTrainer(PreparedRows, DPOTrainer):
        """DPO on prepared rows."""

    trainer = with_own_steps(PreparedDPOTrainer if own is None else _with_loss(PreparedDPOTrainer, own), settings)(
        model=model,
        args=DPOConfig(**trainer_arguments(settings, scratch, execution), **ARGUMENTS, **losses),
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
    )
    numbers = tuple(name for name in NUMBERS if name in rows[0])
    if numbers:
        trainer.data_collator = with_numbers(trainer.data_collator, numbers)
    return trainer


def _with_loss(base: Any, own: PairLoss) -> Any:
    """A trainer with a loss that TRL does not have."""

    class OwnLossTrainer(base):  # type: ignore[misc]
        """The loss is ours, the rest is TRL's."""

        def _compute_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool) -> Any:
            loss, lead = own(pair_batch(model, inputs, own.learns_prompts))
            self._total_train_tokens += int(self.accelerator.gather(inputs["attention_mask"].sum()).sum())
            metrics = self._metrics["train"]
            metrics["num_tokens"] = [self._total_train_tokens]
            metrics["rewards/accuracies"].append((lead > 0).float().mean().item())
            metrics["rewards/margins"].append(self.beta * lead.detach().mean().item())
            return loss

    return OwnLossTrainer


def kto_trainer(
    model: Any,
    tokenizer: Any,
    rows: list[dict[str, Any]],
    settings: TrainingSettings,
    losses: Mapping[str, Any],
    scratch: Path,
    execution: Execution = ALONE,
) -> Any:
    """A KTO trainer for rows of `prompt_ids`, `completion_ids`, `label`, `ref_logps`, in the order in which it takes them.

    For the estimate of the divergence rows also have `KL_completion_ids` and `ref_KL_logps`.
    """
    from datasets import Dataset
    from trl.trainer.kto_config import KTOConfig
    from trl.trainer.kto_trainer import KTOTrainer

    class PreparedKTOTrainer(PreparedRows, KTOTrainer):
        """KTO on prepared rows."""

    return with_own_steps(PreparedKTOTrainer, settings)(
        model=model,
        args=KTOConfig(**trainer_arguments(settings, scratch, execution), **ARGUMENTS, **losses),
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
    )


def reward_trainer(
    model: Any,
    tokenizer: Any,
    rows: list[dict[str, Any]],
    settings: TrainingSettings,
    center: float | None,
    scratch: Path,
    execution: Execution = ALONE,
) -> Any:
    """A reward trainer for rows of `chosen_ids` and `rejected_ids`, prompt included; they may have a `margin`."""
    from datasets import Dataset
    from trl.trainer.reward_config import RewardConfig
    from trl.trainer.reward_trainer import RewardTrainer

    return with_own_steps(RewardTrainer, settings)(
        model=model,
        args=RewardConfig(**trainer_arguments(settings, scratch, execution), center_rewards_coefficient=center),
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
    )
