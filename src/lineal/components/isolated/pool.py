"""Child processes that work on rows, so that a row that hangs, crashes or eats memory costs only itself."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from types import TracebackType
from typing import IO, Any, Self, TypeVar

from lineal.components.isolated.worker import READY
from lineal.errors import DataError

Item = TypeVar("Item")
Result = TypeVar("Result")
_TIMERS = {-signal.SIGPROF, -signal.SIGALRM}


class WorkerPool:
    """Workers that call one function on rows.

    Args:
        function: `module:name` of a function from a row (a dict) to an answer, both as JSON.
        workers: how many processes.
        seconds: processor time that one row may take.
        modules: further modules that a worker imports before its first row.
    """

    def __init__(self, function: str, workers: int, seconds: float, modules: Sequence[str] = ()) -> None:
        self._idle: queue.SimpleQueue[Worker] = queue.SimpleQueue()
        self._workers = [Worker(function, seconds, modules) for _ in range(workers)]
        for worker in self._workers:
            self._idle.put(worker)
        self._threads = ThreadPoolExecutor(workers)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _end(self._workers, self._threads)

    def map(self, rows: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
        """Returns for each row in order `{"answer": ...}`, or `{"error": text}` when the function raised, hung or died.

        Raises:
            DataError: the workers cannot start.
        """
        return self._threads.map(self._ask, rows)

    def _ask(self, row: Mapping[str, Any]) -> dict[str, Any]:
        worker = self._idle.get()
        try:
            return worker.ask(row)
        finally:
            self._idle.put(worker)


class KeepingPool:
    """Workers that each keep state between rows: rows with one number go to one worker, in order.

    Args:
        function, workers, seconds, modules: as for `WorkerPool`.
    """

    def __init__(self, function: str, workers: int, seconds: float, modules: Sequence[str] = ()) -> None:
        self._workers = [Worker(function, seconds, modules) for _ in range(workers)]
        self._threads = ThreadPoolExecutor(workers)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _end(self._workers, self._threads)

    def each(self, work: Callable[[Worker, Item], Result], items: Mapping[int, Item]) -> dict[int, Result]:
        """Returns by number what `work` makes of each item with its worker.

        Raises:
            DataError: the workers cannot start.
        """
        lanes: dict[int, list[int]] = {}
        for number in items:
            lanes.setdefault(number % len(self._workers), []).append(number)

        def along(lane: int) -> list[tuple[int, Result]]:
            return [(number, work(self._workers[lane], items[number])) for number in lanes[lane]]

        return dict(chain.from_iterable(self._threads.map(along, lanes)))


class Worker:
    """One child process, started when a row comes and restarted after one that ended it."""

    def __init__(self, function: str, seconds: float, modules: Sequence[str] = ()) -> None:
        self._function, self._seconds, self._modules = function, seconds, modules
        self._process: subprocess.Popen[str] | None = None
        self._starting = threading.Lock()
        self._ended = False

    def ask(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the function's answer; see `WorkerPool.map`."""
        process = self._process or self._start()
        try:
            _pipe(process.stdin).write(json.dumps(row) + "\n")
            _pipe(process.stdin).flush()
            reply = _pipe(process.stdout).readline()
        except BrokenPipeError:
            reply = ""
        if reply:
            answer: dict[str, Any] = json.loads(reply)
            return answer
        code = process.wait()
        self.stop()
        if code in _TIMERS:
            return {"error": f"timed out after {self._seconds:g} s"}
        return {"error": f"its process died (exit status {code})"}

    def _start(self) -> subprocess.Popen[str]:
        command = [
            sys.executable,
            "-P",
            "-m",
            "lineal.components.isolated.worker",
            self._function,
            str(self._seconds),
        ]
        command += self._modules
        with self._starting:
            if self._ended:
                raise DataError(f"a process for {self._function} cannot start: its pool is closed")
            process = self._process = subprocess.Popen(  # noqa: S603 - our own module
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=_environment(),
                text=True,
            )
        reply = _pipe(process.stdout).readline()
        problem = json.loads(reply) if reply else f"exit status {process.wait()}"
        if problem != READY:
            self.stop()
            raise DataError(f"a process for {self._function} cannot start: {problem}")
        return process

    def end(self) -> None:
        """Kills the process, also from another thread than the one that asks it; none is started after it."""
        with self._starting:
            self._ended = True
            if (process := self._process) is not None:
                process.kill()

    def stop(self) -> None:
        """Ends the process, whatever it is doing; the next row starts another."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            try:
                _pipe(stream).close()
            except BrokenPipeError:
                continue
        self._process = None


def _end(workers: Sequence[Worker], threads: ThreadPoolExecutor) -> None:
    """Ends workers in the middle of their rows: first the processes, then the threads that wait for them, then the pipes."""
    for worker in workers:
        worker.end()
    threads.shutdown(wait=True, cancel_futures=True)
    for worker in workers:
        worker.stop()


def _pipe(stream: IO[str] | None) -> IO[str]:
    assert stream is not None
    return stream


def _environment() -> dict[str, str]:
    """Returns an environment with fixed hashing, so that sets are iterated in the same order everywhere, and one thread."""
    fixed = {"PYTHONHASHSEED": "0", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    return {**os.environ, **fixed, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
