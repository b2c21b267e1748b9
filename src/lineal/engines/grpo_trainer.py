"""TRL's GRPOTrainer set up for equal bytes: our tokens, a judge's rewards, every sample handed over."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lineal.engines.checkpoints import quiet
from lineal.engines.optimizer_steps import with_own_steps
from lineal.engines.rollouts import EpisodeJudge, Generation, Rollout, RolloutJudge
from lineal.engines.tokens import Lead, decode_completions
from lineal.engines.trainer_run import trainer_arguments
from lineal.engines.training_execution import ALONE, Execution

if TYPE_CHECKING:
    from lineal.engines.training import TrainingSettings


@dataclass(frozen=True)
class Visit:
    """A prompt's turn to be sampled.

    Attributes:
        prompt: its place among the prompts.
        number: how many turns it had before.
        text: the prompt.
        ids: its token ids.
        lead: how completions stand behind it.
    """

    prompt: int
    number: int
    text: str
    ids: list[int]
    lead: Lead = None


NOT_OF_GRPO = ("max_length",)
"""Arguments of TRL's other configurations; nothing is cut here either, longer prompts are refused before."""


def grpo_trainer(
    model: Any,
    tokenizer: Any,
    visits: Sequence[Visit],
    total: int,
    judge: RolloutJudge,
    settings: TrainingSettings,
    arguments: Mapping[str, Any],
    scratch: Path,
    execution: Execution = ALONE,
) -> Any:
    """A GRPO trainer whose only reward is the judge's.

    Args:
        model: the model to train.
        tokenizer: its tokenizer.
        visits: the prompts in the order in which they are sampled.
        total: how many rollouts the whole training samples.
        judge: rewards the samples of each generation, and then gets their advantages.
        settings: hyperparameters of any training.
        arguments: GRPO's own, by TRL's names.
        scratch: the output directory.
        execution: what does not decide the bytes.
    """
    from datasets import Dataset
    from trl.trainer.grpo_config import GRPOConfig

    def reward(completion_ids: list[list[int]], visit: list[int], trainer_state: Any, **_: Any) -> list[float | None]:
        texts = decode_completions(tokenizer, completion_ids, [visits[place].lead for place in visit])
        rollouts = tuple(
            Rollout(of.prompt, of.number, text, len(ids), "stop" if ids[-1] in trainer.eos_token_ids else "length", list(ids))
            for of, text, ids in zip((visits[place] for place in visit), texts, completion_ids, strict=True)
        )
        return judge.reward(Generation(trainer_state.global_step, total, rollouts))

    common = grpo_arguments(settings, scratch, execution)
    trainer = with_own_steps(judged_trainer({visit.text: visit.ids for visit in visits}, judge), settings)(
        model=model,
        reward_funcs=[reward],
        args=GRPOConfig(**common, **arguments),
        train_dataset=Dataset.from_dict({"prompt": [visit.text for visit in visits], "visit": list(range(len(visits)))}),
        processing_class=tokenizer,
    )
    return trainer


def grpo_arguments(settings: TrainingSettings, scratch: Path, execution: Execution) -> dict[str, Any]:
    """Arguments of any training, as GRPO takes them."""
    return {name: value for name, value in trainer_arguments(settings, scratch, execution).items() if name not in NOT_OF_GRPO}


def judged_trainer(encoded: Mapping[str, list[int]], judge: RolloutJudge | EpisodeJudge) -> Any:
    """GRPO that takes prompts as they are encoded here, and hands every generation over."""
    from trl.trainer.grpo_trainer import GRPOTrainer

    base: Any = GRPOTrainer

    class JudgedGRPOTrainer(base):  # type: ignore[misc]
        """GRPO between our tokens and our judge."""

        def _tokenize_prompts(self, asked: list[str]) -> tuple[list[list[int]], None, dict[str, Any]]:
            return [encoded[prompt] for prompt in asked], None, {}

        def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
            with quiet(), _plain_generation(self.accelerator.unwrap_model(self.model)):
                scored: dict[str, Any] = super()._generate_and_score_completions(inputs)
            judge.learned(scored["advantages"].tolist())
            return scored

        def compute_loss(self, model: Any, inputs: dict[str, Any], *arguments: Any, **settings: Any) -> Any:
            loss = super().compute_loss(model, inputs, *arguments, **settings)
            return loss * self._share_of_tokens(inputs) if self.loss_type == "bnpo" else loss

        def _share_of_tokens(self, inputs: dict[str, Any]) -> Any:
            """By what the mean over a forward pass's tokens is multiplied, so that all passes make the mean over the step's."""
            passes = self.current_gradient_accumulation_steps
            first = self._step // passes * passes % self.args.steps_per_generation
            whole = sum(_learnt(part) for part in self._buffered_inputs[first : first + passes])
            return _learnt(inputs) * passes / whole.clamp(min=1)

        def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
            self._metrics["train"]["num_tokens"] = [self.state.num_input_tokens_seen]  # TRL tells it where it samples only
            super().log(logs, start_time)

    return JudgedGRPOTrainer


def _learnt(inputs: Mapping[str, Any]) -> Any:
    """How many tokens of some sequences are learnt."""
    mask = inputs["completion_mask"]
    return (mask * inputs["tool_mask"] if "tool_mask" in inputs else mask).sum()


@contextmanager
def _plain_generation(model: Any) -> Iterator[None]:
    """Lets a model draw as the step says: its generation_config.json is put aside, which transformers fills gaps from."""
    from transformers import GenerationConfig

    holder = model.get_base_model() if hasattr(model, "get_base_model") else model
    declared = holder.generation_config
    holder.generation_config = GenerationConfig()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        holder.generation_config = declared
