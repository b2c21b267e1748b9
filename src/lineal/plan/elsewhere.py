"""References to other pipelines, `pipelines.NAME.finish.checkpoint`: which seed is meant, and which steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from lineal.components.base import Role
from lineal.components.registry import Registry
from lineal.errors import did_you_mean
from lineal.plan.steps import Step
from lineal.recipe.project import Project
from lineal.recipe.references import Reference
from lineal.recipe.seeds import SEED_MARK, declared_name


class Unrolled(Protocol):
    """Pipelines as their steps."""

    @property
    def steps(self) -> Mapping[str, Step]:
        """The steps of all that are unrolled, by key."""
        ...

    def steps_of(self, name: str) -> Mapping[str, Step]:
        """Returns the steps of one pipeline, which is unrolled now if it was not before.

        Raises:
            ValueError: it depends on the pipeline that asks.
        """
        ...


def steps_elsewhere(project: Project, own: str, reference: Reference, others: Unrolled) -> list[Step]:
    """Returns the steps of another pipeline that a reference of the pipeline `own` names.

    Raises:
        ValueError: there is no such pipeline, group or node, or none of this seed; says what there is.
    """
    name = _meant(project, own, str(reference.pipeline))
    steps = others.steps_of(name)
    group = {step.label: step for step in steps.values() if step.group == reference.group}
    if not group:
        known = {step.group for step in steps.values()}
        raise ValueError(
            f"{str(reference)!r}: {name} has no {reference.group}. {did_you_mean(str(reference.group), known)}"
        )
    found = {label: step for label, step in group.items() if label.partition("/")[0] == reference.node}
    if not found:
        known = {label.partition("/")[0] for label in group}
        message = f"{str(reference)!r} names no node of {name}/{reference.group}. {did_you_mean(reference.node, known)}"
        raise ValueError(message)
    return [found[label] for label in _instances(reference, list(found))]


def _instances(reference: Reference, labels: list[str]) -> list[str]:
    """Returns the labels that a reference means: of one node, or of one or all instances."""
    single, wanted = labels == [reference.node], f"{reference.node}/{reference.instance}"
    if single != (reference.instance is None):
        values = [label.partition("/")[2] for label in labels]
        fix = (
            f"leave out [{reference.instance}]"
            if single
            else f"write {reference.node}[*] or {reference.node}[{values[0]}]"
        )
        raise ValueError(
            f"{str(reference)!r}: {reference.node} is made {'once' if single else 'several times'} there; {fix}"
        )
    if single or reference.instance == "*":
        return labels
    if wanted not in labels:
        raise ValueError(f"{str(reference)!r}: no such instance. {did_you_mean(wanted, labels)}")
    return [wanted]


def _meant(project: Project, own: str, declared: str) -> str:
    """Returns the pipeline under the seed of the one that asks; under its only seed where it has one."""
    known = [name for name in project.pipeline_names() if name == declared_name(name)]
    if declared not in known:
        raise ValueError(f"there is no pipeline {declared!r}. {did_you_mean(declared, known)}")
    if declared == declared_name(own):
        raise ValueError(f"{declared} is this pipeline itself; write start.NODE, previous.NODE or NODE")
    seeds, seed = project.seeds_of(declared), project.seed_of(own)
    if len(seeds) == 1 or seed == seeds[0]:
        return declared
    if seed not in seeds:
        fix = f"Give {declared} this seed in params.yaml, or one seed, which then serves all"
        raise ValueError(f"{own} has the seed {seed}, and {declared} the seeds {seeds}. {fix}")
    return f"{declared}{SEED_MARK}{seed}"


def role_elsewhere(project: Project, own: str, reference: Reference, registry: Registry) -> Role | None:
    """Returns the role of another pipeline's node; None where there is no such node.

    Raises:
        ValueError: there is no such pipeline.
    """
    parts = project.pipeline(_meant(project, own, str(reference.pipeline))).parts
    group = (
        "round"
        if str(reference.group).startswith("round_") or reference.group == "best"
        else str(reference.group)
    )
    nodes = [node for part, named in parts.items() if str(part.section) == group for node in named.values()]
    for node in nodes:
        if node.name == reference.node:
            return registry.find(node.use).role
    return None
