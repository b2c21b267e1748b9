"""Finds retracted rows among a step's inputs: by id, by a condition, or because they were made from such rows.

The search covers all ancestors of the inputs' rows, so a pair is retracted with the sample that it was made
from although it lacks the sample's columns. It does not go through models: a checkpoint's samples are made again when it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from lineal.components.base import Role, Workspace
from lineal.components.selectors.query import Session, open_session
from lineal.components.selectors.retracted import retracted_rows
from lineal.data.store import Artifact, Rows, open_artifact
from lineal.errors import ArtifactError, CheckFailure, ProjectError
from lineal.plan import Plan, Step
from lineal.recipe.references import ArtifactKind
from lineal.recipe.retractions import RETRACTED, RETRACTIONS, RetractionRule

CHECK = "no_retracted_rows"
"""The check that a checkpoint was trained on no retracted row, and descends from none that was."""
_WITH_ROWS = (ArtifactKind.ROWS, ArtifactKind.METRICS)


@dataclass(frozen=True)
class SourceArtifacts:
    """The artifacts with rows that some rows come from.

    Attributes:
        artifacts: each after what it was made from.
        broken: what is missing, or was made again since something was made from it.
    """

    artifacts: tuple[Artifact, ...]
    broken: tuple[str, ...]


def ancestry(plan: Plan, keys: Iterable[str]) -> SourceArtifacts:
    """Returns the artifacts with these keys that hold rows, and those that their rows come from."""
    order, found, broken = list(plan.makers), dict[str, Artifact](), []
    waiting = [key for key in dict.fromkeys(keys) if plan.output(key).kind in _WITH_ROWS]
    while waiting:
        key = waiting.pop()
        try:
            found[key] = open_artifact(key, plan.project.directory(key))
        except ArtifactError as error:
            broken.append(str(error))
            continue
        made_from = {entry.digest for entries in found[key].manifest.inputs.values() for entry in entries}
        above = [
            one
            for keys in plan.makers[key].inputs.values()
            for one in keys
            if plan.output(one).kind in _WITH_ROWS
        ]
        for one in above:
            lying = _digest(plan, one)
            if lying is not None and lying not in made_from:
                broken.append(
                    f"{one} was made again after {key} was made from it. Bring it up to date: lineal run {key}"
                )
            elif one not in found:
                waiting.append(one)
    return SourceArtifacts(tuple(found[key] for key in sorted(found, key=order.index)), tuple(broken))


def _digest(plan: Plan, key: str) -> str | None:
    try:
        return open_artifact(key, plan.project.directory(key)).digest
    except ArtifactError:
        return None


def retracted_among(
    plan: Plan, keys: Sequence[str], rules: Sequence[RetractionRule], known: SourceArtifacts
) -> dict[str, list[str]]:
    """Returns the ids of the rows that each retraction takes from some artifacts; retractions that take none are left out.

    Args:
        plan: the plan.
        keys: the artifacts.
        rules: the retractions.
        known: their ancestry.

    Raises:
        DeclarationError: a condition may not run; names file and key.
        DataError: rows cannot be read.
    """
    artifacts = {f"rows_{place}": one for place, one in enumerate(known.artifacts) if one.parquet_files()}
    wanted = [view for view, artifact in artifacts.items() if artifact.key in keys]
    if not wanted or not rules:
        return {}
    with _session(plan, artifacts) as session:
        found = {rule.name: retracted_rows(session, artifacts, rule, wanted) for rule in rules}
    return {name: ids for name, ids in found.items() if ids}


@contextmanager
def _session(plan: Plan, artifacts: dict[str, Artifact]) -> Iterator[Session]:
    with TemporaryDirectory(prefix="lineal-retraction-") as spill:
        workspace = Workspace(
            plan.project.root, RETRACTIONS, 0, 0, plan.project.params.compute, {}, Path(spill)
        )
        with open_session(
            workspace, {view: Rows((artifact,)) for view, artifact in artifacts.items()}
        ) as session:
            yield session


def retracted_inputs(plan: Plan, step: Step) -> dict[str, str]:
    """Returns the reason for each retracted row of a selection's inputs, by id, as `retracted: REASON`.

    Raises:
        CheckFailure: the step is a trainer, and its rows hold retracted ones.
        ProjectError: the selection is recorded as untouched by a retraction, but is not.
        ArtifactError: what its rows come from is missing, or is not what they were made from.
    """
    rules, role = plan.project.retractions.rules(step.pipeline), step.component.role
    if not rules or role not in (Role.SELECTOR, Role.TRAINER):
        return {}
    keys = [key for keys in step.inputs.values() for key in keys]
    known = ancestry(plan, keys)
    if known.broken:
        raise ArtifactError(f"{step.key}: its retracted rows cannot be told: {known.broken[0]}")
    found = retracted_among(plan, keys, rules, known)
    if role is Role.TRAINER:
        _require_none(plan, step, found)
        return {}
    return _reasons(plan, step, found)


def retracted_output(plan: Plan, step: Step, made: Artifact) -> dict[str, str]:
    """Returns the same for rows that a selection is about to give: ones that it made, or that only now fulfil a condition.

    Raises:
        ProjectError: the selection is recorded as untouched by a retraction, but is not.
    """
    rules = plan.project.retractions.rules(step.pipeline) if step.component.role is Role.SELECTOR else ()
    return _reasons(plan, step, retracted_among(plan, [made.key], rules, SourceArtifacts((made,), ())))


def _reasons(plan: Plan, step: Step, found: dict[str, list[str]]) -> dict[str, str]:
    unexpected = [name for name in found if name not in {rule.name for rule in step.retractions}]
    if unexpected:
        count, name = len(found[unexpected[0]]), unexpected[0]
        raise ProjectError(
            f"{RETRACTED} is stale: {step.key} was untouched by {name!r}, which now takes {count:,} of its rows. "
            "Write it: lineal plan --write"
        )
    return {
        row: f"retracted: {rule.reason}"
        for rule in reversed(step.retractions)
        for row in found.get(rule.name, [])
    }


def _require_none(plan: Plan, step: Step, found: dict[str, list[str]]) -> None:
    if not found:
        return
    told = "; ".join(f"{len(ids):,} by {name!r}" for name, ids in found.items())
    direct = direct_inputs(plan, step)
    fix = (
        f"Put a selection between it and {', '.join(direct)}, which drops them"
        if direct
        else f"Run: lineal run {step.key}"
    )
    raise CheckFailure(CHECK, f"{step.key} would train on retracted rows ({told}). {fix}")


def direct_inputs(plan: Plan, step: Step) -> list[str]:
    """Returns the artifacts with rows that a trainer reads and that no selection made."""
    keys = [key for keys in step.inputs.values() for key in keys if plan.output(key).kind in _WITH_ROWS]
    return [key for key in keys if plan.makers[key].component.role is not Role.SELECTOR]
