"""Decides what a run does about every step: `status`, `run --dry-run`, `run` and Dagster all use it.

A step is done when the artifacts here have its identity and its bytes, whatever DVC would say. DVC calls a stage stale when
its YAML or SQL is formatted differently, or `dvc.lock` lost its entry, or the cache lost its bytes: such work is recorded
again and not rerun.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from lineal.audit.verify import file_problems, manifest_problems
from lineal.data.digests import Digests
from lineal.data.manifest import Manifest
from lineal.data.records import known_artifact
from lineal.data.store import Artifact, open_artifact
from lineal.data.tracked import tracked
from lineal.errors import ArtifactError
from lineal.orchestrate.dvc_lock import DVC_LOCK
from lineal.orchestrate.dvc_record import DvcRecord, directory_md5
from lineal.orchestrate.dvc_yaml import stage_name, stage_of
from lineal.orchestrate.own_stages import outdated_data
from lineal.plan import Plan, Step
from lineal.recipe.document import read_document
from lineal.step.status import Act, Kept, State, StepStatus, status_of, status_of_one


def decide(plan: Plan, accept: bool = False) -> dict[str, StepStatus]:
    """Returns every step's state and what brings it up to date, by key.

    Args:
        plan: the plan.
        accept: whether artifacts here may replace the record of the same work with other bytes.

    Raises:
        ProjectError: `dvc.lock` is not as DVC writes it.
    """
    return Decisions(plan, accept).of_all()


def to_do(
    plan: Plan, decided: Mapping[str, StepStatus], chosen: Iterable[Step], remade: bool = False
) -> dict[Act, list[Step]]:
    """Lists what brings the chosen steps and those that they depend on up to date, by the action to take.

    An artifact that is known by its record alone is rerun only where one of them is made from it.

    Args:
        plan: the plan.
        decided: the decision about every step.
        chosen: the steps.
        remade: whether to rerun chosen steps that are known by their records alone.
    """
    asked = list(chosen)
    wanted = plan.with_upstream(asked)
    acts = {
        step.key: Act.NONE if decided[step.key].state is State.RECORDED else decided[step.key].act
        for step in wanted
    }
    if remade:
        acts |= {step.key: Act.MAKE for step in asked if decided[step.key].state is State.RECORDED}
    for step in reversed(wanted):
        if acts[step.key] is Act.MAKE:
            acts |= {
                one.key: Act.MAKE for one in plan.upstream(step) if decided[one.key].state is State.RECORDED
            }
    return {act: [step for step in wanted if acts[step.key] is act] for act in Act}


class Decisions:
    """The decisions of one moment: `dvc.lock`, DVC's cache and the artifacts are read once.

    Args:
        plan: the plan.
        accept: see `decide`.
    """

    def __init__(self, plan: Plan, accept: bool = False) -> None:
        self._plan, self._accept = plan, accept
        self._root = plan.project.root
        self._record, self._digests = DvcRecord(self._root), Digests(plan.project.runs)
        self._documents: dict[str, Any] = {}
        self._doubted: set[str] = set()
        self._loose: set[str] = set()

    def of_all(self) -> dict[str, StepStatus]:
        """Returns every step's state and what brings it up to date, by key."""
        damage = self._damage(self._plan.steps.values())
        found = status_of(
            self._plan,
            damage,
            self._kept,
            lambda one: not self._accept and one.key not in self._doubted,
            self._known,
            self._unchanged,
        )
        decided = {entry.key: self._with_record(entry) for entry in found}
        for key, why in outdated_data(self._plan).items():
            decided[key] = replace(decided[key], reasons=(*decided[key].reasons, why), outdated=why)
        self._digests.save()
        return decided

    def of(self, step: Step) -> StepStatus:
        """Returns the same for one step, whose inputs are taken as they are here."""
        found = self._with_record(self._of_one(step, self._damage([step]), self._kept))
        self._digests.save()
        return found

    def recorded(self, step: Step) -> dict[str, tuple[str, Manifest | None]]:
        """Returns by artifact key the MD5 that `dvc.lock` has of this very work, and the manifest where DVC's cache has it.

        Empty where it records none, or other work: another identity, or other settings and inputs.
        """
        keys = [key for key in step.artifact_keys().values() if key in self._record.recorded]
        found = {key: (self._record.recorded[key], self._record.manifest(key)) for key in keys}
        made = [
            Artifact(key, self._root, manifest)
            for key, (_, manifest) in found.items()
            if manifest is not None
        ]
        if len(made) < len(found):
            return {} if next(self._changed(step), None) else found
        same = self._of_one(step, {}, {one.key: one for one in made}.get).act is not Act.MAKE
        return found if same else {}

    def _of_one(self, step: Step, damage: Mapping[str, list[str]], kept: Kept) -> StepStatus:
        return status_of_one(self._plan, step, damage, kept, self._known, self._unchanged)

    def _kept(self, key: str) -> Artifact | None:
        return self._record.kept(key, self._digests)

    def _known(self, key: str) -> Artifact | None:
        return known_artifact(replace(self._plan.project, recorded=self._record.recorded), key)

    def _unchanged(self, step: Step, artifact: Artifact, file: Path) -> bool:
        """Tells whether DVC keeps a file that is not here with the bytes that the step's entry in `dvc.lock` says it read."""
        root = self._root.absolute()
        found = tracked(root, file) if file.is_relative_to(root) else None
        deps = self._stages.get(stage_name(step.key), {}).get("deps") or []
        read = {one["path"]: one.get("md5") for one in deps}
        if found is None or not found.md5 or read.get(file.relative_to(root).as_posix()) != found.md5:
            return False
        recorded = not artifact.here or next(self._record.problems(artifact, self._digests), None) is None
        return recorded and artifact.key in self._record.recorded

    # -- what lies here -----------------------------------------------------------------------------------------------

    def _damage(self, steps: Iterable[Step]) -> dict[str, list[str]]:
        lying = list(self._lying(steps))
        self._digests.read_ahead(one.directory / name for _, one in lying for name in one.manifest.files)
        damage: dict[str, list[str]] = {}
        for step, artifact in lying:
            broken = list(file_problems(artifact, self._digests))
            doubts = [
                *manifest_problems(self._plan.project, artifact),
                *(() if broken else self._contradicted(step, artifact)),
            ]
            self._doubted |= {artifact.key} if doubts else set()
            if broken or doubts:
                damage[artifact.key] = [*broken, *doubts]
        return damage

    def _lying(self, steps: Iterable[Step]) -> Iterator[tuple[Step, Artifact]]:
        for step in steps:
            for key in step.artifact_keys().values():
                try:
                    yield step, open_artifact(key, self._plan.project.directory(key))
                except ArtifactError:
                    continue

    def _contradicted(self, step: Step, artifact: Artifact) -> Iterator[str]:
        """Yields a note where the record has other bytes of the same work than the artifacts here."""
        problem = None if self._accept else next(self._record.problems(artifact, self._digests), None)
        if problem is None:
            return
        recorded = self._record.manifest(artifact.key)
        same = (
            next(self._changed(step), None) is None
            if recorded is None
            else _same_work(recorded, artifact.manifest)
        )
        if same and (artifact.manifest.equal_bytes is not False or self._kept(artifact.key)):
            yield problem

    # -- what dvc.lock has of it --------------------------------------------------------------------------------------

    def _with_record(self, entry: StepStatus) -> StepStatus:
        if entry.state is not State.DONE:
            return entry
        step = self._plan.steps[entry.key]
        why = next(self._unrecorded(step), None)
        return entry if why is None else replace(entry, act=Act.RECORD, unrecorded=why)

    def _unrecorded(self, step: Step) -> Iterator[str]:
        """Yields the reasons why DVC would not find a finished step up to date."""
        for why in self._unrecorded_bytes(step):
            self._loose |= set(step.artifact_keys().values())
            yield why
        for what in self._changed(step):
            yield f"{what} says the same in other words"

    def _unrecorded_bytes(self, step: Step) -> Iterator[str]:
        for key in step.artifact_keys().values():
            artifact = open_artifact(key, self._plan.project.directory(key))
            if key not in self._record.recorded:
                yield f"{DVC_LOCK} does not record it"
            elif next(self._record.problems(artifact, self._digests), None):
                yield f"{DVC_LOCK} records what was made otherwise"
            else:
                yield from self._record.cache_problems(artifact, self._digests)

    def _changed(self, step: Step) -> Iterator[str]:
        entry = self._stages.get(stage_name(step.key), {})
        yield from changed_parts(stage_of(self._plan, step), entry, self._md5, self._document)

    def _md5(self, path: str) -> str | None:
        """Returns the MD5 of a dependency: an artifact's recorded one, unless that is about to change; a file's present one."""
        if path.startswith("artifacts/"):
            key = path.removeprefix("artifacts/")
            return None if key in self._loose else self._record.recorded.get(key)
        file = self._root / path
        try:
            return directory_md5(file, self._digests) if file.is_dir() else self._digests.of(file, "md5")
        except OSError:
            found = tracked(self._root, file)
            return found.md5 or None if found else None

    @cached_property
    def _stages(self) -> Mapping[str, Any]:
        return self._document(DVC_LOCK).get("stages") or {}

    def _document(self, name: str) -> Any:
        if name not in self._documents:
            path = self._root / name
            self._documents[name] = read_document(path).value if path.exists() else {}
        return self._documents[name]


