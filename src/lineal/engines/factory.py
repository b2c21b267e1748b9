"""Opens the engine for sampling and for scoring: the execution setting `engine`, resolved in one place."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, cast

from lineal.data.conversations import Prompt
from lineal.data.progress import say
from lineal.data.workspace import Workspace
from lineal.engines.checkpoints import BASE_FIELDS
from lineal.engines.room import Room, room_of
from lineal.engines.sampling import Completion, Request, SamplingSettings
from lineal.engines.saved_completions import SavedSampler
from lineal.engines.scoring import Certainty, Likelihood, Pair
from lineal.errors import EngineError
from lineal.recipe.references import ArtifactKind


class CompletionSource(Protocol):
    """The interface of sampling engines."""

    @property
    def in_flight(self) -> int:
        """The number of requests that keeps it busy; a step's rows are passed in slices of at least so many samples."""
        ...

    def stream(self, requests: Sequence[Request], settings: SamplingSettings) -> Iterator[tuple[int, Completion]]:
        """Yields each request's place and its completion, in the order in which they are finished.

        Raises:
            EngineError: a request cannot be answered, or the engine is gone; earlier completions remain valid.
        """
        ...


def open_sampler(step: Workspace, field: str) -> SavedSampler:
    """Loads the model of an input field into the engine that `compute.engine` names; a served model stays on its server.

    The manifest of the step names the engine, and says where the engine does not promise equal bytes.

    Raises:
        EngineError: the model cannot be loaded or reached.
    """
    served = step.model(field).manifest.kind is ArtifactKind.SERVED
    step.made_with = "openai" if served else _engine_of(step, field)
    promised = step.compute.vllm.batch_invariant if step.made_with == "vllm" else step.made_with != "openai"
    step.equal_bytes = None if promised else False
    with step.timed("load"):
        engine = _sampler_of(step, field)
    step.slice_rows = max(step.slice_rows, engine.in_flight)
    return SavedSampler(engine, step.unsaved / f"{step.place}{field}.jsonl", step.facts)


def open_room(step: Workspace, field: str) -> Room:
    """Returns the limit of prompt lengths of an input field's model; without a limit where only a server knows it."""
    if step.compute.engine == "fake" or step.model(field).manifest.kind is ArtifactKind.SERVED:
        return lambda prompts, settings: [True] * len(prompts)
    return room_of(step.model(field).directory, base_of(step, field))


def _engine_of(step: Workspace, field: str) -> str:
    """Names the engine that samples; a model in training samples in this process, since no other engine has its weights."""
    return "transformers" if field in step.live and step.compute.engine != "fake" else step.compute.engine


def _sampler_of(step: Workspace, field: str) -> CompletionSource:
    if step.made_with == "openai":
        return _endpoint(step, field)
    here = field in step.live or not step.compute.replicas
    return sampling_engine(step, field) if here else _replicated(step, field)


def _replicated(step: Workspace, field: str) -> CompletionSource:
    from lineal.engines.ray_sampling import RaySampler

    return RaySampler(step, field)


def sampling_engine(step: Workspace, field: str) -> CompletionSource:
    """Opens the engine that `compute.engine` names, in this process, with the checkpoint of an input field."""
    if step.compute.engine == "fake":
        from lineal.engines.fake import FakeSampler

        return FakeSampler()
    if field in step.live:
        return cast("CompletionSource", step.live[field])
    checkpoint = step.model(field).directory
    if step.compute.engine == "vllm":
        return _vllm(step, field, checkpoint)
    from lineal.engines.sampling import Sampler

    return Sampler(checkpoint, step.compute.device, step.compute.batch_size, base_of(step, field))


def _vllm(step: Workspace, field: str, checkpoint: Path) -> CompletionSource:
    from lineal.engines.vllm_sampler import VllmSampler

    own = f".{os.getpid()}" if step.compute.replicas else ""
    log = (step.progress_file or step.partial / "step").with_suffix(f".{step.place}{field}{own}.vllm.log")

    @contextmanager
    def loading() -> Iterator[None]:
        say(f"{step.step} loads {step.place}{field} into vLLM, which may take a minute; its log: {log}", step.progress_file)
        with step.timed("load"):
            yield

    return VllmSampler(checkpoint, step.compute.vllm, log, base_of(step, field), step.project, loading, step.facts)


