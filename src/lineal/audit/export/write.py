"""`lineal export`: an artifact as a directory that other programs load without lineal."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

from lineal.audit.catalog import Catalog
from lineal.audit.export.cards import dataset_card, description_of, model_card
from lineal.audit.export.croissant import croissant
from lineal.audit.export.embedding import EMBEDDED, write_embedded
from lineal.audit.export.provenance import Provenance, provenance_of
from lineal.audit.keys import require_here
from lineal.audit.media import media_of, pictures_of
from lineal.audit.verify import require_whole
from lineal.data.atomic_directory import new_directory, require_room
from lineal.data.manifest import MANIFEST, list_files
from lineal.data.media import IMAGES, Pictures
from lineal.data.store import Artifact
from lineal.errors import ProjectError, UsageError
from lineal.recipe.project import Project
from lineal.recipe.references import ArtifactKind

CARD = "README.md"
CROISSANT = "croissant.json"


def export_artifact(project: Project, catalog: Catalog, artifact: Artifact, target: Path) -> None:
    """Writes rows with a dataset card and Croissant metadata, or a checkpoint with a model card.

    The same artifacts give the same bytes. It is verified first, byte by byte, as are the evaluations on its card.

    Raises:
        UsageError: the artifact holds neither rows nor a model, or the target is not empty.
        ArtifactError: it is not here, or one of them is not what its manifest, its place or `dvc.lock` says.
        ProjectError: the target cannot be written.
    """
    require_here(artifact)
    is_model = artifact.manifest.kind is ArtifactKind.MODEL
    if not is_model and not artifact.parquet_files():
        raise UsageError(
            f"{artifact.key} holds {artifact.manifest.kind}, and only rows and models can be exported. "
            f"See it: lineal show {artifact.key} --json"
        )
    require_room(target)
    told, media = provenance_of(project, catalog, artifact), media_of(catalog, artifact)
    require_whole(project, [artifact, *media, *(evaluation.artifact for evaluation in told.evaluations)])
    try:
        with new_directory(target, last=CARD) as building:
            if is_model:
                _write_model(told, building)
            else:
                _write_rows(
                    told,
                    building,
                    pictures_of(catalog, artifact) if IMAGES in artifact.manifest.columns else None,
                )
            artifact.manifest.write(building)
    except OSError as error:
        raise ProjectError(
            f"{target} cannot be written: {error}. Choose a directory that you may write"
        ) from error


def _write_rows(told: Provenance, root: Path, pictures: Pictures | None) -> None:
    (root / "data").mkdir()
    for path in told.artifact.parquet_files() if pictures is None else ():
        shutil.copyfile(path, root / "data" / path.name)
    if pictures is not None:
        write_embedded(told.artifact, pictures, root / "data")
    paper = told.header.paper if told.header else None
    text = json.dumps(
        croissant(_as_written(told.artifact, root / "data"), description_of(told), paper), indent=2
    )
    (root / CROISSANT).write_text(text + "\n", encoding="utf-8")
    (root / CARD).write_text(dataset_card(told), encoding="utf-8")


def _as_written(artifact: Artifact, data: Path) -> Artifact:
    """Returns the artifact as its rows were written: those with pictures have other files than it."""
    if IMAGES not in artifact.manifest.columns:
        return artifact
    rows = {path.name: artifact.manifest.files[path.name].rows or 0 for path in artifact.parquet_files()}
    columns = {**artifact.manifest.columns, IMAGES: EMBEDDED}
    return replace(
        artifact,
        manifest=artifact.manifest.model_copy(update={"files": list_files(data, rows), "columns": columns}),
    )


def _write_model(told: Provenance, root: Path) -> None:
    for name in told.artifact.manifest.files:
        if name != MANIFEST:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(told.artifact.directory / name, root / name)
    (root / CARD).write_text(model_card(told), encoding="utf-8")
