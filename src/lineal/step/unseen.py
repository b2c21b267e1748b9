"""The check that no prompt of an evaluation set is among rows to train on, where rows are made and where they are read."""

from __future__ import annotations

from collections.abc import Mapping

from lineal.components.base import Role
from lineal.data.store import Artifact
from lineal.errors import DataError
from lineal.plan import Plan, Step, artifact_key
from lineal.recipe.references import ArtifactKind
from lineal.step.check_result import CheckResult
from lineal.step.contamination import (
    HeldOut,
    OverlappingRow,
    described,
    held_out_prompts,
    stops,
    training_outputs,
)

NAME = "no_test_prompt_in_training"
MOST_SHOWN = 5
"""Contaminated rows that a message names."""
MOST_LETTERS = 120


def no_test_prompt(plan: Plan, step: Step, artifacts: Mapping[str, Artifact]) -> CheckResult:
    """Searches all outputs that something trains on."""
    held_out = held_out_prompts(plan, step.pipeline)
    by_output = {
        output: _first_matches(plan, held_out, artifacts[output]) for output in training_outputs(plan, step)
    }
    found = [match for matches in by_output.values() for match in matches]
    where = (
        ", ".join(artifact_key(step.key, output) for output, matches in by_output.items() if matches)
        or step.key
    )
    evidence = [described(match) for match in found[:MOST_SHOWN]]
    values = {"rows": len(found), "n": plan.project.params.contamination.n, "evidence": evidence}
    return CheckResult(NAME, not found, f"{where}: {_told(found)}", values)


def require_no_test_prompt(plan: Plan, step: Step, inputs: Mapping[str, tuple[Artifact, ...]]) -> None:
    """Refuses rows to train on that hold a prompt of an evaluation set.

    The step that made them has looked too, but an evaluation set may have changed since.

    Raises:
        DataError: names the rows, and what they share with which prompt.
    """
    if step.component.role is not Role.TRAINER:
        return
    held_out = held_out_prompts(plan, step.pipeline)
    read = {one.key: one for artifacts in inputs.values() for one in artifacts}
    for artifact in read.values():
        if artifact.manifest.kind is ArtifactKind.ROWS:
            found = _first_matches(plan, held_out, artifact)
            if found:
                fix = "The set has changed since these rows were made. Correct it, or leave the rows out with a selector"
                raise DataError(f"{artifact.key}: {_told(found)}\n{fix}")


def _first_matches(plan: Plan, held_out: HeldOut, artifact: Artifact) -> list[OverlappingRow]:
    """Returns the first overlap of each row of an artifact that has one which stops training."""
    found: dict[int, OverlappingRow] = {}
    for match in held_out.matches(artifact):
        if stops(plan, match):
            found.setdefault(match.position, match)
    return list(found.values())


def _told(found: list[OverlappingRow]) -> str:
    """Returns how many rows overlap, and the first of them with their evidence."""
    return (
        f"{len(found):,} rows with a prompt of an evaluation set{''.join(map(_evidence, found[:MOST_SHOWN]))}"
    )


def _evidence(match: OverlappingRow) -> str:
    shared = f": {match.ngram[:MOST_LETTERS]!a}" if match.ngram else ""
    return (
        f"\n  {match.column} of {match.row} has {match.prompt} of {match.evaluation} ({match.rule}{shared})"
    )
