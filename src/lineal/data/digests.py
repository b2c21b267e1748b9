"""Digests of files that are read often: a file is read again only when its inode, size or times have changed.

DVC keeps such a record too, of MD5s and for its own files; this one also serves files in DVC's cache, by the same key. A
write to a file changes its ctime, which no program can set back, so every edit is noticed, whatever it does to size and mtime.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

NAME = ".digests"
"""The record's file, in a project's `runs/`: one line per file, `INODE:SIZE:MTIME:CTIME:ALGORITHM DIGEST`."""
SETTLED_NS = 1_000_000_000
"""A file that changed less than this ago is not recorded: another write within the same tick of the clock would not show."""
MOST_BYTES = 8 << 20
"""Beyond this size of the record its older half is left out."""
_HEX = frozenset("0123456789abcdef")


class Digests:
    """Digests of files, with a record of those that were read before.

    Args:
        runs: the project's directory of run logs, where the record lies; None for no record.
        fresh: read every file, whatever the record says, and record what was read.
    """

    def __init__(self, runs: Path | None = None, fresh: bool = False) -> None:
        self._path = None if runs is None else runs / NAME
        self._known: dict[str, str] = {} if fresh else self._recorded()
        self._new: dict[str, str] = {}

    def of(self, path: Path, algorithm: str = "sha256") -> str:
        """Returns a file's digest in hex digits.

        Raises:
            OSError: it cannot be read.
        """
        before = _key(path, algorithm)
        if before in self._known:
            return self._known[before]
        with path.open("rb") as stream:
            digest = hashlib.file_digest(
                stream, lambda: hashlib.new(algorithm, usedforsecurity=False)
            ).hexdigest()
        if _key(path, algorithm) == before:
            self._known[before] = digest
            self._new |= {before: digest} if _settled(path) else {}
        return digest

    def read_ahead(self, paths: Iterable[Path]) -> None:
        """Reads several files at once, as many as there are cores; those that cannot be read are left to `of`."""
        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
            for _ in pool.map(self._tried, paths):
                pass

    def _tried(self, path: Path) -> None:
        try:
            if path.is_file():  # a manifest that somebody edited may name a device
                self.of(path)
        except OSError:
            return

    def save(self) -> None:
        """Adds what was read to the record; a project that cannot be written goes without one."""
        if self._path is None or not self._new:
            return
        lines = "".join(f"{key} {digest}\n" for key, digest in self._new.items())
        self._new = {}
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a", encoding="ascii") as stream:
                stream.write(lines)
            if self._path.stat().st_size > MOST_BYTES:
                self._halve()
        except OSError:
            return

    def _halve(self) -> None:
        assert self._path is not None
        lines = self._path.read_text(encoding="ascii", errors="replace").splitlines(keepends=True)
        temporary = self._path.with_name(f"{NAME}.{os.getpid()}")
        temporary.write_text("".join(lines[len(lines) // 2 :]), encoding="ascii", errors="replace")
        temporary.replace(self._path)

    def _recorded(self) -> dict[str, str]:
        """Reads the record; incomplete lines are ignored."""
        try:
            text = "" if self._path is None else self._path.read_text(encoding="ascii", errors="replace")
        except OSError:
            return {}
        parts = (line.partition(" ") for line in text.splitlines())
        lengths = {"sha256": 64, "md5": 32}
        return {
            key: digest
            for key, _, digest in parts
            if len(digest) == lengths.get(key.rpartition(":")[2]) and _HEX.issuperset(digest)
        }


def _key(path: Path, algorithm: str) -> str:
    stat = path.stat()
    return f"{stat.st_ino}:{stat.st_size}:{stat.st_mtime_ns}:{stat.st_ctime_ns}:{algorithm}"


def _settled(path: Path) -> bool:
    stat = path.stat()
    return time.time_ns() - max(stat.st_mtime_ns, stat.st_ctime_ns) > SETTLED_NS
