"""Interfaces of engines: what samples, and what scores."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from lineal.data.conversations import Prompt
from lineal.engines.sampling.sampler import Completion, Request, SamplingSettings
from lineal.engines.sampling.scoring import CertaintyMeans, LogProbability, Pair


class CompletionSource(Protocol):
    """The interface of sampling engines."""

    @property
    def in_flight(self) -> int:
        """The number of requests that keeps it busy; a step's rows are passed in slices of at least so many samples."""
        ...

    def stream(
        self, requests: Sequence[Request], settings: SamplingSettings
    ) -> Iterator[tuple[int, Completion]]:
        """Yields each request's place and its completion, in the order in which they are finished.

        Raises:
            EngineError: a request cannot be answered, or the engine is gone; earlier completions remain valid.
        """
        ...


class RewardSource(Protocol):
    """The interface of reward models; see `lineal.engines.sampling.scoring.RewardScorer.score`."""

    def score(
        self, pairs: Sequence[Pair], chat: bool = False, progress: Callable[[int], None] | None = None
    ) -> list[float]:
        """Returns one number per (prompt, completion), in order."""
        ...


class StepScoreSource(Protocol):
    """The interface of process reward models; see `lineal.engines.sampling.step_scoring.StepScorer.score_steps`."""

    def score_steps(
        self,
        rows: Sequence[tuple[Prompt, str]],
        separator: str,
        chat: bool = False,
        progress: Callable[[int], None] | None = None,
    ) -> list[list[float]]:
        """Returns by (prompt, text after it) a number from 0 to 1 for each step."""
        ...


class LikelihoodSource(Protocol):
    """The interface of likelihood scorers; see `lineal.engines.sampling.scoring.LikelihoodScorer.score`."""

    def score(
        self, pairs: Sequence[Pair], chat: bool = False, progress: Callable[[int], None] | None = None
    ) -> list[LogProbability]:
        """Returns one likelihood per (prompt, completion), in order."""
        ...

    def certainty(
        self, pairs: Sequence[Pair], chat: bool = False, progress: Callable[[int], None] | None = None
    ) -> list[CertaintyMeans]:
        """Returns how sure the model is of each completion, in order."""
        ...


class HiddenStateSource(Protocol):
    """The interface for a model's hidden states; see `lineal.engines.sampling.scoring.LikelihoodScorer.angles`."""

    def angles(
        self, prompts: Sequence[Prompt], chat: bool = False, progress: Callable[[int], None] | None = None
    ) -> list[float | None]:
        """Returns how alike the directions of each prompt's tokens are, in order."""
        ...
