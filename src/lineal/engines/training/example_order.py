"""The order in which a supervised training sees its examples, where that is not a shuffled one."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from math import ceil
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lineal.engines.training.settings import Pace, TrainingSettings


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
        yield from (
            int(draw.random() * known) for _ in range(settings.batch_size * settings.gradient_accumulation)
        )


def in_this_order(trainer: Any, order: Sequence[int]) -> Any:
    """Makes a class of TRL's trainers that takes the examples in this order, in every epoch."""

    class InThisOrder(trainer):  # type: ignore[misc]
        """The order is ours, the rest is TRL's."""

        def _get_train_sampler(self, *arguments: Any) -> Any:
            return list(order)

    return InThisOrder
