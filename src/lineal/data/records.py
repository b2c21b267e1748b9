"""`records/`: what git keeps of every artifact that `dvc.lock` records, wherever its bytes are.

    records/P/round_02/checkpoint@1a2b3c4d5e6f/   the key, and the beginning of the MD5 in dvc.lock
        directory.json    DVC's list of its files; this MD5 is the list's
        manifest.json     and metrics.json, curve.json, settings.json of evaluations and controllers, byte for byte
        cost.jsonl        what making it took, of the identity

The MD5 in the name keeps branches apart: two records of one key are two directories, and a merge joins them without a conflict.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lineal.data.file_names import CURVE_FILE, DETAILS_FILE, METRICS_FILE, SETTINGS_FILE
from lineal.data.manifest import MANIFEST
from lineal.data.store import Artifact, open_artifact
from lineal.errors import ArtifactError
from lineal.recipe.project import Project

RECORDS = "records"
LISTING = "directory.json"
COST = "cost.jsonl"
KEPT = (MANIFEST, METRICS_FILE, DETAILS_FILE, CURVE_FILE, SETTINGS_FILE)
"""The files of an artifact that its record repeats: small ones that say what it is and what it measured."""
_LETTERS = 12


def record_directory(root: Path, key: str, md5: str) -> Path:
    """Returns the directory of the record of the artifact whose directory has this MD5."""
    return root / RECORDS / f"{key}@{md5[:_LETTERS]}"


def records_of(root: Path, key: str) -> list[Path]:
    """Returns every record of a key, including those of other branches and of earlier contents."""
    place = root / RECORDS / key
    return sorted(
        path
        for path in place.parent.glob(f"{place.name}@*")
        if len(path.name) == len(place.name) + 1 + _LETTERS
    )


def open_known(project: Project, key: str) -> Artifact:
    """Opens an artifact from its directory, or from its record where it has none here.

    Raises:
        ArtifactError: neither is there, or what is there is not what it says.
    """
    md5 = project.recorded.get(key)
    if md5 is None or lies_here(project, key):
        return open_artifact(key, project.directory(key))
    record = record_directory(project.root, key, md5)
    if not record.is_dir():
        return open_artifact(key, project.directory(key))
    _require_own(record, key, md5)
    return Artifact(key, record, open_artifact(key, record).manifest, here=False)


def is_known(project: Project, key: str) -> bool:
    """Tells whether an artifact is here, or has a record here."""
    md5 = project.recorded.get(key)
    return lies_here(project, key) or (md5 is not None and record_directory(project.root, key, md5).is_dir())


def known_artifact(project: Project, key: str) -> Artifact | None:
    """Returns an artifact from its directory or record; None where that is damaged, or where only some of its files are here."""
    if project.directory(key).exists() and not lies_here(project, key):
        return None
    try:
        return open_known(project, key) if is_known(project, key) else None
    except ArtifactError:
        return None


def lies_here(project: Project, key: str) -> bool:
    """Tells whether an artifact's own manifest is here."""
    return (project.directory(key) / MANIFEST).exists()


def _require_own(record: Path, key: str, md5: str) -> None:
    """Refuses a record that does not belong to the directory that `dvc.lock` records."""
    try:
        listing = (record / LISTING).read_bytes()
        told = {entry["relpath"]: entry["md5"] for entry in json.loads(listing)}
        wrong = _md5(listing) + ".dir" != md5 or told.get(MANIFEST) != _md5((record / MANIFEST).read_bytes())
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArtifactError(
            f"{key}: its record {record} cannot be read ({error}). {_restore(record)}"
        ) from error
    if wrong:
        raise ArtifactError(
            f"{key}: its record {record} is not of the directory with MD5 {md5}. {_restore(record)}"
        )


def _restore(record: Path) -> str:
    return f"Restore it: git checkout HEAD -- {record.parent.parent.name}, or bring the artifact: dvc pull"


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def recorded_cost(project: Project, key: str) -> dict[str, Any]:
    """Returns the recorded cost of making an artifact; empty where it is not known."""
    md5 = project.recorded.get(key)
    path = None if md5 is None else record_directory(project.root, key, md5) / COST
    return next(_costs(path), {}) if path is not None else {}


def _costs(path: Path) -> Iterator[dict[str, Any]]:
    """Yields the complete lines; branches that made the same bytes have one each."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return
    for line in lines:
        try:
            found = json.loads(line)
        except ValueError:
            continue
        if isinstance(found, dict):
            yield found
