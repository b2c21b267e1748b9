"""Refuses a training that diverged: numbers that are not finite end it, and nothing is published."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import isfinite
from typing import TYPE_CHECKING

from lineal.errors import EngineError

if TYPE_CHECKING:
    import torch

LOOKED_AT = {"loss": "loss", "grad_norm": "gradient's norm"}
"""Names of a step's figures in words."""
FIX = "Lower learning_rate, or let it rise over more steps (warmup)"


def require_finite_step(step: int, steps: int, figures: Mapping[str, float]) -> None:
    """Checks the figures of an optimizer step.

    Args:
        step: its number, from 1.
        steps: how many the training has.
        figures: the trainer's figures of it.

    Raises:
        EngineError: its loss or its gradient is not finite.
    """
    for name, what in LOOKED_AT.items():
        if not isfinite(figures.get(name, 0.0)):
            raise EngineError(
                f"training: the {what} of optimizer step {step} of {steps} is {figures[name]}, expected a finite number. The "
                f"training diverged, and nothing is published. {FIX}"
            )


def require_finite_weights(weights: Iterable[tuple[str, torch.Tensor]]) -> None:
    """Checks weights before they are stored.

    Raises:
        EngineError: some are not finite; names them.
    """
    found = [name for name, weight in weights if weight.is_floating_point() and not weight.isfinite().all()]
    if found:
        more = f" and {len(found) - 1} more" if len(found) > 1 else ""
        raise EngineError(
            f"training: {found[0]}{more} {'have' if more else 'has'} values that are not finite after the last optimizer step, "
            f"expected finite weights. The training diverged, and nothing is published. {FIX}"
        )
