"""Progress of long work: a bar on a terminal, plain lines elsewhere, and a file that Dagster's log follows."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

QUIET_SECONDS = 2.0
LOG_SECONDS = 10.0


class Progress:
    """Counts finished units of one piece of work; says nothing at first, then every 2 s on a terminal and every 10 s in logs.

    The remaining time is estimated from the units after the first ones: a model or replicas may have been loaded before them.
    A total of 0 means that it is not known.
    """

    def __init__(self, label: str, total: int, unit: str, file: Path | None) -> None:
        self._label, self._unit, self._file = label, unit, file
        self.total = total
        self._done = 0
        self._said = time.monotonic()
        self._silence = QUIET_SECONDS if sys.stderr.isatty() else LOG_SECONDS
        self._first: tuple[float, int] | None = None
        """When the first units were finished, and how many."""

    def advance(self, units: int = 1, note: str = "") -> None:
        """Adds finished units; `note` follows the count (a loss, a rate)."""
        self._done += units
        now = time.monotonic()
        self._first = self._first or (now, units)
        if now - self._said >= self._silence:
            self._said = now
            self._say(self._line(now, note))

    def _line(self, now: float, note: str) -> str:
        since, before = self._first or (now, 0)
        seconds, done, missing = now - since, self._done - before, self.total - self._done
        left = (
            f", {missing * seconds / done:.0f} s left"
            if seconds >= QUIET_SECONDS and done and missing > 0
            else ""
        )
        counted = (
            f"{100 * self._done / self.total:3.0f}% {self._done:,}/{self.total:,}"
            if self.total
            else f"{self._done:,}"
        )
        return f"{self._label} {counted} {self._unit}{left}{' ' + note if note else ''}"

    def _say(self, line: str) -> None:
        say(
            line,
            self._file,
            "\r" if sys.stderr.isatty() and (self._done < self.total or not self.total) else "\n",
        )


def say(line: str, file: Path | None, end: str = "\n") -> None:
    """Prints a line about a running step on the terminal and in its progress file; a line that ends in `\\r` is overwritten."""
    sys.stderr.write(f"  {line:<100}{end}" if end == "\r" else f"  {line}{end}")
    sys.stderr.flush()
    if file is not None:
        with file.open("a", encoding="utf-8") as stream:
            stream.write(line + "\n")


@contextmanager
def progress_of(label: str, total: int, unit: str, file: Path | None = None) -> Iterator[Progress]:
    """Opens a progress display for one piece of work of `total` units."""
    yield Progress(label, total, unit, file)
