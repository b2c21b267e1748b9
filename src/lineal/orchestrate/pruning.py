"""`lineal prune`: deletes what `retain:` doesn't keep of the rounds, and what no pipeline plans any more."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from lineal.components.controllers.values import values_of
from lineal.data.manifest import MANIFEST, lock_of
from lineal.data.records import RECORDS, lies_here, open_known, record_directory, records_of
from lineal.data.store import open_artifact
from lineal.errors import ArtifactError, DeclarationError, ProjectError, did_you_mean
from lineal.orchestrate.decision import decide
from lineal.orchestrate.dvc_lock import DVC_LOCK, find_entry, locked_artifacts, locked_stages, read_text
from lineal.orchestrate.dvc_record import DvcRecord, cache_directory
from lineal.orchestrate.recording import with_records, write_records
from lineal.plan import Plan, Step, make_plan
from lineal.recipe.project import Project
from lineal.recipe.references import ArtifactKind
from lineal.recipe.retain import Kept
from lineal.recipe.whole_files import write_whole
from lineal.step.status import Act, State, StepStatus

LEFTOVER = "leftover"
_MD5 = re.compile(r"\b[0-9a-f]{32}(?:\.dir)?\b")


@dataclass(frozen=True)
class Lying:
    """One artifact on disk.

    Attributes:
        key: the artifact.
        kind: rows, model, metrics, ...; `leftover` where no pipeline plans it.
        size_bytes: of its files, once, wherever they are linked to.
        goes: whether `prune` deletes it.
    """

    key: str
    kind: str
    size_bytes: int
    goes: bool


@dataclass(frozen=True)
class Pruning:
    """The artifacts on disk, and those to delete.

    Attributes:
        lying: every artifact on disk.
        leftovers: keys that are on disk, in `dvc.lock` or in `records/`, and that no pipeline plans.
        held: by key, why something is kept that `retain:` would delete.
    """

    lying: tuple[Lying, ...]
    leftovers: tuple[str, ...]
    held: Mapping[str, str]

    @property
    def going(self) -> list[str]:
        """The keys of the artifacts on disk that are to be deleted."""
        return [one.key for one in self.lying if one.goes]


def pruning_of(project: Project) -> Pruning:
    """Determines what `prune` would delete.

    Raises:
        ProjectError: `dvc.lock` is not as DVC writes it.
        DeclarationError: an active pipeline cannot be planned.
    """
    project = with_records(project)
    plan = make_plan(project)
    going, held = _let_go(plan, decide(plan))
    leftovers = leftovers_of(project)
    lying = tuple(_lying(project, set(going), set(leftovers)))
    return Pruning(lying, leftovers, held)


def _lying(project: Project, going: set[str], leftovers: set[str]) -> Iterator[Lying]:
    for key in _on_disk(project):
        try:
            manifest = open_artifact(key, project.directory(key)).manifest
        except ArtifactError:
            continue
        size = sum(entry.size_bytes for entry in manifest.files.values())
        yield Lying(
            key, LEFTOVER if key in leftovers else str(manifest.kind), size, key in going or key in leftovers
        )


def _on_disk(project: Project) -> list[str]:
    places = (
        path.parent.relative_to(project.artifacts) for path in sorted(project.artifacts.rglob(MANIFEST))
    )
    return [place.as_posix() for place in places if not any(part.startswith(".") for part in place.parts)]


# -- retain ---------------------------------------------------------------------------------------------------------


def _let_go(plan: Plan, decided: Mapping[str, StepStatus]) -> tuple[list[str], dict[str, str]]:
    """Returns the artifacts that `retain:` doesn't keep; and by key, why one of them is kept nevertheless."""
    going: list[str] = []
    held: dict[str, str] = {}
    keeping = _Keeping(plan)
    for step in plan.steps.values():
        keys = [
            key
            for output, key in step.artifact_keys().items()
            if keeping.lets_go(step, output) and lies_here(plan.project, key)
        ]
        why = _needed(plan, step, decided) if keys else ""
        held |= dict.fromkeys(keys, why) if why else {}
        going += [] if why else keys
    return going, held


