"""Finished slices of a running step: saved crash-safely, several small ones in one file.

A save takes milliseconds, mostly waiting for the disk: longer than making a slice of few rows. So slices wait
until `SAVE_SECONDS` have passed or `SAVE_ROWS` have come together. A kill loses the slices that waited, an error or Ctrl-C
nothing.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    import pyarrow as pa

SAVE_SECONDS = 1.0
SAVE_ROWS = 1 << 16


class Shards:
    """The slices of one run of a step, in files `START-STOP.parquet`; what waits is saved when the `with` ends.

    Args:
        directory: where they lie; it is made.
        size: rows of a slice.
        total: rows of all; the last slice may be shorter.
        saved: called after each save.
    """

    def __init__(self, directory: Path, size: int, total: int, saved: Callable[[], None]) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory, self._size, self._total, self._on_save = directory, size, total, saved
        self._files = dict(self._whole())
        self._waiting: list[tuple[int, int, pa.Table]] = []
        self._rows = 0
        self._last = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._save()

    def __contains__(self, place: tuple[int, int]) -> bool:
        """Tells whether the rows (start, stop) are saved."""
        return any(start <= place[0] and place[1] <= stop for start, stop in self._files)

    def add(self, start: int, stop: int, table: pa.Table) -> None:
        """Adds a finished slice."""
        if self._waiting and self._waiting[-1][1] != start:
            self._save()
        self._waiting.append((start, stop, table))
        self._rows += table.num_rows
        if self._rows >= SAVE_ROWS or time.monotonic() - self._last >= SAVE_SECONDS:
            self._save()

    def tables(self) -> Iterator[pa.Table]:
        """Yields all saved rows, in order."""
        return read_shards(self._files[place] for place in sorted(self._files))

    def _whole(self) -> Iterator[tuple[tuple[int, int], Path]]:
        """Yields earlier runs' files that hold whole slices of this size; of overlapping ones the first."""
        end = 0
        for path in sorted(self._directory.glob("*.parquet")):
            start, stop = map(int, path.stem.split("-"))
            if start >= end and start % self._size == 0 and (stop % self._size == 0 or stop == self._total):
                end = stop
                yield (start, stop), path

    def _save(self) -> None:
        import pyarrow as pa

        if self._waiting:
            start, stop = self._waiting[0][0], self._waiting[-1][1]
            path = self._directory / f"{start:012d}-{stop:012d}.parquet"
            save_shard(path, pa.concat_tables([table for _, _, table in self._waiting]))
            self._files[start, stop] = path
            self._waiting.clear()
            self._rows = 0
            self._on_save()
        self._last = time.monotonic()


def save_shard(path: Path, table: pa.Table) -> None:
    """Writes a shard of unfinished work in full or not at all."""
    import pyarrow.parquet as pq

    temporary = path.with_suffix(".writing")
    pq.write_table(table, temporary, compression="zstd")
    sync_file(temporary)
    temporary.rename(path)


def sync_file(path: Path) -> None:
    """Flushes a file to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def rows_in_shard(path: Path) -> int:
    """Returns the number of rows in a shard."""
    import pyarrow.parquet as pq

    return int(pq.read_metadata(path).num_rows)


def saved_shards(directory: Path) -> Iterator[pa.Table]:
    """Reads the rows of all shards in a directory, in the order of their names."""
    return read_shards(sorted(directory.glob("*.parquet")))


def read_shards(paths: Iterable[Path]) -> Iterator[pa.Table]:
    """Reads the shards' rows, one after another."""
    import pyarrow.parquet as pq

    for path in paths:
        yield pq.ParquetFile(path).read()
