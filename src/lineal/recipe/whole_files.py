"""Files that are written in full or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Opens a hidden file beside `path`; it replaces `path` when the block succeeds, and else is removed."""
    temporary = path.with_name(f".{path.name}.writing")
    try:
        yield temporary
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_whole(path: Path, text: str) -> None:
    """Writes a text file by one rename: readers, also after a crash, find either the old text or the new one."""
    with written_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
