"""A pool of GPUs on one machine: every running step has its own, whoever started it, and two steps never share one.

A GPU is held by a lock on a file that belongs to it. The kernel frees the lock when the process dies, however it dies, so a
crash leaves nothing to clean up; and since it is held until then, the GPU's memory is free when the next step gets it.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from lineal.errors import MachineError, number_of
from lineal.recipe.compute import Compute

VISIBLE = "CUDA_VISIBLE_DEVICES"
ORDER = "CUDA_DEVICE_ORDER"
"""Set to count GPUs as `nvidia-smi` does; CUDA's own order begins with the fastest."""
LOCKS = "lineal-gpus"
POLL_SECONDS = 0.5
_FULL = re.compile(r"GPU (\d+): .*\(UUID: (GPU-[\w-]+)\)")
_SLICE = re.compile(r"\s+MIG .*\(UUID: (MIG-[\w-]+)\)")
_held = ExitStack()
"""Locks and settings of this process; they stay until the process ends or takes GPUs again."""


@dataclass(frozen=True)
class Gpu:
    """One GPU of the pool.

    Attributes:
        name: what `CUDA_VISIBLE_DEVICES` takes.
        uuid: its name in every process on the machine.
    """

    name: str
    uuid: str


def pool_of(compute: Compute) -> list[Gpu]:
    """Returns the GPUs that steps on this machine share.

    With `device: cpu` a given list is only names to hand out: nobody looks whether there are such GPUs.

    Raises:
        MachineError: `compute.gpus` names one that is not there.
    """
    if compute.gpus is not None and compute.device == "cpu":
        return [Gpu(name, name) for name in compute.gpus]
    there = installed_gpus()
    if compute.gpus is None:
        visible = os.environ.get(VISIBLE)
        return (
            there
            if visible is None
            else [gpu for word in visible.split(",") for gpu in there if _names(word.strip(), gpu)]
        )
    pool = []
    for name in compute.gpus:
        found = [gpu for gpu in there if _names(name, gpu)]
        if len(found) != 1:
            known = ", ".join(gpu.name for gpu in there) or "none"
            raise MachineError(
                f"compute.gpus (params.yaml) names GPU {name}, and this machine has {known} (by nvidia-smi -L). "
                "Correct the list, or write gpus: auto"
            )
        pool += found
    return pool


def _names(word: str, gpu: Gpu) -> bool:
    """Tells whether a word means this GPU; a UUID may be shortened, as CUDA allows."""
    return word == gpu.name or (word.startswith(("GPU-", "MIG-")) and gpu.uuid.startswith(word))


def installed_gpus() -> list[Gpu]:
    """Reads `nvidia-smi -L`: GPUs by index, and instead of a GPU that is cut into MIG slices, the slices."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    listed = subprocess.run([program, "-L"], text=True, capture_output=True, check=False).stdout  # noqa: S603
    found: list[Gpu] = []
    whole: Gpu | None = None
    for line in listed.splitlines():
        if match := _FULL.match(line):
            whole = Gpu(match[1], match[2])
            found.append(whole)
        elif match := _SLICE.match(line):
            if whole in found:
                found.remove(whole)
            found.append(Gpu(match[1], match[1]))
    return found


def release_gpus() -> None:
    """Releases the GPUs that this process holds."""
    _held.close()


def hide_gpus() -> None:
    """Hides all GPUs from this process; to be called before it touches one."""
    release_gpus()
    _show([])


def hold_gpus(pool: Sequence[Gpu], count: int, who: str, say: Callable[[str], None]) -> list[str]:
    """Takes GPUs for this process alone, and lets it see only them; to be called before it touches one.

    Waiting processes are served in turn, so that small requests don't starve a large one.

    Args:
        pool: the GPUs to choose from, at least `count`.
        count: how many.
        who: the step, for the messages of those who wait.
        say: called once if there is a wait, and when it is over.

    Returns:
        their names.
    """
    release_gpus()
    directory = _lock_directory()
    started = time.monotonic()
    with ExitStack() as turn:
        queue = _open(
            directory
            / f"queue-{hashlib.sha256(' '.join(sorted(gpu.uuid for gpu in pool)).encode()).hexdigest()[:16]}"
        )
        turn.callback(os.close, queue)
        waits = not _lock(queue)
        if waits:
            say(_waiting(directory, pool, count, who))
            fcntl.flock(queue, fcntl.LOCK_EX)
        while len(taken := _take(directory, pool, count, who)) < count:
            if not waits:
                waits = True
                say(_waiting(directory, pool, count, who))
            time.sleep(POLL_SECONDS)
    names = [gpu.name for gpu in taken]
    if waits:
        say(f"{who} has GPU {', '.join(names)} after {time.monotonic() - started:.0f} s")
    _show(names)
    return names


def _take(directory: Path, pool: Sequence[Gpu], count: int, who: str) -> list[Gpu]:
    """Locks as many GPUs as asked for, or none."""
    taken: list[Gpu] = []
    with ExitStack() as locks:
        for gpu in pool:
            if len(taken) == count:
                break
            descriptor = _open(directory / gpu.uuid)
            if _lock(descriptor):
                locks.callback(os.close, descriptor)
                os.ftruncate(descriptor, 0)
                os.write(descriptor, f"process {os.getpid()} ({who})".encode())
                taken.append(gpu)
            else:
                os.close(descriptor)
        if len(taken) < count:
            return []
        _held.enter_context(locks.pop_all())
    return taken


def _waiting(directory: Path, pool: Sequence[Gpu], count: int, who: str) -> str:
    holders = []
    for gpu in pool:
        with contextlib.suppress(OSError):
            text = (directory / gpu.uuid).read_text(encoding="utf-8", errors="replace")[:200]
            holders.append(f"{gpu.name} last went to {''.join(filter(str.isprintable, text))}")
    return f"{who} waits for {count} of {number_of(len(pool), 'GPU')}: {'; '.join(holders)}"


def _show(names: Sequence[str]) -> None:
    for variable, value in ((VISIBLE, ",".join(names)), (ORDER, "PCI_BUS_ID")):
        _held.callback(_set, variable, os.environ.get(variable))
        os.environ[variable] = value


def _set(variable: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(variable, None)
    else:
        os.environ[variable] = value


def _lock_directory() -> Path:
    """Returns the directory of the locks: one for the machine, since projects and users share its GPUs."""
    directory = Path(tempfile.gettempdir(), LOCKS)
    with contextlib.suppress(FileExistsError):
        directory.mkdir()
        directory.chmod(0o1777)
    return directory


def _open(path: Path) -> int:
    """Opens a lock file that every user may lock."""
    with contextlib.suppress(FileNotFoundError):
        return os.open(
            path, os.O_RDWR | os.O_NOFOLLOW
        )  # without O_CREAT: Linux may refuse that on another user's file
    descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CREAT, 0o666)
    with contextlib.suppress(PermissionError):
        os.fchmod(descriptor, 0o666)  # the umask would lock out other users
    return descriptor


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
