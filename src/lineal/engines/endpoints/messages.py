"""Request and answer bodies of completions: pure functions over JSON."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from math import fsum, isfinite
from typing import Annotated, Any

from annotated_types import MinLen
from pydantic import BaseModel, ValidationError

from lineal.data.conversations import Conversation, short
from lineal.data.media import Pictures
from lineal.engines.endpoints.address import Address
from lineal.engines.endpoints.failures import Passing, shown
from lineal.engines.sampling.sampler import Completion, Request, SamplingSettings
from lineal.engines.text.tokens import as_asked, is_chat
from lineal.errors import EngineError

OWN = frozenset(
    {
        "model",
        "prompt",
        "messages",
        "max_tokens",
        "max_completion_tokens",
        "temperature",
        "top_p",
        "top_k",
        "seed",
        "logprobs",
        "top_logprobs",
        "n",
        "stop",
        "stream",
        "include_stop_str_in_output",
    }
)
"""Keys that requests set themselves; a served model's parameters may not."""
FINISHED = frozenset({"stop", "length", "content_filter"})
BROKEN_OFF = frozenset({None, "abort", "error"})
PICTURE_TOKENS = 1 << 12
"""More tokens than servers usually make of a picture; they do not say it before."""
TEMPLATE_TOKENS = 64
"""More tokens than a chat template adds to a message."""


@dataclass(frozen=True)
class ChatReply:
    """A completion, and how many tokens its prompt had."""

    completion: Completion
    prompt_tokens: int


class _Usage(BaseModel):
    prompt_tokens: int
    completion_tokens: int


class _Message(BaseModel):
    content: str | None = None


class _Choice(BaseModel):
    text: str | None = None
    message: _Message | None = None
    finish_reason: str | None = None
    logprobs: dict[str, Any] | None = None


class _Body(BaseModel):
    choices: Annotated[list[_Choice], MinLen(1)]
    usage: _Usage


def require_sayable(address: Address, requests: Sequence[Request], settings: SamplingSettings) -> None:
    """Checks that the API can express these settings and prompts.

    Raises:
        EngineError: it can't.
    """
    if settings.top_k and not address.endpoint.top_k:
        fix = f"Set {address.setting}.top_k: true if this server knows it (vLLM does), or leave top_k out"
        raise EngineError(f"top_k: {settings.top_k}: the OpenAI API has no top_k. {fix}")
    if settings.stop is not None and settings.stop.keep and not address.endpoint.keep_stop:
        fix = f"Set {address.setting}.keep_stop: true if this server knows include_stop_str_in_output (vLLM does)"
        raise EngineError(f"stop.keep: true: the OpenAI API cuts stop texts off. {fix}, or leave keep out")
    for request in requests:
        if not isinstance(request.prompt, str) and request.prompt.begun is not None:
            fix = "Use a checkpoint and compute.engine: transformers or vllm, which continue it"
            raise EngineError(
                f"conversation {short(request.prompt)} ends with the beginning of an answer: "
                f"the OpenAI API would start another. {fix}"
            )
        _require_showable(request, settings)
    limit = address.endpoint.tokens_per_minute
    if limit is not None and settings.max_tokens >= limit:
        fix = "Raise it to what the server allows, or lower the step's max_tokens"
        raise EngineError(
            f"{address.setting}.tokens_per_minute: {limit:,}, and one completion may have {settings.max_tokens:,} tokens "
            f"(max_tokens) besides its prompt: more than a minute's. {fix}"
        )
    if address.system is None:
        return
    for request in requests:
        if not is_chat(request.prompt, settings.chat):
            raise EngineError(
                f"{address.model} has a system prompt, which only chats have. Set chat: true, or leave system out"
            )
        if not isinstance(request.prompt, str) and request.prompt.turns[0].role == "system":
            raise EngineError(
                f"{address.model} has a system prompt, and so has the conversation {short(request.prompt)}, expected one of "
                "them. Leave out `system` of the served model, or the rows' system turns"
            )


def _require_showable(request: Request, settings: SamplingSettings) -> None:
    if not request.images:
        return
    asked = as_asked(request.prompt, settings.chat)
    if isinstance(asked, str):
        raise EngineError(
            f"prompt {short(asked)} has pictures, which only chats can hold at an endpoint. Set chat: true"
        )
    if [turn.role for turn in asked.turns].count("user") != 1:
        raise EngineError(
            f"conversation {short(asked)} has pictures, and not one user's turn that they could stand in: which turn is meant? "
            "Give such rows a prompt instead of messages"
        )


def path_of(request: Request, settings: SamplingSettings) -> str:
    """Returns the path of requests with these settings."""
    return "chat/completions" if is_chat(request.prompt, settings.chat) else "completions"


