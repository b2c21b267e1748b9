"""The files of an evaluation: its numbers, their intervals, and each prompt's part; equal results are equal bytes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from lineal.components.base import Workspace
from lineal.data.estimates import Estimate, Figure
from lineal.data.file_names import CURVE_FILE, DETAILS_FILE, METRICS_FILE, PROMPTS_FILE
from lineal.data.ids import canonical_json

LOW, HIGH = "low", "high"
DECIMALS = 10
"""Digits kept: fewer than a float has, so that the order of a sum does not show."""

Numbers = Mapping[str, int | float | Figure | Estimate]
Counts = TypeVar("Counts")


@dataclass(frozen=True)
class Asked(Generic[Counts]):
    """The results of an evaluation for one prompt.

    Attributes:
        prompt: the prompt's id.
        difficulty: as its source measures it, where it does.
        counts: the evaluation's counts.
    """

    prompt: str
    difficulty: float | None
    counts: Counts


def write_evaluation(
    workspace: Workspace,
    headline: str,
    asked: Sequence[Asked[Counts]],
    measure: Callable[[list[Counts]], Numbers],
    **more: Any,
) -> None:
    """Writes an evaluation's numbers over all prompts and by difficulty.

    Args:
        workspace: where they go.
        headline: the figure that stands for the evaluation.
        asked: what it found of each prompt.
        measure: the numbers of some prompts.
        more: numbers that are not split by difficulty.
    """
    overall = measure([one.counts for one in asked])
    groups: dict[str, list[Counts]] = {}
    for one in asked:
        if one.difficulty is not None:
            groups.setdefault(difficulty_label(one.difficulty), []).append(one.counts)
    by_difficulty = {label: _plain(measure(part), headline) for label, part in groups.items()}
    figure = overall.get(headline)
    prompts = (
        dict(zip((one.prompt for one in asked), figure.by_prompt, strict=True))
        if isinstance(figure, Figure)
        else {}
    )
    write_metrics(workspace, headline, {**overall, **more}, prompts, by_difficulty)


def write_metrics(
    workspace: Workspace,
    headline: str,
    numbers: Numbers,
    prompts: Mapping[str, float],
    by_difficulty: Mapping[str, Mapping[str, float]],
    by_task: Mapping[str, Mapping[str, float]] | None = None,
) -> None:
    """Writes numbers by name as the step's main output, with the interval of every figure among them."""
    intervals = {
        name: [found.low, found.high]
        for name, value in numbers.items()
        if (found := _estimate(value)) is not None
    }
    metrics = _rounded(_plain(numbers, headline))
    details = {"headline": headline, "intervals": intervals, "by_difficulty": by_difficulty}
    details |= {"by_task": by_task} if by_task else {}
    files = {
        METRICS_FILE: metrics,
        CURVE_FILE: [{"round": workspace.round, **metrics}],
        DETAILS_FILE: details,
        PROMPTS_FILE: prompts,
    }
    for name, content in files.items():
        (workspace.directory() / name).write_text(canonical_json(_rounded(content)) + "\n", encoding="utf-8")


def _estimate(value: object) -> Estimate | None:
    return value.estimate if isinstance(value, Figure) else value if isinstance(value, Estimate) else None


def _plain(numbers: Numbers, headline: str) -> dict[str, float]:
    """Returns the numbers without intervals, except for the headline's."""
    found = {
        name: value.value if isinstance(value, Figure | Estimate) else value
        for name, value in numbers.items()
    }
    estimate = _estimate(numbers.get(headline))
    return found if estimate is None else {**found, LOW: estimate.low, HIGH: estimate.high}


def _rounded(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return round(value, DECIMALS) if isinstance(value, float) else value


def difficulty_label(difficulty: float) -> str:
    """Formats a difficulty as a key: 12.0 is '12'."""
    return f"{difficulty:g}"
