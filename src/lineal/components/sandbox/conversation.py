"""Lines to and from sandboxes, within limits of time and size: with one program, or between a program and its tests."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO, Any

from lineal.components.sandbox.bubblewrap import READY, Limits
from lineal.components.sandbox.values import UNREADABLE, printable

START_SECONDS = 60.0
"""How long a sandbox may take to come up on a machine that is busy with others."""
_CPU_TIME = 128 + 24
"""bubblewrap's exit status for a child that the kernel ended at its limit of processor time (SIGXCPU)."""
_LOOKED_UP = b"?(None, "
"""The beginning of a request that only looks up the program's definitions."""
_MOST_ASKED = 1 << 26
"""Bytes of one request that tests may make."""


@dataclass(frozen=True)
class Reply:
    """The result of a sandbox.

    Attributes:
        line: what the program's process wrote, or the tests' outcome, without the line's end; None where there was no whole line.
        problem: then, what happened.
        broken: whether it happened before the program was run, or to tests before they had a value of the program.
    """

    line: bytes | None
    problem: str = ""
    broken: bool = False


class Channel:
    """Lines to and from one sandbox.

    Args:
        process: the sandbox.
        limits: its limits.

    Attributes:
        deadline: until when it may answer.
    """

    def __init__(self, process: subprocess.Popen[bytes], limits: Limits) -> None:
        self._process, self._limits = process, limits
        self._input, self._output = _pipe(process.stdin), _pipe(process.stdout)
        self.deadline = time.monotonic() + START_SECONDS
        os.set_blocking(self._input.fileno(), False)

    def begin(self, job: Mapping[str, Any]) -> str:
        """Waits for the sandbox and sends it its job; returns the problem, if any."""
        try:
            if self._read(len(READY)) != READY:
                return "the sandbox did not start"
            self.say(repr(dict(job)).encode("utf-8", "surrogatepass") + b"\n")
        except (TimeoutError, BrokenPipeError):
            return "the sandbox did not get its program"
        return ""

    def line(self, most: int = 0) -> tuple[bytes | None, str]:
        """Returns the next line without its end; or None, and the problem."""
        most = most or self._limits.output_bytes
        try:
            found = self._read(most)
        except TimeoutError:
            return None, f"waited for more than {self._limits.wall_seconds:g} s"
        if found.endswith(b"\n"):
            return found[:-1], ""
        if len(found) > most:
            return None, f"its answer is longer than {most:,} bytes"
        return None, self._ending(self._process.wait())

    def say(self, data: bytes) -> None:
        """Writes all of some data.

        Raises:
            TimeoutError: it was not read before the deadline.
            BrokenPipeError: nobody reads it.
        """
        view = memoryview(data)
        while view:
            self._wait(self._input, selectors.EVENT_WRITE)
            view = view[os.write(self._input.fileno(), view) :]

    def _ending(self, status: int) -> str:
        if status == _CPU_TIME:
            return f"took more than {self._limits.cpu_seconds} s of processor time"
        return f"ended without an answer (exit status {status})"

    def _read(self, most: int) -> bytes:
        """Reads up to the end of the first line, the end of the stream, or more bytes than `most`.

        Raises:
            TimeoutError: the deadline passed before.
        """
        parts: list[bytes] = []
        size = 0
        while size <= most:
            self._wait(self._output, selectors.EVENT_READ)
            part = os.read(self._output.fileno(), 1 << 16)
            line, end, _ = part.partition(b"\n")
            parts.append(line + end)
            size += len(line)
            if end or not part:
                break
        return b"".join(parts)

    def _wait(self, pipe: IO[bytes], event: int) -> None:
        with selectors.PollSelector() as selector:
            selector.register(pipe, event)
            if not selector.select(max(0.0, self.deadline - time.monotonic())):
                raise TimeoutError


def examined(program: Channel, tests: Channel) -> Reply:
    """Carries what tests ask to a program, and its answers back, until the tests have an outcome."""
    line, problem = program.line()
    if line is None or not line.startswith(b"[true, "):
        return Reply(None, problem or _raised(line))
    answers = 0
    while True:
        asked, problem = tests.line(_MOST_ASKED)
        if asked is None:
            return Reply(None, f"judging it {problem.removeprefix('its answer ')}", broken=not answers)
        if asked.startswith(b"!"):
            return Reply(asked[1:])
        try:
            program.say(asked[1:] + b"\n")
            line, problem = program.line()
            if line is None:
                return Reply(None, problem)
            tests.say(line + b"\n")
        except TimeoutError:
            return Reply(None, "did not read what it was asked")
        except BrokenPipeError:
            line, problem = program.line()
            return Reply(None, problem or "stopped to read what it was asked")
        answers += not asked.startswith(_LOOKED_UP)


def _raised(line: bytes | None) -> str:
    """Returns what a program raised before its first request."""
    try:
        _, text = json.loads(line or b"")
        return printable(str(text))
    except UNREADABLE:
        return "no answer can be read from what it wrote"


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None
    return stream
