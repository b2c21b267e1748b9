"""The prompts that name a picture, by its digest."""

from __future__ import annotations

from lineal.audit.catalog import Catalog, main_key
from lineal.audit.query import connection, fetched
from lineal.data.media import IMAGES, MEDIA
from lineal.data.schema import row_key
from lineal.data.sql import literal, parquet, quoted
from lineal.data.store import Artifact
from lineal.errors import UsageError
from lineal.plan import artifact_key
from lineal.recipe.compute import Compute

MOST_SHOWN = 6


def prompt_with_picture(catalog: Catalog, text: str, compute: Compute) -> tuple[str, tuple[str, ...]] | None:
    """Returns the id of the one prompt whose picture's digest begins so, and the keys of the artifacts where it begins.

    Returns None where no picture's does.

    Raises:
        UsageError: several pictures' do, or several prompts name it.
        ArtifactError: rows cannot be read.
    """
    named: dict[str, dict[str, list[str]]] = {}
    for artifact in _sources(catalog):
        for digest, row_id in _naming(artifact, text, compute):
            named.setdefault(digest, {}).setdefault(row_id, []).append(artifact.key)
    if len(named) > 1:
        raise UsageError(
            f"{text!r} is ambiguous; it begins the digests of pictures {', '.join(sorted(named)[:MOST_SHOWN])}"
        )
    for digest, rows in named.items():
        if len(rows) > 1:
            listed = ", ".join(sorted(rows)[:MOST_SHOWN]) + (", ..." if len(rows) > MOST_SHOWN else "")
            everything = (
                f"everything made from them: lineal taint --where \"list_contains({IMAGES}, '{digest}')\""
            )
            raise UsageError(
                f"picture {digest[:12]} is in {len(rows)} prompts: {listed}. Trace one of them; {everything}"
            )
        return next((row_id, tuple(keys)) for row_id, keys in rows.items())
    return None


def _sources(catalog: Catalog) -> list[Artifact]:
    """Returns the artifacts whose rows brought their pictures, those of equal bytes once."""
    found: dict[str, Artifact] = {}
    for artifact in catalog.artifacts.values():
        beside = artifact_key(main_key(artifact.key), MEDIA)
        if IMAGES in artifact.manifest.columns and artifact.parquet_files() and beside in catalog.artifacts:
            found.setdefault(artifact.digest, artifact)
    return list(found.values())


def _naming(artifact: Artifact, text: str, compute: Compute) -> list[tuple[str, str]]:
    key, low, high = (
        quoted(row_key(list(artifact.manifest.columns))),
        literal(text),
        literal(text + chr(0x10FFFF)),
    )
    rows = f"SELECT unnest({quoted(IMAGES)}) AS digest, {key} AS id FROM {parquet(artifact.parquet_files())}"
    sql = f"SELECT DISTINCT digest, id FROM ({rows}) WHERE digest >= {low} AND digest < {high} ORDER BY digest, id"
    with connection(compute) as opened:
        return [(str(digest), str(row_id)) for digest, row_id in fetched(opened, sql, artifact)]