def _endpoint(step: Workspace, field: str) -> CompletionSource:
    from lineal.engines.endpoints.address import address_of_checkpoint, address_of_served
    from lineal.engines.endpoints.sampler import EndpointSampler
    from lineal.engines.endpoints.served import read_served
    from lineal.engines.endpoints.spending import Spending

    model = step.model(field)
    if model.manifest.kind is ArtifactKind.SERVED:
        address = address_of_served(step.compute, read_served(model.directory))
    else:
        address = address_of_checkpoint(step.compute, model, base_of(step, field))
    spending = Spending(step.partial / "spent" / f"{step.place}{field}.jsonl", address.endpoint.price)
    return EndpointSampler(address, spending, step.facts, lambda line: say(f"{step.step}: {line}", step.progress_file))


class RewardSource(Protocol):
    """The interface of reward models; see `lineal.engines.scoring.RewardScorer.score`."""

    def score(self, pairs: Sequence[Pair], chat: bool = False, progress: Callable[[int], None] | None = None) -> list[float]:
        """Returns one number per (prompt, completion), in order."""
        ...


class StepScoreSource(Protocol):
    """The interface of process reward models; see `lineal.engines.step_scoring.StepScorer.score_steps`."""

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
    """The interface of likelihood scorers; see `lineal.engines.scoring.LikelihoodScorer.score`."""

    def score(self, pairs: Sequence[Pair], chat: bool = False, progress: Callable[[int], None] | None = None) -> list[Likelihood]:
        """Returns one likelihood per (prompt, completion), in order."""
        ...

    def certainty(
        self, pairs: Sequence[Pair], chat: bool = False, progress: Callable[[int], None] | None = None
    ) -> list[Certainty]:
        """Returns how sure the model is of each completion, in order."""
        ...


class HiddenStateSource(Protocol):
    """The interface for a model's hidden states; see `lineal.engines.scoring.LikelihoodScorer.angles`."""

    def angles(
        self, prompts: Sequence[Prompt], chat: bool = False, progress: Callable[[int], None] | None = None
    ) -> list[float | None]:
        """Returns how alike the directions of each prompt's tokens are, in order."""
        ...


def open_reward_model(step: Workspace, field: str) -> RewardSource:
    """Loads the reward model of an input field."""
    _name_scorer(step)
    if step.compute.engine == "fake":
        from lineal.engines.fake import FakeRewards

        return FakeRewards()
    from lineal.engines.scoring import RewardScorer

    with step.timed("load"):
        return RewardScorer(step.model(field).directory, step.compute.device)


def open_step_scorer(step: Workspace, field: str) -> StepScoreSource:
    """Loads the process reward model of an input field."""
    _name_scorer(step)
    if step.compute.engine == "fake":
        from lineal.engines.fake import FakeStepScores

        return FakeStepScores()
    from lineal.engines.step_scoring import StepScorer

    with step.timed("load"):
        return StepScorer(step.model(field).directory, step.compute.device)


def open_hidden_states(step: Workspace, field: str) -> HiddenStateSource:
    """Loads the language model of an input field, for its hidden states."""
    return cast("HiddenStateSource", open_likelihood(step, field))


def open_likelihood(step: Workspace, field: str) -> LikelihoodSource:
    """Loads the language model of an input field, to score with it."""
    _name_scorer(step)
    if step.compute.engine == "fake":
        from lineal.engines.fake import FakeLikelihoods

        return FakeLikelihoods()
    if field in step.live:
        return cast("LikelihoodSource", step.live[field])
    from lineal.engines.scoring import LikelihoodScorer

    with step.timed("load"):
        return LikelihoodScorer(step.model(field).directory, step.compute.device, base_of(step, field))


def _name_scorer(step: Workspace) -> None:
    """Names the engine that scores; where a step samples too, its sampler is named instead."""
    step.made_with = step.made_with or ("fake" if step.compute.engine == "fake" else "transformers")


def base_of(step: Workspace, field: str) -> Path | None:
    """Returns the full model under an adapter in a field; None for a full model.

    Raises:
        EngineError: the adapter's manifest says that it was trained on another one.
    """
    bases = step.inputs.get(f"{field}_base", ())
    if not bases:
        return None
    made_from = step.model(field).manifest.inputs
    recorded = next((made_from[name] for name in BASE_FIELDS if made_from.get(name)), [])
    if recorded and recorded[0].digest != bases[0].digest:
        raise EngineError(
            f"{step.model(field).key}: got {bases[0].key} ({bases[0].digest[:12]}) as the base of this adapter, expected the "
            f"one it was trained on, {recorded[0].step} ({recorded[0].digest[:12]}). Make the adapter again: "
            f"lineal run {step.model(field).key}"
        )
    return bases[0].directory