def _needed(plan: Plan, step: Step, decided: Mapping[str, StepStatus]) -> str:
    """Says why an artifact is still needed here: it, or a descendant, is not up to date or not recorded."""
    for one in (step, *plan.consumers(step)):
        if decided[one.key].act is not Act.NONE or decided[one.key].state not in (State.DONE, State.RECORDED):
            return f"{one.key} is not up to date or not recorded yet: lineal run"
    return ""


_ROUND = re.compile(r"round_\d+")


class _Keeping:
    """The rules of `retain:`, applied to rounds."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._last = {
            name: max(s.round for s in plan.steps.values() if s.pipeline == name) for name in plan.pipelines
        }
        self._best: dict[tuple[str, str], int | None] = {}
        self._require_known_names()

    def _require_known_names(self) -> None:
        """Raises where `retain:` names a node that no pipeline has, or a number that its node doesn't give."""
        retain, document = self._plan.project.params.retain, self._plan.project.document
        steps = [step for step in self._plan.steps.values() if _ROUND.fullmatch(step.group)]
        labels = {name for step in steps for name in (step.label, step.label.partition("/")[0])}
        for name in retain.nodes:
            if name not in labels:
                raise document.error(
                    ("retain", "nodes", name), f"no round has a node {name!r}. {did_you_mean(name, labels)}"
                )
        for path, best in retain.best_named():
            label, _, number = best.rpartition(".")
            given = [step.outputs[""].values for step in steps if step.label == label]
            if not given:
                raise document.error(path, f"no round has a node {label!r}. {did_you_mean(label, labels)}")
            if all(values is not None and number not in values for values in given):
                known = {name for values in given for name in values or ()}
                raise document.error(
                    path, f"{label!r} gives no value {number!r}. {did_you_mean(number, known)}"
                )

    def lets_go(self, step: Step, output: str) -> bool:
        kind = step.outputs[output].kind
        rule = self._plan.project.params.retain.rule(step.label, kind)
        if (
            rule == "all"
            or kind not in (ArtifactKind.MODEL, ArtifactKind.ROWS)
            or not _ROUND.fullmatch(step.group)
        ):
            return False
        assert isinstance(rule, Kept)
        if step.round > self._last[step.pipeline] - rule.last:
            return False
        return rule.best is None or self._best_round(step.pipeline, rule.best) not in (None, step.round)

    def _best_round(self, pipeline: str, name: str) -> int | None:
        """Returns the first round with the highest number; None where no round has one, so that nothing is deleted."""
        if (pipeline, name) not in self._best:
            found = dict(self._numbers(pipeline, *name.rpartition(".")[::2]))
            self._best[pipeline, name] = max(found, key=lambda number: (found[number], -number), default=None)
        return self._best[pipeline, name]

    def _numbers(self, pipeline: str, label: str, number: str) -> Iterator[tuple[int, float]]:
        for step in self._plan.steps.values():
            if step.pipeline == pipeline and step.label == label and step.round:
                try:
                    value = values_of(open_known(self._plan.project, step.key)).get(number)
                except ArtifactError:
                    continue
                if isinstance(value, int | float):
                    yield step.round, float(value)


# -- leftovers ------------------------------------------------------------------------------------------------------


def leftovers_of(project: Project) -> tuple[str, ...]:
    """Artifacts on disk, in `dvc.lock` or in `records/` that no pipeline plans: rounds above the present number, renamed nodes,
    deleted pipelines. Those of a pipeline that cannot be planned now, or of no active one, are none as long as it has a file.
    """
    planned = {name: _planned(project, name) for name in project.pipeline_names()}
    needed = {key for keys in planned.values() for key in keys or ()}
    keys = dict.fromkeys([*_on_disk(project), *locked_artifacts(project.root), *_recorded_keys(project)])
    return tuple(
        key
        for key in keys
        if key not in needed and planned.get(key.partition("/")[0], frozenset()) is not None
    )


