"""A plan's numbers, round by round, as manifests and metrics say them: what a run's table prints and the report begins with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from lineal.components.base import Role
from lineal.data.manifest import MANIFEST
from lineal.data.store import Artifact, open_artifact
from lineal.data.values import read_object
from lineal.errors import ArtifactError
from lineal.plan import Plan, Step
from lineal.recipe.references import ArtifactKind

METRICS = "metrics.json"
HEADLINES = ("accuracy", "pass_at_", "majority_at_")
"""The number of an evaluation that stands for it, by the start of its name; the first one that it has, at its least k."""
COUNTED = ("count", "error", "prompts", "left_out_at_")
"""Numbers of an evaluation, by the start of their names, that say how many it asked rather than how good it was."""
Breakdown = Mapping[str, Mapping[str, Mapping[str, float]]]
"""Numbers that are split by something: `by_difficulty`, then the part's label, then the number's name."""


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
        values: numbers by name: an evaluation's metrics, a selection's `kept_share`.
        breakdown: the numbers that are split, their parts in order.
        trouble: why a made artifact could not be read.
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
    values: Mapping[str, float] | None = None
    breakdown: Breakdown | None = None
    trouble: str | None = None

    def value(self, name: str) -> float | None:
        """One of its numbers."""
        return (self.values or {}).get(name)

    @property
    def headline(self) -> str | None:
        """The name of the number that stands for an evaluation."""
        names = self.scores
        return next((name for wanted in HEADLINES for name in names if name.startswith(wanted)), next(iter(names), None))

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
        """Whether it stands for comparison rather than for a published method."""
        return self.paper is None

    def labels(self, role: Role) -> list[str]:
        """The names of its nodes of a role, in declared order; those of start and of the rounds."""
        found = [node.label for node in self.nodes if node.role is role and node.group != "finish"]
        return list(dict.fromkeys(found))

    def node(self, round_number: int, label: str) -> NodeSummary | None:
        """A node of a round; round 0 is start."""
        group = f"round_{round_number:02d}" if round_number else "start"
        return self._by_place.get((group, label))

    @cached_property
    def _by_place(self) -> dict[tuple[str, str], NodeSummary]:
        return {(node.group, node.label): node for node in self.nodes}

    def series(self, label: str, name: str | None = None) -> tuple[float | None, ...]:
        """A node's number for round 0, 1, ...; without a name its headline."""
        found = (self.node(number, label) for number in range(self.rounds + 1))
        return tuple(node.value(name or node.headline or "") if node else None for node in found)


@dataclass(frozen=True)
class Summary:
    """All pipelines of a plan, side by side."""

    pipelines: tuple[PipelineSummary, ...]

    @property
    def rounds(self) -> int:
        """The most rounds that one of them has."""
        return max((pipeline.rounds for pipeline in self.pipelines), default=0)

    def labels(self, role: Role) -> list[str]:
        """The names of all pipelines' nodes of a role, each once."""
        return list(dict.fromkeys(label for pipeline in self.pipelines for label in pipeline.labels(role)))


@dataclass(frozen=True)
class AccuracyColumn:
    """One evaluation of one pipeline: a value for round 0, 1, ...; None where it is not made (yet)."""

    pipeline: str
    label: str
    is_control: bool
    values: tuple[float | None, ...]

    @property
    def best(self) -> float | None:
        """The largest value."""
        return max((value for value in self.values if value is not None), default=None)


def summarise(plan: Plan) -> Summary:
    """Collects the numbers of all steps of a plan from the artifacts that are there; missing ones leave gaps. Reads no rows."""
    return Summary(tuple(_pipeline(plan, name) for name in plan.pipelines))


def accuracy_table(summary: Summary) -> list[AccuracyColumn]:
    """Every evaluation of every pipeline, methods before controls."""
    ordered = sorted(summary.pipelines, key=lambda pipeline: pipeline.is_control)
    return [
        AccuracyColumn(pipeline.name, label, pipeline.is_control, pipeline.series(label))
        for pipeline in ordered
        for label in pipeline.labels(Role.EVALUATOR)
    ]


