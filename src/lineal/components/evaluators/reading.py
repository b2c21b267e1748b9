"""Reads evaluations, and compares two of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import fsum
from pathlib import Path
from typing import Any

from lineal.components.evaluators.metrics import HIGH, LOW
from lineal.data.estimates import Comparison, Estimate, compared, unpaired
from lineal.data.file_names import DETAILS_FILE, METRICS_FILE, PROMPTS_FILE
from lineal.data.values import read_object
from lineal.errors import ArtifactError

BY_DIFFICULTY, BY_TASK = "by_difficulty", "by_task"
Breakdown = Mapping[str, Mapping[str, Mapping[str, float]]]
"""Numbers that are split by something: `by_difficulty`, then the part's label, then the number's name."""


@dataclass(frozen=True)
class EvaluationNumbers:
    """One evaluation's numbers.

    Attributes:
        directory: where it lies.
        numbers: by name, but for the headline's interval.
        headline: the figure that stands for it; empty where its files don't say.
        estimates: the figures with their intervals.
        breakdown: the numbers that are split, their parts in order.
    """

    directory: Path
    numbers: Mapping[str, float]
    headline: str = ""
    estimates: Mapping[str, Estimate] = field(default_factory=dict)
    breakdown: Breakdown = field(default_factory=dict)

    @cached_property
    def by_prompt(self) -> dict[str, float]:
        """By prompt id, a value of which the headline is the mean; nothing where the artifact has none.

        Raises:
            ArtifactError: the file is not JSON.
        """
        return _numbers(_read(self.directory / PROMPTS_FILE, optional=True))


def read_evaluation(directory: Path) -> EvaluationNumbers:
    """Reads an evaluation's artifact, without its prompts' values, which are read when needed.

    Raises:
        ArtifactError: a file is missing or is not JSON.
    """
    metrics = _read(directory / METRICS_FILE)
    details = _read(directory / DETAILS_FILE, optional=True)
    numbers = {name: value for name, value in _numbers(metrics).items() if name not in (LOW, HIGH)}
    bounds = _bounds(details.get("intervals", {}), directory / DETAILS_FILE)
    estimates = {name: Estimate(numbers[name], *bounds[name]) for name in numbers if name in bounds}
    split = {
        name: {
            part: _numbers(values)
            for part, values in sorted(value.items(), key=_numeric_first)
            if isinstance(values, dict)
        }
        for name, value in {**metrics, **details}.items()
        if isinstance(value, dict) and name != "intervals"
    }
    return EvaluationNumbers(directory, numbers, str(details.get("headline", "")), estimates, split)


def compare(
    before: EvaluationNumbers, now: EvaluationNumbers, number: str = "", factor: float = 1.0
) -> Comparison | None:
    """Compares a figure of an evaluation with an earlier one's.

    A headline is compared prompt by prompt where both were asked the same prompts, all else by the two intervals; None where
    the two have different headlines, or have no intervals.

    Args:
        before, now: the evaluations.
        number: the figure; empty for the headline.
        factor: it is compared with so much of what it was.

    Raises:
        ArtifactError: a file is not JSON.
    """
    name = number or now.headline
    if name not in now.estimates or name not in before.estimates or not (number or name == before.headline):
        return None
    paired = compared(before.by_prompt, now.by_prompt, factor) if _is_paired(before, now, name) else None
    return paired or unpaired(before.estimates[name].times(factor), now.estimates[name])


def change_of(
    before: EvaluationNumbers, now: EvaluationNumbers, number: str, factor: float = 1.0
) -> float | None:
    """Returns the value of the difference that `compare` finds, without the work for its interval; None where that gives None."""
    if number not in now.estimates or number not in before.estimates:
        return None
    shared = sorted(before.by_prompt.keys() & now.by_prompt.keys()) if _is_paired(before, now, number) else []
    changes = [now.by_prompt[prompt] - factor * before.by_prompt[prompt] for prompt in shared]
    return fsum(changes) / len(changes) if changes else now.numbers[number] - factor * before.numbers[number]


def _is_paired(before: EvaluationNumbers, now: EvaluationNumbers, name: str) -> bool:
    return name == now.headline == before.headline


def _read(path: Path, optional: bool = False) -> dict[str, Any]:
    return {} if optional and not path.exists() else read_object(path)


def _bounds(read: Any, path: Path) -> dict[str, tuple[float, float]]:
    """Returns the two ends of each figure's interval."""
    try:
        return {name: (float(low), float(high)) for name, (low, high) in dict(read).items()}
    except (TypeError, ValueError) as error:
        fix = f"Delete {path.parent} and run again"
        raise ArtifactError(
            f"{path} holds intervals {read!r:.80}, expected two numbers for each figure. {fix}"
        ) from error


def _numbers(read: Mapping[str, Any]) -> dict[str, float]:
    numbers = {
        name: value
        for name, value in read.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
    return {name: float(value) for name, value in numbers.items()}


def _numeric_first(item: tuple[str, Any]) -> tuple[int, float, str]:
    try:
        return 0, float(item[0]), item[0]
    except ValueError:
        return 1, 0.0, item[0]
