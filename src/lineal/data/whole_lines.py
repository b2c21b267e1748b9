"""Reads a file of lines that a killed process may have left with half a line."""

from __future__ import annotations

from pathlib import Path


def whole_lines(path: Path) -> list[bytes]:
    """Reads the lines of a file that is appended to, none where it is missing; removes a last line that a kill truncated."""
    if not path.exists():
        return []
    lines = path.read_bytes().splitlines(keepends=True)
    if lines and not lines[-1].endswith(b"\n"):
        with path.open("r+b") as stream:
            stream.truncate(sum(map(len, lines[:-1])))
        del lines[-1]
    return lines
