"""Uncertainty: 95% intervals of shares and means, and paired comparisons of two of them.

Prompts are the independent draws; the samples of one prompt are not. So every variance is taken over prompts. A share's interval
is Wilson's (1927) at the effective number of observations, `share * (1 - share) / variance` (Kish's design effect; for one
sample per prompt this is the number of prompts, and the interval the textbook's). This number is at most the number
of samples. A figure that is no share has a normal interval.

Two figures of the same prompts are compared prompt by prompt: by the exact McNemar test where every prompt is right or wrong
(interval: Bonett and Price, 2012), else by a bootstrap over prompts with a fixed seed. Two figures of different prompts are
compared by their intervals (Newcombe, 1998).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import comb, erfc, fsum, sqrt
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

Z = 1.959963984540054
"""The normal distribution's 97.5% quantile."""
LEVEL = 0.95
RESAMPLES = 4000
BOOTSTRAP_SEED = 20240229
FEWEST = 5
"""With fewer prompts a bootstrap says nothing; the difference is then within noise."""
REMEMBERED = 1024
"""Bootstraps that a process remembers."""
CHUNK = 1 << 22
"""Numbers that a bootstrap holds at once."""
DECIMALS = 12


@dataclass(frozen=True)
class Estimate:
    """A value and its 95% interval."""

    value: float
    low: float
    high: float

    def times(self, factor: float) -> Estimate:
        """Returns the estimate times a factor that is not negative."""
        return Estimate(factor * self.value, factor * self.low, factor * self.high)


@dataclass(frozen=True)
class Figure:
    """A value, and how far each prompt moves it.

    Attributes:
        value: the figure.
        moves: by prompt, its part of the figure's deviation (the empirical influence divided by the number of prompts); they add
            up to 0.
        samples: the most independent observations that it can be taken for.
        is_share: whether it lies between 0 and 1.
    """

    value: float
    moves: tuple[float, ...]
    samples: float
    is_share: bool = True

    @property
    def by_prompt(self) -> tuple[float, ...]:
        """A value for each prompt, of which the figure is the mean."""
        return tuple(self.value + len(self.moves) * move for move in self.moves)

    @property
    def estimate(self) -> Estimate:
        """The figure with its interval."""
        prompts = len(self.moves)
        variance = fsum(move * move for move in self.moves)
        if self.samples != prompts:  # for one verdict per prompt this is the binomial variance already
            variance *= prompts / max(1, prompts - 1)
        if not self.is_share:
            margin = Z * sqrt(variance)
            return Estimate(self.value, self.value - margin, self.value + margin)
        spread = self.value * (1 - self.value)
        if spread <= 0:
            return wilson(self.value, min(self.samples, prompts))
        return wilson(self.value, min(self.samples, spread / variance) if variance else self.samples)

    def __add__(self, other: Figure) -> Figure:
        moves = tuple(own + more for own, more in zip(self.moves, other.moves, strict=True))
        return Figure(
            self.value + other.value,
            moves,
            min(self.samples, other.samples),
            self.is_share and other.is_share,
        )

    def __sub__(self, other: Figure) -> Figure:
        difference = self + other.times(-1)
        return Figure(difference.value, difference.moves, difference.samples, is_share=False)

    def times(self, factor: float, plus: float = 0.0) -> Figure:
        """Returns `factor` times the figure, plus a constant."""
        return Figure(
            factor * self.value + plus,
            tuple(factor * move for move in self.moves),
            self.samples,
            self.is_share,
        )


def ratio(tops: Sequence[float], bottoms: Sequence[float], samples: float | None = None) -> Figure:
    """Divides the sum of `tops` by that of `bottoms`, where each prompt has one of both; the figure must have a bottom.

    Args:
        tops: by prompt, such as its right samples.
        bottoms: by prompt, such as all its samples; 0 leaves the prompt out.
        samples: how many samples the figure comes from; None: the sum of the bottoms.
    """
    total = fsum(bottoms)
    value = fsum(tops) / total
    moves = tuple((top - value * bottom) / total for top, bottom in zip(tops, bottoms, strict=True))
    return Figure(value, moves, total if samples is None else samples)


def mean(values: Sequence[float], samples: float | None = None, is_share: bool = True) -> Figure:
    """Returns the mean of the prompts' values."""
    found = ratio(values, [1.0] * len(values), samples)
    return Figure(found.value, found.moves, found.samples, is_share)


def wilson(share: float, count: float) -> Estimate:
    """Returns a share of `count` independent observations with Wilson's 95% interval."""
    square = Z * Z
    middle = (share + square / (2 * count)) / (1 + square / count)
    margin = (
        Z * sqrt(max(0.0, share * (1 - share)) / count + square / (4 * count * count)) / (1 + square / count)
    )
    return Estimate(share, min(share, max(0.0, middle - margin)), max(share, min(1.0, middle + margin)))


