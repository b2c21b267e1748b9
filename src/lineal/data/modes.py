"""Who may read and write what was made: as the umask says, so that a team whose umask is 002 shares a project."""

from __future__ import annotations

import os
from pathlib import Path


def shared_mode(most: int) -> int:
    """What the process's umask leaves of a mode."""
    mask = os.umask(0)
    os.umask(mask)
    return most & ~mask


def open_to_group(directory: Path) -> None:
    """Gives a directory and all in it the modes that the umask leaves: some libraries write files for their owner alone."""
    for_files, for_directories = shared_mode(0o666), shared_mode(0o777)
    directory.chmod(for_directories)
    for path in directory.rglob("*"):
        if not path.is_symlink():
            path.chmod(for_directories if path.is_dir() else for_files)
