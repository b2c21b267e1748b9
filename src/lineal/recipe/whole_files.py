"""Files that are written whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A hidden file beside `path` to write to; it takes its place when the block ends well, and else goes away."""
    temporary = path.with_name(f".{path.name}.writing")
    try:
        yield temporary
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_whole(path: Path, text: str) -> None:
    """Writes a text file by one rename: whoever reads it meanwhile, or after a crash, finds the old text or the new one."""
    with written_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
