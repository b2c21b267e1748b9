"""Hooks of an online training of completions: the best step is kept, groups are replaced or joined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lineal.engines.models.sight import PIXELS, Sight
from lineal.engines.sampling.rollouts import RolloutJudge
from lineal.engines.text.turns import Turns, Visit
from lineal.engines.training.best_step import BestSettings, BestStep
from lineal.engines.training.refill import Batch, Refiller, RefillSettings

if TYPE_CHECKING:
    from lineal.engines.sampling.live_policy import LivePolicy


@dataclass(frozen=True)
class Hooks:
    """The hooks of an online training besides its judge.

    Attributes:
        policy: gets the model in training, for a judge that asks it.
        best: the rule for the best step, and for ending early; None: the last step's weights are kept.
        refill: how groups without a learning signal are replaced; None: they are not.
        outside: by a prompt's place, token ids of completions of which one joins each of its groups, in the place of the last.
        sight: shows the model the pictures of its prompts; None: they have none.
    """

    policy: LivePolicy | None = None
    best: BestSettings | None = None
    refill: RefillSettings | None = None
    outside: Mapping[int, Sequence[list[int]]] = field(default_factory=dict)
    sight: Sight | None = None

    def joined(self, turn: Visit) -> int | None:
        """Returns which completion from outside joins a turn's group: the next one each time; None where there is none."""
        return turn.number % len(self.outside[turn.prompt]) if turn.prompt in self.outside else None


def hooked_trainer(
    judged: Any,
    judge: RolloutJudge,
    turns: Turns,
    keeper: BestStep | None,
    filling: Refiller | None,
    hooks: Hooks,
) -> Any:
    """Makes a judged trainer (`judged_trainer`) that samples turns, with hooks."""
    sight = hooks.sight

    class HookedGRPOTrainer(judged):  # type: ignore[misc]
        """A trainer that recombines what was sampled before it is learned."""

        def _tokenize_prompts(self, _: list[str]) -> tuple[list[list[int]], None, dict[str, Any]]:
            return [turn.ids for turn in self._asked], None, self._seen()

        def _seen(self) -> dict[str, Any]:
            """Returns what the model is given of the pictures of the prompts that are asked."""
            return {} if sight is None else sight.pixels([turn.images for turn in self._asked])

        def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
            batch = None if filling is None else self._filled(filling, len(inputs))
            learnt = inputs if batch is None else batch.inputs
            self._asked = [turns[row["visit"]] for row in learnt]
            scored: dict[str, Any] = super()._generate_and_score_completions(learnt)
            scored |= {name: value.to(self.accelerator.device) for name, value in self._seen().items()}
            if keeper is not None:
                keeper.judged(self.accelerator.unwrap_model(self.model), self.state.global_step)
            return scored

        def _get_per_token_logps_and_entropies(
            self, model: Any, input_ids: Any, *arguments: Any, **settings: Any
        ) -> Any:
            if sight is not None:
                settings |= self._shown_beside(input_ids, settings)
            return super()._get_per_token_logps_and_entropies(model, input_ids, *arguments, **settings)

        def _shown_beside(self, input_ids: Any, settings: Mapping[str, Any]) -> dict[str, Any]:
            """Returns the pixels of some rows: those given, which have been shuffled, or those of the prompts that are asked."""
            given = {
                name: settings[name] for name in PIXELS if settings.get(name) is not None
            } or self._seen()
            shown = {name: value.to(input_ids.device) for name, value in given.items()}
            return (
                {**shown, "num_images": [1] * len(input_ids)} if shown else {}
            )  # a row of pixels for each row of ids

        def _hand_over(self, advantages: list[float]) -> None:
            batch = None if filling is None else filling.batch
            judge.learned(advantages if batch is None else batch.of_all(advantages))

        def _filled(self, filling: Refiller, rows: int) -> Batch:
            filling.batch = None
            with self.drawing():
                return filling.fill(
                    self._drawn, rows // self.num_generations, self.num_generations, self.state.global_step
                )

        def _drawn(self, places: list[int]) -> Any:
            self._asked = [turns[place] for place in places]
            return super()._generate([turn.text for turn in self._asked])

        def _generate(self, prompts: list[str]) -> Any:
            drawn = None if filling is None or filling.batch is None else filling.batch.drawn
            return super()._generate(prompts) if drawn is None else drawn

        def _generate_single_turn(self, prompt_ids: list[list[int]], *arguments: Any, **settings: Any) -> Any:
            ids, logprobs = super()._generate_single_turn(prompt_ids, *arguments, **settings)
            return _with_outside(ids, self._asked, hooks, self.num_generations), logprobs

    return HookedGRPOTrainer


def _with_outside(
    drawn: list[list[int]], asked: Sequence[Visit], hooks: Hooks, samples: int
) -> list[list[int]]:
    """Returns the samples of turns, the last of each group replaced by the completion from outside that joins it."""
    joined = [
        hooks.joined(turn) if place % samples == samples - 1 else None for place, turn in enumerate(asked)
    ]
    return [
        ids if number is None else list(hooks.outside[turn.prompt][number])
        for ids, turn, number in zip(drawn, asked, joined, strict=True)
    ]
