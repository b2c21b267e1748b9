"""Stops a step under DVC when DVC is gone: a killed `dvc repro` must not leave a step running against the next one."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

POLL_SECONDS = 0.5
_SHELLS = {"sh", "bash", "dash", "zsh", "fish", "ksh"}


def stop_when_orphaned() -> None:
    """Ends this process when the process that started it (through a shell or not) ends."""
    threading.Thread(target=_watch, args=(_guardians(),), daemon=True).start()


def stop_with_launcher() -> None:
    """Ends this process when its parent ends, or when the parent's own parent does: the step behind torchrun."""
    pairs = [(os.getpid(), os.getppid()), (os.getppid(), _parent(os.getppid()))]
    threading.Thread(target=_watch, args=(pairs,), daemon=True).start()


def _guardians() -> list[tuple[int, int]]:
    """Returns the (process, parent) pairs that must stay unchanged: this process's, and its shell's."""
    pairs = [(os.getpid(), os.getppid())]
    try:
        name = Path(f"/proc/{os.getppid()}/comm").read_text(encoding="utf-8").strip()
        if name in _SHELLS:
            pairs.append((os.getppid(), _parent(os.getppid())))
    except OSError:
        pass
    return pairs


def _parent(process: int) -> int:
    try:
        fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return int(fields[1])
    except OSError:
        return -1


def _watch(pairs: list[tuple[int, int]]) -> None:
    while all(
        (os.getppid() if process == os.getpid() else _parent(process)) == parent for process, parent in pairs
    ):
        time.sleep(POLL_SECONDS)
    os._exit(1)
