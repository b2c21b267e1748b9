"""The state of every step: done, stale and exactly why, or missing, and what a run has to do about it. Changes nothing.

Reads manifests only, so it is quick; where rows are retracted, also the rows that checkpoints were trained on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from lineal.data.manifest import MADE_UP, Manifest
from lineal.data.store import Artifact, open_artifact
from lineal.data.tracked import not_here
from lineal.errors import ArtifactError
from lineal.plan import Plan, Step
from lineal.step.files import absent_files, why_absent
from lineal.step.identity import Identity, identify
from lineal.step.runlog import read_log
from lineal.step.runner import by_field, resolved
from lineal.step.source import source_digest
from lineal.step.stopped_run import stand_in
from lineal.step.tainted import tainted_checkpoints, why_tainted
from lineal.step.waiting import why_waiting

Kept = Callable[[str], Artifact | None]
"""By key, an artifact that is recorded and can be restored unchanged."""
NOT_HERE = "not here: lineal run --pull, or --remake"
"""The note on a step that is up to date by its record, while its bytes are elsewhere."""
Alike = Callable[[Artifact], bool]
Unchanged = Callable[[Step, Artifact, Path], bool]
"""Tells for a missing file of a step whether, by DVC's records, it is the one that an artifact was made from."""


class State(StrEnum):
    """The state of a step's artifact, compared with the plan."""

    DONE = "done"
    RECORDED = "recorded"
    STALE = "stale"
    MISSING = "missing"


class Act(StrEnum):
    """The action of a run on a step. Only `MAKE` is work."""

    NONE = "nothing"
    RECORD = "record"
    RESTORE = "restore"
    MAKE = "make"


@dataclass(frozen=True)
class StepStatus:
    """One step's state.

    Attributes:
        key: the step's key.
        state: done, stale or missing.
        reasons: for a stale step, which input or key changed, old -> new; for others, warnings.
        act: what brings it up to date.
        unrecorded: of a finished step, how its record differs; empty where it does not.
        outdated: why a stage of the user's own would rerun and change what the step reads; one of the reasons.
    """

    key: str
    state: State
    reasons: tuple[str, ...] = ()
    act: Act = Act.NONE
    unrecorded: str = ""
    outdated: str = ""


def status_of(
    plan: Plan,
    damage: Mapping[str, Sequence[str]] | None = None,
    kept: Kept = lambda key: None,
    alike: Alike = lambda one: False,
    known: Kept = lambda key: None,
    unchanged: Unchanged = lambda step, artifact, file: False,
) -> list[StepStatus]:
    """Returns the state of every step of the plan, in order.

    Args:
        plan: the plan.
        damage: by artifact key, problems that the caller found in its bytes; manifests are believed otherwise.
        kept: where artifacts are that are missing or damaged here.
        alike: artifacts with wrong bytes whose manifests still say what a rerun will give.
        known: artifacts as they are here, or by their records (`Artifact.here` is false then): a step that is up to date by
            them is no work, unless something that is to be made reads it.
        unchanged: of files that steps read and that are not here.
    """
    look = _Look(plan, damage or {}, kept, alike, known, unchanged)
    found = {step.key: look.at(step) for step in plan.steps.values()}
    _have_here_what_is_read(plan, found)
    for key, marks in tainted_checkpoints(plan).items():
        found[key] = replace(found[key], reasons=(*found[key].reasons, why_tainted(marks)))
    return list(found.values())


def status_of_one(
    plan: Plan,
    step: Step,
    damage: Mapping[str, Sequence[str]],
    kept: Kept,
    known: Kept = lambda key: None,
    unchanged: Unchanged = lambda step, artifact, file: False,
) -> StepStatus:
    """Returns the state of one step, with its inputs taken as they are here, else by their records; see `status_of`."""
    look = _Look(plan, damage, kept, lambda one: False, lambda key: None, unchanged)
    look.take_inputs(step, known)
    return look.at(step)


def _have_here_what_is_read(plan: Plan, found: dict[str, StepStatus]) -> None:
    """Reruns artifacts that are known by their record alone and that a step to be made reads."""
    for step in reversed(list(plan.steps.values())):
        if found[step.key].act is Act.MAKE:
            for maker in plan.upstream(step):
                entry = found[maker.key]
                if entry.state is State.RECORDED:
                    found[maker.key] = replace(
                        entry, act=Act.MAKE, reasons=(NOT_HERE, f"{step.key} reads it")
                    )


