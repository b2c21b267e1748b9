"""Rows in Parquet: pinned writer settings, files cut at fixed row counts, one reader for all."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from lineal.data.manifest import Manifest, read_manifest
from lineal.errors import ArtifactError, DataError

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

ROWS_PER_FILE = 1 << 18
ROWS_PER_GROUP = 1 << 15
CELLS_AT_ONCE = 1 << 22
_GROUPS_AHEAD = 3  # queued row groups: with one, two outputs of a selection would wait for each other
_BYTES_AHEAD = 1 << 27  # of all queued groups; one group of rows with a thousand columns has more
WRITER = {"compression": "zstd", "compression_level": 3, "version": "2.6", "write_statistics": True}
"""The settings that every Parquet file of an artifact is written with."""


@dataclass(frozen=True)
class Artifact:
    """A published artifact.

    Attributes:
        key: `PIPELINE/round_02/filtered`.
        directory: where it is.
        manifest: what it says of itself.
        here: whether its bytes are in `directory`; else that is its record (`data/records.py`), which has no rows and no weights.
    """

    key: str
    directory: Path
    manifest: Manifest
    here: bool = True

    @property
    def digest(self) -> str:
        """The digest of its content."""
        return self.manifest.digest

    def parquet_files(self) -> list[Path]:
        """Returns its row files, in order; none where only its record is here."""
        return (
            []
            if not self.here
            else [self.directory / name for name in sorted(self.manifest.files) if name.endswith(".parquet")]
        )


def open_artifact(key: str, directory: Path) -> Artifact:
    """Opens an artifact by its manifest; see `read_manifest` for errors."""
    return Artifact(key, directory, read_manifest(directory, key))


@dataclass(frozen=True)
class Rows:
    """The rows of one input: those of one or several artifacts, in order.

    Artifacts with different columns are read as their union; missing values are null.
    """

    artifacts: tuple[Artifact, ...]

    @property
    def count(self) -> int:
        """The number of rows."""
        return sum(
            entry.rows or 0 for artifact in self.artifacts for entry in artifact.manifest.files.values()
        )

    @property
    def columns(self) -> tuple[str, ...]:
        """The union of the artifacts' columns, in order of first appearance."""
        return tuple(dict.fromkeys(name for artifact in self.artifacts for name in artifact.manifest.columns))

    def paths(self) -> list[Path]:
        """Returns all row files, in order."""
        return [path for artifact in self.artifacts for path in artifact.parquet_files()]

    def read(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Reads all rows as one table.

        Raises:
            ArtifactError: a file cannot be read.
        """
        import pyarrow as pa

        tables = [_read_file(path, columns) for path in _some(self.paths(), self.artifacts)]
        return pa.concat_tables(tables, promote_options="default")

    def slices(self, size: int) -> Iterator[tuple[int, int, pa.Table]]:
        """Yields the rows in consecutive slices of `size`, as (start, stop, table); reads one file at a time."""
        yield from slices_of(_some(self.paths(), self.artifacts), size)


def _some(paths: list[Path], artifacts: Sequence[Artifact]) -> list[Path]:
    """Returns the row files, of which there must be at least one."""
    if not paths:
        keys = ", ".join(artifact.key for artifact in artifacts) or "no artifact"
        raise ArtifactError(f"{keys}: no row files, though rows are to be read. Remake it: lineal run {keys}")
    return paths


def slices_of(paths: Sequence[Path], size: int) -> Iterator[tuple[int, int, pa.Table]]:
    """Yields rows of files in consecutive slices of `size`, as (start, stop, table); reads one row group at a time.

    Every slice has the columns of all files, so the place where a slice ends makes no difference.

    Raises:
        ArtifactError: a file cannot be read.
        DataError: a column is of different types in them.
    """
    import pyarrow as pa

    start, pending = 0, _schema_of_all(paths).empty_table()
    for group in _row_groups(paths):
        pending = pa.concat_tables([pending, group], promote_options="default")
        while pending.num_rows >= size:
            yield start, start + size, pending.slice(0, size)
            start, pending = start + size, pending.slice(size)
    if pending.num_rows or not start:  # no rows: one empty slice, which has the columns
        yield start, start + pending.num_rows, pending


def _row_groups(paths: Sequence[Path]) -> Iterator[pa.Table]:
    """Reads files by row groups: reading whole files needs new memory, whose page faults cost as much as the reading."""
    import pyarrow as pa

    for path in paths:
        with parquet_file(path) as file:
            size = rows_at_once(len(file.schema_arrow.names))
            for group in range(file.num_row_groups):
                if size >= file.metadata.row_group(group).num_rows:
                    yield file.read_row_group(group)
                else:
                    yield from map(
                        pa.Table.from_batches,
                        ([batch] for batch in file.iter_batches(size, row_groups=[group])),
                    )


def rows_at_once(columns: int) -> int:
    """Returns how many rows to hold at a time: a row group of few columns, less of a thousand."""
    return max(1 << 10, min(ROWS_PER_GROUP, CELLS_AT_ONCE // max(1, columns)))


def _schema_of_all(paths: Sequence[Path]) -> pa.Schema:
    import pyarrow as pa

    try:
        return pa.unify_schemas([_schema(path) for path in paths])
    except (pa.ArrowTypeError, pa.ArrowInvalid) as error:
        where = ", ".join(dict.fromkeys(str(path.parent) for path in paths))
        raise DataError(
            f"rows of {where} cannot be put together: {error}. Give the column another name in one of them"
        ) from error


def _schema(path: Path) -> pa.Schema:
    with parquet_file(path) as file:
        return file.schema_arrow


def _read_file(path: Path, columns: Sequence[str] | None) -> pa.Table:
    with parquet_file(path) as file:
        return file.read(
            columns=None if columns is None else [name for name in columns if name in file.schema_arrow.names]
        )


@contextmanager
def parquet_file(path: Path, known: pq.FileMetaData | None = None) -> Iterator[pq.ParquetFile]:
    """Opens one file of an artifact; its metadata, where they are `known`, are not read again.

    Raises:
        ArtifactError: it cannot be read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path, memory_map=False, metadata=known) as file:
            yield file
    except (pa.ArrowException, OSError) as error:
        raise ArtifactError(
            f"{path} cannot be read as Parquet ({error}). Delete its directory and remake it"
        ) from error


