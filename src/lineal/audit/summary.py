"""A plan's numbers, round by round, from manifests and metrics, for a run's table and the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import fsum
from typing import Any

from lineal.components.base import Component, Role
from lineal.components.evaluators.base import may_be_trained_on
from lineal.components.evaluators.reading import Breakdown, EvaluationNumbers, read_evaluation
from lineal.data.estimates import Estimate
from lineal.data.records import is_known, open_known
from lineal.data.store import Artifact
from lineal.errors import ArtifactError
from lineal.plan import Plan, Step
from lineal.recipe.groups import group_after
from lineal.recipe.references import ArtifactKind
from lineal.recipe.seeds import series_name

COUNTED = ("count", "error", "prompts", "left_out_at_")
"""Numbers of an evaluation, by the start of their names, that say how many it asked rather than how good it was."""


@dataclass(frozen=True)
class NodeSummary:
    """One step's numbers; a step that is not made yet has none.

    Attributes:
        key: the step's key.
        label: the node's name, the same in every round.
        round: 0 for tasks and start.
        group: `tasks`, `start`, `round_01`, `finish`.
        role: what its component does.
        component: the component's name and version.
        inputs: keys of the artifacts that go in.
        digest: the main artifact's, or None when it is missing.
        rows: rows of the main artifact, where it has rows.
        counts: the manifest's row counts.
        headline: of an evaluation, the name of the number that stands for it.
        values: numbers by name: an evaluation's metrics, a selection's `kept_share`.
        estimates: the figures among them that have an interval.
        breakdown: the numbers that are split, their parts in order.
        trouble: why a made artifact could not be read.
        oracle: of an evaluation, why its rows were written with the truth in sight; empty for most.
        seen: whether an evaluation's prompts may be in training rows: `held_out: false`.
    """

    key: str
    label: str
    round: int
    group: str
    role: Role
    component: str
    inputs: tuple[str, ...]
    digest: str | None = None
    rows: int | None = None
    counts: Mapping[str, int] | None = None
    headline: str | None = None
    values: Mapping[str, float] | None = None
    estimates: Mapping[str, Estimate] = field(default_factory=dict)
    breakdown: Breakdown | None = None
    trouble: str | None = None
    oracle: str = ""
    seen: bool = False

    def value(self, name: str) -> float | None:
        """Returns one of its numbers."""
        return (self.values or {}).get(name)

    @property
    def scores(self) -> list[str]:
        """The names of an evaluation's numbers that say how good it was; those at several k by k."""
        return sorted((name for name in self.values or {} if not name.startswith(COUNTED)), key=_by_k)


@dataclass(frozen=True)
class PipelineSummary:
    """One pipeline's numbers.

    Attributes:
        name: the file's name.
        method, paper, summary: what its header says; a control has no paper.
        profile, seed, rounds: what `params.yaml` chose.
        nodes: all steps, in running order.
    """

    name: str
    method: str
    paper: str | None
    summary: str
    profile: str
    seed: int
    rounds: int
    nodes: tuple[NodeSummary, ...]

    @property
    def is_control(self) -> bool:
        """True for a comparison rather than a published method."""
        return self.paper is None

    def labels(self, role: Role) -> list[str]:
        """Returns the names of its nodes of a role, in declared order; those of start and of the rounds."""
        found = [node.label for node in self.nodes if node.role is role and node.group != "finish"]
        return list(dict.fromkeys(found))

    def shown(self, label: str) -> str:
        """Returns an evaluation's name, marked where an oracle helped it, and where training sees its prompts."""
        own = [node for node in self.nodes if node.label == label]
        oracle = " (oracle)" if any(node.oracle for node in own) else ""
        return f"{label}{oracle}{' (seen)' if any(node.seen for node in own) else ''}"

    def node(self, round_number: int, label: str) -> NodeSummary | None:
        """Returns a node of a round; round 0 is start."""
        return self._by_place.get((group_after(round_number), label))

    @cached_property
    def _by_place(self) -> dict[tuple[str, str], NodeSummary]:
        return {(node.group, node.label): node for node in self.nodes}

    def series(self, label: str, name: str | None = None) -> tuple[float | None, ...]:
        """Returns a node's number for round 0, 1, ...; without a name its headline."""
        found = (self.node(number, label) for number in range(self.rounds + 1))
        return tuple(node.value(name or node.headline or "") if node else None for node in found)

    def estimates(self, label: str, name: str | None = None) -> tuple[Estimate | None, ...]:
        """Returns the same with intervals; None also where a number has none."""
        found = (self.node(number, label) for number in range(self.rounds + 1))
        return tuple(node.estimates.get(name or node.headline or "") if node else None for node in found)


