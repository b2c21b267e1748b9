"""Detects a server that does not sample: one that ignores the temperature gives a prompt the same answer every time."""

from __future__ import annotations

from collections.abc import Hashable

MANY = 32
"""Prompts with several answers each. A model that answers 9 of 10 prompts alike does so for 32 prompts once in 30 times."""


class GreedyDetector:
    """Compares the answers to equal prompts, until two differ or enough are alike."""

    def __init__(self) -> None:
        self._first: dict[Hashable, str] = {}
        self._alike: set[Hashable] = set()
        self._settled = False

    def is_greedy(self, prompt: Hashable, text: str) -> bool:
        """Adds an answer; returns True once, when the answers to each prompt are evidently all equal."""
        if self._settled:
            return False
        if prompt in self._first:
            self._alike.add(prompt)
        differ = self._first.setdefault(prompt, text) != text
        plain = not differ and len(self._alike) == MANY
        if differ or plain:
            self._settled, self._first, self._alike = True, {}, set()
        return plain
