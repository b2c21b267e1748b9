"""`warmup`: over how many optimizer steps the learning rate rises."""

from __future__ import annotations

from math import ceil, inf
from typing import Annotated, Any

from annotated_types import Ge, Le
from pydantic import BeforeValidator

from lineal.recipe.compute import Positive, Strict


class WarmupSteps(Strict):
    """A number of steps, whatever the training's length.

    Attributes:
        steps: how many; a training that has fewer does not reach its learning rate.
    """

    steps: Positive


def _no_bare_number(value: Any) -> Any:
    steps = value.get("steps") if isinstance(value, dict) and value.keys() == {"steps"} else 1
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise ValueError(
            f"steps: got {steps!r}, expected a whole number from 1 on; without a warm-up write 0"
        )
    if isinstance(value, int | float) and 1 < value < inf:
        fix = f"For a number of steps write {{steps: {ceil(value)}}}"
        raise ValueError(f"got {value!r}, but a number is a share of the steps, from 0 to 1. {fix}")
    return value


Warmup = Annotated[Annotated[float, Ge(0), Le(1)] | WarmupSteps, BeforeValidator(_no_bare_number)]
"""A share of the steps (`0.05`; `1.0` is all of them), or a number of them (`{steps: 100}`)."""
