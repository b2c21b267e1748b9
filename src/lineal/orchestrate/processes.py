"""Processes that other commands left behind."""

from __future__ import annotations

import psutil  # type: ignore[import-untyped]


def running(pid: int) -> psutil.Process | None:
    """Returns the process with this id; None where there is none, or where it has ended and waits for its parent."""
    try:
        found = psutil.Process(pid)
        return None if found.status() == psutil.STATUS_ZOMBIE else found
    except psutil.NoSuchProcess:
        return None
