"""Who may read and write what was made: as the umask says, so that a team whose umask is 002 shares a project."""

from __future__ import annotations

import os
from pathlib import Path


def umask() -> int:
    """The process's umask."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def open_to_group(directory: Path) -> None:
    """Gives a directory and all in it the modes that the umask leaves: some libraries write files for their owner alone."""
    mask = umask()
    directory.chmod(0o777 & ~mask)
    for path in directory.rglob("*"):
        if not path.is_symlink():
            path.chmod((0o777 if path.is_dir() else 0o666) & ~mask)
