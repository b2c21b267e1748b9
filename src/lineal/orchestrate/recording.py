"""Writes `records/`: what git keeps of artifacts, so that a clone and a pruned project still know what was made."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from lineal.data.digests import Digests
from lineal.data.manifest import MANIFEST
from lineal.data.records import COST, KEPT, LISTING, RECORDS, record_directory, records_of
from lineal.data.store import open_artifact
from lineal.errors import ArtifactError
from lineal.orchestrate.dvc_lock import locked_artifacts
from lineal.orchestrate.dvc_record import DvcRecord
from lineal.recipe.project import Project
from lineal.step.runlog import cost_of

ATTRIBUTES = f"{COST} merge=union\n"
"""For git: of branches that made the same bytes, both costs stay."""


def with_records(project: Project) -> Project:
    """Returns the project with the records of `dvc.lock`, so that `open_known` finds artifacts that are not here.

    Raises:
        ProjectError: `dvc.lock` is not as DVC writes it.
    """
    return replace(project, recorded=locked_artifacts(project.root))


def write_records(project: Project, recorded: Mapping[str, str]) -> int:
    """Writes missing records of artifacts that are here; those of the same keys' earlier contents are removed.

    Args:
        project: the project.
        recorded: by artifact key, the MD5 of its directory in `dvc.lock`.

    Returns:
        how many were written.
    """
    lacking = {
        key: md5 for key, md5 in recorded.items() if not record_directory(project.root, key, md5).exists()
    }
    lacking = {key: md5 for key, md5 in lacking.items() if (project.directory(key) / MANIFEST).is_file()}
    if not lacking:
        return 0
    places, digests = DvcRecord(project.root, lacking), Digests(project.runs)
    (project.root / RECORDS).mkdir(exist_ok=True)
    (project.root / RECORDS / ".gitattributes").write_text(ATTRIBUTES, encoding="utf-8")
    return sum(
        _written(project, key, md5, places.listing_text(md5, project.directory(key), digests))
        for key, md5 in lacking.items()
    )


def _written(project: Project, key: str, md5: str, listing: bytes | None) -> bool:
    """Writes one record; none where the artifact is missing, or no longer the one that `dvc.lock` records."""
    source, target = project.directory(key), record_directory(project.root, key, md5)
    if listing is None or not _lists(listing, source / MANIFEST):
        return False
    try:
        manifest = open_artifact(key, source).manifest
    except ArtifactError:
        return False
    building = target.with_name(f".{target.name}.{os.getpid()}")
    building.mkdir(parents=True, exist_ok=True)
    (building / LISTING).write_bytes(listing)
    for name in KEPT:
        if (source / name).is_file():
            shutil.copyfile(source / name, building / name)
    cost = {} if manifest.output else cost_of(project, key, manifest)
    if cost:
        (building / COST).write_text(json.dumps(cost, sort_keys=True) + "\n", encoding="utf-8")
    _put(building, target)
    for other in records_of(project.root, key):
        if other != target:
            shutil.rmtree(other, ignore_errors=True)
    return True


def _put(building: Path, target: Path) -> None:
    try:
        building.rename(target)
    except OSError:  # another process wrote the same record
        shutil.rmtree(building, ignore_errors=True)


def _lists(listing: bytes, manifest: Path) -> bool:
    """Tells whether a manifest is the one in DVC's list."""
    md5s = {entry["relpath"]: entry["md5"] for entry in json.loads(listing)}
    return bool(md5s.get(manifest.name) == Digests(fresh=True).of(manifest, "md5"))
