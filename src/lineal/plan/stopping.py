"""Runs that may end early: the deciding step of each round, and the group of the best round.

A plan is static, so a stopped run has all its rounds. From round 2 on every step waits for the decision of the round before;
once that says stop, a step's artifact is the best round's (`step/stopped_run.py`). After the last round the group `best`
holds the best round's nodes, whether or not the run stopped.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from lineal.plan.compile import CompiledNode
from lineal.plan.steps import Step
from lineal.recipe.groups import group_after, round_group
from lineal.recipe.nodes import BEST, STOP

BEFORE, NODES, MARK = "before", "nodes", "mark"
"""Further inputs of the deciding step: the decision before, all nodes of its round, and round 0's metric."""


def stop_step(step: Step, made: Mapping[str, Step], first: int) -> Step:
    """Makes the deciding step of a round.

    Args:
        step: the step as declared.
        made: all steps before it.
        first: the first round of those that may stop; it must beat the round before it.
    """
    inputs = dict(step.inputs)
    before = group_after(first - 1)
    groups = [step.group] if step.round > first else [before, step.group]
    chosen = [other for other in made.values() if other.group in groups and other.label != STOP]
    inputs[NODES] = tuple(key for other in chosen for key in other.artifact_keys().values())
    settings_from = dict(step.settings_from)
    if step.round > first:
        inputs[BEFORE] = (f"{step.pipeline}/{round_group(step.round - 1)}/{STOP}",)
    else:
        for key, part in step.settings_from.values():
            mark = f"{step.pipeline}/{before}/{key.split('/', 2)[2]}"
            settings_from |= {MARK: (mark, part)} if mark in made else {}
    return replace(step, inputs=inputs, settings_from=settings_from, stopped_by=None)


def best_steps(stop: CompiledNode, rounds: int, made: Mapping[str, Step]) -> Iterator[Step]:
    """Makes a step for every node of a round that stands in for the best round's.

    Args:
        stop: the node that decides.
        rounds: how many rounds the plan has.
        made: all steps of the plan so far.
    """
    last = [step for step in made.values() if step.group == round_group(rounds) and step.label != stop.label]
    for step in last:
        decided = f"{step.pipeline}/{step.group}/{STOP}"
        yield replace(step, group=BEST, inputs=_adapter_bases(step), settings_from={}, stopped_by=decided)


def _adapter_bases(step: Step) -> dict[str, tuple[str, ...]]:
    """Returns the full models under a step's adapters, which every round has in common."""
    fields = {output.adapter_of for output in step.outputs.values() if output.adapter_of is not None}
    return {f"{field}_base": step.inputs.get(f"{field}_base", step.inputs[field]) for field in fields}
