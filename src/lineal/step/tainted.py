"""Checkpoints that were trained on retracted rows, or descend from one that was: tainted until they are rerun."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from lineal.components.base import Role
from lineal.data.manifest import Manifest, read_manifest
from lineal.errors import ArtifactError, number_of
from lineal.plan import Plan, Step
from lineal.recipe.references import ArtifactKind
from lineal.recipe.retractions import RetractionRule
from lineal.step.identity import RETRACTIONS
from lineal.step.retraction import ancestry, retracted_among

Marks = dict[str, str]
"""The reason why something is tainted, by retraction."""


def tainted_checkpoints(plan: Plan, steps: Iterable[Step] | None = None) -> dict[str, Marks]:
    """Returns by step key why checkpoints are tainted; those that are not, or not made, are left out.

    A checkpoint is tainted when rows that it was trained on are retracted, or when it, or the rows, came from a tainted
    checkpoint. Where an input was made again since, and a retraction is in force on it or above it, the rows that the
    checkpoint was trained on are no longer here to be asked: it counts as tainted until it is made again too.

    Args:
        plan: the plan.
        steps: only these and what they are made from; default: all.

    Raises:
        DeclarationError: a retraction's condition may not run.
        DataError: rows cannot be read.
    """
    if not plan.project.retractions.declared:
        return {}
    chosen = list(plan.steps.values()) if steps is None else plan.with_upstream(steps)
    found: dict[str, Marks] = {}
    for step in chosen:
        found[step.key] = _marks(plan, step, found)
    return {
        step.key: found[step.key]
        for step in chosen
        if step.outputs[""].kind is ArtifactKind.MODEL and found[step.key]
    }


def _marks(plan: Plan, step: Step, before: Mapping[str, Marks]) -> Marks:
    made = _manifest(plan, step.key)
    if made is None:
        return {}
    used = {entry.digest for entries in made.inputs.values() for entry in entries}
    marks: Marks = {}
    here = []
    for key in dict.fromkeys(key for keys in step.inputs.values() for key in keys):
        maker, lying = plan.makers[key], _manifest(plan, key)
        if lying is not None and lying.digest in used:
            here.append(key)
            marks |= {name: _passed_on(maker.key, why) for name, why in before[maker.key].items()}
        else:
            gone = f"made before {key} was made without retracted rows"
            marks |= dict.fromkeys(_in_force_above(plan, maker), gone)
    if step.component.role is Role.TRAINER:
        marks |= _trained_on(plan, step, here)
    return marks


def _trained_on(plan: Plan, step: Step, keys: list[str]) -> Marks:
    rules = plan.project.retractions.rules(step.pipeline)
    asked = [key for key in keys if any(not _applied(plan, key, rule) for rule in rules)]
    found = retracted_among(plan, asked, rules, ancestry(plan, asked)) if asked else {}
    return {name: f"trained on {number_of(len(ids), 'retracted row')}" for name, ids in found.items()}


def _applied(plan: Plan, key: str, rule: RetractionRule) -> bool:
    """Tells whether a selection already dropped the rows of a retraction, so that no row need be read.

    Its manifest names the retraction, or it is recorded as untouched: a rerun would have failed on the first such row.
    """
    maker, made = plan.makers[key], _manifest(plan, key)
    if maker.component.role is not Role.SELECTOR or made is None:
        return False
    untouched = rule.name not in {one.name for one in maker.retractions}
    return untouched or rule.identity() in made.settings.get(RETRACTIONS, [])


def _passed_on(key: str, why: str) -> str:
    """Returns the reason for a descendant of something tainted: it names where the retracted rows went in."""
    return why if why.startswith("descends ") else f"descends from {key}, which was {why}"


def _in_force_above(plan: Plan, step: Step) -> set[str]:
    return {rule.name for one in plan.with_upstream([step]) for rule in one.retractions}


def _manifest(plan: Plan, key: str) -> Manifest | None:
    try:
        return read_manifest(plan.project.directory(key), key)
    except ArtifactError:
        return None


def why_tainted(marks: Mapping[str, str]) -> str:
    """Says in one line why a checkpoint is tainted."""
    return "; ".join(f"tainted by {name!r}: {why}" for name, why in marks.items())
