"""The order in which an online training samples its prompts: shuffled, in another order every epoch, without an end."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

from lineal.engines.text.tokens import Lead


@dataclass(frozen=True)
class Visit:
    """A prompt's turn to be sampled.

    Attributes:
        prompt: its place among the prompts.
        number: how many turns it had before.
        text: the prompt.
        ids: its token ids.
        lead: how completions stand behind it.
        images: digests of the pictures that stand before it.
    """

    prompt: int
    number: int
    text: str
    ids: list[int]
    lead: Lead = None
    images: tuple[str, ...] = ()


class Turns:
    """All turns by their number from 0; made when they are first asked for.

    Args:
        prompts: how many there are.
        seed: of their order.
        visit: a turn of the prompt at a place, which had so many before.
    """

    def __init__(self, prompts: int, seed: int, visit: Callable[[int, int], Visit]) -> None:
        self._next, self._visit = _endless(prompts, seed), visit
        self._made: list[Visit] = []

    def __getitem__(self, number: int) -> Visit:
        while len(self._made) <= number:
            self._made.append(self._visit(*next(self._next)))
        return self._made[number]


def turns_of_prompts(prompts: int, count: int, seed: int) -> list[tuple[int, int]]:
    """Returns the first `count` turns: each a prompt's place, and how many turns it had before."""
    return list(islice(_endless(prompts, seed), count))


def _endless(prompts: int, seed: int) -> Iterator[tuple[int, int]]:
    """Yields turns: each a prompt's place, and how many turns it had before."""
    draw, number = random.Random(seed), 0  # noqa: S311 - reproducible on purpose
    while True:
        yield from ((place, number) for place in sorted(range(prompts), key=lambda _: draw.random()))
        number += 1
