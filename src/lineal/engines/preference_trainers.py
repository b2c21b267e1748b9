"""TRL's preference trainers set up for equal bytes: rows already tokenised, the reference's log-probabilities among them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lineal.engines.trainer_run import trainer_arguments, with_weights
from lineal.engines.training_execution import ALONE, Execution

if TYPE_CHECKING:
    from lineal.engines.training import TrainingSettings

IGNORED_LABEL = -100
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
) -> Any:
    """A DPO trainer for rows of `prompt_ids`, `chosen_ids`, `rejected_ids`, `ref_chosen_logps`, `ref_rejected_logps`.

    Rows may have a `weight`; see `_weighted_dpo`. `losses` are the loss's own arguments of TRL's DPOConfig.
    """
    from datasets import Dataset
    from trl.trainer.dpo_config import DPOConfig
    from trl.trainer.dpo_trainer import DPOTrainer

    class PreparedDPOTrainer(PreparedRows, DPOTrainer):
        """DPO on prepared rows."""

    weighted = "weight" in rows[0]
    trainer = (_weighted_dpo(PreparedDPOTrainer) if weighted else PreparedDPOTrainer)(
        model=model,
        args=DPOConfig(**trainer_arguments(settings, scratch, execution), **ARGUMENTS, **losses),
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
    )
    if weighted:
        trainer.data_collator = with_weights(trainer.data_collator)
    return trainer


def _weighted_dpo(base: Any) -> Any:
    """A trainer whose loss is the mean of weight * DPO's sigmoid loss (arXiv:2305.18290, equation 7) over the batch.

    With NLL it adds weight * the chosen tokens' loss, divided by the batch's chosen tokens. Weights of 1 give what TRL
    computes with the losses `sigmoid` and `sft`.
    """
    from torch.nn.functional import logsigmoid

    class WeightedDPOTrainer(base):  # type: ignore[misc]
        """Rows weigh differently; TRL has no such loss."""

        def _compute_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool) -> Any:
            completion, weight = inputs["completion_mask"], inputs["weight"]
            labels = inputs["input_ids"].masked_fill(completion == 0, IGNORED_LABEL)
            call = {name: inputs[name] for name in ("input_ids", "attention_mask")}
            logps = model(**call, use_cache=False, labels=labels, fused_lm_head=True).log_probs.sum(1)
            chosen, rejected = logps.chunk(2)
            margin = chosen - inputs["ref_chosen_logps"] - (rejected - inputs["ref_rejected_logps"])
            loss = -(weight * logsigmoid(self.beta * margin)).mean()
            for nll_weight in self.loss_weights[1:]:
                loss = loss - nll_weight * (weight * chosen).sum() / completion.chunk(2)[0].sum()
            self._total_train_tokens += int(self.accelerator.gather(inputs["attention_mask"].sum()).sum())
            metrics = self._metrics["train"]
            metrics["num_tokens"] = [self._total_train_tokens]
            metrics["rewards/accuracies"].append((margin > 0).float().mean().item())
            metrics["rewards/margins"].append(self.beta * margin.detach().mean().item())
            return loss

    return WeightedDPOTrainer


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

    return PreparedKTOTrainer(
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
    """A reward trainer for rows of `chosen_ids` and `rejected_ids`, prompt included."""
    from datasets import Dataset
    from trl.trainer.reward_config import RewardConfig
    from trl.trainer.reward_trainer import RewardTrainer

    return RewardTrainer(
        model=model,
        args=RewardConfig(**trainer_arguments(settings, scratch, execution), center_rewards_coefficient=center),
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
    )
