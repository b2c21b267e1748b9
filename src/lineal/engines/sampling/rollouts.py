"""Samples of a model in training, as an online trainer passes them to a judge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from lineal.data.conversations import Prompt
    from lineal.engines.sampling.live_policy import LivePolicy
    from lineal.engines.sampling.sampler import Completion


@dataclass(frozen=True)
class SampledRollout:
    """One completion.

    Attributes:
        prompt: the place of its prompt among the training's prompts.
        visit: how often the training had sampled this prompt before.
        text: without special tokens.
        tokens: tokens drawn, eos included.
        finish_reason: 'stop' after an eos token, 'length' at the limit.
        token_ids: of the drawn tokens; None where there are none.
        outside: which of its prompt's completions from outside it is; None: the model in training drew it.
    """

    prompt: int
    visit: int
    text: str
    tokens: int
    finish_reason: str
    token_ids: list[int] | None = None
    outside: int | None = None


@dataclass(frozen=True)
class Generation:
    """The rollouts that were sampled at once.

    Attributes:
        optimizer_step: the optimizer steps that the model had taken.
        total: how many rollouts the whole training samples.
        rollouts: one prompt's are together, equally many of each prompt.
    """

    optimizer_step: int
    total: int
    rollouts: tuple[SampledRollout, ...]


class RolloutJudge(Protocol):
    """Rewards rollouts, one generation after another."""

    def reward(self, generation: Generation) -> list[float | None]:
        """Returns one reward per rollout, in order; None where there is none, and then the rollout teaches nothing."""
        ...

    def learned(self, advantages: Sequence[float | None]) -> None:
        """Receives the advantages of the last generation's rewards, in order; None for rollouts that were replaced."""
        ...


@dataclass(frozen=True)
class PlayedTurn:
    """One turn of an episode: the model's input, and what it wrote."""

    given: Prompt
    completion: Completion


class EpisodeJudge(Protocol):
    """Plays a generation's episodes, and rewards them; one generation after another."""

    def play(
        self, tasks: Sequence[tuple[int, int]], optimizer_step: int, policy: LivePolicy
    ) -> list[list[PlayedTurn]]:
        """Lets the policy play an episode for each (place of the task, which of its episodes); returns their turns."""
        ...

    def reward(self) -> list[float | None]:
        """Returns one reward for each episode of this generation; None where there is none: the episode then teaches nothing."""
        ...

    def learned(self, advantages: Sequence[float]) -> None:
        """Receives the advantages of the generation's rewards, in order."""
        ...

    def by_turn(self, advantages: Sequence[float]) -> list[list[float]] | None:
        """Returns the advantages of each episode's turns, given those of the episodes; None where they are their episode's."""
        ...
