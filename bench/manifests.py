"""Manifests of the artifacts that benchmarks write themselves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from lineal.data.manifest import FileEntry, Manifest, content_digest
from lineal.recipe.references import ArtifactKind


def manifest_of(
    step: str,
    kind: ArtifactKind,
    files: Mapping[str, FileEntry],
    columns: Iterable[str] = (),
    output: str = "",
) -> Manifest:
    """Makes the manifest of some files; its columns are texts."""
    return Manifest(
        step=step,
        output=output,
        kind=kind,
        component="bench",
        version=1,
        identity="",
        settings={},
        seed=0,
        inputs={},
        files_read={},
        counts={},
        columns=dict.fromkeys(columns, "string"),
        files=dict(files),
        digest=content_digest(dict(files)),
    )
