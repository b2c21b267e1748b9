"""Reads the lines that another process appends to a file, as they come."""

from __future__ import annotations

from pathlib import Path


class ProgressFile:
    """A file that a step appends its progress to; earlier lines are skipped."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._inode, self._offset = self._where()
        self._pending = ""

    def _where(self) -> tuple[int, int]:
        try:
            stat = self._path.stat()
        except FileNotFoundError:
            return 0, 0
        return stat.st_ino, stat.st_size

    def new_lines(self) -> list[str]:
        """Returns the complete lines since the last call; a file that was replaced is read from its beginning."""
        inode, size = self._where()
        if inode != self._inode or size < self._offset:
            self._inode, self._offset, self._pending = inode, 0, ""
        if size == self._offset:
            return []
        with self._path.open(encoding="utf-8", errors="replace") as stream:
            stream.seek(self._offset)
            text = self._pending + stream.read(size - self._offset)
        self._offset = size
        *lines, self._pending = text.split("\n")
        return lines
