"""What stands around a prompt: a system turn, a template and worked examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from annotated_types import MinLen
from pydantic import Field

from lineal.data.conversations import Conversation, Turn
from lineal.errors import DataError

SystemText = Annotated[str | None, MinLen(1), Field(exclude_if=lambda value: value is None)]
TemplateName = Annotated[str | None, MinLen(1), Field(exclude_if=lambda value: value is None)]
"""Settings that are left out of the identity where nothing stands around the prompt."""


def user_turns(system: str | None, text: str) -> Conversation:
    """The conversation of a system turn, if there is one, and a user's."""
    first = [] if system is None else [Turn("system", system)]
    return Conversation((*first, Turn("user", text)))


def with_system(system: str, turns: Sequence[Mapping[str, Any]], where: str) -> list[Mapping[str, Any]]:
    """The turns of a row after a system turn.

    Raises:
        DataError: they have one already.
    """
    if turns[0]["role"] == "system":
        fix = "Leave out system, or take the turn out of the data"
        raise DataError(f"{where}: the conversation begins with a system turn of its own, and system gives another. {fix}")
    return [*Conversation((Turn("system", system),)).for_rows(), *turns]
