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
    """Counts finished units of one piece of work; says nothing at first, then every 2 s on a terminal and every 10 s in logs."""

    def __init__(self, label: str, total: int, unit: str, file: Path | None) -> None:
        self._label, self._unit, self._file = label, unit, file
        self.total = total
        self._done = 0
        self._started = self._said = time.monotonic()

    def advance(self, units: int = 1, note: str = "") -> None:
        """Adds finished units; `note` follows the count (a loss, a rate)."""
        self._done += units
        now = time.monotonic()
        if now - self._said >= (QUIET_SECONDS if sys.stderr.isatty() else LOG_SECONDS):
            self._said = now
            self._say(self._line(now, note))

    def _line(self, now: float, note: str) -> str:
        seconds = now - self._started
        rate = self._done / seconds if seconds else 0.0
        left = f", {(self.total - self._done) / rate:.0f} s left" if rate and self._done < self.total else ""
        share = f"{100 * self._done / self.total:3.0f}%" if self.total else ""
        return f"{self._label} {share} {self._done:,}/{self.total:,} {self._unit}{left}{' ' + note if note else ''}"

    def _say(self, line: str) -> None:
        announce(line, self._file, passing=sys.stderr.isatty() and self._done < self.total)


def announce(line: str, file: Path | None, passing: bool = False) -> None:
    """Says a line to the terminal and to Dagster's log; a passing one is written over by the next."""
    sys.stderr.write(f"  {line:<100}\r" if passing else f"  {line}\n")
    sys.stderr.flush()
    if file is not None:
        with file.open("a", encoding="utf-8") as stream:
            stream.write(line + "\n")


@contextmanager
def progress_of(label: str, total: int, unit: str, file: Path | None = None) -> Iterator[Progress]:
    """A progress display for one piece of work of `total` units."""
    yield Progress(label, total, unit, file)
