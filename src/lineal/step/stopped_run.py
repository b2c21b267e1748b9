"""Steps of a run that has stopped: their artifacts are the best round's, linked into place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from lineal.components.controllers.values import values_of
from lineal.data.store import Artifact, open_artifact
from lineal.errors import ArtifactError
from lineal.plan import Plan, Step
from lineal.recipe.nodes import BEST


@dataclass(frozen=True)
class StandIn:
    """The artifacts that replace a step's own work.

    Attributes:
        sources: by output, the key and the digest of the artifact that stands for it.
        why: in words.
    """

    sources: dict[str, tuple[str, str]]
    why: str

    def differences(self, made: list[Artifact]) -> tuple[str, ...]:
        """Lists why made artifacts are not those of the stand-in."""
        digests = {digest for _, digest in self.sources.values()}
        return tuple(
            f"{artifact.key} must be another: {self.why}"
            for artifact in made
            if artifact.digest not in digests
        )


def stand_in(plan: Plan, step: Step, opened: Mapping[str, Artifact] | None = None) -> StandIn | None:
    """Returns the stand-in for a step whose run has stopped before it; None when it does its own work.

    Args:
        plan: the plan.
        step: one of its steps.
        opened: by key, its inputs; default: those on disk.

    Raises:
        ArtifactError: the decision is missing, or the best round lacks the artifact.
    """
    if step.stopped_by is None:
        return None
    key = step.stopped_by
    state = _decision(
        key, values_of(opened[key] if opened else open_artifact(key, plan.project.directory(key)))
    )
    if not state["stopped"] and step.group != BEST:
        return None
    sources = {output: _source(step, output, state) for output in step.outputs}
    return StandIn(sources, f"{_words(step, state)}; {sources[''][0]} stands here")


class _Chosen(BaseModel):
    step: str
    digest: str


class _Decision(BaseModel):
    """The values of a stop's `settings.json` that are read here."""

    stopped: bool
    best_round: int
    best: float | None
    waited: int
    last_round: int
    artifacts: dict[str, _Chosen]


def _decision(key: str, values: dict[str, Any]) -> dict[str, Any]:
    try:
        _Decision.model_validate(values)
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"]))
        raise ArtifactError(
            f"{key}: its settings.json is no decision ({where} is wrong). Remake it: lineal run {key}"
        ) from error
    return values


def _source(step: Step, output: str, state: dict[str, Any]) -> tuple[str, str]:
    label = f"{step.label}.{output}" if output else step.label
    entry = state["artifacts"].get(label)
    if entry is None:
        raise ArtifactError(
            f"{step.key}: {step.stopped_by} knows no {label!r} of the best round. Remake it: lineal run {step.stopped_by}"
        )
    return f"{step.pipeline}/{entry['step']}", entry["digest"]


def _words(step: Step, state: dict[str, Any]) -> str:
    best = f"the best round is {state['best_round']}" + (
        "" if state["best"] is None else f" ({state['best']:.4g})"
    )
    if not state["stopped"]:
        return best
    waited = "a round" if state["waited"] == 1 else f"{state['waited']} rounds"
    return f"stopped after round {state['last_round']}: no gain for {waited}, {best}"
