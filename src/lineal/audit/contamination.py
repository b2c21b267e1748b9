"""`lineal contamination`: overlap between evaluation prompts and the rows that rounds generated and trained on, with evidence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from lineal.audit.terminal import cut, printable, table
from lineal.components.base import Role
from lineal.data.manifest import MANIFEST
from lineal.data.store import Rows, open_artifact
from lineal.data.workspace import MAIN
from lineal.errors import CheckFailure, UsageError
from lineal.plan import Plan, Step, artifact_key
from lineal.recipe.references import ArtifactKind
from lineal.step.contamination import (
    HeldOut,
    OverlappingRow,
    described,
    held_out_prompts,
    stops,
    training_outputs,
)

CHECK = "no_test_prompt_in_training"
MOST_MATCHES = 1000
"""Matches of one artifact that are kept as evidence; all rows are counted."""


@dataclass(frozen=True)
class Contaminated:
    """The overlap found in one artifact.

    Attributes:
        key: the artifact's key.
        training: whether a trainer reads its rows.
        rows: how many rows it has.
        overlapping: how many of them overlap with an evaluation prompt.
        stopping: how many of them overlap so that training on them is refused.
        rules: rows by the rule of their first match.
        matches: the first matches.
    """

    key: str
    training: bool
    rows: int
    overlapping: int
    stopping: int
    rules: dict[str, int]
    matches: tuple[OverlappingRow, ...]


@dataclass(frozen=True)
class ContaminationReport:
    """The overlap found in all artifacts, and what was searched for.

    Attributes:
        n: how many consecutive words are an overlap.
        evaluations: evaluation sets and how many of their prompts were looked for.
        artifacts: what was found.
    """

    n: int
    evaluations: dict[str, int]
    artifacts: tuple[Contaminated, ...]

    @property
    def contaminated(self) -> list[Contaminated]:
        """The artifacts that no trainer may read as they are."""
        return [found for found in self.artifacts if found.training and found.stopping]


def require_clean_training(report: ContaminationReport) -> None:
    """Refuses training rows that overlap with evaluation prompts.

    Raises:
        CheckFailure: names the artifacts, and how many of their rows overlap.
    """
    if report.contaminated:
        named = ", ".join(
            f"{found.key} ({found.stopping:,} of {found.rows:,})" for found in report.contaminated
        )
        raise CheckFailure(
            CHECK, f"training rows overlap with evaluation prompts: {named}. Leave them out in a selector"
        )


def look_for_contamination(plan: Plan, steps: Sequence[Step], n: int | None = None) -> ContaminationReport:
    """Searches the existing artifacts of some steps; those that neither generate nor feed training are left out.

    Args:
        plan: the plan.
        steps: what to search.
        n: how many consecutive words are an overlap; default: what `params.yaml` says.

    Raises:
        UsageError: none has been made, or none generates or feeds training.
        ArtifactError: rows cannot be read.
    """
    chosen = [(step, output) for step in steps for output in _looked_at(plan, step)]
    if not chosen:
        named = ", ".join(step.key for step in steps[:3]) + (", ..." if len(steps) > 3 else "")
        raise UsageError(
            f"{named or 'no step'}: no generated rows and no rows to train on are made here. See what is there: lineal status"
        )
    held_out = {
        pipeline: held_out_prompts(plan, pipeline, n)
        for pipeline in dict.fromkeys(step.pipeline for step, _ in chosen)
    }
    evaluations = Counter(prompt.key for found in held_out.values() for prompt in found.prompts)
    artifacts = tuple(_in_output(plan, step, output, held_out[step.pipeline]) for step, output in chosen)
    return ContaminationReport(n or plan.project.params.contamination.n, dict(evaluations), artifacts)


def _looked_at(plan: Plan, step: Step) -> list[str]:
    """Returns the existing outputs whose rows the step generated or a trainer reads."""
    generates = step.component.role is Role.GENERATOR and step.outputs[MAIN].kind is ArtifactKind.ROWS
    looked_at = dict.fromkeys([*([MAIN] if generates else []), *training_outputs(plan, step)])
    return [
        output
        for output in looked_at
        if (plan.project.directory(artifact_key(step.key, output)) / MANIFEST).exists()
    ]


def _in_output(plan: Plan, step: Step, output: str, held_out: HeldOut) -> Contaminated:
    key = artifact_key(step.key, output)
    artifact = open_artifact(key, plan.project.directory(key))
    rules: dict[int, str] = {}
    stopping: set[int] = set()
    kept: list[OverlappingRow] = []
    for match in held_out.matches(artifact):
        rules.setdefault(match.position, str(match.rule))
        stopping |= {match.position} if stops(plan, match) else set()
        if len(kept) < MOST_MATCHES:
            kept.append(match)
    rows, training = Rows((artifact,)).count, output in training_outputs(plan, step)
    counts = dict(sorted(Counter(rules.values()).items()))
    return Contaminated(key, training, rows, len(rules), len(stopping), counts, tuple(kept))


def as_json(report: ContaminationReport) -> dict[str, Any]:
    """Returns the report for programs."""
    artifacts = [
        {
            "key": found.key,
            "training": found.training,
            "rows": found.rows,
            "overlapping": found.overlapping,
            "stopping": found.stopping,
            "rules": found.rules,
            "matches": [described(match) for match in found.matches],
            "matches_left_out": len(found.matches) == MOST_MATCHES,
        }
        for found in report.artifacts
    ]
    return {
        "n": report.n,
        "evaluations": report.evaluations,
        "training_is_clean": not report.contaminated,
        "artifacts": artifacts,
    }


def as_text(report: ContaminationReport, width: int, most: int = 10) -> str:
    """Formats the report for people, with the first `most` matches of each artifact."""
    sets = (
        ", ".join(f"{key} ({count:,} prompts)" for key, count in report.evaluations.items())
        or "no evaluation set is made"
    )
    rows = [
        [
            found.key,
            "training" if found.training else "generated",
            f"{found.rows:,}",
            f"{found.overlapping:,}",
            _rules(found),
        ]
        for found in report.artifacts
    ]
    lines = [
        f"looked for {sets}; {report.n} words in a row",
        *table(["artifact", "rows for", "rows", "overlap", "by rule"], rows),
    ]
    for found in report.artifacts:
        lines += _matches(found, most)
    return "\n".join(cut(line, width) for line in lines)


def _rules(found: Contaminated) -> str:
    return " ".join(f"{rule}={count:,}" for rule, count in found.rules.items()) or "-"


def _matches(found: Contaminated, most: int) -> Iterator[str]:
    if found.matches:
        yield ""
        yield f"{found.key}: the first {min(most, len(found.matches))} matches"
        for match in found.matches[:most]:
            yield f"  {printable(match.row)} {match.column}  {match.rule}  {printable(match.prompt)} of {match.evaluation}"
            if match.ngram:
                yield f"    {printable(match.ngram)}"
