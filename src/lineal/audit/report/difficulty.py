"""Solved by difficulty and by task: the easy head and the hard tail of the prompts, and grids over the rounds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from lineal.audit.summary import NodeSummary, PipelineSummary, Summary
from lineal.components.base import Role
from lineal.components.evaluators.reading import BY_DIFFICULTY, BY_TASK

MOST_BANDS = 8
Part = tuple[float, float]
"""A difficulty's value, and for how many prompts."""


@dataclass(frozen=True)
class Grid:
    """One node's values by difficulty, or by task, and round.

    Attributes:
        pipeline: whose they are.
        label: the node.
        rounds: the rounds that have values.
        bands: what stands in a row: the difficulties or the task, and a value per round (None where the round has none).
        by: 'difficulty' or 'task'.
    """

    pipeline: PipelineSummary
    label: str
    rounds: tuple[int, ...]
    bands: tuple[tuple[str, tuple[float | None, ...]], ...]
    by: str = "difficulty"


def grids_of(summary: Summary) -> list[Grid]:
    """Returns a grid for every evaluation and verifier, of each pipeline, whose prompts have several difficulties, or tasks."""
    return [*_by_difficulty(summary), *_by_task(summary)]


def _by_task(summary: Summary) -> Iterator[Grid]:
    for label in summary.labels(Role.EVALUATOR):
        for pipeline in summary.pipelines:
            nodes = [node for node in _nodes(pipeline, label) if _tasks(node)]
            names = dict.fromkeys(name for node in nodes for name in _tasks(node))
            rows = tuple((name, tuple(_tasks(node).get(name) for node in nodes)) for name in names)
            if len(rows) > 1:
                yield Grid(pipeline, label, tuple(node.round for node in nodes), rows, "task")


def _tasks(node: NodeSummary) -> dict[str, float]:
    """Returns an evaluation's headline by task."""
    found, headline = (node.breakdown or {}).get(BY_TASK, {}), node.headline or ""
    return {task: numbers[headline] for task, numbers in found.items() if headline in numbers}


def _by_difficulty(summary: Summary) -> list[Grid]:
    found = []
    for label in [*summary.labels(Role.EVALUATOR), *summary.labels(Role.VERIFIER)]:
        bands = _bands(_counts(summary, label), MOST_BANDS)
        for pipeline in summary.pipelines if len(bands) > 1 else ():
            nodes = [node for node in _nodes(pipeline, label) if _parts(node)]
            rows = tuple((_named(band), tuple(_value(node, band) for node in nodes)) for band in bands)
            if nodes:
                found.append(Grid(pipeline, label, tuple(node.round for node in nodes), rows))
    return found


def thirds(summary: Summary, label: str) -> Iterator[tuple[str, str, Mapping[str, tuple[float | None, ...]]]]:
    """Yields an evaluation's easiest and hardest third of prompts: a name, a note, and by pipeline a value per round."""
    bands = _bands(_counts(summary, label), 3)
    for name, band in (
        (("easiest prompts", bands[0]), ("hardest prompts", bands[-1])) if len(bands) > 1 else ()
    ):
        note = f"Of the prompts' {'easiest' if band is bands[0] else 'hardest'} third: difficulty {_named(band)}."
        yield (
            name,
            note,
            {
                pipeline.name: tuple(
                    _value(node, band) if (node := pipeline.node(number, label)) else None
                    for number in range(pipeline.rounds + 1)
                )
                for pipeline in summary.pipelines
            },
        )


def _nodes(pipeline: PipelineSummary, label: str) -> list[NodeSummary]:
    return [node for number in range(pipeline.rounds + 1) if (node := pipeline.node(number, label))]


def _parts(node: NodeSummary) -> dict[float, Part]:
    """Returns the node's headline (for a verifier: prompts solved) by difficulty."""
    name = "solved" if node.role is Role.VERIFIER else node.headline or ""
    found = {}
    for label, numbers in (node.breakdown or {}).get(BY_DIFFICULTY, {}).items():
        count = numbers.get("count", numbers.get("prompts", 0.0))
        if name in numbers and count and _is_number(label):
            found[float(label)] = (numbers[name], count)
    return found


def _is_number(label: str) -> bool:
    try:
        return float(label) == float(label)
    except ValueError:
        return False


def _counts(summary: Summary, label: str) -> dict[float, float]:
    """Returns by difficulty the prompts of all rounds and pipelines together, so that bands are the same everywhere."""
    found: dict[float, float] = {}
    for pipeline in summary.pipelines:
        for node in _nodes(pipeline, label):
            for difficulty, (_, count) in _parts(node).items():
                found[difficulty] = found.get(difficulty, 0.0) + count
    return found


def _bands(counts: Mapping[float, float], most: int) -> list[list[float]]:
    """Puts difficulties into at most so many neighbouring groups of about as many prompts."""
    total, below = sum(counts.values()), 0.0
    groups: dict[int, list[float]] = {}
    for difficulty in sorted(counts):
        middle = below + counts[difficulty] / 2
        groups.setdefault(int(middle / total * most), []).append(difficulty)
        below += counts[difficulty]
    return list(groups.values())


def _value(node: NodeSummary, band: Iterable[float]) -> float | None:
    parts = _parts(node)
    chosen = [parts[difficulty] for difficulty in band if difficulty in parts]
    return (
        sum(value * count for value, count in chosen) / sum(count for _, count in chosen) if chosen else None
    )


def _named(band: Sequence[float]) -> str:
    return f"{band[0]:g}" if len(band) == 1 else f"{band[0]:g} to {band[-1]:g}"
