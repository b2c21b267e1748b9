"""Mean rewards and probe scores of an online training's rollouts, by optimizer step."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

STEP = "optimizer_step"


@dataclass(frozen=True)
class StepMeans:
    """Means over the rollouts of each generation.

    Attributes:
        steps: how many optimizer steps the model had been trained when it sampled, rising.
        columns: by column, its mean at each of them; None where no rollout has a value.
    """

    steps: tuple[int, ...]
    columns: dict[str, tuple[float | None, ...]]

    def whole(self) -> dict[str, tuple[float, ...]]:
        """Returns the columns that have a mean at every step."""
        found = {
            name: tuple(value for value in values if value is not None)
            for name, values in self.columns.items()
        }
        return {name: values for name, values in found.items() if len(values) == len(self.steps)}

    def curve(self, steps: int) -> dict[str, tuple[float, ...]]:
        """Returns by column a value for each of a training's optimizer steps: that of the generation that it learned from."""
        places = [bisect_right(self.steps, step) - 1 for step in range(steps)]
        return {name: tuple(values[place] for place in places) for name, values in self.whole().items()}


def step_means(rollouts: pa.Table, columns: Sequence[str]) -> StepMeans:
    """Computes the means of some columns of numbers by optimizer step."""
    wanted = [(name, "mean") for name in columns]
    found = rollouts.group_by(STEP, use_threads=False).aggregate(wanted).sort_by(STEP)
    return StepMeans(
        tuple(found[STEP].to_pylist()), {name: tuple(found[f"{name}_mean"].to_pylist()) for name in columns}
    )
