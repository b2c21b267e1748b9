"""Puts a whole directory in place for a user, at once or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

from lineal.data.modes import shared_mode
from lineal.errors import UsageError


def require_room(target: Path) -> None:
    """Refuses a target that holds anything.

    Raises:
        UsageError: it is a file or a directory that is not empty.
    """
    if target.is_dir() and not any(target.iterdir()):
        return
    if target.is_dir():
        raise UsageError(f"{target} is not empty. Name a new or empty directory: nothing is overwritten")
    if target.exists() or target.is_symlink():
        raise UsageError(f"{target} is not a directory. Name a new or empty one")


@contextmanager
def new_directory(target: Path, last: str) -> Iterator[Path]:
    """Makes a hidden directory beside the target that becomes the target when the block succeeds, and else is removed.

    A new target appears by one rename. An existing empty one stays the same directory (a shell may be in it):
    what was built is moved in, the entry `last` at the end.

    Raises:
        UsageError: there is no room; see `require_room`.
        OSError: it cannot be written.
    """
    target = target.absolute()
    require_room(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    building = Path(mkdtemp(prefix=f".{target.name}.", suffix=".partial", dir=target.parent))
    try:
        yield building
        _put(building, target, last)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _put(building: Path, target: Path, last: str) -> None:
    if not target.exists():
        building.chmod(shared_mode(0o777))
        building.rename(target)
        return
    require_room(target)
    for path in sorted(building.iterdir(), key=lambda path: path.name == last):
        path.rename(target / path.name)