@dataclass(frozen=True)
class Comparison:
    """The difference between a figure and an earlier one.

    Attributes:
        difference: now minus before, with its interval.
        p_value: the chance of a difference at least as large when nothing changed; None where only intervals are known.
        prompts: how many prompts both have; 0 where they were compared unpaired.
    """

    difference: Estimate
    p_value: float | None
    prompts: int

    @property
    def chance(self) -> float:
        """The p-value; where only intervals are known, the one at which the interval would end at 0."""
        if self.p_value is not None:
            return self.p_value
        change = self.difference
        reach = change.value - change.low if change.value > 0 else change.high - change.value
        return erfc(Z * abs(change.value) / reach / sqrt(2)) if reach else float(not change.value)

    @property
    def is_noise(self) -> bool:
        """True if the difference may well be chance: neither a fall nor a rise at 95%."""
        return not (self.fell or self.rose)

    @property
    def fell(self) -> bool:
        """True if the later figure is lower by more than noise."""
        return self.difference.value < 0 and self._is_clear

    @property
    def rose(self) -> bool:
        """True if the later figure is higher by more than noise."""
        return self.difference.value > 0 and self._is_clear

    @property
    def _is_clear(self) -> bool:
        if self.p_value is not None:
            return self.p_value < 1 - LEVEL
        return self.difference.low > 0 or self.difference.high < 0


def compared(before: Mapping[str, float], now: Mapping[str, float], factor: float = 1.0) -> Comparison | None:
    """Compares two figures by their prompts' values; None where they share no prompt.

    Args:
        before, now: by prompt id, values of which the figures are the means.
        factor: `now` is compared with so much of `before`.
    """
    shared = sorted(before.keys() & now.keys())
    if not shared:
        return None
    pairs = [(factor * before[prompt], now[prompt]) for prompt in shared]
    if all(value in (0.0, 1.0) for pair in pairs for value in pair):
        lost, gained = sum(old > new for old, new in pairs), sum(new > old for old, new in pairs)
        return mcnemar(lost, gained, len(pairs))
    return bootstrapped([new - old for old, new in pairs])


def mcnemar(lost: int, gained: int, prompts: int) -> Comparison:
    """Compares two sets of verdicts on the same prompts by those that changed: the exact McNemar test."""
    changed, fewer = lost + gained, min(lost, gained)
    p_value = min(1.0, 2 * _below(changed, fewer)) if changed else 1.0
    down, up = (lost + 1) / (prompts + 2), (gained + 1) / (prompts + 2)
    margin = Z * sqrt((up + down - (up - down) ** 2) / (prompts + 2))
    value, middle = (gained - lost) / prompts, up - down
    return Comparison(
        Estimate(value, max(-1.0, middle - margin), min(1.0, middle + margin)), p_value, prompts
    )


def _below(tosses: int, heads: int) -> float:
    """Returns the chance of at most so many heads of a fair coin."""
    term = total = comb(tosses, heads)
    for count in range(heads, 0, -1):
        term = term * count // (tosses - count + 1)
        total += term
    return total / (1 << tosses)


def bootstrapped(differences: Sequence[float]) -> Comparison:
    """Compares by the prompts' differences: their mean, and a studentised bootstrap over prompts; the same each time."""
    import numpy as np

    values, weights = np.unique(np.round(np.asarray(differences, np.float64), DECIMALS), return_counts=True)
    return _bootstrapped(
        values.tobytes(),
        weights.astype(np.int64).tobytes(),
        len(differences),
        fsum(differences) / len(differences),
    )


@lru_cache(maxsize=REMEMBERED)
def _bootstrapped(values_given: bytes, weights_given: bytes, count: int, value: float) -> Comparison:
    """Compares by different values and how often each occurs; a check and a report ask for the same comparison."""
    import numpy as np

    values, weights = np.frombuffer(values_given, np.float64), np.frombuffer(weights_given, np.int64)
    error = float(_standard_error(values, weights, count))
    if count < FEWEST or len(values) == 1:
        certain = count >= FEWEST and len(values) == 1
        bounds = (value, value) if certain else (min(-1.0, value), max(1.0, value))
        return Comparison(Estimate(value, *bounds), 0.0 if certain and value else 1.0, count)
    random, ratios = np.random.Generator(np.random.PCG64(BOOTSTRAP_SEED)), []
    for start in range(0, RESAMPLES, size := max(1, CHUNK // len(values))):
        drawn = random.multinomial(count, weights / count, min(size, RESAMPLES - start))
        errors = np.maximum(
            _standard_error(values, drawn, count), error / 4
        )  # a resample may repeat a single value
        ratios.append((drawn @ values / count - value) / errors)
    found = np.concatenate(ratios)
    low, high = np.quantile(found, (0.975, 0.025))
    tail = min((found <= value / error).mean(), (found >= value / error).mean())
    return Comparison(
        Estimate(value, value - float(low) * error, value - float(high) * error),
        min(1.0, 2 * float(tail)),
        count,
    )


def _standard_error(values: NDArray[Any], weights: NDArray[Any], count: int) -> Any:
    """Returns the standard error of the mean of `count` values, for one row of weights or for many."""
    import numpy as np

    squares, means = weights @ (values * values) / count, weights @ values / count
    return np.sqrt(np.maximum(0.0, squares - means * means) / max(1, count - 1))


def unpaired(before: Estimate, now: Estimate) -> Comparison:
    """Compares two figures of different prompts by their intervals."""
    value = now.value - before.value
    down = sqrt((now.value - now.low) ** 2 + (before.high - before.value) ** 2)
    up = sqrt((now.high - now.value) ** 2 + (before.value - before.low) ** 2)
    return Comparison(Estimate(value, value - down, value + up), None, 0)
