"""Tests whether a series rises or falls, by the test of Mann (1945) and Kendall, which assumes nothing about its values.

A short series is compared with all of its orders; a longer one by the normal approximation.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations, pairwise, permutations
from math import erfc, fsum, sqrt

MOST = 200
"""Values that are compared with each other; a longer series is averaged over equal parts."""
FEWEST = 8
"""With fewer values the normal approximation does not hold."""


@dataclass(frozen=True)
class Trend:
    """The one-sided p-values of a series' rise and of its fall; both 1 where it is too short."""

    rises: float
    falls: float


def trend_of(values: Sequence[float]) -> Trend:
    """Computes the trend of a series in the order of time; one of fewer than `FEWEST` values has none."""
    series = _means(values)
    if len(series) < FEWEST:
        return Trend(1.0, 1.0)
    ups, spread = _ups(series), sqrt(_variance(series))
    if not spread:
        return Trend(1.0, 1.0)
    return Trend(_above((ups - 1) / spread), _above((-ups - 1) / spread))


def short_trend_of(values: Sequence[float]) -> Trend:
    """Computes the trend of a series of any length; below `FEWEST` values, by the share of its orders that rise as much."""
    if len(values) >= FEWEST:
        return trend_of(values)
    ranks = {value: rank for rank, value in enumerate(sorted(set(values)))}
    ups, orders = _ups(values), _ups_of_orders(tuple(sorted(ranks[value] for value in values)))
    return Trend(_share(orders, ups), _share(orders, -ups))


@lru_cache(maxsize=64)
def _ups_of_orders(ranks: tuple[int, ...]) -> tuple[int, ...]:
    """Counts, for each order of these values, the pairs that rise less those that fall."""
    return tuple(_ups(order) for order in permutations(ranks))


def _share(orders: Sequence[int], least: int) -> float:
    return sum(ups >= least for ups in orders) / len(orders)


def _ups(series: Sequence[float]) -> int:
    """Counts the pairs that rise less those that fall."""
    return sum((after > before) - (after < before) for before, after in combinations(series, 2))


def _means(values: Sequence[float]) -> list[float]:
    """Returns the values, or the means of at most `MOST` consecutive parts."""
    parts = min(len(values), MOST)
    ends = [part * len(values) // parts for part in range(parts + 1)] if parts else [0]
    return [fsum(values[start:end]) / (end - start) for start, end in pairwise(ends)]


def _variance(series: Sequence[float]) -> float:
    """Returns the variance of the number of rising pairs minus falling ones without a trend; equal values reduce it."""
    ties = sum(_part(count) for count in Counter(series).values())
    return (_part(len(series)) - ties) / 18


def _part(count: int) -> int:
    return count * (count - 1) * (2 * count + 5)


def _above(z: float) -> float:
    """Returns the probability of a normal value above z."""
    return 0.5 * erfc(z / sqrt(2))
