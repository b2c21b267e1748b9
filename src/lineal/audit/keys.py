"""Artifact keys as people type them: in full, by their beginning, or misspelt."""

from __future__ import annotations

from collections.abc import Collection

from lineal.audit.catalog import Catalog, pipeline_of
from lineal.data.manifest import MANIFEST
from lineal.data.store import Artifact, open_artifact
from lineal.errors import ArtifactError, LinealError, UsageError, did_you_mean
from lineal.plan import Plan, make_plan
from lineal.recipe.project import Project

NOTHING = (
    "Nothing is made or pulled here. Make it: lineal run, or bring what dvc.lock records: lineal run --pull"
)


def find_artifact(project: Project, catalog: Catalog, key: str) -> Artifact:
    """Finds the artifact with this key, or with the only key that begins so.

    Raises:
        UsageError: no artifact and no step has such a key, or several keys begin so.
        ArtifactError: the artifact is planned but not made, or is damaged.
    """
    key = key.strip("/")
    if key in catalog.artifacts:
        return catalog.artifacts[key]
    planned = _planned(project, key)
    if key in catalog.unknown:
        raise ArtifactError(not_here(key))
    if key in planned or (project.directory(key) / MANIFEST).is_file():
        return open_artifact(key, project.directory(key))
    starting = [known for known in catalog.artifacts if known.startswith(key)] if key else []
    if len(starting) == 1:
        return catalog.artifacts[starting[0]]
    if starting:
        raise UsageError(
            f"{key!r} begins the keys of {len(starting)} artifacts: {_some(starting)}. Write one in full"
        )
    raise UsageError(f"no artifact {key!r}. {nearest_key(key, {*catalog.artifacts, *planned})}")


def not_here(key: str) -> str:
    """Explains that an artifact is recorded in `dvc.lock` and its bytes are elsewhere."""
    return f"{key} is recorded, but not here. Bring it: lineal run --pull {key}"


def require_here(artifact: Artifact) -> Artifact:
    """Returns the artifact if its bytes are here.

    Raises:
        ArtifactError: only its record is.
    """
    if not artifact.here:
        raise ArtifactError(not_here(artifact.key))
    return artifact


def nearest_key(key: str, known: Collection[str]) -> str:
    """Writes a sentence that helps with an unknown key: the nearest known one, or the pipelines that have artifacts."""
    if not known:
        return NOTHING
    hint = did_you_mean(key, known)
    names = ", ".join(sorted({pipeline_of(one) for one in known}))
    return hint if hint.startswith("Did") else f"There are artifacts of {names}; lineal plan lists their keys"


def _planned(project: Project, key: str) -> set[str]:
    """Returns the keys that the key's own pipeline (else the active ones) would make; none where it cannot be planned."""
    pipeline = key.partition("/")[0]
    try:
        plan: Plan = make_plan(project, [pipeline] if pipeline in project.pipeline_names() else None)
    except LinealError:
        return set()
    return set(plan.makers)


def _some(keys: list[str], most: int = 8) -> str:
    return ", ".join(keys[:most]) + (f" and {len(keys) - most} more" if len(keys) > most else "")