def _planned(project: Project, name: str) -> frozenset[str] | None:
    try:
        return frozenset(make_plan(project, [name]).makers)
    except DeclarationError:
        return None


def _recorded_keys(project: Project) -> Iterator[str]:
    root = project.root / RECORDS
    for path in sorted(root.rglob(MANIFEST)):
        yield path.parent.relative_to(root).as_posix().rpartition("@")[0]


# -- taking away ----------------------------------------------------------------------------------------------------


def prune(project: Project, pruning: Pruning) -> int:
    """Deletes artifacts, their objects in the project's own cache, and every trace of leftovers.

    Returns:
        how many bytes of artifacts were deleted.

    Raises:
        ProjectError: an artifact has no record, so nothing about it would be kept.
    """
    recorded = locked_artifacts(project.root)
    write_records(project, recorded)
    leaving = [key for key in pruning.going if key not in pruning.leftovers]
    for key in leaving:
        if key not in recorded or not record_directory(project.root, key, recorded[key]).is_dir():
            raise ProjectError(
                f"{key} has no record, and is not pruned without one. Record it: lineal run {key}"
            )
    going = {*leaving, *pruning.leftovers}
    record = DvcRecord(project.root, recorded)
    _drop_entries(project.root, pruning.leftovers)
    _drop_objects(
        record,
        project.root,
        {md5 for key, md5 in recorded.items() if key in going},
        {md5 for key, md5 in recorded.items() if key not in going},
    )
    for key in (*leaving, *pruning.leftovers):
        _remove(project, key)
    for key in pruning.leftovers:
        (project.runs / f"{key}.json").unlink(missing_ok=True)
        for directory in records_of(project.root, key):
            shutil.rmtree(directory)
    return sum(one.size_bytes for one in pruning.lying if one.goes)


def _remove(project: Project, key: str) -> None:
    """Removes an artifact and the directories that it leaves empty."""
    directory = project.directory(key)
    shutil.rmtree(directory, ignore_errors=True)
    lock_of(directory).unlink(missing_ok=True)
    for parent in directory.parents:
        if parent == project.artifacts or not parent.is_dir() or any(parent.iterdir()):
            return
        parent.rmdir()


def _drop_entries(root: Path, keys: Iterable[str]) -> None:
    """Removes the entries of `dvc.lock` whose artifacts are all deleted."""
    dropped = set(keys)
    stages = locked_stages(root)
    text = read_text(root / DVC_LOCK)
    for name, stage in stages.items():
        outs = [out["path"].removeprefix("artifacts/") for out in stage.get("outs", [])]
        found = find_entry(text, name) if outs and dropped.issuperset(outs) else None
        if found is not None:
            text = text[: found[0]] + text[found[1] :]
    if text != read_text(root / DVC_LOCK):
        write_whole(root / DVC_LOCK, text)


def _drop_objects(record: DvcRecord, root: Path, gone: set[str], kept: set[str]) -> None:
    """Removes objects of directories from the project's own cache, unless something that stays names them too.

    A cache that lies elsewhere may serve other projects: nothing is removed from it.
    """
    if not cache_directory(root).resolve().is_relative_to(root.resolve()):
        return
    named = kept | (_named(root, DVC_LOCK) - gone) | _named(root, "*.dvc")
    still = {one for md5 in named for one in (record.objects(md5) if md5.endswith(".dir") else (md5,))}
    for md5 in gone - named:
        for one, path in record.objects(md5).items():
            if one not in still:
                path.unlink(missing_ok=True)


def _named(root: Path, pattern: str) -> set[str]:
    """Returns every MD5 in DVC's files of one kind, in the project and below it."""
    paths = [path for path in (*root.glob(pattern), *root.glob(f"[!.]*/**/{pattern}")) if path.is_file()]
    return {md5 for path in paths for md5 in _MD5.findall(read_text(path))}
