"""TRL's GRPOTrainer set up for equal bytes: lineal's tokens, a judge's rewards, every sample passed to the judge."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from lineal.engines.models.checkpoints import quiet
from lineal.engines.sampling.rollouts import EpisodeJudge, Generation, RolloutJudge, SampledRollout
from lineal.engines.text.tokens import decode_completions
from lineal.engines.text.turns import Turns
from lineal.engines.training.best_step import BestStep
from lineal.engines.training.hooked_trainer import Hooks, hooked_trainer
from lineal.engines.training.optimizer_steps import with_own_steps
from lineal.engines.training.refill import Refiller

if TYPE_CHECKING:
    from lineal.engines.training.job import Loaded


NOT_OF_GRPO = ("max_length",)
"""Arguments of TRL's other configurations; nothing is truncated here either: longer prompts are refused before."""


def grpo_trainer(
    loaded: Loaded, turns: Turns, total: int, judge: RolloutJudge, arguments: Mapping[str, Any], hooks: Hooks
) -> Any:
    """Makes a GRPO trainer whose only reward is the judge's.

    Args:
        loaded: what the trainer is made of.
        turns: the prompts in the order in which they are sampled.
        total: how many rollouts the whole training learns from.
        judge: rewards the samples of each generation, and then gets their advantages.
        arguments: GRPO's own, by TRL's names.
        hooks: what takes part beside the judge.
    """
    from datasets import Dataset
    from trl.trainer.grpo_config import GRPOConfig

    samples = int(arguments["num_generations"])

    def judged(places: list[int], completion_ids: list[list[int]]) -> list[float | None]:
        visits = [turns[place] for place in places]
        texts = decode_completions(loaded.tokenizer, completion_ids, [visit.lead for visit in visits])
        ends = ["stop" if ids[-1] in trainer.eos_token_ids else "length" for ids in completion_ids]
        last = [place % samples == samples - 1 for place in range(len(places))]
        rollouts = tuple(
            SampledRollout(
                of.prompt, of.number, text, len(ids), end, list(ids), hooks.joined(of) if is_last else None
            )
            for of, text, ids, end, is_last in zip(visits, texts, completion_ids, ends, last, strict=True)
        )
        return judge.reward(Generation(trainer.state.global_step, total, rollouts))

    filling = None if hooks.refill is None else Refiller(hooks.refill, turns, judged)

    def reward(completion_ids: list[list[int]], visit: list[int], **_: Any) -> list[float | None]:
        return (
            judged(visit, completion_ids)
            if filling is None or filling.batch is None
            else filling.batch.rewards
        )

    keeper = None if hooks.best is None else BestStep(hooks.best)
    groups = [turns[place] for place in range(total // samples)]
    trainer = with_own_steps(
        hooked_trainer(judged_trainer(judge), judge, turns, keeper, filling, hooks), loaded.settings
    )(
        model=loaded.model,
        reward_funcs=[reward],
        args=GRPOConfig(**grpo_arguments(loaded), **arguments),
        train_dataset=Dataset.from_dict(
            {"prompt": [visit.text for visit in groups], "visit": list(range(len(groups)))}
        ),
        processing_class=loaded.tokenizer,
    )
    if keeper is not None:
        trainer.add_callback(keeper.callback(trainer))
    return trainer


def grpo_arguments(loaded: Loaded) -> dict[str, Any]:
    """Turns the arguments of any training into GRPO's."""
    return {name: value for name, value in loaded.arguments().items() if name not in NOT_OF_GRPO}


def judged_trainer(judge: RolloutJudge | EpisodeJudge) -> Any:
    """Makes a GRPO trainer that passes every generation to the judge."""
    from trl.trainer.grpo_trainer import GRPOTrainer

    base: Any = GRPOTrainer

    class JudgedGRPOTrainer(base):  # type: ignore[misc]
        """GRPO with lineal's judge."""

        def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
            with self.drawing():
                scored: dict[str, Any] = super()._generate_and_score_completions(inputs)
            self._hand_over(scored["advantages"].tolist())
            return scored

        @contextmanager
        def drawing(self) -> Iterator[None]:
            """Samples with the step's settings, without transformers' messages."""
            with quiet(), _plain_generation(self.accelerator.unwrap_model(self.model)):
                yield

        def _hand_over(self, advantages: list[float]) -> None:
            judge.learned(advantages)

        def compute_loss(self, model: Any, inputs: dict[str, Any], *arguments: Any, **settings: Any) -> Any:
            loss = super().compute_loss(model, inputs, *arguments, **settings)
            return loss * self._share_of_tokens(inputs) if self.loss_type == "bnpo" else loss

        def _share_of_tokens(self, inputs: dict[str, Any]) -> Any:
            """Returns the factor for the mean over a forward pass's tokens that makes all passes the mean over the step's."""
            passes = self.current_gradient_accumulation_steps
            first = self._step // passes * passes % self.args.steps_per_generation
            whole = sum(_learnt(part) for part in self._buffered_inputs[first : first + passes])
            return _learnt(inputs) * passes / whole.clamp(min=1)

        def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
            self._metrics["train"]["num_tokens"] = [
                self.state.num_input_tokens_seen
            ]  # TRL tells it where it samples only
            super().log(logs, start_time)

    return JudgedGRPOTrainer


def _learnt(inputs: Mapping[str, Any]) -> Any:
    """Counts the learnt tokens of some sequences."""
    mask = inputs["completion_mask"]
    return (mask * inputs["tool_mask"] if "tool_mask" in inputs else mask).sum()


@contextmanager
def _plain_generation(model: Any) -> Iterator[None]:
    """Puts the model's generation_config.json aside while it samples, since transformers fills gaps from it."""
    from transformers import GenerationConfig

    holder = model.get_base_model() if hasattr(model, "get_base_model") else model
    declared = holder.generation_config
    holder.generation_config = GenerationConfig()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        holder.generation_config = declared
