"""Conversations in the shapes that data sets have: OpenAI's and TRL's `role`/`content`, ShareGPT's `from`/`value`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from lineal.components.sources.files import parse_json
from lineal.components.sources.values import checked_text, plain
from lineal.data.conversations import ROLES, Turn
from lineal.errors import DataError

SHAREGPT = {"human": "user", "gpt": "assistant"}
"""ShareGPT's own names of roles; the others are the usual ones."""
OPENAI = {"developer": "system"}
"""OpenAI's newer name of the system's role."""
KEYS = frozenset({"role", "content", "name", "tool_calls", "tool_call_id"})
SHAREGPT_KEYS = frozenset({"from", "value"})


class ChatReader:
    """Reads the conversations of one file.

    Args:
        fills_nulls: whether the format has every key in every object, null where it is absent (Parquet): such keys are
            then left out of tool calls and tool schemas.
    """

    def __init__(self, fills_nulls: bool) -> None:
        self._fills_nulls = fills_nulls

    def turns(self, where: str, value: Any) -> tuple[Turn, ...]:
        """Returns the turns of a list of messages, or of its JSON text.

        Raises:
            DataError: it is no list of messages, or a message says what a turn cannot hold.
        """
        messages = _listed(where, value, "a list of messages such as [{role: user, content: ...}]")
        if not messages:
            raise DataError(f"{where} holds no messages, expected at least one. Leave the row out")
        turns = tuple(
            self._turn(f"{where}, message {number}", message)
            for number, message in enumerate(messages, start=1)
        )
        _require_order(where, messages)
        return turns

    def tools(self, where: str, value: Any) -> str:
        """Returns the tool schemas of a list, or of its JSON text, as JSON text; keys stay in their order."""
        tools = _listed(where, value, "a list of tool schemas")
        if not all(isinstance(tool, dict) for tool in tools):
            raise DataError(f"{where} must hold tool schemas as objects, got {ascii(tools)[:120]}")
        return self._json(where, tools)

    def _turn(self, where: str, message: Any) -> Turn:
        if not isinstance(message, dict):
            raise DataError(f"{where} must be an object with role and content, got {ascii(message)[:120]}")
        given = {key: value for key, value in message.items() if value is not None}
        sharegpt = bool(SHAREGPT_KEYS & message.keys())
        _require_known(where, given, SHAREGPT_KEYS if sharegpt else KEYS)
        if sharegpt:
            return Turn(
                _role(where, message.get("from"), SHAREGPT), _content(where, message.get("value"), False)
            )
        calls = self._calls(where, given.get("tool_calls"))
        name = given.get("name")
        if name is not None and not isinstance(name, str):
            raise DataError(f"{where} has a name that must be a text, got {ascii(name)[:120]}")
        role = _role(where, message.get("role"), OPENAI)
        if calls and role != "assistant":
            raise DataError(
                f"{where} is of the role {role} but has tool_calls, which only the assistant makes"
            )
        return Turn(
            role,
            _content(where, message.get("content"), bool(calls)),
            calls,
            name and checked_text(where, name),
        )

    def _calls(self, where: str, value: Any) -> str | None:
        calls = [] if value is None else _listed(f"{where}, tool_calls", value, "a list of calls")
        made = [_call(f"{where}, call {number}", call) for number, call in enumerate(calls, start=1)]
        return self._json(where, made) if made else None

    def _json(self, where: str, value: list[Any]) -> str:
        found = plain(where, value)
        return json.dumps(_without_nulls(found) if self._fills_nulls else found, ensure_ascii=False)


def reply(where: str, turns: Iterable[Turn]) -> str:
    """Returns the text of a conversation that is one assistant turn.

    Raises:
        DataError: it is another one.
    """
    found = list(turns)
    if [turn.role for turn in found] != ["assistant"]:
        got = ", ".join(turn.role for turn in found)
        fix = "Where it holds the whole conversation, map messages and set last_turn, or leave prompt out of columns for pairs"
        raise DataError(f"{where} must be one assistant message, got {got}. {fix}")
    return reply_text(where, found[0])


