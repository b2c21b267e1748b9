"""Conversations: the turns that a model is given, as rows hold them and as chat templates take them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

ROLES = ("system", "user", "assistant", "tool")


@dataclass(frozen=True)
class Turn:
    """One message.

    Attributes:
        role: one of `ROLES`.
        content: its text.
        tool_calls: the assistant's calls as JSON text, since arguments differ from call to call.
        name: of the tool that answers, or of the speaker.
    """

    role: str
    content: str
    tool_calls: str | None = None
    name: str | None = None


@dataclass(frozen=True)
class Conversation:
    """What a model is given: turns, and the tools that it may call.

    Attributes:
        turns: in their order.
        tools: a list of JSON schemas, as JSON text.
    """

    turns: tuple[Turn, ...]
    tools: str | None = None

    def for_template(self) -> list[dict[str, Any]]:
        """The turns as a chat template takes them."""
        return [_for_template(turn) for turn in self.turns]

    def for_rows(self) -> list[dict[str, str | None]]:
        """The turns as the column `messages` holds them."""
        return [dict(vars(turn)) for turn in self.turns]


def conversation_of(messages: Iterable[Mapping[str, Any]], tools: str | None = None) -> Conversation:
    """The conversation in a row's columns `messages` and `tools`."""
    return Conversation(tuple(Turn(**message) for message in messages), tools)


def _for_template(turn: Turn) -> dict[str, Any]:
    message: dict[str, Any] = {"role": turn.role, "content": turn.content}
    if turn.tool_calls is not None:
        message["tool_calls"] = json.loads(turn.tool_calls)
    if turn.name is not None:
        message["name"] = turn.name
    return message
