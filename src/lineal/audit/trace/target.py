"""Resolves an id on the command line: an artifact, a row, a prompt, or bytes by their digest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from lineal.audit.catalog import Catalog
from lineal.audit.keys import NOTHING, nearest_key, not_here
from lineal.audit.query import connection, fetched
from lineal.audit.trace.pictured import prompt_with_picture
from lineal.audit.trace.row_location import id_column, ids_sql, sources
from lineal.data.sql import literal
from lineal.data.store import Artifact
from lineal.errors import UsageError
from lineal.recipe.compute import Compute

MOST_CANDIDATES = 8
SHORTEST_PREFIX = 3


class TargetKind(StrEnum):
    """The kind of thing that is traced."""

    ARTIFACT = "artifact"
    ROW = "row"


@dataclass(frozen=True)
class Target:
    """One thing to trace.

    Attributes:
        kind: what it is.
        name: an artifact's key, or a row's (or prompt's) id.
        held_in: keys of artifacts in which the row was met, if it was looked for.
    """

    kind: TargetKind
    name: str
    held_in: tuple[str, ...] = field(default=(), compare=False)


def find_target(catalog: Catalog, text: str, compute: Compute) -> Target:
    """Resolves `text`: an artifact's key, a row's id, a digest, or the only one of these that begins so.

    The digest of a picture stands for the prompt that shows it.

    Raises:
        UsageError: nothing, or several things, begin so; names them or the nearest.
        ArtifactError: rows cannot be read.
    """
    if text in catalog.artifacts:
        return Target(TargetKind.ARTIFACT, text)
    digests = _by_digest(catalog, text)
    ids = _ids(sources(catalog), text, compute) if len(text) >= SHORTEST_PREFIX else {}
    if text in ids:
        return Target(TargetKind.ROW, text, ids[text])
    if len(digests) == 1 and not ids:
        return Target(TargetKind.ARTIFACT, digests[0].key)
    if len(ids) == 1 and not digests:
        ((name, held_in),) = ids.items()
        return Target(TargetKind.ROW, name, held_in)
    if ids or digests:
        candidates = [*(f"{artifact.key} @{artifact.digest[:16]}" for artifact in digests), *ids]
        shown = ", ".join(candidates[:MOST_CANDIDATES]) + (
            ", ..." if len(candidates) > MOST_CANDIDATES else ""
        )
        raise UsageError(f"{text!r} is ambiguous; it begins {shown}. Give more letters")
    pictured = prompt_with_picture(catalog, text, compute) if len(text) >= SHORTEST_PREFIX else None
    if pictured is not None:
        return Target(TargetKind.ROW, *pictured)
    raise UsageError(_nothing(catalog, text, compute))


def find_prompt(catalog: Catalog, text: str, compute: Compute) -> Target:
    """Finds the prompt whose id `text` is, or the only one whose id begins so; else whatever `find_target` finds.

    Raises:
        UsageError: nothing, or several things, begin so.
        ArtifactError: rows cannot be read.
    """
    begun = [artifact for artifact in sources(catalog) if id_column(artifact) == "prompt_id"]
    ids = _ids(begun, text, compute) if len(text) >= SHORTEST_PREFIX else {}
    name = text if text in ids else next(iter(ids)) if len(ids) == 1 else None
    return find_target(catalog, text, compute) if name is None else Target(TargetKind.ROW, name, ids[name])


def _by_digest(catalog: Catalog, text: str) -> list[Artifact]:
    """Finds artifacts whose digest begins so; of those with equal bytes the first."""
    if len(text) < SHORTEST_PREFIX:
        return []
    found: dict[str, Artifact] = {}
    for artifact in catalog.artifacts.values():
        if artifact.digest.startswith(text):
            found.setdefault(artifact.digest, artifact)
    return list(found.values())


def _ids(begun: Sequence[Artifact], text: str, compute: Compute) -> Mapping[str, tuple[str, ...]]:
    """Finds some row ids that begin so, in order but the exact one first, each with the keys of artifacts where it begins."""
    low, high = literal(text), literal(text + chr(0x10FFFF))
    sql = f"""SELECT id, list(DISTINCT file ORDER BY file) FROM ids WHERE id >= {low} AND id < {high}
        GROUP BY id ORDER BY id <> {low}, id LIMIT {MOST_CANDIDATES + 1}"""
    owners = {str(path): one.key for one in begun for path in one.parquet_files()}
    found = _asked(begun, sql, compute)
    return {row_id: tuple(dict.fromkeys(owners[file] for file in files)) for row_id, files in found}


def _nothing(catalog: Catalog, text: str, compute: Compute) -> str:
    if text in catalog.unknown:
        return not_here(text)
    if "/" in text and catalog.artifacts:
        return f"no artifact or row {text!r}. {nearest_key(text, catalog.artifacts)}"
    if len(text) < SHORTEST_PREFIX:
        return f"{text!r} is too short: give a key, or at least {SHORTEST_PREFIX} letters of an id or digest"
    return f"no row, prompt, artifact or digest begins with {text!r}. {_nearest(catalog, text, compute)}"


def _nearest(catalog: Catalog, text: str, compute: Compute) -> str:
    """Finds the ids that begin most like it, among those that share one half: one wrong letter leaves a half right."""
    half = len(text) // 2
    first, second = literal(text[:half]), literal(text[half:])
    sql = f"""SELECT DISTINCT id FROM ids WHERE id[:{half}] = {first} OR contains(id[:{len(text) + 1}], {second})
        ORDER BY levenshtein(id[:{len(text)}], {literal(text)}), id LIMIT 3"""
    nearest = [row_id for (row_id,) in _asked(sources(catalog), sql, compute)]
    if nearest:
        return f"Nearest ids: {', '.join(nearest)}"
    return "No id is near it; lineal show KEY lists ids" if sources(catalog) else NOTHING


def _asked(begun: Sequence[Artifact], sql: str, compute: Compute) -> list[tuple[Any, ...]]:
    """Runs a query over `ids`: every row id of some artifacts, and the file where the row begins."""
    if not begun:
        return []
    with connection(compute) as opened:
        return fetched(opened, f"WITH ids AS ({ids_sql(begun)}) {sql}", begun)
