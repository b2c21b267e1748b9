"""Evaluations whose rows were written with the truth in sight, such as second tries at answers that were known to be wrong.

A column tells the truth where it is a reference, or what a verifier added that read one. Rows that a selection chose by such a
column, and what is generated from them or from a template that holds one, owe their numbers to an oracle. Models that were
trained on such rows do not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lineal.components.base import REFERENCES, Role
from lineal.plan.steps import Step, artifact_key

if TYPE_CHECKING:
    from lineal.plan.plan import Plan

CONTINUED = ("rows", "prompts")
"""The fields whose rows a generation continues; examples and documents are of other prompts."""
GOING_ON = {
    Role.SELECTOR: frozenset({"prompt", "completion"}),
    Role.EVALUATOR: frozenset({"completion", "verdict", "score"}),
}
"""Columns that tell that an input's rows go on in a selection's, or in an evaluation's numbers: rows to mix in, or an evaluation
before. Rows that a model was trained on, and lists of topics, need none of them."""
JUDGING = (Role.VERIFIER, Role.EVALUATOR, Role.TRAINER)
"""Roles whose further columns tell the truth where they read it."""


@dataclass
class _Found:
    """Columns of artifacts that tell the truth, and why their rows were chosen or written by it."""

    truths: dict[str, frozenset[str]] = field(default_factory=dict)
    chosen: dict[str, str] = field(default_factory=dict)
    written: dict[str, str] = field(default_factory=dict)


def oracles_of(plan: Plan) -> dict[str, str]:
    """Returns, by evaluation, why its rows were written with the truth in sight; evaluations without an oracle are left out."""
    found, evaluations = _Found(), dict[str, str]()
    for step in plan.steps.values():
        if step.component.role is Role.EVALUATOR:
            why = _first(found.written, step, _going_on(step))
            evaluations |= {step.key: why} if why else {}
        _add(plan, found, step)
    return evaluations


def _add(plan: Plan, found: _Found, step: Step) -> None:
    role, inputs = step.component.role, [key for keys in step.inputs.values() for key in keys]
    reads = next(_reads(found, step, CONTINUED if role is Role.GENERATOR else tuple(step.inputs)), "")
    choosing = step.inputs if role is Role.SELECTOR else CONTINUED
    chosen = _first(found.chosen, step, choosing) or (
        reads if role in (Role.SELECTOR, Role.GENERATOR) else ""
    )
    written = _first(found.written, step, _going_on(step)) or (chosen if role is Role.GENERATOR else "")
    inherited = REFERENCES.union(*(found.truths.get(key, ()) for key in inputs))
    known = frozenset(column for key in inputs for column in plan.output(key).columns)
    for output, made in step.outputs.items():
        key, columns = artifact_key(step.key, output), frozenset(made.columns)
        if columns:
            found.truths[key] = columns & inherited | (
                columns - known if reads and role in JUDGING else frozenset()
            )
            found.chosen |= {key: chosen} if chosen else {}
            found.written |= {key: written} if written else {}


def _going_on(step: Step) -> list[str]:
    """Returns the fields whose rows go on in what the step makes; a selection is chosen by all of its inputs."""
    needs, columns = step.component.needs(), GOING_ON.get(step.component.role, frozenset())
    return [name for name in step.inputs if name in CONTINUED or columns & set(needs.get(name, ()))]


def _reads(found: _Found, step: Step, fields: tuple[str, ...]) -> Iterator[str]:
    """Yields the columns that tell the truth and that a step reads, with whose they are."""
    for name, columns in step.component.told().items():
        for key in step.inputs.get(name, ()) if name in fields else ():
            yield from (
                f"{step.key} reads {column!r} of {key}"
                for column in columns
                if column in found.truths.get(key, ())
            )


def _first(marks: dict[str, str], step: Step, fields: Iterable[str]) -> str:
    return next((marks[key] for name in fields for key in step.inputs.get(name, ()) if key in marks), "")