class _Look:
    """Goes through the plan in its order and remembers what each step's consumers will find."""

    def __init__(
        self,
        plan: Plan,
        damage: Mapping[str, Sequence[str]],
        kept: Kept,
        alike: Alike,
        known: Kept,
        unchanged: Unchanged,
    ) -> None:
        self._plan, self._damage, self._kept, self._alike, self._known = plan, damage, kept, alike, known
        self._unchanged = unchanged
        self._states: dict[str, State] = {}
        self._standing: dict[str, Artifact] = {}

    def take_inputs(self, step: Step, known: Kept) -> None:
        """Takes the step's inputs from disk or their records, whatever state they are in."""
        self._states |= {maker.key: State.MISSING for maker in self._plan.upstream(step)}
        for key in {
            key: None for maker in self._plan.upstream(step) for key in maker.artifact_keys().values()
        }:
            try:
                self._stand([open_artifact(key, self._plan.project.directory(key))])
            except ArtifactError:
                self._stand([one for one in (known(key),) if one is not None])

    def at(self, step: Step) -> StepStatus:
        """Returns a step's state; its inputs must have been visited before."""
        found = self._at(step)
        self._states[step.key] = found.state
        return found

    def _at(self, step: Step) -> StepStatus:
        state = State.STALE if self._plan.project.directory(step.key).exists() else State.MISSING
        waiting = why_waiting(step)
        if waiting:
            return StepStatus(step.key, state, (waiting,), Act.MAKE)
        made, wrong = self._lying(step)
        unfinished = tuple(
            f"{maker.key} is {self._states[maker.key]}"
            for maker in self._plan.upstream(step)
            if not self._standing.keys() >= set(maker.artifact_keys().values())
        )
        if unfinished:
            return StepStatus(
                step.key, state, wrong or (unfinished if state is State.STALE else ()), Act.MAKE
            )
        differing = self._differences(step, made) if made else ()
        if made and not wrong and not differing:
            self._stand(made)
            return StepStatus(step.key, State.DONE, (*_older(self._plan, made), *_drift(self._plan, step)))
        act = self._remedy(step, made, differing)
        if act is Act.MAKE and not made and self._stands_by_record(step):
            return StepStatus(step.key, State.RECORDED, (NOT_HERE,))
        absent = tuple(why_absent(self._plan, step)) if act is Act.MAKE else ()
        return StepStatus(step.key, state, absent or wrong or differing, act)

    def _stands_by_record(self, step: Step) -> bool:
        known = [
            one
            for key in step.artifact_keys().values()
            if key not in self._damage and (one := self._known(key))
        ]
        whole = len(known) == len(step.outputs) and not self._differences(step, known)
        if whole:
            self._stand(known)
        return whole

    def _lying(self, step: Step) -> tuple[list[Artifact], tuple[str, ...]]:
        """Returns the artifacts here, and the problems of their bytes; none where one has no manifest."""
        keys = step.artifact_keys().values()
        try:
            made = [open_artifact(key, self._plan.project.directory(key)) for key in keys]
        except ArtifactError as error:
            return [], (str(error),) if self._plan.project.directory(step.key).exists() else ()
        damaged = [
            f"{key}: {why}" if key != step.key else why for key in keys for why in self._damage.get(key, ())
        ]
        return made, tuple(damaged)

    def _remedy(self, step: Step, made: list[Artifact], differing: tuple[str, ...]) -> Act:
        kept = [artifact for key in step.artifact_keys().values() if (artifact := self._kept(key))]
        if len(kept) == len(step.outputs) and not self._differences(step, kept):
            self._stand(kept)
            return Act.RESTORE
        if (
            made
            and not differing
            and all(self._alike(one) and one.manifest.equal_bytes is not False for one in made)
        ):
            self._stand(made)
        return Act.MAKE

    def _differences(self, step: Step, made: Sequence[Artifact]) -> tuple[str, ...]:
        return differences(self._plan, step, made, self._standing, self._unchanged)

    def _stand(self, artifacts: list[Artifact]) -> None:
        self._standing |= {artifact.key: artifact for artifact in artifacts}


def differences(
    plan: Plan, step: Step, made: Sequence[Artifact], opened: Mapping[str, Artifact], unchanged: Unchanged
) -> tuple[str, ...]:
    """Lists why artifacts are not what a step would make now from these inputs; empty where they are.

    Args:
        plan: the plan.
        step: one of its steps.
        made: its artifacts.
        opened: by key, its inputs.
        unchanged: of files that it reads and that are not here.
    """
    standing = stand_in(plan, step, opened)
    if standing is not None:
        return standing.differences(list(made))
    component = resolved(plan, step, opened)
    absent, read = absent_files(component), made[0].manifest.files_read
    if not all(name in read and unchanged(step, made[0], path) for name, path in absent.items()):
        return tuple(not_here(plan.project.root, path) for path in absent.values())
    known = {name: read[name] for name in absent}
    identity = identify(step, component, plan.seed_of(step), by_field(step, opened), known)
    for artifact in made:
        if not identity.is_of(artifact.manifest) and not _is_accepted(plan, identity, artifact.manifest):
            return tuple(identity.differences(artifact.manifest)) or ("the layout of identities changed",)
        if artifact.manifest.made_up and plan.project.params.compute.engine != MADE_UP:
            return (f"made up by compute.engine: {MADE_UP}",)
    return ()


def _is_accepted(plan: Plan, identity: Identity, manifest: Manifest) -> bool:
    """Tells whether an older component version made the artifact from the same inputs, and the project accepts that version."""
    older = manifest.version in plan.project.accepted.get(identity.component, {})
    return older and replace(identity, version=manifest.version).is_of(manifest)


def _older(plan: Plan, made: Sequence[Artifact]) -> tuple[str, ...]:
    manifest = made[0].manifest
    reason = plan.project.accepted.get(manifest.component, {}).get(manifest.version)
    return (
        ()
        if reason is None
        else (f"made by {manifest.component} version {manifest.version}, which is accepted: {reason}",)
    )


def _drift(plan: Plan, step: Step) -> tuple[str, ...]:
    recorded = read_log(plan.project, step.key).get("source_digest")
    if recorded is None or recorded == source_digest(step.component):
        return ()
    tag = f"{step.component.use} version {step.component.version}"
    return (f"the source of {tag} changed since this was made; if its bytes would differ, raise its version",)
