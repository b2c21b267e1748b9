"""Comparisons of evaluations prompt by prompt: is a round, or another pipeline, better than chance?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from lineal.audit.summary import NodeSummary, PipelineSummary, Summary
from lineal.components.base import Role
from lineal.components.evaluators.reading import EvaluationNumbers, compare, read_evaluation
from lineal.data.estimates import Comparison
from lineal.data.records import open_known
from lineal.plan import Plan
from lineal.recipe.seeds import series_name


@dataclass(frozen=True)
class Difference:
    """One evaluation of one round against others; None where there is nothing to compare with.

    Attributes:
        round: the round.
        previous: against the round before.
        start: against round 0.
        other: against the same round of the pipeline that the others are compared with.
    """

    round: int
    previous: Comparison | None
    start: Comparison | None
    other: Comparison | None


@dataclass(frozen=True)
class Differences:
    """One evaluation's differences in one pipeline, by round.

    Attributes:
        pipeline: the pipeline.
        label: the evaluation.
        headline: the figure that is compared.
        is_share: whether differences are points of percent.
        higher_is_better: whether a rise is good news; None: neither a rise nor a fall is.
        other: the pipeline that it is compared with; empty for that one itself.
        rounds: the rounds that have something to compare with.
    """

    pipeline: PipelineSummary
    label: str
    headline: str
    is_share: bool
    higher_is_better: bool | None
    other: str
    rounds: tuple[Difference, ...]

    def shown(self, found: Comparison | None) -> str:
        """Formats a difference for people, with its interval."""
        if found is None:
            return "-"
        factor, digits = (100.0, 1) if self.is_share else (1.0, 3)
        value, low, high = (
            factor * part for part in (found.difference.value, found.difference.low, found.difference.high)
        )
        return f"{value:+.{digits}f} ({low:+.{digits}f} to {high:+.{digits}f})"

    def word(self, found: Comparison | None) -> str:
        """Returns the verdict on a difference: 'better', 'worse' or 'noise'; 'other' where no direction is good."""
        if found is None or found.is_noise:
            return "noise"
        if self.higher_is_better is None:
            return "other"
        return "better" if found.rose == self.higher_is_better else "worse"


@dataclass
class _Reader:
    """Opens each evaluation once, and compares each two once; those whose rows are not here with none."""

    plan: Plan
    _read: dict[str, EvaluationNumbers | None] = field(default_factory=dict)
    _found: dict[tuple[str | None, str | None], Comparison | None] = field(default_factory=dict)

    def compare(self, before: NodeSummary | None, now: NodeSummary | None) -> Comparison | None:
        if before is None or now is None or not before.estimates or not now.estimates:
            return None
        place = (before.digest, now.digest)
        if place not in self._found:
            one, other = self._open(before), self._open(now)
            self._found[place] = compare(one, other) if one and other else None
        return self._found[place]

    def _open(self, node: NodeSummary) -> EvaluationNumbers | None:
        if node.key not in self._read:
            artifact = open_known(self.plan.project, node.key)
            self._read[node.key] = read_evaluation(artifact.directory) if artifact.here else None
        return self._read[node.key]


def differences_of(plan: Plan, summary: Summary) -> list[Differences]:
    """Returns the differences of every evaluation of every pipeline; others are compared with the first that has it, by seed.

    Raises:
        ArtifactError: an evaluation cannot be read.
    """
    reader = _Reader(plan)
    return [found for label in summary.labels(Role.EVALUATOR) for found in _of_label(reader, summary, label)]


def _of_label(reader: _Reader, summary: Summary, label: str) -> Iterator[Differences]:
    have = [one for one in summary.pipelines if any(node.estimates for node in _nodes(one, label))]
    for pipeline in have:
        other = _counterpart(have, pipeline)
        nodes = _nodes(pipeline, label)
        rounds = [_difference(reader, pipeline, label, node, other) for node in nodes]
        told = tuple(one for one in rounds if one.previous or one.start or one.other)
        if told:
            component = reader.plan.steps[nodes[0].key].component
            shares = all(
                0 <= node.estimates[node.headline or ""].value <= 1
                for node in nodes
                if node.headline in node.estimates
            )
            yield Differences(
                pipeline,
                label,
                nodes[0].headline or "",
                shares,
                component.higher_is_better,
                other.name if other else "",
                told,
            )


def _counterpart(have: list[PipelineSummary], pipeline: PipelineSummary) -> PipelineSummary | None:
    """Returns the first pipeline that has an evaluation, with the same seed where it has that; None for this one itself."""
    first = [one for one in have if series_name(one.name) == series_name(have[0].name)]
    if pipeline in first:
        return None
    return next((one for one in first if one.seed == pipeline.seed), first[0])


def _nodes(pipeline: PipelineSummary, label: str) -> list[NodeSummary]:
    return [
        node for number in range(pipeline.rounds + 1) if (node := pipeline.node(number, label)) is not None
    ]


def _difference(
    reader: _Reader, pipeline: PipelineSummary, label: str, node: NodeSummary, other: PipelineSummary | None
) -> Difference:
    number = node.round
    return Difference(
        number,
        reader.compare(pipeline.node(number - 1, label), node) if number else None,
        reader.compare(pipeline.node(0, label), node) if number > 1 else None,
        reader.compare(other.node(number, label), node) if other else None,
    )
