"""Reads what a checkpoint declares in its configuration files, without loading the model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lineal.engines.models.checkpoints import GENERATION_CONFIG


def config_of(checkpoint: Path, name: str = "config.json") -> dict[str, Any]:
    """Reads one of a checkpoint's configuration files; empty where it has none."""
    path = checkpoint / name
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return found


def declared_stops(checkpoint: Path) -> list[int]:
    """Returns the end tokens besides the tokenizer's eos: from the generation config, else from the model's config."""
    config = config_of(checkpoint, GENERATION_CONFIG) or config_of(checkpoint)
    declared = config.get("eos_token_id")
    return declared if isinstance(declared, list) else [] if declared is None else [declared]


def declared_positions(checkpoint: Path) -> int | None:
    """Returns how many tokens a full model can read; None where its config doesn't say."""
    found: int | None = _of_text(checkpoint).get("max_position_embeddings")
    return found


def declared_vocabulary(checkpoint: Path) -> int | None:
    """Returns how many token ids a full model has; None where its config doesn't say."""
    found: int | None = _of_text(checkpoint).get("vocab_size")
    return found


def _of_text(checkpoint: Path) -> dict[str, Any]:
    config = config_of(checkpoint)
    found: dict[str, Any] = config.get("text_config") or config
    return found
