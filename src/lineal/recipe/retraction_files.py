"""Reads and writes `retractions.yaml`, which people edit too, and `retracted.json`, which only lineal writes."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from pathlib import Path

from pydantic import ValidationError

from lineal.errors import ProjectError, UsageError
from lineal.recipe.document import Document, declaration_error, parse_document, read_document
from lineal.recipe.references import NAME
from lineal.recipe.retractions import RETRACTED, RETRACTIONS, Resolution, Retraction, Retractions, of
from lineal.recipe.whole_files import write_whole

HEADER = """\
# Rows that nothing may be trained on any more, and why. `lineal retract` adds to it; commit it with retracted.json and dvc.yaml.
"""
NAME_WORDS = 4
"""Words of the reason that make a retraction's name."""


def read_retractions(root: Path) -> Retractions:
    """Reads a project's retractions; none when it has no such file.

    Raises:
        DeclarationError: `retractions.yaml` is wrong; names file, line and key.
        ProjectError: `retracted.json` is not what lineal writes.
    """
    path = root / RETRACTIONS
    if not path.exists():
        return Retractions()
    return parse_retractions(read_document(path, RETRACTIONS), _resolutions(root / RETRACTED))


def parse_retractions(document: Document, resolved: Mapping[str, Resolution]) -> Retractions:
    """Types a parsed `retractions.yaml`; see `read_retractions`."""
    if not isinstance(document.value, dict):
        raise document.error(
            (), "must hold a name for each retraction, and under it reason, date and where or ids"
        )
    declared = {}
    for name, value in document.value.items():
        if not NAME.match(name):
            raise document.error(
                (name,), f"{name!r} is no name for a retraction: lower-case letters, digits and '_'"
            )
        try:
            declared[name] = Retraction.model_validate(value)
        except ValidationError as error:
            raise declaration_error(document, (name,), error, Retraction) from error
    current = {
        name: one for name, one in resolved.items() if name in declared and one.of == of(declared[name])
    }
    return Retractions(declared, current, document)


def _resolutions(path: Path) -> dict[str, Resolution]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return {name: Resolution.model_validate(value) for name, value in values.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        why = str(error).splitlines()[0]
        raise ProjectError(
            f"{path} is not what lineal wrote ({why}). Restore it: git checkout {path.name}"
        ) from error


def with_entry(root: Path, name: str, entry: Retraction) -> str:
    """Adds a retraction to the text of `retractions.yaml`; the rest of the text stays unchanged.

    Raises:
        UsageError: it already has one of this name.
    """
    path = root / RETRACTIONS
    text = path.read_text(encoding="utf-8") if path.exists() else HEADER
    if name in parse_document(text, RETRACTIONS).value:
        raise UsageError(f"{RETRACTIONS} has a retraction {name!r} already. Choose another --name")
    lines = [f"  {key}: {json.dumps(value, ensure_ascii=False)}" for key, value in entry.as_yaml().items()]
    return "\n".join([text.rstrip("\n"), f"{name}:", *lines, ""])


def name_for(reason: str, taken: Collection[str]) -> str:
    """Makes an unused name for a retraction from the first words of its reason."""
    words = re.findall(r"[a-z][a-z0-9]*", reason.lower())[:NAME_WORDS]
    name = "_".join(words) or "retraction"
    numbered = (f"{name}_{number}" for number in range(2, len(taken) + 3))
    return name if name not in taken else next(one for one in numbered if one not in taken)


def write_resolutions(root: Path, resolved: Mapping[str, Resolution]) -> None:
    """Writes `retracted.json`; without retractions there is none."""
    path = root / RETRACTED
    if not resolved:
        path.unlink(missing_ok=True)
        return
    values = {name: one.model_dump(mode="json") for name, one in resolved.items()}
    replace_text(path, json.dumps(values, indent=2, ensure_ascii=False) + "\n")


def replace_text(path: Path, text: str) -> None:
    """Writes a file in one rename, if its text changes."""
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return
    write_whole(path, text)
