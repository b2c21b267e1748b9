"""Conversations: the turns that a model gets, as rows hold them and as chat templates take them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from lineal.data.ids import canonical_json
from lineal.data.schema import row_key
from lineal.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

ROLES = ("system", "user", "assistant", "tool")
MESSAGE_COLUMNS = ("messages", "tools")


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
    """A model's input: turns, and the tools that it may call.

    Attributes:
        turns: in their order.
        tools: a list of JSON schemas, as JSON text.
    """

    turns: tuple[Turn, ...]
    tools: str | None = None

    @property
    def question(self) -> str:
        """The content of the last user turn; empty where there is none."""
        return next((turn.content for turn in reversed(self.turns) if turn.role == "user"), "")

    def asking(self, question: str) -> Conversation:
        """Returns the conversation with another content in its last user turn, or with such a turn added where there is none."""
        last = max((place for place, turn in enumerate(self.turns) if turn.role == "user"), default=None)
        if last is None:
            return replace(self, turns=(*self.turns, Turn("user", question)))
        changed = replace(self.turns[last], content=question)
        return replace(self, turns=(*self.turns[:last], changed, *self.turns[last + 1 :]))

    @property
    def begun(self) -> str | None:
        """The beginning of an answer, to continue: a last turn of the assistant; None where the model starts its answer."""
        return self.turns[-1].content if self.turns[-1].role == "assistant" else None

    def going_on(self, completion: str) -> Conversation:
        """Returns the conversation with its last assistant turn continued, or a new one added, to end in `completion`."""
        if self.begun is None:
            return self.answered(completion)
        return replace(
            self, turns=(*self.turns[:-1], replace(self.turns[-1], content=self.begun + completion))
        )

    def answered(self, completion: str) -> Conversation:
        """Returns the conversation with an assistant turn at its end."""
        return replace(self, turns=(*self.turns, Turn("assistant", completion)))

    def for_template(self) -> list[dict[str, Any]]:
        """Returns the turns as a chat template takes them."""
        return [_for_template(turn) for turn in self.turns]

    def tool_schemas(self) -> list[Any] | None:
        """Returns the tools as a chat template takes them."""
        return None if self.tools is None else list(json.loads(self.tools))

    def for_rows(self) -> list[dict[str, str | None]]:
        """Returns the turns as the column `messages` holds them."""
        return [dict(vars(turn)) for turn in self.turns]


Prompt = str | Conversation
"""A model's input: a plain text, or a conversation for the tokenizer's chat template."""


def conversation_of(messages: Iterable[Mapping[str, Any]], tools: str | None = None) -> Conversation:
    """Reads the conversation in a row's columns `messages` and `tools`.

    Raises:
        DataError: no turns, an unknown role, a turn without content, or calls and tools that are not JSON lists.
    """
    turns = tuple(_turn(place, message) for place, message in enumerate(messages))
    if not turns:
        raise DataError("messages: got 0 turns, expected at least 1")
    if tools is not None:
        _require_list("tools", tools)
    return Conversation(turns, tools)


def prompt_of(row: Mapping[str, Any]) -> Prompt:
    """Returns a row's prompt: the conversation in its `messages`, or its `prompt` where it has none.

    Raises:
        DataError: names the row whose messages are no conversation.
    """
    messages = row.get("messages")
    if messages is None:
        return str(row["prompt"])
    try:
        return conversation_of(messages, row.get("tools"))
    except DataError as error:
        raise DataError(
            f"row {row.get(row_key(list(row)))}: {error}. Correct it where the row is made"
        ) from error


def prompts_of(table: pa.Table) -> list[Prompt]:
    """Returns the prompt of each row of a table; see `prompt_of`."""
    if "messages" not in table.column_names:
        return [str(text) for text in table["prompt"].to_pylist()]
    read = ("prompt", *MESSAGE_COLUMNS, row_key(table.column_names))
    return [
        prompt_of(row)
        for row in table.select([name for name in read if name in table.column_names]).to_pylist()
    ]


def reworded(prompt: Prompt, reword: Callable[[str], str]) -> Prompt:
    """Rewords a prompt's question: the whole of a text, or the last user turn of a conversation."""
    return reword(prompt) if isinstance(prompt, str) else prompt.asking(reword(prompt.question))


def require_answerable(prompt: Prompt) -> None:
    """Checks that a prompt asks for an answer and does not begin one.

    Raises:
        DataError: a conversation ends with a turn of the assistant.
    """
    if not isinstance(prompt, str) and prompt.begun is not None:
        raise DataError(
            f"conversation {short(prompt)}: its last turn is the assistant's, expected a turn that the model is to answer. "
            "Leave that turn out, train on it (target: messages), or continue it (use: continue)"
        )


def plain_values(prompt: Prompt) -> Any:
    """Converts a prompt to JSON values; a text is itself, so that digests of text prompts are those of the text."""
    return prompt if isinstance(prompt, str) else {"messages": prompt.for_rows(), "tools": prompt.tools}


def shown_prompt(prompt: Prompt) -> str:
    """Formats a prompt as one text, a conversation as JSON."""
    return prompt if isinstance(prompt, str) else canonical_json(plain_values(prompt))


def prompt_from(values: Any) -> Prompt:
    """Reads the prompt that `plain_values` wrote."""
    return values if isinstance(values, str) else conversation_of(values["messages"], values["tools"])


def short(prompt: Prompt, length: int = 60) -> str:
    """Returns the beginning of a prompt, for messages to people."""
    return repr((prompt if isinstance(prompt, str) else prompt.question)[:length])


def _turn(place: int, message: Mapping[str, Any]) -> Turn:
    """Reads and checks one message of a row."""
    turn = Turn(message["role"], message["content"], message.get("tool_calls"), message.get("name"))
    if turn.role not in ROLES:
        raise DataError(f"messages[{place}].role: got {turn.role!r}, expected one of {', '.join(ROLES)}")
    if turn.tool_calls is not None:
        _require_list(f"messages[{place}].tool_calls", turn.tool_calls)
    if turn.content is None:
        if turn.tool_calls is None:
            raise DataError(
                f"messages[{place}].content: got null, expected a text: only a turn with tool_calls may have none"
            )
        return replace(turn, content="")
    return turn


def _require_list(name: str, text: str) -> None:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise DataError(f"{name}: got {text[:60]!r}, expected JSON ({error})") from error
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise DataError(f"{name}: got {text[:60]!r}, expected a JSON list of objects")


def _for_template(turn: Turn) -> dict[str, Any]:
    message: dict[str, Any] = {"role": turn.role, "content": turn.content}
    if turn.tool_calls is not None:
        message["tool_calls"] = json.loads(turn.tool_calls)
    if turn.name is not None:
        message["name"] = turn.name
    return message
