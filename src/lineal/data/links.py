"""The same files in two places: hard links where the file system can, copies elsewhere."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from lineal.data.workspace import replace_directory


def link_directory(source: Path, target: Path) -> None:
    """Makes `target` the same files as `source`, in one rename."""
    temporary = target.with_name(f".{target.name}.linking")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(source, temporary, copy_function=link_file)
    replace_directory(temporary, target)


def link_file(source: str | Path, target: str | Path) -> None:
    """Makes `target` the same file as `source`."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
