"""`accepted.json`: older component versions whose artifacts count as up to date. Written by `lineal accept`, and committed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from lineal.errors import ProjectError
from lineal.recipe.retraction_files import replace_text

ACCEPTED = "accepted.json"
Accepted = Mapping[str, Mapping[int, str]]
"""By component and older version, the reason for accepting it."""
_READ = TypeAdapter(dict[str, dict[int, str]])


def read_accepted(root: Path) -> Accepted:
    """Reads what a project accepts; nothing where it has no such file.

    Raises:
        ProjectError: the file is not as `lineal accept` writes it.
    """
    path = root / ACCEPTED
    try:
        return _READ.validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (ValidationError, UnicodeDecodeError) as error:
        raise ProjectError(
            f"{path}: expected, by component and version, a reason, as lineal accept writes it. "
            f"Restore it: git checkout HEAD -- {ACCEPTED}"
        ) from error


def accept(root: Path, component: str, version: int, reason: str) -> None:
    """Adds a version to those that a project accepts."""
    before = read_accepted(root)
    accepted = {name: dict(versions) for name, versions in before.items()}
    accepted.setdefault(component, {})[version] = reason
    replace_text(root / ACCEPTED, json.dumps(accepted, indent=2, sort_keys=True, ensure_ascii=False) + "\n")
