"""Environments written for TRL, SkyRL-Gym or Aviary, played as they are: an entry point names their class."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from inspect import Parameter, Signature, iscoroutinefunction, isfunction, signature
from typing import Any, ClassVar

_CALL = re.compile(r"<tool_call>(.*?)</tool_call>", re.DOTALL)
FORMAT = '<tool_call>{"name": ..., "arguments": {...}}</tool_call>'


def adapted(found: Any) -> type | None:
    """Returns an environment made of another library's class; None where it is none of these.

    - A class for TRL's `environment_factory` that owns its reward: `reset`, `get_reward`, and public methods as tools.
    - A `BaseTextEnv` of SkyRL-Gym: `init` and `step`.
    - An `Environment` of Aviary (`fhaviary`): `reset` and `step` are async.

    Raises:
        TypeError: it is one, but cannot be played.
    """
    if not isinstance(found, type):
        return None
    own = {name for name in dir(found) if callable(getattr(found, name))}
    if {"reset", "get_reward"} <= own and "step" not in own:
        return _subclass(OfTrl, found, _parameters(found.reset)[1:])  # type: ignore[attr-defined]
    if {"reset", "step"} <= own and iscoroutinefunction(found.step):  # type: ignore[attr-defined]
        return _subclass(OfAviary, found, _parameters(found))
    if {"init", "step"} <= own and "reset" not in own:
        return _subclass(OfSkyrl, found, _ANY)
    return None


def _parameters(called: Callable[..., Any]) -> list[Parameter]:
    return list(signature(called).parameters.values())


def _subclass(base: type, wrapped: type, takes: Iterable[Parameter]) -> type:
    """Returns a class of an environment; its `reset` shows what the wrapped one takes, so that entries are checked as ever."""
    waits = sorted(name for name in dir(wrapped) if iscoroutinefunction(getattr(wrapped, name)))
    if waits and base is not OfAviary:
        raise TypeError(f"{wrapped.__qualname__}.{waits[0]} is async, expected a plain function")

    def reset(self: Any, *, seed: int, **row: Any) -> str:
        begun: str = self.begin(seed, row)
        return begun

    reset.__signature__ = Signature([_SELF, *takes])  # type: ignore[attr-defined]
    return type(wrapped.__name__, (base,), {"wrapped": wrapped, "reset": reset, "__doc__": wrapped.__doc__})


_SELF = Parameter("self", Parameter.POSITIONAL_ONLY)
_ANY = (Parameter("row", Parameter.VAR_KEYWORD),)


class OfTrl:
    """A class for TRL's `environment_factory`: the model calls its public methods, and an answer without a call ends the episode.

    The last call in a completion counts. As in TRL, the model is told what went wrong in a call. An episode's return is what
    `get_reward` says at its end; turns before it get what it rose by.
    """

    wrapped: ClassVar[Any]

    def begin(self, seed: int, row: Mapping[str, Any]) -> str:
        """Begins an episode."""
        self._environment, self._reward = self.wrapped(), 0.0
        names = signature(self.wrapped.reset).parameters
        given = {**row, "seed": seed} if "seed" in names else dict(row)
        first = self._environment.reset(**given)
        if first is not None and not isinstance(first, str):
            raise TypeError(f"reset gave {first!r:.60} (a {type(first).__name__}), expected a text or None")
        return first or ""

    def step(self, text: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Calls a tool, or ends the episode."""
        calls = _CALL.findall(text)
        if not calls:
            return "", self._rise(), True, False, {}
        try:
            name, arguments = _read(calls[-1], self._tools())
        except ValueError as error:
            return str(error), 0.0, False, False, {"invalid": str(error)}
        try:
            said = self._tools()[name](**arguments)
        except Exception as error:
            said = f"error: {error}"
        return str(said), self._rise(), False, False, {}

    def _tools(self) -> dict[str, Callable[..., Any]]:
        return dict(_methods(self._environment))

    def _rise(self) -> float:
        before, self._reward = self._reward, float(self._environment.get_reward())
        return self._reward - before


