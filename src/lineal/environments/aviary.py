"""Environments of Aviary (`fhaviary`) as lineal's; loaded for these alone, since asyncio takes time to load."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from inspect import signature
from typing import Any, ClassVar

from lineal.environments.tool_calls import CallingEnvironment, StepResult, texts


class OfAviary(CallingEnvironment):
    """An `Environment` of Aviary; what its class takes comes from the task's entry and columns by name.

    A completion without a call goes to the environment as a message.
    """

    wrapped: ClassVar[Any]

    def begin(self, _: int, row: Mapping[str, Any]) -> str:
        """Begins an episode."""
        self._loop = _SocketlessLoop()
        names = signature(self.wrapped).parameters
        self._environment = self.wrapped(**{name: value for name, value in row.items() if name in names})
        shown, tools = self._loop.run_until_complete(self._environment.reset())
        self._names = [tool.info.name for tool in tools]
        return texts([dict(one) for one in shown])

    def tools(self) -> list[str]:
        """Returns the names of the tools that `reset` gave."""
        return self._names

    def call(self, name: str, arguments: Mapping[str, Any]) -> StepResult:
        """Asks for a tool."""
        from aviary.core import ToolRequestMessage

        asked = {"id": "call", "function": {"name": name, "arguments": dict(arguments)}}
        return self._act(ToolRequestMessage(tool_calls=[asked]))

    def say(self, text: str) -> StepResult:
        """Says something."""
        from aviary.core import Message

        return self._act(Message(role="assistant", content=text))

    def _act(self, action: Any) -> StepResult:
        try:
            shown, reward, done, cut = self._loop.run_until_complete(self._environment.step(action))
        except Exception as error:
            return f"error: {error}", 0.0, False, False, {}
        return texts([dict(one) for one in shown]), float(reward), bool(done), bool(cut), {}

    def close(self) -> None:
        """Frees what the environment holds."""
        self._loop.run_until_complete(self._environment.close())
        self._loop.close()


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
