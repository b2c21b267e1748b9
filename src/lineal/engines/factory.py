"""Opens the engine for sampling and for scoring: the execution setting `engine`, resolved in one place."""

from __future__ import annotations

from typing import cast

from lineal.data.progress import say
from lineal.data.workspace import Workspace
from lineal.engines.in_process import base_of, sampling_engine
from lineal.engines.sampling.protocols import (
    CompletionSource,
    HiddenStateSource,
    LikelihoodSource,
    RewardSource,
    StepScoreSource,
)
from lineal.engines.sampling.room import Room, room_of
from lineal.engines.sampling.saved_completions import SavedSampler
from lineal.errors import EngineError
from lineal.recipe.compute import ENGINES, Compute
from lineal.recipe.references import ArtifactKind


def open_sampler(workspace: Workspace, field: str) -> SavedSampler:
    """Loads the model of an input field into the engine that `compute.engine` names; a served model stays on its server.

    The manifest of the step names the engine, and says where the engine does not promise equal bytes.

    Raises:
        EngineError: the model cannot be loaded or reached.
    """
    served = workspace.model(field).manifest.kind is ArtifactKind.SERVED
    workspace.made_with = "openai" if served else _engine_of(workspace, field)
    _require_showing(workspace)
    workspace.equal_bytes = None if _promises_equal_bytes(workspace.made_with, workspace.compute) else False
    with workspace.timed("load"):
        engine = _sampler_of(workspace, field)
    workspace.slice_rows = max(workspace.slice_rows, engine.in_flight)
    return SavedSampler(engine, workspace.unsaved / f"{workspace.place}{field}.jsonl", workspace.facts)


def _require_showing(workspace: Workspace) -> None:
    """Refuses prompts with pictures in an engine that would not show them.

    Raises:
        EngineError: names the engine.
    """
    engine = f"{workspace.made_with} on replicas" if workspace.compute.replicas else str(workspace.made_with)
    if engine not in ("transformers", "openai", "fake") and workspace.shows_pictures:
        raise EngineError(
            f"{workspace.step}: got prompts with pictures for the engine {engine}, which would not show them, expected "
            "transformers or openai. Set compute: {engine: transformers} for this step"
        )


def open_room(workspace: Workspace, field: str) -> Room:
    """Returns the limit of prompt lengths of an input field's model; without a limit where only a server knows it."""
    if workspace.compute.engine == "fake" or workspace.model(field).manifest.kind is ArtifactKind.SERVED:
        return lambda prompts, settings: [True] * len(prompts)
    return room_of(workspace.model(field).directory, base_of(workspace, field))


def _engine_of(workspace: Workspace, field: str) -> str:
    """Names the engine that samples; a model in training samples in this process, since no other engine has its weights."""
    return (
        "transformers"
        if field in workspace.live and workspace.compute.engine != "fake"
        else workspace.compute.engine
    )


def _promises_equal_bytes(engine: str, compute: Compute) -> bool:
    """Tells whether an engine draws the same bytes again: one of a package says so itself."""
    if engine not in ENGINES:
        from lineal.engines.sampling.token_engine import engine_class

        return engine_class(engine).equal_bytes
    return compute.vllm.batch_invariant if engine == "vllm" else engine != "openai"


def _sampler_of(workspace: Workspace, field: str) -> CompletionSource:
    if workspace.made_with == "openai":
        return _endpoint(workspace, field)
    here = field in workspace.live or not workspace.compute.replicas
    return sampling_engine(workspace, field) if here else _replicated(workspace, field)


def _replicated(workspace: Workspace, field: str) -> CompletionSource:
    from lineal.engines.ray.replicas import RaySampler

    return RaySampler(workspace, field)


def _endpoint(workspace: Workspace, field: str) -> CompletionSource:
    from lineal.engines.endpoints.address import address_of_checkpoint, address_of_served
    from lineal.engines.endpoints.sampler import EndpointSampler
    from lineal.engines.endpoints.served import read_served
    from lineal.engines.endpoints.spending import Spending

    model = workspace.model(field)
    if model.manifest.kind is ArtifactKind.SERVED:
        address = address_of_served(workspace.compute, read_served(model.directory))
    else:
        address = address_of_checkpoint(workspace.compute, model, base_of(workspace, field))
    spending = Spending(
        workspace.partial / "spent" / f"{workspace.place}{field}.jsonl", address.endpoint.price
    )
    speak = lambda line: say(f"{workspace.step}: {line}", workspace.progress_file)  # noqa: E731
    return EndpointSampler(address, spending, workspace.facts, speak, workspace.pictures())


def open_reward_model(workspace: Workspace, field: str) -> RewardSource:
    """Loads the reward model of an input field."""
    _name_scorer(workspace)
    if workspace.compute.engine == "fake":
        from lineal.engines.fake import FakeRewards

        return FakeRewards()
    from lineal.engines.sampling.scoring import RewardScorer

    with workspace.timed("load"):
        return RewardScorer(workspace.model(field).directory, workspace.compute.device)


def open_step_scorer(workspace: Workspace, field: str) -> StepScoreSource:
    """Loads the process reward model of an input field."""
    _name_scorer(workspace)
    if workspace.compute.engine == "fake":
        from lineal.engines.fake import FakeStepScores

        return FakeStepScores()
    from lineal.engines.sampling.step_scoring import StepScorer

    with workspace.timed("load"):
        return StepScorer(workspace.model(field).directory, workspace.compute.device)


def open_hidden_states(workspace: Workspace, field: str) -> HiddenStateSource:
    """Loads the language model of an input field, for its hidden states."""
    return cast("HiddenStateSource", open_likelihood(workspace, field))


def open_likelihood(workspace: Workspace, field: str) -> LikelihoodSource:
    """Loads the language model of an input field, to score with it."""
    _name_scorer(workspace)
    if workspace.compute.engine == "fake":
        from lineal.engines.fake import FakeLikelihoods

        return FakeLikelihoods()
    if field in workspace.live:
        return cast("LikelihoodSource", workspace.live[field])
    from lineal.engines.sampling.scoring import LikelihoodScorer

    with workspace.timed("load"):
        return LikelihoodScorer(
            workspace.model(field).directory, workspace.compute.device, base_of(workspace, field)
        )


def _name_scorer(workspace: Workspace) -> None:
    """Names the engine that scores; where a step samples too, its sampler is named instead."""
    workspace.made_with = workspace.made_with or (
        "fake" if workspace.compute.engine == "fake" else "transformers"
    )
