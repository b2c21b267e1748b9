"""Values that controllers and evaluators write for other steps to use."""

from __future__ import annotations

from typing import Any

from lineal.components.base import Workspace
from lineal.data.file_names import METRICS_FILE, SETTINGS_FILE
from lineal.data.ids import canonical_json
from lineal.data.store import Artifact
from lineal.data.values import read_object


def values_of(artifact: Artifact) -> dict[str, Any]:
    """Reads the values of a controller's `settings.json` or an evaluator's `metrics.json`.

    Raises:
        ArtifactError: the file is not JSON values by name.
    """
    found: dict[str, Any] = {}
    for file in (SETTINGS_FILE, METRICS_FILE):
        path = artifact.directory / file
        if path.exists():
            found.update(read_object(path))
    return found


def write_settings(workspace: Workspace, values: dict[str, Any]) -> None:
    """Writes the step's main output: settings for later steps to take."""
    (workspace.directory() / SETTINGS_FILE).write_text(canonical_json(values) + "\n", encoding="utf-8")
