"""For every step: done, stale and exactly why, or missing. Changes nothing.

Reads manifests only, so it is quick; where rows are retracted, also the rows that checkpoints were trained on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from lineal.data.store import Artifact, open_artifact
from lineal.errors import ArtifactError
from lineal.plan import Plan, Step
from lineal.step.identity import identify
from lineal.step.runlog import read_log
from lineal.step.runner import open_inputs, resolved, source_digest
from lineal.step.stand_in import stand_in
from lineal.step.tainted import tainted_checkpoints, why_tainted
from lineal.step.waiting import why_waiting


class State(StrEnum):
    """What a step's artifact is, against the plan."""

    DONE = "done"
    STALE = "stale"
    MISSING = "missing"


@dataclass(frozen=True)
class StepStatus:
    """One step's state.

    Attributes:
        key: the step's key.
        state: done, stale or missing.
        reasons: for a stale step, which input or key changed, old -> new; for others, warnings.
    """

    key: str
    state: State
    reasons: tuple[str, ...] = ()


def status_of(plan: Plan, damage: Mapping[str, Sequence[str]] | None = None) -> list[StepStatus]:
    """The state of every step of the plan, in order.

    Args:
        plan: the plan.
        damage: by artifact key, what the caller found wrong with its bytes; manifests are believed otherwise.
    """
    found: dict[str, StepStatus] = {}
    for step in plan.steps.values():
        found[step.key] = _status(plan, step, found, damage or {})
    for key, marks in tainted_checkpoints(plan).items():
        found[key] = replace(found[key], reasons=(*found[key].reasons, why_tainted(marks)))
    return list(found.values())


def _status(plan: Plan, step: Step, before: Mapping[str, StepStatus], damage: Mapping[str, Sequence[str]]) -> StepStatus:
    waiting = why_waiting(step)
    if waiting:
        state = State.STALE if plan.project.directory(step.key).exists() else State.MISSING
        return StepStatus(step.key, state, (waiting,))
    try:
        made = [open_artifact(key, plan.project.directory(key)) for key in step.artifact_keys().values()]
    except ArtifactError as error:
        missing = not plan.project.directory(step.key).exists()
        return StepStatus(step.key, State.MISSING if missing else State.STALE, () if missing else (str(error),))
    damaged = [
        f"{key}: {why}" if key != step.key else why for key in step.artifact_keys().values() for why in damage.get(key, ())
    ]
    if damaged:
        return StepStatus(step.key, State.STALE, tuple(damaged))
    upstream = [before[maker.key] for maker in plan.upstream(step)]
    unfinished = tuple(f"{maker.key} is {maker.state}" for maker in upstream if maker.state is not State.DONE)
    if unfinished:
        return StepStatus(step.key, State.STALE, unfinished)
    reasons = _differences(plan, step, made)
    if reasons:
        return StepStatus(step.key, State.STALE, reasons)
    return StepStatus(step.key, State.DONE, _drift(plan, step))


def _differences(plan: Plan, step: Step, made: list[Artifact]) -> tuple[str, ...]:
    standing = stand_in(plan, step)
    if standing is not None:
        return standing.differences(made)
    inputs = open_inputs(plan, step, verify=False)
    identity = identify(step, resolved(plan, step), plan.seed_of(step), inputs)
    for artifact in made:
        if artifact.manifest.identity != identity.digest:
            return tuple(identity.differences(artifact.manifest)) or ("the layout of identities changed",)
    return ()


def _drift(plan: Plan, step: Step) -> tuple[str, ...]:
    recorded = read_log(plan.project, step.key).get("source_digest")
    if recorded is None or recorded == source_digest(step.component):
        return ()
    tag = f"{step.component.use} version {step.component.version}"
    return (f"the source of {tag} changed since this was made; if its bytes would differ, raise its version",)