class OfSkyrl:
    """A `BaseTextEnv` of SkyRL-Gym. The task's other columns and its entry are its `extras`."""

    wrapped: ClassVar[Any]

    def begin(self, _: int, row: Mapping[str, Any]) -> str:
        """Begins an episode."""
        asked = [{"role": "user", "content": str(row.get("prompt", ""))}]
        self._environment = self.wrapped(env_config={}, extras=dict(row))
        shown, _info = self._environment.init(list(asked))
        return _texts([one for one in shown if one not in asked])

    def step(self, text: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Gives the completion to the environment."""
        out = self._environment.step(text)
        return _texts(out["observations"]), float(out["reward"]), bool(out["done"]), False, {}

    def close(self) -> None:
        """Frees what the environment holds."""
        self._environment.close()


class _SocketlessLoop(asyncio.BaseEventLoop):
    """An event loop where no socket may be opened: asyncio's own are woken through one, this one looks every millisecond."""

    def __init__(self) -> None:
        super().__init__()
        self._selector = self

    def select(self, timeout: float | None) -> list[Any]:
        """Waits for timers and for other threads."""
        time.sleep(0.001 if timeout is None else min(timeout, 0.001))
        return []

    def _process_events(self, _: list[Any]) -> None: ...

    def _write_to_self(self) -> None: ...


class OfAviary:
    """An `Environment` of Aviary; what its class takes comes from the task's entry and columns by name.

    The last call in a completion is made; one without a call goes to the environment as a message.
    """

    wrapped: ClassVar[Any]

    def begin(self, _: int, row: Mapping[str, Any]) -> str:
        """Begins an episode."""
        self._loop = _SocketlessLoop()
        names = signature(self.wrapped.__init__).parameters
        self._environment = self.wrapped(**{name: value for name, value in row.items() if name in names})
        shown, tools = self._loop.run_until_complete(self._environment.reset())
        self._tools = {tool.info.name: tool for tool in tools}
        return _texts([dict(one) for one in shown])

    def step(self, text: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Calls a tool, or says something."""
        from aviary.core import Message, ToolCall, ToolRequestMessage

        action, calls = Message(role="assistant", content=text), _CALL.findall(text)
        try:
            if calls:
                name, arguments = _read(calls[-1], self._tools)
                action = ToolRequestMessage(tool_calls=[ToolCall.from_name(name, id="call", **arguments)])
        except ValueError as error:
            return str(error), 0.0, False, False, {"invalid": str(error)}
        try:
            shown, reward, done, cut = self._loop.run_until_complete(self._environment.step(action))
        except Exception as error:
            return f"error: {error}", 0.0, False, False, {}
        return _texts([dict(one) for one in shown]), float(reward), bool(done), bool(cut), {}

    def close(self) -> None:
        """Frees what the environment holds."""
        self._loop.run_until_complete(self._environment.close())
        self._loop.close()


def _methods(environment: Any) -> Iterator[tuple[str, Callable[..., Any]]]:
    """Yields the methods that TRL takes for tools."""
    for name in dir(type(environment)):
        if (
            isfunction(getattr(type(environment), name))
            and name not in ("reset", "get_reward")
            and name[0] != "_"
        ):
            yield name, getattr(environment, name)


def _read(call: str, tools: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Reads a tool call.

    Raises:
        ValueError: it is none, or calls something else.
    """
    try:
        given = json.loads(call)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"a call that is no JSON ({error}), expected {FORMAT}") from error
    if not isinstance(given, dict) or not isinstance(given.get("arguments", {}), dict):
        raise ValueError(f"a call that is no JSON object, expected {FORMAT}")
    if given.get("name") not in tools:
        raise ValueError(f"no tool {given.get('name')!r}, expected one of {', '.join(sorted(tools))}")
    return given["name"], given.get("arguments", {})


def _texts(messages: Sequence[Mapping[str, Any]]) -> str:
    return "\n".join(str(one["content"]) for one in messages)