def reply_text(where: str, turn: Turn) -> str:
    """Returns the text of an assistant turn that calls no tools."""
    if turn.tool_calls is not None:
        fix = "Set last_turn: keep, which keeps the conversation whole"
        raise DataError(f"{where}: the assistant's turn calls tools, but a completion is a text. {fix}")
    return turn.content


def _listed(where: str, value: Any, expected: str) -> list[Any]:
    if isinstance(value, str):
        try:
            value = parse_json(value)
        except ValueError as error:
            raise DataError(
                f"{where} must be {expected}, or its JSON text, got {ascii(value)[:120]} ({error})"
            ) from error
    if not isinstance(value, list):
        raise DataError(f"{where} must be {expected}, got {ascii(value)[:120]}")
    return value


def _require_known(where: str, given: Mapping[str, Any], known: frozenset[str]) -> None:
    unknown = sorted(given.keys() - known)
    if unknown:
        fix = "Nothing of a message is left out silently: remove them from the file"
        raise DataError(
            f"{where} has {', '.join(map(ascii, unknown))}; a message may have {', '.join(sorted(known))}. {fix}"
        )


def _role(where: str, role: Any, names: Mapping[str, str]) -> str:
    found = names.get(role, role) if isinstance(role, str) else role
    if found not in ROLES:
        known = ", ".join([*ROLES, *names])
        raise DataError(
            f"{where} has the role {ascii(role)[:120]}, expected one of {known}. Rename it in the file"
        )
    return str(found)


def _content(where: str, content: Any, may_be_null: bool) -> str:
    """Returns the text of a message: its own, or its parts joined; none beside tool calls is the empty text."""
    if content is None and may_be_null:
        return ""
    if isinstance(content, list):
        return "".join(_part(f"{where}, part {number}", part) for number, part in enumerate(content, start=1))
    if not isinstance(content, str):
        got = "null content" if content is None else f"the content {ascii(content)[:120]}"
        raise DataError(f"{where} has {got}, expected a text. Leave the message or the row out")
    return checked_text(where, content)


def _part(where: str, part: Any) -> str:
    given = {key: value for key, value in part.items() if value is not None} if isinstance(part, dict) else {}
    if given.keys() != {"type", "text"} or given["type"] != "text" or not isinstance(given["text"], str):
        raise DataError(
            f"{where} must be a text part ({{type: text, text: ...}}), got {ascii(part)[:120]}. Rows hold text only"
        )
    return checked_text(where, given["text"])


def _call(where: str, call: Any) -> dict[str, Any]:
    """Returns a tool call as chat templates take it: its arguments as an object, also where the file has them as JSON text."""
    holder = call.get("function", call) if isinstance(call, dict) else None
    if not isinstance(holder, dict) or not isinstance(holder.get("name"), str):
        raise DataError(
            f"{where} must be {{function: {{name: ..., arguments: ...}}}}, got {ascii(call)[:120]}"
        )
    arguments = holder.get("arguments")
    if isinstance(arguments, str):
        try:
            arguments = parse_json(arguments)
        except ValueError as error:
            raise DataError(
                f"{where}: arguments must be a JSON object, got {ascii(arguments)[:120]} ({error})"
            ) from error
    if not isinstance(arguments, dict):
        raise DataError(
            f"{where}: arguments must be an object, got {ascii(arguments)[:120]}. Write {{}} where there are none"
        )
    filled = {**holder, "arguments": arguments}
    return {**call, "function": filled} if holder is not call else filled


def _require_order(where: str, messages: list[dict[str, Any]]) -> None:
    """Checks that tool turns answer the calls before them in order: without a `tool_call_id`, their place identifies the call."""
    waiting: list[Any] = []
    for number, message in enumerate(messages, start=1):
        calls = message.get("tool_calls")
        if calls:
            listed = _listed(where, calls, "a list of calls")
            waiting = [call.get("id") for call in listed]
        answered = message.get("tool_call_id")
        if answered is not None:
            expected = waiting.pop(0) if waiting else None
            if answered != expected:
                got = f"{answered!a}, expected {expected!a}"
                raise DataError(
                    f"{where}, message {number} answers call {got}. Put the answers in the order of the calls"
                )


def _without_nulls(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return value