def write_rows(directory: Path, tables: Iterable[pa.Table]) -> dict[str, int]:
    """Writes tables as `part-00000.parquet ...`, cut at fixed row counts whatever the tables' sizes.

    Returns:
        rows by file name. No table at all is an error; tables without rows give one file without rows.
    """
    with RowWriter(directory) as writer:
        for table in tables:
            writer.add(table)
        return writer.close()


class RowWriter:
    """Writes an artifact's row files table by table, in a thread of its own that runs inside its `with` block.

    Args:
        directory: where to; it is made.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._counts: dict[str, int] = {}
        self._writer: pq.ParquetWriter | None = None
        self._pending: pa.Table | None = None
        self._thread = ThreadPoolExecutor(1)
        self._handed_over: deque[tuple[Future[None], int]] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._thread.shutdown(cancel_futures=True)

    def add(self, table: pa.Table) -> None:
        """Adds rows; writes them as soon as a row group of `ROWS_PER_GROUP` is full."""
        import pyarrow as pa

        bare = table.replace_schema_metadata(None)
        self._pending = bare if self._pending is None else pa.concat_tables([self._pending, bare])
        while self._pending.num_rows >= ROWS_PER_GROUP:
            self._hand_over(self._pending.slice(0, ROWS_PER_GROUP))
            self._pending = self._pending.slice(ROWS_PER_GROUP)

    def close(self) -> dict[str, int]:
        """Writes the remaining rows and returns the number of rows by file name.

        Raises:
            ValueError: there was no table, so that the columns are not known.
        """
        if self._pending is None:
            raise ValueError("write_rows needs at least one table, to know the columns")
        if self._pending.num_rows or not self._handed_over:
            self._hand_over(self._pending)
        while self._handed_over:
            self._handed_over.popleft()[0].result()
        assert self._writer is not None
        self._writer.close()
        return self._counts

    def _hand_over(self, group: pa.Table) -> None:
        """Queues a row group for writing; the queue is bounded by memory."""
        self._handed_over.append((self._thread.submit(self._write, group), group.nbytes))
        while (
            len(self._handed_over) > _GROUPS_AHEAD
            or sum(size for _, size in self._handed_over) > _BYTES_AHEAD
        ):
            self._handed_over.popleft()[0].result()

    def _write(self, group: pa.Table) -> None:
        """Writes one row group, in a new file where the last one is full."""
        import pyarrow.parquet as pq

        name = f"part-{max(0, len(self._counts) - 1):05d}.parquet"
        if self._writer is None or self._counts[name] >= ROWS_PER_FILE:
            if self._writer is not None:
                self._writer.close()
            name = f"part-{len(self._counts):05d}.parquet"
            self._writer = pq.ParquetWriter(self._directory / name, group.schema, **WRITER)
            self._counts[name] = 0
        self._writer.write_table(group.combine_chunks(), row_group_size=ROWS_PER_GROUP)
        self._counts[name] += group.num_rows
