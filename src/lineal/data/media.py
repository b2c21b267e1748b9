"""Packs: all pictures that a source's rows name, each once, in a few Parquet files of an artifact beside the rows.

    artifacts/P/tasks/train/          rows; `images` holds digests
    artifacts/P/tasks/train.media/    part-00000.parquet ... with the columns of `PACK`

Rows that are made of these rows hold the digests alone, so that samples and rounds copy no picture. Row groups are small, since a
reader that looks one picture up reads one group.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from lineal.data.pictures import Picture, decoded
from lineal.data.store import WRITER, Artifact, parquet_file
from lineal.errors import ArtifactError

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq
    from PIL.Image import Image

MEDIA = "media"
"""The output in which a source keeps what its rows name by digest."""
IMAGES = "images"
"""The column of rows that names pictures."""
PACK = {"sha256": "string", "mime": "string", "width": "int32", "height": "int32", "bytes": "binary"}
"""The columns of packs, with their Arrow types."""
GROUP_BYTES = 1 << 20
PACK_BYTES = 1 << 28
CACHED_BYTES = 1 << 28
_KEY_DIGITS = 16


class PackWriter:
    """Writes pictures into packs, each once, in the order of their first coming.

    Args:
        directory: where to; it is made.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._known: set[bytes] = set()
        self._waiting: list[Picture] = []
        self._bytes_waiting = self._bytes_in_file = 0
        self._counts: dict[str, int] = {}
        self._writer: pq.ParquetWriter | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._writer is not None:
            self._writer.close()

    def add(self, pictures: Iterable[Picture]) -> None:
        """Adds those of the pictures that are not there yet."""
        for picture in pictures:
            name = bytes.fromhex(picture.sha256)
            if name not in self._known:
                self._known.add(name)
                self._waiting.append(picture)
                self._bytes_waiting += len(picture.data)
            if self._bytes_waiting >= GROUP_BYTES:
                self._write()

    def close(self) -> dict[str, int]:
        """Writes what waits, and returns the number of pictures by file; without any there is one empty file."""
        if self._waiting or not self._counts:
            self._write()
        assert self._writer is not None
        self._writer.close()
        return self._counts

    def _write(self) -> None:
        """Writes one row group, in a new file where the last one is full."""
        table = _packed(self._waiting)
        name = f"part-{max(0, len(self._counts) - 1):05d}.parquet"
        if self._writer is None or self._bytes_in_file >= PACK_BYTES:
            name = self._begin(f"part-{len(self._counts):05d}.parquet", table.schema)
        assert self._writer is not None
        self._writer.write_table(table, row_group_size=max(1, table.num_rows))
        self._counts[name] += table.num_rows
        self._bytes_in_file += self._bytes_waiting
        self._waiting, self._bytes_waiting = [], 0

    def _begin(self, name: str, schema: pa.Schema) -> str:
        import pyarrow.parquet as pq

        if self._writer is not None:
            self._writer.close()
        plain = {"use_dictionary": ["mime"], "write_statistics": ["sha256"]}
        self._writer = pq.ParquetWriter(self._directory / name, schema, **{**WRITER, **plain})
        self._counts[name] = self._bytes_in_file = 0
        return name


def _packed(pictures: Sequence[Picture]) -> pa.Table:
    import pyarrow as pa

    schema = pa.schema([(name, pa.type_for_alias(kind)) for name, kind in PACK.items()])
    columns: dict[str, list[Any]] = {name: [] for name in PACK}
    for one in pictures:
        for name, value in zip(PACK, (one.sha256, one.mime, one.width, one.height, one.data), strict=True):
            columns[name].append(value)
    return pa.table(columns, schema=schema)


class Pictures:
    """The pictures of some packs, by digest.

    Args:
        artifacts: the packs.
    """

    def __init__(self, artifacts: Sequence[Artifact]) -> None:
        self._artifacts = artifacts
        self._files = [path for artifact in artifacts for path in artifact.parquet_files()]
        self._groups: list[tuple[int, int]] = []
        self._metadata: list[pq.FileMetaData] = []
        self._keys, self._places = self._indexed()
        self._cache: OrderedDict[int, pa.Table] = OrderedDict()
        self._cached_bytes = 0

    def __contains__(self, digest: str) -> bool:
        return self._row(digest) is not None

    def __getitem__(self, digest: str) -> Picture:
        """Returns a picture as its file has it.

        Raises:
            ArtifactError: no pack has it.
        """
        row = self._row(digest)
        if row is None:
            where = ", ".join(artifact.key for artifact in self._artifacts) or "no artifact of media"
            raise ArtifactError(
                f"picture {digest} is not in {where}. Make the rows and their media again: lineal run"
            )
        return Picture(digest, row["mime"], row["width"], row["height"], row["bytes"])

    def decoded(self, digest: str) -> Image:
        """Returns a picture's pixels, in red, green and blue."""
        return decoded(self[digest].data)

    def _indexed(self) -> tuple[np.ndarray, np.ndarray]:
        """Reads all digests: the sorted beginnings of them, and of each its row group and its place there."""
        import numpy as np

        keys, places = [np.empty(0, np.uint64)], [np.empty((0, 2), np.int64)]
        for number, path in enumerate(self._files):
            with parquet_file(path) as file:
                self._metadata.append(file.metadata)
                for group in range(file.num_row_groups):
                    digests = file.read_row_group(group, columns=["sha256"])["sha256"].to_pylist()
                    keys.append(np.array([_key(digest) for digest in digests], np.uint64))
                    own = np.full(len(digests), len(self._groups), np.int64)
                    places.append(np.stack([own, np.arange(len(digests))], axis=1))
                    self._groups.append((number, group))
        found = np.concatenate(keys)
        order = np.argsort(found, kind="stable")
        return found[order], np.concatenate(places)[order]

    def _row(self, digest: str) -> Mapping[str, Any] | None:
        import numpy as np

        first, last = (
            int(np.searchsorted(self._keys, np.uint64(_key(digest)), side)) for side in ("left", "right")
        )
        for group, place in self._places[first:last].tolist():
            row: dict[str, Any] = self._group(group).slice(place, 1).to_pylist()[0]
            if row["sha256"] == digest:
                return row
        return None

    def _group(self, number: int) -> pa.Table:
        """Reads a row group; those read last stay in memory."""
        if number in self._cache:
            self._cache.move_to_end(number)
            return self._cache[number]
        path, group = self._groups[number]
        with parquet_file(self._files[path], self._metadata[path]) as file:
            table = self._cache[number] = file.read_row_group(group)
        self._cached_bytes += table.nbytes
        while self._cached_bytes > CACHED_BYTES and len(self._cache) > 1:
            self._cached_bytes -= self._cache.popitem(last=False)[1].nbytes
        return table


def images_of(table: pa.Table) -> list[tuple[str, ...]]:
    """Returns the digests of each row's pictures."""
    if IMAGES not in table.column_names:
        return [()] * table.num_rows
    return [tuple(images or ()) for images in table[IMAGES].to_pylist()]


def _key(digest: str) -> int:
    try:
        return int(digest[:_KEY_DIGITS], 16)
    except ValueError:  # no digest: no pack has it
        return 0
