"""The JSON files of artifacts (`metrics.json`, `settings.json`): one object each, read with care, since people may edit them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lineal.errors import ArtifactError


def read_object(path: Path) -> dict[str, Any]:
    """Reads the values of a JSON file by name.

    Raises:
        ArtifactError: it is missing, is not JSON or holds something else.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ArtifactError(f"{path} cannot be read ({error}). Delete {path.parent} and run again") from error
    if not isinstance(found, dict):
        raise ArtifactError(
            f"{path} holds {found!r:.80}, expected values by name. Delete {path.parent} and run again"
        )
    return found
