"""Wrong answers to `letter_sort`, as small models give them: mostly one letter left out."""

from __future__ import annotations

import random
from collections.abc import Sequence
from string import ascii_lowercase


def mistaken(draw: random.Random, answer: str) -> str:
    """Makes a wrong answer where `answer` is right; never empty.

    62% leave one letter out, 16% each letter with a chance of a third, 12% double a letter, 4% swap two neighbours, 6% have a
    foreign letter, half of these in the place of a right one: about what a small model does (docs/tasks.md).
    """
    while True:
        wrong = _once(draw, answer)
        if wrong and wrong != answer:
            return wrong


def _once(draw: random.Random, answer: str) -> str:
    kind, place = draw.random(), below(draw, len(answer))
    before, letter, after = answer[:place], answer[place], answer[place + 1 :]
    if kind < 0.62:
        return before + after
    if kind < 0.78:
        return "".join(letter for letter in answer if draw.random() < 2 / 3)
    if kind < 0.82:
        return before + after[:1] + letter + after[1:]
    if kind < 0.94:
        return before + letter + letter + after
    foreign = one_of(draw, [other for other in ascii_lowercase if other not in answer] or [letter])
    return "".join(sorted(before + after + foreign if kind < 0.97 else answer + foreign))


def one_of(draw: random.Random, choices: Sequence[str]) -> str:
    """Returns one of the choices; by `Random.random` alone, which Python keeps the same over its versions."""
    return choices[below(draw, len(choices))]


def below(draw: random.Random, end: int) -> int:
    """Returns a number from 0 to `end - 1`."""
    return int(draw.random() * end)