def body_of(
    address: Address, request: Request, settings: SamplingSettings, pictures: Pictures | None = None
) -> dict[str, Any]:
    """Returns the body of one request; its pictures, as they are in their files, stand before the text of the user's turn.

    `top_p`, and `top_k` where it is known, are always sent: servers use a model's own defaults otherwise. A seed has 63
    bits, since servers hold it in a signed integer.
    """
    endpoint = address.endpoint
    body = {
        **address.parameters,
        "model": address.model,
        endpoint.max_tokens_name: settings.max_tokens,
        "temperature": settings.temperature,
        "top_p": settings.top_p,
    }
    if endpoint.top_k:
        body["top_k"] = settings.top_k
    if settings.stop is not None:
        body["stop"] = list(settings.stop.texts)
        if settings.stop.keep:
            body["include_stop_str_in_output"] = True
    if endpoint.seed:
        body["seed"] = request.seed >> 1
    if endpoint.logprobs:
        body["logprobs"] = True if is_chat(request.prompt, settings.chat) else 1
    asked = as_asked(request.prompt, settings.chat)
    if isinstance(asked, str):
        return {**body, "prompt": asked}
    tools = asked.tool_schemas()
    messages = _messages(address, asked)
    if request.images and pictures is not None:
        messages = [_showing(message, request.images, pictures) for message in messages]
    return {**body, "messages": messages, **({} if tools is None else {"tools": tools})}


def _showing(message: dict[str, Any], images: Sequence[str], pictures: Pictures) -> dict[str, Any]:
    """Returns a user's message with pictures before its text; others as they are."""
    if message["role"] != "user":
        return message
    shown = [{"type": "image_url", "image_url": {"url": _data_url(pictures, digest)}} for digest in images]
    return {**message, "content": [*shown, {"type": "text", "text": message["content"]}]}


def _data_url(pictures: Pictures, digest: str) -> str:
    picture = pictures[digest]
    return f"data:{picture.mime};base64,{base64.b64encode(picture.data).decode()}"


def _messages(address: Address, conversation: Conversation) -> list[dict[str, Any]]:
    """Returns the turns as the API takes them, after the model's own system prompt: calls have ids, tools answer in order."""
    turns, open_calls = conversation.for_template(), list[str]()
    for place, message in enumerate(turns):
        if "tool_calls" in message:
            message["tool_calls"] = [
                _call(f"call_{place}_{number}", call) for number, call in enumerate(message["tool_calls"])
            ]
            open_calls = [call["id"] for call in message["tool_calls"]]
        elif message["role"] == "tool" and open_calls:
            message["tool_call_id"] = open_calls.pop(0)
    return turns if address.system is None else [{"role": "system", "content": address.system}, *turns]


def _call(name: str, call: dict[str, Any]) -> dict[str, Any]:
    function = call.get("function", call)
    arguments = function.get("arguments", {})
    text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    return {
        "id": call.get("id", name),
        "type": "function",
        "function": {"name": function.get("name"), "arguments": text},
    }


def most_tokens(address: Address, request: Request, settings: SamplingSettings) -> int:
    """Returns an upper bound of a request's tokens: a token has at least one byte of UTF-8."""
    asked = as_asked(request.prompt, settings.chat)
    given = (
        asked
        if isinstance(asked, str)
        else json.dumps(_messages(address, asked), ensure_ascii=False) + (asked.tools or "")
    )
    texts = (given, address.system or "")
    written = (
        sum(len(text.encode("utf-8", "replace")) for text in texts) + TEMPLATE_TOKENS + settings.max_tokens
    )
    return written + len(request.images) * PICTURE_TOKENS


def read_answer(address: Address, content: bytes, key: str | None) -> ChatReply:
    """Reads an answer's body.

    Raises:
        Passing: it is incomplete or an error, or the server broke off the completion.
        EngineError: a row cannot hold the completion.
    """
    said = shown(content.decode("utf-8", "replace"), key)
    try:
        whole = json.loads(content)
    except ValueError as error:
        raise Passing(f"cuts its answer off: {said}") from error
    if isinstance(whole, dict) and whole.get("error"):
        raise Passing(f"answers with an error: {said}")
    try:
        body = _Body.model_validate(whole)
    except ValidationError as error:
        expected = "Expected choices and usage, as the OpenAI API gives them: correct its url"
        raise EngineError(
            f"{address.setting}: {address.endpoint.url} answers what is no completion: {said}. {expected}"
        ) from error
    return ChatReply(_completion(address, body.choices[0], body.usage), body.usage.prompt_tokens)


def _completion(address: Address, choice: _Choice, usage: _Usage) -> Completion:
    reason = choice.finish_reason
    if reason in BROKEN_OFF:
        raise Passing(f"broke a completion off (finish_reason {reason!a})")
    if reason not in FINISHED:
        fix = "lineal takes 'stop', 'length' and 'content_filter', and calls of tools as text. Correct the server's settings"
        raise EngineError(
            f"{address.setting}: {address.endpoint.url} gives finish_reason {str(reason)[:40]!a}. {fix}"
        )
    text = (choice.message.content if choice.message else choice.text) or ""
    return Completion(_encodable(text), usage.completion_tokens, str(reason), _logprob(choice.logprobs))


def _encodable(text: str) -> str:
    """Replaces surrogate halves, which JSON can hold and UTF-8 cannot."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _logprob(logprobs: dict[str, Any] | None) -> float | None:
    """Returns the sum over the tokens; None where one is missing."""
    told = logprobs or {}
    tokens = told.get("token_logprobs") or [entry.get("logprob") for entry in told.get("content") or []]
    told_all = bool(tokens) and all(isinstance(value, int | float) and isfinite(value) for value in tokens)
    return fsum(tokens) if told_all else None
