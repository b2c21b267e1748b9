"""Programs that environments ask for: run in the sandbox of model-written programs, with their limits and errors as text."""

from __future__ import annotations

from threading import Lock

from lineal.components.sandbox.bubblewrap import Limits, require
from lineal.components.sandbox.pool import SandboxPool
from lineal.components.sandbox.values import printable, read_answer
from lineal.errors import SandboxError

LIMITS = Limits(cpu_seconds=2, wall_seconds=20.0, memory_bytes=512 << 20, output_bytes=64 << 10)
MOST_SHOWN = 1_000
"""Letters of what a program wrote that are shown."""


class Programs:
    """Runs programs, several at a time; the sandboxes start with the first one."""

    def __init__(self, workers: int) -> None:
        self._workers, self._lock = workers, Lock()
        self._pool: SandboxPool | None = None

    def __call__(self, source: str) -> str:
        """Returns what a program wrote and how it failed, if it did.

        Raises:
            SandboxError: there is no working sandbox here.
        """
        (reply,) = self._sandboxes().map([{"name": "__main__", "source": source, "input": "", "calls": []}])
        if reply.broken:
            raise SandboxError(f"a program that an environment asked for was not run: {reply.problem}")
        return _shown(reply.line) if reply.line is not None else _sentence(reply.problem)

    def _sandboxes(self) -> SandboxPool:
        with self._lock:
            if self._pool is None:
                require()
                self._pool = SandboxPool(self._workers, LIMITS)
            return self._pool

    def close(self) -> None:
        """Ends what runs."""
        if self._pool is not None:
            self._pool.__exit__(None, None, None)


def _shown(line: bytes) -> str:
    try:
        answer = read_answer(line, 0)
    except ValueError as error:
        return _sentence(str(error))
    output = printable(answer.output).rstrip()
    cut = (
        output
        if len(output) <= MOST_SHOWN
        else f"{output[:MOST_SHOWN]}... ({len(output) - MOST_SHOWN:,} letters more)"
    )
    return "\n".join(part for part in (cut, answer.raised) if part) or "It printed nothing."


def _sentence(problem: str) -> str:
    return f"It {problem}."