def render_accuracy_table(summary: Summary) -> str:
    """The accuracy table as text: a line per round, a column per pipeline and evaluation; nothing without evaluations."""
    columns = accuracy_table(summary)
    if not columns:
        return ""
    widths = [max(len(column.label), 6) for column in columns]
    groups = list(dict.fromkeys(column.pipeline for column in columns))
    heads = []
    for name in groups:
        own = [index for index, column in enumerate(columns) if column.pipeline == name]
        widths[own[-1]] += max(0, len(name) - sum(widths[index] for index in own) - 2 * (len(own) - 1))
        heads.append(f"{name:<{sum(widths[index] for index in own) + 2 * (len(own) - 1)}}")
    lines = ["       " + " | ".join(heads), "round  " + _joined(columns, [column.label for column in columns], widths)]
    for number in range(summary.rounds + 1):
        cells = [_percentage(column.values[number] if number < len(column.values) else None) for column in columns]
        lines.append(f"{number:>5}  " + _joined(columns, cells, widths))
    return "\n".join(line.rstrip() for line in lines)


def _joined(columns: list[AccuracyColumn], cells: list[str], widths: list[int]) -> str:
    parts: dict[str, list[str]] = {}
    for column, cell, width in zip(columns, cells, widths, strict=True):
        parts.setdefault(column.pipeline, []).append(f"{cell:>{width}}")
    return " | ".join("  ".join(part) for part in parts.values())


def _percentage(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}%"


def _pipeline(plan: Plan, name: str) -> PipelineSummary:
    pipeline, project = plan.pipelines[name], plan.project
    nodes = tuple(_node(plan, step) for step in plan.steps.values() if step.pipeline == name)
    return PipelineSummary(
        name, pipeline.header.method, pipeline.header.paper, pipeline.header.summary, pipeline.profile, project.seed_of(name),
        project.rounds_of(name), nodes,
    )  # fmt: skip


def _node(plan: Plan, step: Step) -> NodeSummary:
    component, directory = step.component, plan.project.directory(step.key)
    base: dict[str, Any] = {
        "key": step.key, "label": step.label, "round": step.round, "group": step.group, "role": component.role,
        "component": f"{component.use}@{component.version}", "inputs": step.all_inputs(),
    }  # fmt: skip
    if not (directory / MANIFEST).exists():
        return NodeSummary(**base)
    try:
        artifact = open_artifact(step.key, directory)
        values, breakdown = _numbers(artifact, component.role)
    except ArtifactError as error:
        return NodeSummary(**base, trouble=str(error))
    rows = sum(entry.rows or 0 for entry in artifact.manifest.files.values()) if artifact.manifest.columns else None
    return NodeSummary(
        **base, digest=artifact.digest, rows=rows, counts=artifact.manifest.counts, values=values, breakdown=breakdown
    )


def _numbers(artifact: Artifact, role: Role) -> tuple[dict[str, float], Breakdown]:
    counts = artifact.manifest.counts
    if artifact.manifest.kind is ArtifactKind.METRICS:
        return read_metrics(artifact.directory)
    if role is Role.SELECTOR and "kept" in counts and "out" not in counts:  # with `out` it made rows, and kept none
        return {"kept_share": counts["kept"] / max(1, counts.get("in", 0))}, {}
    return {}, {}


def read_metrics(directory: Path) -> tuple[dict[str, float], Breakdown]:
    """The flat numbers of a `metrics.json` but for `count`, and those that are split by something.

    Raises:
        ArtifactError: the file is missing or is not JSON.
    """
    read = read_object(directory / METRICS)
    flat = {name: value for name, value in _flat(read).items() if name != "count"}
    split = {
        name: {part: _flat(numbers) for part, numbers in sorted(value.items(), key=_numeric_first) if isinstance(numbers, dict)}
        for name, value in read.items()
        if isinstance(value, dict)
    }
    return flat, split


def _flat(read: Mapping[str, Any]) -> dict[str, float]:
    numbers = {name: value for name, value in read.items() if isinstance(value, int | float) and not isinstance(value, bool)}
    return {name: float(value) for name, value in numbers.items()}


def _numeric_first(item: tuple[str, Any]) -> tuple[int, float, str]:
    try:
        return 0, float(item[0]), item[0]
    except ValueError:
        return 1, 0.0, item[0]


def _by_k(name: str) -> tuple[str, int]:
    """`pass_at_4` before `pass_at_16`."""
    stem = name.rstrip("0123456789")
    return stem, int(name[len(stem) :] or 0)