@dataclass(frozen=True)
class Summary:
    """All pipelines of a plan, side by side."""

    pipelines: tuple[PipelineSummary, ...]

    @property
    def rounds(self) -> int:
        """The most rounds that one of them has."""
        return max((pipeline.rounds for pipeline in self.pipelines), default=0)

    @property
    def by_declaration(self) -> dict[str, list[PipelineSummary]]:
        """By a pipeline's name, the summaries of all its seeds."""
        found: dict[str, list[PipelineSummary]] = {}
        for pipeline in self.pipelines:
            found.setdefault(series_name(pipeline.name), []).append(pipeline)
        return found

    def labels(self, role: Role) -> list[str]:
        """Returns the names of all pipelines' nodes of a role, each once."""
        return list(dict.fromkeys(label for pipeline in self.pipelines for label in pipeline.labels(role)))


@dataclass(frozen=True)
class AccuracyColumn:
    """One evaluation of one pipeline: a value, and its interval, for round 0, 1, ...; None where it is not made (yet).

    Of several seeds: the mean, and the lowest and the highest value.
    """

    pipeline: str
    label: str
    is_control: bool
    values: tuple[float | None, ...]
    estimates: tuple[Estimate | None, ...]

    @property
    def best(self) -> float | None:
        """The largest value."""
        return max((value for value in self.values if value is not None), default=None)


def summarise(plan: Plan) -> Summary:
    """Collects the numbers of all steps of a plan from the artifacts that are there; missing ones leave gaps. Reads no rows."""
    return Summary(tuple(_pipeline(plan, name) for name in plan.pipelines))


def accuracy_table(summary: Summary) -> list[AccuracyColumn]:
    """Returns every evaluation of every pipeline, methods before controls."""
    ordered = sorted(summary.by_declaration.values(), key=lambda seeds: seeds[0].is_control)
    return [
        AccuracyColumn(named(seeds), seeds[0].shown(label), seeds[0].is_control, *over_seeds(seeds, label))
        for seeds in ordered
        for label in seeds[0].labels(Role.EVALUATOR)
    ]


def named(seeds: Sequence[PipelineSummary]) -> str:
    """Returns a pipeline's name for a table in which its seeds are combined."""
    return seeds[0].name + (f" ({len(seeds)} seeds)" if len(seeds) > 1 else "")


def over_seeds(
    seeds: Sequence[PipelineSummary], label: str, name: str | None = None
) -> tuple[tuple[float | None, ...], tuple[Estimate | None, ...]]:
    """Returns a node's number by round, with its interval; for several seeds their mean, from the lowest to the highest."""
    if len(seeds) == 1:
        return seeds[0].series(label, name), seeds[0].estimates(label, name)
    rounds = [
        [value for value in found if value is not None]
        for found in zip(*(one.series(label, name) for one in seeds), strict=True)
    ]
    spreads = tuple(
        Estimate(fsum(found) / len(found), min(found), max(found)) if found else None for found in rounds
    )
    return tuple(spread.value if spread else None for spread in spreads), spreads


def render_accuracy_table(summary: Summary) -> str:
    """Formats the accuracy table: a line per round, a column per pipeline and evaluation; nothing without evaluations.

    In brackets the 95% interval; of several seeds, whose mean is shown, the lowest and the highest value.
    """
    columns = accuracy_table(summary)
    if not columns:
        return ""
    widths = [max(len(column.label), *map(len, _cells(column, summary.rounds))) for column in columns]
    groups = list(dict.fromkeys(column.pipeline for column in columns))
    heads = []
    for name in groups:
        own = [index for index, column in enumerate(columns) if column.pipeline == name]
        widths[own[-1]] += max(0, len(name) - sum(widths[index] for index in own) - 2 * (len(own) - 1))
        heads.append(f"{name:<{sum(widths[index] for index in own) + 2 * (len(own) - 1)}}")
    lines = [
        "       " + " | ".join(heads),
        "round  " + _joined(columns, [column.label for column in columns], widths),
    ]
    for number in range(summary.rounds + 1):
        cells = [_cells(column, summary.rounds)[number] for column in columns]
        lines.append(f"{number:>5}  " + _joined(columns, cells, widths))
    return "\n".join(line.rstrip() for line in lines)


