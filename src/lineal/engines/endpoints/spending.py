"""Spending of a step at an endpoint: tokens, requests, money. A resumed step includes what it spent before."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TextIO

from lineal.data.whole_lines import whole_lines
from lineal.engines.endpoints.messages import ChatReply
from lineal.recipe.compute import Price


class Spending:
    """Counts what is spent, in a file with one line for each answer: tokens of prompt and completion, and tries.

    Args:
        path: the file; made when it is needed.
        price: what tokens cost.
    """

    def __init__(self, path: Path, price: Price | None) -> None:
        self._path, self._price = path, price
        self._stream: TextIO | None = None
        self.prompt_tokens = self.completion_tokens = self.tries = self.answers = 0
        for line in whole_lines(path):
            self._count(*json.loads(line))

    @property
    def tokens(self) -> int:
        """Tokens spent."""
        return self.prompt_tokens + self.completion_tokens

    def record(self, answer: ChatReply, tries: int) -> None:
        """Records an answer; the line is in the kernel's hands when this returns, so that a kill of the process can't lose it."""
        if self._stream is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._stream = self._path.open("a", encoding="utf-8", buffering=1)
        entry = (answer.prompt_tokens, answer.completion.tokens, tries)
        self._stream.write(json.dumps(entry) + "\n")
        self._count(*entry)

    def _count(self, prompt: int, completion: int, tries: int) -> None:
        self.prompt_tokens += prompt
        self.completion_tokens += completion
        self.tries += tries
        self.answers += 1

    def facts(self) -> dict[str, Any]:
        """Returns the facts for the run log."""
        found: dict[str, Any] = {
            "endpoint_requests": self.tries,
            "endpoint_retries": self.tries - self.answers,
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
        }
        if self._price is None:
            return found
        cost = (
            self.prompt_tokens * self._price.prompt + self.completion_tokens * self._price.completion
        ) / 1e6
        return {**found, "cost": cost, "currency": self._price.currency}

    def close(self) -> None:
        """Closes the file."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None
