"""The optimizer steps of every training: their learning rates."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from lineal.engines.training.settings import TrainingSettings

ROUNDING = 1e-9
"""How far a product of floats may exceed the whole number that it stands for: 0.07 * 100 is 7.000000000000001."""


def with_own_steps(trainer: Any, settings: TrainingSettings) -> Any:
    """Makes a class of TRL's trainers whose optimizer steps follow `settings`."""

    class OwnSteps(trainer):  # type: ignore[misc]
        """The learning rates are ours, the rest is TRL's."""

        lr_scheduler: Any

        def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
            if self.lr_scheduler is None:
                rate = learning_rates(settings, num_training_steps)
                self.lr_scheduler = _scheduler(optimizer or self.optimizer, rate)
                self._created_lr_scheduler = True
            return self.lr_scheduler

    return OwnSteps


def learning_rates(settings: TrainingSettings, steps: int) -> Callable[[int], float]:
    """Returns the learning rate of each optimizer step from 0, as a share of the highest.

    It is the schedule of transformers, longer by its first step, which is left out: the rate of that step is 0. So the
    step k of w that rise has the share (k + 1) / (w + 1), and the steps after them have the shares of transformers.
    """
    import torch
    from transformers import get_scheduler

    unused = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    whole = get_scheduler(settings.schedule, unused, warmup_steps(settings, steps) + 1, steps + 1)
    (share,) = whole.lr_lambdas
    return lambda step: float(share(step + 1))


def warmup_steps(settings: TrainingSettings, steps: int) -> int:
    """Returns the number of optimizer steps over which the rate rises."""
    if settings.warmup_steps is not None:
        return settings.warmup_steps
    return ceil(settings.warmup * steps - ROUNDING)


def _scheduler(optimizer: Any, rate: Callable[[int], float]) -> Any:
    from torch.optim.lr_scheduler import LambdaLR

    return LambdaLR(optimizer, rate)
