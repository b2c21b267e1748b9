"""Training curves: loss, gradient norm, learning rate and tokens of each optimizer step.

The whole table lies beside the step's run log, `runs/PIPELINE/round_01/checkpoint.steps.csv`; the run log, and the record that
git keeps, have at most `MOST_STEPS` of its rows. Neither enters a digest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil
from pathlib import Path
from typing import Any

STEP = "step"
TABLE = ".steps.csv"
MOST_STEPS = 500
DIGITS = 6
"""Significant digits; a learning curve needs no more."""
Curve = Mapping[str, Sequence[float]]


def thinned(curve: Curve, most: int = MOST_STEPS) -> dict[str, list[float]]:
    """Thins a curve to at most so many steps, with their numbers from 1."""
    steps = len(next(iter(curve.values()), ()))
    named = {STEP: range(1, steps + 1), **curve}
    return {name: [_rounded(value) for value in values] for name, values in shortened(named, most).items()}


def curve_of(facts: Mapping[str, Any]) -> dict[str, list[float]]:
    """Reads the curve in a run log's facts; empty where there is none, or where an edit damaged it."""
    found = facts.get("curve")
    if (
        not isinstance(found, dict)
        or STEP not in found
        or not all(isinstance(values, list) for values in found.values())
    ):
        return {}
    numbers = all(isinstance(value, int | float) for values in found.values() for value in values)
    return found if numbers and len(set(map(len, found.values()))) == 1 and found[STEP] else {}


def shortened(table: Curve, most: int) -> dict[str, list[float]]:
    """Thins a table's rows to at most so many: every n-th, and the last."""
    rows = len(next(iter(table.values()), ()))
    every = max(1, ceil((rows - 1) / max(1, most - 1)))
    places = [*range(0, rows - 1, every), rows - 1] if rows else []
    return {name: [values[place] for place in places] for name, values in table.items()}


def _rounded(value: float) -> float:
    return value if isinstance(value, int) else float(f"{value:.{DIGITS}g}")


def write_curve(curve: Curve, progress: Path) -> None:
    """Writes the whole table beside a step's progress file."""
    rows = zip(*curve.values(), strict=True)
    lines = [
        ",".join([STEP, *curve]),
        *(",".join(map(str, (number, *row))) for number, row in enumerate(rows, start=1)),
    ]
    path = progress.with_suffix(TABLE)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
