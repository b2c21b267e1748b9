"""The order in which a supervised training sees its examples, where that is not a shuffled one."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil, sqrt
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lineal.engines.training import TrainingSettings


@dataclass(frozen=True)
class Pace:
    """The share of the examples that a training draws from: competence-based (Platanios et al., 2019, arXiv:1903.09848).

    Attributes:
        start: the share at the first optimizer step.
        full: the share of the steps after which it is all of them.
    """

    start: float
    full: float

    def share(self, step: int, steps: int) -> float:
        """Returns the share that an optimizer step, from 0, draws from."""
        reached = min(1.0, step / (self.full * steps))
        return min(1.0, sqrt(reached * (1 - self.start**2) + self.start**2))


def places(examples: int, settings: TrainingSettings) -> list[int]:
    """Returns the examples in the order of learning: all of them once, or those that every step draws where there is a pace."""
    if settings.pace is None:
        return list(range(examples))
    return list(_drawn(examples, settings, settings.pace, settings.steps or 0))


def _drawn(examples: int, settings: TrainingSettings, pace: Pace, steps: int) -> Iterator[int]:
    """Draws each step's examples evenly from the first ones, with replacement."""
    draw = random.Random(settings.seed)  # noqa: S311 - reproducible on purpose
    for step in range(steps):
        known = ceil(pace.share(step, steps) * examples)
        yield from (int(draw.random() * known) for _ in range(settings.batch_size * settings.gradient_accumulation))


def in_this_order(trainer: Any, order: Sequence[int]) -> Any:
    """Makes a class of TRL's trainers that takes the examples in this order, in every epoch."""

    class InThisOrder(trainer):  # type: ignore[misc]
        """The order is ours, the rest is TRL's."""

        def _get_train_sampler(self, *arguments: Any) -> Any:
            return list(order)

    return InThisOrder
