"""A model that only a server has: one small file names it, and stands for its weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FILE = "served.json"


@dataclass(frozen=True)
class Served:
    """The known facts that decide the answers of a served model.

    Attributes:
        name: the model.
        revision: its revision, in its provider's words.
        system: the system prompt of chats.
        parameters: what every request holds besides lineal's own keys.
    """

    name: str
    revision: str
    system: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)


def write_served(directory: Path, served: Served) -> None:
    """Writes `served.json`; equal models give equal bytes."""
    text = json.dumps(served.__dict__, indent=2, sort_keys=True, ensure_ascii=False)
    (directory / FILE).write_text(text + "\n", encoding="utf-8")


def read_served(directory: Path) -> Served:
    """Reads what `write_served` wrote; the artifact's digests were checked when the step opened it."""
    return Served(**json.loads((directory / FILE).read_text(encoding="utf-8")))
