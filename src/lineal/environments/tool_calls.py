"""Tool calls and messages as text, for environments of other libraries."""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_CALL = re.compile(r"<tool_call>(.*?)</tool_call>", re.DOTALL)
FORMAT = '<tool_call>{"name": ..., "arguments": {...}}</tool_call>'
StepResult = tuple[str, float, bool, bool, dict[str, Any]]
"""What `step` returns."""


class CallingEnvironment(ABC):
    """An environment whose moves are tool calls. Only the last call in a completion is made."""

    def step(self, text: str) -> StepResult:
        """Makes the call in a completion, or takes one without a call."""
        try:
            call = last_call(text, self.tools())
        except ValueError as error:
            return str(error), 0.0, False, False, {"invalid": str(error)}
        return self.say(text) if call is None else self.call(*call)

    @abstractmethod
    def tools(self) -> Iterable[str]:
        """Returns the names of what may be called."""

    @abstractmethod
    def call(self, name: str, arguments: Mapping[str, Any]) -> StepResult:
        """Calls a tool."""

    @abstractmethod
    def say(self, text: str) -> StepResult:
        """Takes a completion without a call."""


def last_call(text: str, tools: Iterable[str]) -> tuple[str, dict[str, Any]] | None:
    """Reads the last tool call of a completion; None where there is none.

    Raises:
        ValueError: it cannot be read, or it calls something else.
    """
    calls = _CALL.findall(text)
    if not calls:
        return None
    try:
        given = json.loads(calls[-1])
    except (ValueError, RecursionError) as error:
        raise ValueError(f"a call that is no JSON ({error}), expected {FORMAT}") from error
    if not isinstance(given, dict) or not isinstance(given.get("arguments", {}), dict):
        raise ValueError(f"a call that is no JSON object, expected {FORMAT}")
    name, known = given.get("name"), sorted(tools)
    if name not in known:
        raise ValueError(f"no tool {name!r}, expected one of {', '.join(known)}")
    return name, given.get("arguments", {})


def texts(messages: Sequence[Mapping[str, Any]]) -> str:
    """Joins what messages say."""
    return "\n".join(str(one["content"]) for one in messages)
