"""Refills a generation until every group has a learning signal: others are replaced by later prompts' (DAPO, arXiv:2503.14476).

Every completion that was sampled goes to the judge, in the order in which it was sampled; those of the groups that fill the
generation then go to the trainer as if they alone had been.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from lineal.engines.text.turns import Turns

Drawn = tuple[Any, ...]
"""The result of TRL's `_generate`: prompt ids, completion ids, masks, texts, log-probabilities, further fields, two of images."""
BY_ROW = (0, 1, 2, 3, 4)
"""The places in it of lists with an entry for each row; or of None."""


@dataclass(frozen=True)
class RefillSettings:
    """The rule for refilling a generation.

    Attributes:
        attempts: how often a generation is sampled at most, the first time included.
        fits: for each group of those judged last, in order, whether it has a learning signal.
        sampled_before: how many groups were sampled before the model had been trained so many steps.
    """

    attempts: int
    fits: Callable[[], list[bool]]
    sampled_before: Callable[[int], int]


@dataclass(frozen=True)
class Batch:
    """The groups that fill a generation.

    Attributes:
        inputs: rows as TRL's dataset has them.
        drawn: the samples drawn for them.
        rewards: theirs.
        rows: their places among all rows that were sampled.
        sampled: how many rows were sampled.
    """

    inputs: list[dict[str, Any]]
    drawn: Drawn
    rewards: list[float | None]
    rows: list[int]
    sampled: int

    def of_all(self, advantages: Sequence[float]) -> list[float | None]:
        """Returns the advantage of every row that was sampled; None where its group was replaced."""
        known = dict(zip(self.rows, advantages, strict=True))
        return [known.get(row) for row in range(self.sampled)]


class Refiller:
    """Fills generations.

    Args:
        settings: see there.
        turns: the prompts in the order in which they are sampled.
        reward: judges completions of turns at these places.
    """

    def __init__(
        self,
        settings: RefillSettings,
        turns: Turns,
        reward: Callable[[list[int], list[list[int]]], list[float | None]],
    ) -> None:
        self._settings, self._turns, self._reward = settings, turns, reward
        self.batch: Batch | None = None

    def fill(self, draw: Callable[[list[int]], Drawn], groups: int, samples: int, step: int) -> Batch:
        """Samples until so many groups have a learning signal, at most `attempts` times; then adds the last ones without."""
        start, fits = self._settings.sampled_before(step), list[bool]()
        parts: list[tuple[Drawn, list[float | None]]] = []
        while sum(fits) < groups and len(parts) < self._settings.attempts:
            first = start + len(fits)
            places = [place for place in range(first, first + groups - sum(fits)) for _ in range(samples)]
            drawn = draw(places)
            parts.append((drawn, self._reward(places, drawn[1])))
            fits += self._settings.fits()
        self.batch = _batch(parts, self._chosen(fits, groups), start, self._turns, samples)
        return self.batch

    @staticmethod
    def _chosen(fits: list[bool], groups: int) -> list[int]:
        """Returns the places of the groups that are learned from, in the order in which they were sampled."""
        good = [place for place, fit in enumerate(fits) if fit]
        bad = [place for place, fit in enumerate(fits) if not fit]
        missing = groups - len(good)
        return sorted([*good, *(bad[-missing:] if missing else [])])


def _batch(
    parts: list[tuple[Drawn, list[float | None]]], chosen: list[int], start: int, turns: Turns, samples: int
) -> Batch:
    rows = [place * samples + sample for place in chosen for sample in range(samples)]
    rewards = list(chain.from_iterable(part for _, part in parts))
    drawn = [
        _of_rows([part[place] for part, _ in parts], rows) if place in BY_ROW else value
        for place, value in enumerate(parts[-1][0])
    ]
    inputs = [{"prompt": turns[start + row // samples].text, "visit": start + row // samples} for row in rows]
    return Batch(inputs, tuple(drawn), [rewards[row] for row in rows], rows, len(rewards))


def _of_rows(parts: list[Any], rows: list[int]) -> Any:
    """Concatenates lists of entries; None where there are none."""
    if parts[0] is None:
        return None
    whole = list(chain.from_iterable(parts))
    return [whole[row] for row in rows]
