"""Rows with their pictures inside, as `datasets` reads them: digests become `struct<bytes, path>`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lineal.data.media import IMAGES, Pictures
from lineal.data.pictures import ENDINGS
from lineal.data.store import WRITER, Artifact, parquet_file

if TYPE_CHECKING:
    import pyarrow as pa

ROWS_AT_ONCE = 100
"""Rows of a row group, as `datasets` writes of pictures: a reader holds a whole group."""
EMBEDDED = "list<element: struct<bytes: binary, path: string>>"
"""The Arrow type of the column in a manifest's words."""


def write_embedded(artifact: Artifact, pictures: Pictures, directory: Path) -> None:
    """Writes the rows of an artifact with their pictures; a picture stands in every row that names it.

    Raises:
        ArtifactError: a picture is in no pack.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    for path in artifact.parquet_files():
        with parquet_file(path) as rows:
            schema = _described(rows.schema_arrow)
            with pq.ParquetWriter(directory / path.name, schema, **WRITER) as writer:
                for batch in rows.iter_batches(ROWS_AT_ONCE):
                    table = pa.Table.from_batches([batch])
                    place = table.column_names.index(IMAGES)
                    shown = pa.array(
                        [_embedded(pictures, one) for one in table[IMAGES].to_pylist()],
                        schema.field(IMAGES).type,
                    )
                    writer.write_table(
                        table.set_column(place, schema.field(IMAGES), shown).cast(schema), ROWS_AT_ONCE
                    )


def _embedded(pictures: Pictures, digests: list[str] | None) -> list[dict[str, Any]] | None:
    return None if digests is None else [_file(pictures, digest) for digest in digests]


def _file(pictures: Pictures, digest: str) -> dict[str, Any]:
    picture = pictures[digest]
    return {"bytes": picture.data, "path": f"{digest}{ENDINGS[picture.mime]}"}


def _described(schema: pa.Schema) -> pa.Schema:
    """Returns the schema of the written rows, with the description by which `datasets` knows that they are pictures."""
    from datasets import Features, Image, List

    return Features({**Features.from_arrow_schema(schema), IMAGES: List(Image())}).arrow_schema
