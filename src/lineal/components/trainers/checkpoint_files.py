"""The files that make a checkpoint loadable, and the check that they are whole."""

from __future__ import annotations

from pathlib import Path

from lineal.errors import EngineError

PATTERNS = ("*.safetensors", "*.safetensors.index.json", "*.json", "*.model", "*.txt", "*.jinja")
"""Weights as safetensors, configuration, tokenizer. Pickled weights (`*.bin`, `*.pt`) are never read."""


def require_whole(directory: Path) -> None:
    """Opens every weights file's header and compares its length with the file's.

    Raises:
        EngineError: no configuration, no safetensors, or a file that is cut short.
    """
    from safetensors import SafetensorError, safe_open

    weights = sorted(directory.glob("*.safetensors"))
    if (
        not any((directory / name).is_file() for name in ("config.json", "adapter_config.json"))
        or not weights
    ):
        found = (
            ", ".join(sorted(path.name for path in directory.iterdir()))
            if directory.is_dir()
            else "no directory"
        )
        raise EngineError(
            f"{directory} is no checkpoint: expected config.json (or adapter_config.json) and *.safetensors, got {found}"
        )
    for path in weights:
        try:
            with safe_open(path, framework="numpy") as tensors:
                tensors.keys()
        except (SafetensorError, OSError) as error:
            raise EngineError(f"{path} is half-written or damaged ({error}). Copy it again") from error
