"""TRL's GRPOTrainer set up for equal bytes: our tokens, a judge's rewards, every sample handed over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lineal.engines.checkpoints import quiet
from lineal.engines.rollouts import Generation, Rollout, RolloutJudge
from lineal.engines.tokens import decode_completions
from lineal.engines.trainer_run import trainer_arguments

if TYPE_CHECKING:
    from lineal.engines.training import TrainingSettings

NOT_OF_GRPO = ("max_length",)
"""Arguments of TRL's other configurations; nothing is cut here either, longer prompts are refused before."""


def grpo_trainer(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[tuple[str, list[int]]],
    judge: RolloutJudge,
    settings: TrainingSettings,
    arguments: Mapping[str, Any],
    scratch: Path,
) -> Any:
    """A GRPO trainer whose only reward is the judge's.

    Args:
        model: the model to train.
        tokenizer: its tokenizer.
        prompts: texts with their token ids.
        judge: rewards the samples of each generation, and then gets their advantages.
        settings: hyperparameters of any training.
        arguments: GRPO's own, by TRL's names.
        scratch: an empty directory.
    """
    from datasets import Dataset
    from trl.trainer.grpo_config import GRPOConfig
    from trl.trainer.grpo_trainer import GRPOTrainer

    encoded = dict(prompts)

    class JudgedGRPOTrainer(GRPOTrainer):
        """GRPO that hands every generation over."""

        def _tokenize_prompts(self, asked: list[str]) -> tuple[list[list[int]], None, dict[str, Any]]:
            return [encoded[prompt] for prompt in asked], None, {}

        def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
            with quiet():
                scored: dict[str, Any] = super()._generate_and_score_completions(inputs)
            judge.learned(scored["advantages"].tolist())
            return scored

    def reward(completion_ids: list[list[int]], place: list[int], trainer_state: Any, **_: Any) -> list[float | None]:
        texts = decode_completions(tokenizer, completion_ids)
        rollouts = tuple(
            Rollout(prompt, text, len(ids), "stop" if ids[-1] in trainer.eos_token_ids else "length")
            for prompt, text, ids in zip(place, texts, completion_ids, strict=True)
        )
        total = _generations(trainer.args, trainer_state.max_steps) * len(rollouts)
        return judge.reward(Generation(trainer_state.global_step, total, rollouts))

    common = {name: value for name, value in trainer_arguments(settings, scratch).items() if name not in NOT_OF_GRPO}
    places = {"prompt": [text for text, _ in prompts], "place": list(range(len(prompts)))}
    trainer = JudgedGRPOTrainer(
        model=model,
        reward_funcs=[reward],
        args=GRPOConfig(**common, **arguments),
        train_dataset=Dataset.from_dict(places),
        processing_class=tokenizer,
    )
    return trainer


def _generations(arguments: Any, optimizer_steps: int) -> int:
    """How often a training samples: each generation is used for several optimizer steps, the last one perhaps for fewer."""
    passes: int = optimizer_steps * arguments.gradient_accumulation_steps
    passes_each: int = arguments.steps_per_generation * arguments.num_iterations
    return -(-passes // passes_each)