def _joined(columns: list[AccuracyColumn], cells: list[str], widths: list[int]) -> str:
    parts: dict[str, list[str]] = {}
    for column, cell, width in zip(columns, cells, widths, strict=True):
        parts.setdefault(column.pipeline, []).append(f"{cell:>{width}}")
    return " | ".join("  ".join(part) for part in parts.values())


def _cells(column: AccuracyColumn, rounds: int) -> list[str]:
    missing = (None,) * (rounds + 1 - len(column.values))
    return [
        "-" if value is None else _cell(value, estimate)
        for value, estimate in zip((*column.values, *missing), (*column.estimates, *missing), strict=True)
    ]


def _cell(value: float, estimate: Estimate | None) -> str:
    """Formats a share as a percentage; other numbers as they are."""
    if 0 <= value <= 1:
        return f"{100 * value:.1f}%{_bounds(estimate)}"
    return f"{value:.4g}" + ("" if estimate is None else f" ({estimate.low:.4g} to {estimate.high:.4g})")


def _bounds(estimate: Estimate | None) -> str:
    return "" if estimate is None else f" ({100 * estimate.low:.0f}-{100 * estimate.high:.0f})"


def _pipeline(plan: Plan, name: str) -> PipelineSummary:
    pipeline, project = plan.pipelines[name], plan.project
    nodes = tuple(_node(plan, step) for step in plan.steps.values() if step.pipeline == name)
    return PipelineSummary(
        name,
        pipeline.header.method,
        pipeline.header.paper,
        pipeline.header.summary,
        pipeline.profile,
        project.seed_of(name),
        pipeline.rounds(project.rounds_of(pipeline)),
        nodes,
    )


def _node(plan: Plan, step: Step) -> NodeSummary:
    component = step.component
    base: dict[str, Any] = {
        "key": step.key,
        "label": step.label,
        "round": step.round,
        "group": step.group,
        "role": component.role,
        "component": f"{component.use}@{component.version}",
        "inputs": step.all_inputs(),
        "oracle": plan.oracles.get(step.key, ""),
        "seen": may_be_trained_on(component),
    }
    if not is_known(plan.project, step.key):
        return NodeSummary(**base)
    try:
        artifact = open_known(plan.project, step.key)
        numbers = _numbers(artifact, component)
    except ArtifactError as error:
        return NodeSummary(**base, trouble=str(error))
    rows = (
        sum(entry.rows or 0 for entry in artifact.manifest.files.values())
        if artifact.manifest.columns
        else None
    )
    return NodeSummary(**base, digest=artifact.digest, rows=rows, counts=artifact.manifest.counts, **numbers)


def _numbers(artifact: Artifact, component: Component) -> dict[str, Any]:
    """Returns the numbers of one artifact, by the field of `NodeSummary` that they go into."""
    counts = artifact.manifest.counts
    if artifact.manifest.kind is ArtifactKind.METRICS:
        found = read_evaluation(artifact.directory)
        headline = found.headline or component.headline or None
        return {
            "headline": headline,
            "values": scores_of(found),
            "estimates": found.estimates,
            "breakdown": found.breakdown,
        }
    if (
        component.role is Role.SELECTOR and "kept" in counts and "out" not in counts
    ):  # with `out` it made rows, and kept none
        return {"values": {"kept_share": counts["kept"] / max(1, counts.get("in", 0))}, "breakdown": {}}
    return {"values": {}, "breakdown": {}}


def scores_of(evaluation: EvaluationNumbers) -> dict[str, float]:
    """Returns the numbers of an evaluation except `count`."""
    return {name: value for name, value in evaluation.numbers.items() if name != "count"}


def _by_k(name: str) -> tuple[str, int]:
    """Sorts `pass_at_4` before `pass_at_16`."""
    stem = name.rstrip("0123456789")
    return stem, int(name[len(stem) :] or 0)
