"""Settings of every draw: temperature, nucleus and top-k, within the range of meaningful completions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from annotated_types import Ge, Gt, Le, MinLen
from pydantic import AfterValidator

COLDEST = 1e-3
"""Below it a draw is greedy in effect, and below 1e-38 floats cannot divide by it."""


def _warm_enough(value: float) -> float:
    if 0 < value < COLDEST:
        raise ValueError(f"expected 0 for greedy decoding, or at least {COLDEST:g}; got {value:g}")
    return value


Warm = Annotated[float, Ge(COLDEST)]
Temperature = Annotated[float, Ge(0), AfterValidator(_warm_enough)]
Temperatures = Temperature | Annotated[list[Temperature], MinLen(1)]
TopP = Annotated[float, Gt(0), Le(1)]
TopK = Annotated[int, Ge(0)]


def require_different_draws(samples: Any, temperature: Any) -> None:
    """Checks that greedy decoding draws one completion per prompt; settings that come from another step are not checked here.

    Raises:
        ValueError: it draws several, which would be equal.
    """
    temperatures: Sequence[Any] = temperature if isinstance(temperature, list) else [temperature]
    greedy = sum(heat == 0 for heat in temperatures)
    if isinstance(samples, int) and greedy * samples > 1:
        asked = f"samples: {samples} at temperature 0" if samples > 1 else f"temperature 0 {greedy} times"
        raise ValueError(
            f"{asked} would give equal completions; set samples: 1 and 0 once, or a temperature above 0"
        )
