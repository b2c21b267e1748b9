"""File modes: what is made gets the modes of the umask, so that a team whose umask is 002 can share a project."""

from __future__ import annotations

import os
from pathlib import Path


def shared_mode(most: int) -> int:
    """Returns the part of a mode that the process's umask leaves."""
    mask = os.umask(0)
    os.umask(mask)
    return most & ~mask


def open_to_group(directory: Path) -> None:
    """Gives a directory and everything in it the umask's modes: some libraries write files for their owner only."""
    for_files, for_directories = shared_mode(0o666), shared_mode(0o777)
    directory.chmod(for_directories)
    for path in directory.rglob("*"):
        if not path.is_symlink():
            path.chmod(for_directories if path.is_dir() else for_files)
