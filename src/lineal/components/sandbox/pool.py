"""Sandboxes in reserve, each for one program: the next one starts while a program runs."""

from __future__ import annotations

import queue
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self

from lineal.components.sandbox.bubblewrap import JUDGE, Limits, end, kill, start
from lineal.components.sandbox.conversation import Channel, Reply, examined


class SandboxPool:
    """Runs programs, several at a time.

    Args:
        workers: how many at a time.
        limits: what one program may use.
    """

    def __init__(self, workers: int, limits: Limits) -> None:
        self._slots = [_Slot(limits) for _ in range(workers)]
        self._idle: queue.SimpleQueue[_Slot] = queue.SimpleQueue()
        for slot in self._slots:
            self._idle.put(slot)
        self._threads = ThreadPoolExecutor(workers)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        for slot in self._slots:
            slot.interrupt()
        self._threads.shutdown(wait=True)
        for slot in self._slots:
            slot.close()

    def map(self, jobs: Iterable[Mapping[str, Any]]) -> Iterator[Reply]:
        """Returns each job's reply, in order.

        A job has `name`, `source`, `input`, and perhaps `imports`; `sandbox/inside.py` says what they mean. Beside them it has
        `calls`, whose values the reply holds, or `tests`, a job for `sandbox/examiner.py`, whose outcome the reply holds.
        """
        return self._threads.map(self._ask, jobs)

    def _ask(self, job: Mapping[str, Any]) -> Reply:
        slot = self._idle.get()
        try:
            return slot.ask(job)
        finally:
            self._idle.put(slot)


class _Slot:
    """One sandbox that waits; after a job it is thrown away."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._waiting: subprocess.Popen[bytes] | None = None
        self._asked_now: subprocess.Popen[bytes] | None = None

    def ask(self, job: Mapping[str, Any]) -> Reply:
        process = self._asked_now = self._waiting or start(self._limits)
        self._waiting = None
        judge = start(self._limits, JUDGE) if "tests" in job else None
        try:
            if judge is None:
                return self._asked(process, job)
            return self._examined(process, judge, job)
        finally:
            end(process)
            if judge is not None:
                end(judge)

    def _asked(self, process: subprocess.Popen[bytes], job: Mapping[str, Any]) -> Reply:
        """Returns the reply of a program that answers once."""
        talk = Channel(process, self._limits)
        problem = talk.begin(job)
        if problem:
            return Reply(None, problem, broken=True)
        self._waiting = start(self._limits)
        talk.deadline = time.monotonic() + self._limits.wall_seconds
        return Reply(*talk.line())

    def _examined(
        self, process: subprocess.Popen[bytes], judge: subprocess.Popen[bytes], job: Mapping[str, Any]
    ) -> Reply:
        """Returns the outcome of tests that query a program, each in a sandbox of its own."""
        program, tests = Channel(process, self._limits), Channel(judge, self._limits)
        asked = {name: value for name, value in job.items() if name != "tests"}
        problem = program.begin({**asked, "serves": True}) or tests.begin(job["tests"])
        if problem:
            return Reply(None, problem, broken=True)
        self._waiting = start(self._limits)
        program.deadline = tests.deadline = time.monotonic() + self._limits.wall_seconds
        return examined(program, tests)

    def interrupt(self) -> None:
        """Ends the program that runs, if one does."""
        if self._asked_now is not None:
            kill(self._asked_now)

    def close(self) -> None:
        """Ends the sandbox that waits."""
        if self._waiting is not None:
            end(self._waiting)
            self._waiting = None
