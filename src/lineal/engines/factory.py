"""Which engine runs, for sampling and for scoring: the execution setting `engine`, resolved in one place."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from lineal.data.workspace import Workspace
from lineal.engines.journal import SavedSampler
from lineal.engines.sampling import Completion, Request, SamplingSettings
from lineal.engines.scoring import Likelihood, Pair


class CompletionSource(Protocol):
    """What every sampling engine offers."""

    @property
    def in_flight(self) -> int:
        """How many requests at once keep it busy; a step's rows are handed over in slices of at least so many samples."""
        ...

    def stream(self, requests: Sequence[Request], settings: SamplingSettings) -> Iterator[tuple[int, Completion]]:
        """Each request's place and its completion, in the order in which they are finished.

        Raises:
            EngineError: a request cannot be answered, or the engine is gone; what was given before stays good.
        """
        ...


def open_sampler(step: Workspace, field: str) -> SavedSampler:
    """Loads the checkpoint of an input field into the engine that `compute.engine` names.

    The manifest of the step names the engine, since only one of them promises the reference bytes.
    """
    step.made_with = step.compute.engine
    with step.timed("load"):
        engine = _replicated(step, field) if step.compute.replicas else sampling_engine(step, field)
    step.slice_rows = max(step.slice_rows, engine.in_flight)
    return SavedSampler(engine, step.unsaved / f"{field}.jsonl", step.facts)


def _replicated(step: Workspace, field: str) -> CompletionSource:
    from lineal.engines.ray_sampling import RaySampler

    return RaySampler(step, field)


def sampling_engine(step: Workspace, field: str) -> CompletionSource:
    """The engine that `compute.engine` names, in this process, with the checkpoint of an input field."""
    if step.compute.engine == "fake":
        from lineal.engines.fake import FakeSampler

        return FakeSampler()
    from lineal.engines.sampling import Sampler

    checkpoint = step.model(field).directory
    return Sampler(checkpoint, step.compute.device, step.compute.batch_size, base_of(step, field))


class RewardSource(Protocol):
    """What scores given completions; see `lineal.engines.scoring.RewardScorer.score`."""

    def score(self, pairs: Sequence[Pair], chat: bool = False, progress: Callable[[int], None] | None = None) -> list[float]:
        """One number per (prompt, completion), in order."""
        ...


class LikelihoodSource(Protocol):
    """What says how likely given completions are; see `lineal.engines.scoring.LikelihoodScorer.score`."""

    def score(self, pairs: Sequence[Pair], chat: bool = False, progress: Callable[[int], None] | None = None) -> list[Likelihood]:
        """One likelihood per (prompt, completion), in order."""
        ...


def open_reward_model(step: Workspace, field: str) -> RewardSource:
    """Loads the reward model of an input field."""
    step.made_with = step.compute.engine
    if step.compute.engine == "fake":
        from lineal.engines.fake import FakeRewards

        return FakeRewards()
    from lineal.engines.scoring import RewardScorer

    with step.timed("load"):
        return RewardScorer(step.model(field).directory, step.compute.device)


def open_likelihood(step: Workspace, field: str) -> LikelihoodSource:
    """Loads the language model of an input field, to score with it."""
    step.made_with = step.compute.engine
    if step.compute.engine == "fake":
        from lineal.engines.fake import FakeLikelihoods

        return FakeLikelihoods()
    from lineal.engines.scoring import LikelihoodScorer

    with step.timed("load"):
        return LikelihoodScorer(step.model(field).directory, step.compute.device, base_of(step, field))


def base_of(step: Workspace, field: str) -> Path | None:
    """The full model under an adapter that stands in a field; None for a full model."""
    bases = step.inputs.get(f"{field}_base", ())
    return bases[0].directory if bases else None
