"""Opens the engine for sampling and for scoring: the execution setting `engine`, resolved in one place."""

from __future__ import annotations

from typing import cast

from lineal.data.progress import say
from lineal.data.workspace import Workspace
from lineal.engines.in_process import base_of, sampling_engine
from lineal.engines.sampling.protocols import CompletionSource, HiddenStateSource, LikelihoodSource, RewardSource, StepScoreSource
from lineal.engines.sampling.room import Room, room_of
from lineal.engines.sampling.saved_completions import SavedSampler
from lineal.errors import EngineError
from lineal.recipe.compute import ENGINES, Compute
from lineal.recipe.references import ArtifactKind


def open_sampler(step: Workspace, field: str) -> SavedSampler:
    """Loads the model of an input field into the engine that `compute.engine` names; a served model stays on its server.

    The manifest of the step names the engine, and says where the engine does not promise equal bytes.

    Raises:
        EngineError: the model cannot be loaded or reached.
    """
    served = step.model(field).manifest.kind is ArtifactKind.SERVED
    step.made_with = "openai" if served else _engine_of(step, field)
    _require_showing(step)
    step.equal_bytes = None if _promises_equal_bytes(step.made_with, step.compute) else False
    with step.timed("load"):
        engine = _sampler_of(step, field)
    step.slice_rows = max(step.slice_rows, engine.in_flight)
    return SavedSampler(engine, step.unsaved / f"{step.place}{field}.jsonl", step.facts)


def _require_showing(step: Workspace) -> None:
    """Refuses prompts with pictures in an engine that would not show them.

    Raises:
        EngineError: names the engine.
    """
    engine = f"{step.made_with} on replicas" if step.compute.replicas else str(step.made_with)
    if engine not in ("transformers", "openai", "fake") and step.shows_pictures:
        raise EngineError(
            f"{step.step}: got prompts with pictures for the engine {engine}, which would not show them, expected transformers "
            "or openai. Set compute: {engine: transformers} for this step"
        )


def open_room(step: Workspace, field: str) -> Room:
    """Returns the limit of prompt lengths of an input field's model; without a limit where only a server knows it."""
    if step.compute.engine == "fake" or step.model(field).manifest.kind is ArtifactKind.SERVED:
        return lambda prompts, settings: [True] * len(prompts)
    return room_of(step.model(field).directory, base_of(step, field))


def _engine_of(step: Workspace, field: str) -> str:
    """Names the engine that samples; a model in training samples in this process, since no other engine has its weights."""
    return "transformers" if field in step.live and step.compute.engine != "fake" else step.compute.engine


def _promises_equal_bytes(engine: str, compute: Compute) -> bool:
    """Tells whether an engine draws the same bytes again: one of a package says so itself."""
    if engine not in ENGINES:
        from lineal.engines.sampling.token_engine import engine_class

        return engine_class(engine).equal_bytes
    return compute.vllm.batch_invariant if engine == "vllm" else engine != "openai"


def _sampler_of(step: Workspace, field: str) -> CompletionSource:
    if step.made_with == "openai":
        return _endpoint(step, field)
    here = field in step.live or not step.compute.replicas
    return sampling_engine(step, field) if here else _replicated(step, field)


def _replicated(step: Workspace, field: str) -> CompletionSource:
    from lineal.engines.ray.replicas import RaySampler

    return RaySampler(step, field)


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
    speak = lambda line: say(f"{step.step}: {line}", step.progress_file)  # noqa: E731
    return EndpointSampler(address, spending, step.facts, speak, step.pictures())


def open_reward_model(step: Workspace, field: str) -> RewardSource:
    """Loads the reward model of an input field."""
    _name_scorer(step)
    if step.compute.engine == "fake":
        from lineal.engines.fake import FakeRewards

        return FakeRewards()
    from lineal.engines.sampling.scoring import RewardScorer

    with step.timed("load"):
        return RewardScorer(step.model(field).directory, step.compute.device)


def open_step_scorer(step: Workspace, field: str) -> StepScoreSource:
    """Loads the process reward model of an input field."""
    _name_scorer(step)
    if step.compute.engine == "fake":
        from lineal.engines.fake import FakeStepScores

        return FakeStepScores()
    from lineal.engines.sampling.step_scoring import StepScorer

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
    from lineal.engines.sampling.scoring import LikelihoodScorer

    with step.timed("load"):
        return LikelihoodScorer(step.model(field).directory, step.compute.device, base_of(step, field))


def _name_scorer(step: Workspace) -> None:
    """Names the engine that scores; where a step samples too, its sampler is named instead."""
    step.made_with = step.made_with or ("fake" if step.compute.engine == "fake" else "transformers")