def changed_parts(
    stage: Mapping[str, Any],
    entry: Mapping[str, Any],
    md5_of: Callable[[str], str | None],
    document: Callable[[str], Any],
) -> Iterator[str]:
    """Yields the parts of a stage's command, dependencies and params that differ from an entry of `dvc.lock`.

    Args:
        stage: the stage, as `stage_of` gives it.
        entry: the entry.
        md5_of: by path, the present MD5 of a dependency.
        document: by name, the present values of a YAML file.
    """
    if entry.get("cmd") != stage["cmd"]:
        yield "its command"
    recorded = {one["path"]: one.get("md5") for one in entry.get("deps") or []}
    declared = stage.get("deps", [])
    yield from (path for path in declared if recorded.get(path, "") != md5_of(path))
    yield from (path for path in recorded if path not in declared)
    for file, keys in ((file, keys) for group in stage.get("params", []) for file, keys in group.items()):
        old = (entry.get("params") or {}).get(file, {})
        yield from (
            f"{file}:{key}"
            for key in keys
            if key not in old or old[key] != _at(document(file), key.split("."))
        )
        yield from (f"{file}:{key}" for key in old if key not in keys)


def _same_work(recorded: Manifest, here: Manifest) -> bool:
    """Tells whether two manifests are of the same work."""
    return recorded.identity == here.identity and recorded.made_up == here.made_up


def _at(value: Any, keys: list[str]) -> Any:
    """Returns the value under a path of keys, as DVC reads it: `seeds.0` is a list's first entry."""
    for key in keys:
        if isinstance(value, list) and key.isdecimal():
            value = value[int(key)] if int(key) < len(value) else None
        else:
            value = value.get(key) if isinstance(value, dict) else None
    return value
