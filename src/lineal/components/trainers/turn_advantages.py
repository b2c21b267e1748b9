"""Advantages of single turns: a turn is better or worse than others of its group's episodes, by what followed it."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le
from pydantic import Strict as ExactType

from lineal.recipe.compute import Strict

Scale = Literal["group", "batch", "none"]
LEAST = 1e-4
"""Added to what advantages are divided by, as TRL does."""


class TurnAdvantage(Strict):
    """A turn's own advantage, which is added to its episode's.

    It compares what followed the turn, the sum of the rewards from its own on, with what followed other turns of the same group.

    Attributes:
        beside: which turns: those with the same 'input' (GiGPO, arXiv:2505.10978), or of the same number, 'turn' (MT-GRPO,
            arXiv:2505.11821). One that has no other beside it has the advantage 0.
        weight: of it, beside the episode's.
        discount: of each later reward against the one before.
    """

    beside: Literal["input", "turn"] = "input"
    weight: Annotated[float, Gt(0), ExactType(False)] = 1.0
    discount: Annotated[float, Ge(0), Le(1), ExactType(False)] = 1.0


@dataclass(frozen=True)
class Followed:
    """A turn and what followed it.

    Attributes:
        group: whose turns it is compared with.
        returned: the sum of the rewards from its own on; None where the environment broke.
    """

    group: Hashable
    returned: float | None


def returns_from(rewards: Sequence[float], discount: float) -> list[float]:
    """Returns for each turn the discounted sum of the rewards from it on."""
    found: list[float] = []
    for reward in reversed(rewards):
        found.append(reward + discount * (found[-1] if found else 0.0))
    return found[::-1]


def turn_advantages(episodes: Sequence[Sequence[Followed]], scale: Scale) -> list[list[float]]:
    """Returns each turn's advantage over the mean of its group.

    Args:
        episodes: the turns of each.
        scale: what an advantage is divided by: the deviation of its group, of all turns, or nothing.
    """
    groups: dict[Hashable, list[float]] = {}
    for turn in (turn for own in episodes for turn in own if turn.returned is not None):
        groups.setdefault(turn.group, []).append(turn.returned)  # type: ignore[arg-type]
    everything = _deviation([value for values in groups.values() for value in values])
    by = {
        "group": {name: _deviation(values) for name, values in groups.items()},
        "batch": dict.fromkeys(groups, everything),
    }
    divisors: Mapping[Hashable, float] = by.get(scale, dict.fromkeys(groups, 1.0))
    means = {name: fmean(values) for name, values in groups.items()}
    return [
        [
            0.0 if turn.returned is None else (turn.returned - means[turn.group]) / divisors[turn.group]
            for turn in own
        ]
        for own in episodes
    ]


def _deviation(values: Sequence[float]) -> float:
    return (stdev(values) if len(values) > 1 else 0.0) + LEAST
