"""DVC's file of paths in use. DVC writes it in place, so a kill can leave it half-written, and DVC then stops for good."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lineal.recipe.whole_files import write_whole

if TYPE_CHECKING:
    from dvc.repo import Repo


def drop_half_written_rwlock(repo: Repo) -> None:
    """Empties the file when it isn't JSON: only a killed writer leaves it so, and its entries died with it.

    Entries of other processes that are alive go too; steps have locks of their own, so no two make the same artifact.

    Raises:
        LockError: another process has been writing the file for longer than DVC waits.
    """
    _rewrite(repo, lambda text: None if _is_json(text) else "{}")


def drop_dead_entries(repo: Repo) -> None:
    """Removes the entries of processes that are gone from this machine, before another process gets one of their ids.

    Not for a project that several machines work on: their processes look dead here.

    Raises:
        LockError: as `drop_half_written_rwlock`.
    """
    _rewrite(repo, _without_dead)


def _rewrite(repo: Repo, corrected: Callable[[bytes], str | None]) -> None:
    """Writes the new content of the file, if it differs."""
    from dvc.lock import make_lock
    from dvc.rwlock import RWLOCK_FILE, RWLOCK_LOCK

    path = Path(repo.tmp_dir, RWLOCK_FILE)
    if not path.exists() or corrected(path.read_bytes()) is None:
        return
    hardlink = repo.config["core"].get("hardlink_lock", False)
    guard = make_lock(str(path.with_name(RWLOCK_LOCK)), tmp_dir=repo.tmp_dir, hardlink_lock=hardlink)
    with guard:  # whoever writes holds it: under it, half-written means killed
        text = corrected(path.read_bytes())
        if text is not None:
            write_whole(path, text)


def _is_json(text: bytes) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _without_dead(text: bytes) -> str | None:
    entries = json.loads(text) if _is_json(text) else {}
    alive = {mode: _alive(paths) for mode, paths in entries.items()}
    return None if alive == entries else json.dumps(alive)


def _alive(paths: dict[str, Any]) -> dict[str, Any]:
    """Returns the entries whose processes still run: one per path in mode `write`, several in mode `read`."""
    from lineal.orchestrate.processes import running

    found: dict[str, Any] = {}
    for path, holders in paths.items():
        if isinstance(holders, list):
            holders = [one for one in holders if running(one["pid"])]
        elif holders and not running(holders["pid"]):
            holders = {}
        if holders:
            found[path] = holders
    return found
