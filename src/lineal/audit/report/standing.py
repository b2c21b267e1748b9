"""The reliability of the page's numbers: stale steps, retracted rows, and the search for evaluation prompts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from lineal.components.base import Role
from lineal.data.records import known_artifact, open_known
from lineal.plan import Plan
from lineal.step.checks import warnings_of
from lineal.step.contamination import training_outputs
from lineal.step.status import State, StepStatus, status_of
from lineal.step.tainted import tainted_checkpoints, why_tainted

MOST_NAMED = 8


@dataclass(frozen=True)
class Standing:
    """Facts on which the numbers' reliability depends.

    Attributes:
        states: how many steps are done, stale or missing.
        stale: the first of those that are stale, and why.
        unlearned: by checkpoint of a training that no row came into, which one stands there.
        retractions: by name, the reason of every retraction that the project declares.
        tainted: by checkpoint that descends from retracted rows, why.
        warned: what got worse over the rounds by more than noise, as the checks of evaluations say.
        oracles: by evaluation of the first round that has it, why its rows were written with the truth in sight.
        checked: how many artifacts that trainers read were looked through for evaluation prompts before they were published.
        rule: how: words in a row, and what stops a step.
    """

    states: Mapping[str, int]
    stale: Sequence[tuple[str, str]]
    unlearned: Mapping[str, str]
    retractions: Mapping[str, str]
    tainted: Mapping[str, str]
    warned: Sequence[str]
    oracles: Mapping[str, str]
    checked: int
    rule: str


def standing_of(plan: Plan, damage: Mapping[str, Sequence[str]]) -> Standing:
    """Collects the facts.

    Args:
        plan: the plan.
        damage: by artifact key, what is wrong with its bytes.
    """
    states = status_of(
        plan, damage, known=partial(known_artifact, plan.project), unchanged=lambda step, artifact, file: True
    )
    done = {entry.key for entry in states if entry.state in (State.DONE, State.RECORDED)}
    look = plan.project.params.contamination
    return Standing(
        Counter(str(entry.state) for entry in states),
        [_why(entry) for entry in states if entry.state is State.STALE][:MOST_NAMED],
        _unlearned(plan, done),
        {name: entry.reason for name, entry in plan.project.retractions.declared.items()},
        {key: why_tainted(marks) for key, marks in tainted_checkpoints(plan).items()},
        [found.message for found in warnings_of(plan, plan.steps.values())],
        _oracles(plan),
        sum(len(training_outputs(plan, plan.steps[key])) for key in done),
        f"{look.n} words in a row; {look.stops} stop a step",
    )


def _oracles(plan: Plan) -> dict[str, str]:
    """Names an evaluation of several rounds once."""
    first: dict[tuple[str, str], str] = {}
    for key in plan.oracles:
        first.setdefault((plan.steps[key].pipeline, plan.steps[key].label), key)
    return {key: plan.oracles[key] for key in first.values()}


def _unlearned(plan: Plan, done: Collection[str]) -> dict[str, str]:
    models = [key for key in plan.steps if key in done and plan.steps[key].component.role is Role.TRAINER]
    found = {key: open_known(plan.project, key).manifest.nothing_to_learn for key in models}
    return {key: what for key, what in found.items() if what}


def _why(entry: StepStatus) -> tuple[str, str]:
    return entry.key, "; ".join(entry.reasons)
