"""Evaluations of a pipeline beside those of its variants without one of its parts, paired by prompts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lineal.components.base import Role
from lineal.components.evaluators.reading import EvaluationNumbers, compare, read_evaluation
from lineal.data.estimates import Comparison
from lineal.data.manifest import MANIFEST
from lineal.errors import Problems, UsageError
from lineal.plan import Plan, Step, make_plan
from lineal.recipe.groups import round_group
from lineal.recipe.nodes import Section
from lineal.recipe.project import PipelineParams, Project
from lineal.recipe.seeds import declared_name, name_without


@dataclass(frozen=True)
class Ablated:
    """One evaluation with and without a part.

    Attributes:
        part: the part that is taken away.
        seed: the run's seed.
        label: the evaluation's name.
        headline: the figure that is compared.
        whole, without: the figure with and without the part.
        change: the figure without the part less the whole's, paired by prompts where both have the same; None without intervals.
    """

    part: str
    seed: int
    label: str
    headline: str
    whole: float
    without: float
    change: Comparison | None


def with_parts(project: Project, pipeline: str, parts: Sequence[str]) -> Project:
    """Returns a project whose pipeline is ablated by these parts; without any, by those that `params.yaml` names.

    Raises:
        UsageError: nobody names a part, or the pipeline is itself one without a part.
    """
    without = project.pipeline(pipeline).without
    if without is not None:
        own_name = declared_name(pipeline)
        raise UsageError(
            f"{pipeline} is {own_name} without {without.part}. Name the pipeline: lineal ablate {own_name}"
        )
    own = project.params.pipelines.get(pipeline, PipelineParams())
    if not parts and not own.ablate:
        declared = f"pipelines: {{{pipeline}: {{ablate: [NODE, NODE.SETTING]}}}}"
        raise UsageError(f"no part of {pipeline} to take away: name one here, or in params.yaml, {declared}")
    chosen = own.model_copy(update={"ablate": list(parts)}) if parts else own
    every = {**project.params.pipelines, pipeline: chosen}
    return replace(project, params=project.params.model_copy(update={"pipelines": every}))


def plan_variants(project: Project, pipeline: str) -> Plan:
    """Plans a pipeline and its variants, for the first seed and the others.

    Raises:
        DeclarationError: a part cannot be taken away; all that cannot be are named.
    """
    names = [
        name for name in project.pipeline_names() if name == pipeline or name.startswith(f"{pipeline}__")
    ]
    problems = Problems()
    for name in names:
        with problems.noted():
            make_plan(project, [name])
    problems.raise_all()
    return make_plan(project, names)


def own_steps(plan: Plan, pipeline: str, part: str) -> tuple[int, int]:
    """Returns how many steps a variant does not share with its pipeline, and how many it has. Equal steps are made once."""
    variant, equal = name_without(pipeline, part), dict[str, str]()
    steps = [step for step in plan.steps.values() if step.pipeline == variant]
    for step in steps:
        whole = plan.steps.get(f"{pipeline}/{step.name}")
        if whole is not None and _does_the_same(step, whole, equal):
            equal |= dict(zip(step.artifact_keys().values(), whole.artifact_keys().values(), strict=True))
    return sum(step.key not in equal for step in steps), len(steps)


def _does_the_same(step: Step, whole: Step, equal: dict[str, str]) -> bool:
    inputs = {field: tuple(equal.get(key, key) for key in keys) for field, keys in step.inputs.items()}
    values = {name: (equal.get(key, key), part) for name, (key, part) in step.settings_from.items()}
    same_work = (step.component.use, _settings(step)) == (whole.component.use, _settings(whole))
    stopped = step.stopped_by if step.stopped_by is None else equal.get(step.stopped_by, step.stopped_by)
    return same_work and (inputs, values, stopped) == (
        dict(whole.inputs),
        dict(whole.settings_from),
        whole.stopped_by,
    )


def _settings(step: Step) -> dict[str, Any]:
    """Returns a step's settings that decide bytes, but for those that take their values from other steps."""
    fields = type(step.component).model_fields
    own = {name: fields[name].default if name in fields else None for name in step.settings_from}
    return step.component.model_copy(update=own).identity()


def ablations(plan: Plan, pipeline: str) -> Iterator[Ablated]:
    """Yields the comparisons that can be made from what is here, part by part, seed by seed."""
    for name, variant in plan.pipelines.items():
        if variant.without is None:
            continue
        seed = plan.project.seed_of(name)
        whole = next(
            one
            for one, own in plan.pipelines.items()
            if own.without is None and plan.project.seed_of(one) == seed
        )
        for step in _last_evaluations(plan, name):
            found = plan.steps.get(f"{whole}/{step.name}")
            pair = [None if one is None else _evaluated(plan, one) for one in (found, step)]
            if pair[0] is not None and pair[1] is not None:
                yield from _compared(variant.without.part, seed, step, pair[0], pair[1])


def _last_evaluations(plan: Plan, pipeline: str) -> list[Step]:
    groups = (
        str(Section.FINISH),
        round_group(max(step.round for step in plan.steps.values() if step.pipeline == pipeline)),
    )
    evaluating = [
        step
        for step in plan.steps.values()
        if step.pipeline == pipeline and step.component.role is Role.EVALUATOR
    ]
    return [step for step in evaluating if step.group in groups]


def _evaluated(plan: Plan, step: Step) -> EvaluationNumbers | None:
    directory = plan.project.directory(step.key)
    return read_evaluation(directory) if (directory / MANIFEST).is_file() else None


def _compared(
    part: str, seed: int, step: Step, whole: EvaluationNumbers, without: EvaluationNumbers
) -> Iterator[Ablated]:
    headline = step.component.headline
    if headline in whole.numbers and headline in without.numbers:
        change = compare(whole, without)
        yield Ablated(
            part, seed, step.label, headline, whole.numbers[headline], without.numbers[headline], change
        )
