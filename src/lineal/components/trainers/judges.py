"""Judges of an online training's rollouts, rewards and probes, and the settings that depend on their verdicts."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Annotated, Any, Self

from annotated_types import Ge, Gt, Le, Lt
from pydantic import Strict as Strictly
from pydantic import model_validator

from lineal.components.base import Surroundings
from lineal.components.trainers.rollouts import WeightedVerifier
from lineal.components.verifiers.embedded import embedded_verifier, require_that_it_writes
from lineal.recipe.compute import Positive, Strict

REWARDS, PROBE = "rewards", "probe"
Declared = Mapping[str, str | dict[str, Any]]


class KeepBest(Strict):
    """The rule for keeping an optimizer step's checkpoint and for ending a training early; a setting of `Grpo`.

    Attributes:
        probe: the probe whose mean score rates a step.
        window: a step's figure is the mean over its own generation and those before it, so many in all.
        patience: after so many generations without a better figure the training ends; none: it runs to its last step.
    """

    probe: str
    window: Positive = 5
    patience: Positive | None = None


class Refill(Strict):
    """The rule for the groups that an optimizer step learns from; a setting of `Grpo`. Others are replaced, and kept in the
    rollouts.

    Attributes:
        above, below: a group's pass rate lies between them; at 0 and 1 all of its completions are equally good.
        attempts: how often a generation is sampled at most, the first time included; what is missing then is filled up with
            groups that teach nothing.
    """

    above: Annotated[float, Ge(0), Lt(1), Strictly(False)] = 0.0
    below: Annotated[float, Gt(0), Le(1), Strictly(False)] = 1.0
    attempts: Annotated[int, Ge(2)] = 4

    @model_validator(mode="after")
    def _band_is_open(self) -> Self:
        if self.above >= self.below:
            raise ValueError(f"above ({self.above:g}) must be less than below ({self.below:g})")
        return self


def judges_of(rewards: Declared, probe: Declared, surroundings: Surroundings) -> dict[str, WeightedVerifier]:
    """Returns by place (`rewards.right`) the rewards and then the probes.

    Raises:
        ValueError: one is unknown, cannot judge here, or has the name of another.
    """
    found = {f"{REWARDS}.{name}": _reward(name, declared, surroundings) for name, declared in rewards.items()}
    for name in probe.keys() & rewards.keys():
        raise ValueError(
            f"{PROBE}.{name}: a reward has this name, so that their columns would be the same. Take another name"
        )
    return found | {
        f"{PROBE}.{name}": _probe(name, declared, surroundings) for name, declared in probe.items()
    }


def _reward(name: str, declared: str | Mapping[str, Any], surroundings: Surroundings) -> WeightedVerifier:
    """Makes one of `rewards`.

    Raises:
        ValueError: its weight is no number, or its verifier is unknown or cannot judge here.
    """
    settings: dict[str, Any] = {"use": declared} if isinstance(declared, str) else dict(declared)
    weight = settings.pop("weight", 1.0)
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not isfinite(weight):
        raise ValueError(f"{REWARDS}.{name}.weight: got {weight!r}, expected a finite number")
    judge = embedded_verifier(settings, f"{REWARDS}.{name}", surroundings, name, beside=("weight",))
    require_that_it_writes(judge, f"{REWARDS}.{name}")
    return WeightedVerifier(judge, float(weight))


def _probe(name: str, declared: str | Mapping[str, Any], surroundings: Surroundings) -> WeightedVerifier:
    """Makes one of `probe`.

    Raises:
        ValueError: its verifier is unknown or cannot judge here.
    """
    judge = embedded_verifier(declared, f"{PROBE}.{name}", surroundings, name)
    require_that_it_writes(judge, f"{PROBE}.{name}")
    return WeightedVerifier(judge, None)
