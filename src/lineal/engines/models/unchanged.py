"""Checks that a training changed its weights at all: one that did not is no training, whatever its loss curve says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lineal.engines.models.checkpoints import is_adapter
from lineal.errors import EngineError

NEW_FACTOR = ".lora_B.weight"
"""Ends the name of a new adapter's weights that are all 0 until it learns."""


def unchanged(init: Path, output: Path, logs: Sequence[Mapping[str, float]]) -> bool:
    """Tells whether a written checkpoint still has the weights of its start, since every gradient was 0.

    Args:
        init: where it started.
        output: the written checkpoint.
        logs: the figures of its steps.

    Raises:
        EngineError: there were gradients, and yet no stored weight changed.
    """
    if not _is_unchanged(init, output):
        return False
    if any(log["grad_norm"] for log in logs):
        rate = max(log["learning_rate"] for log in logs)
        raise EngineError(
            f"training: {len(logs)} optimizer steps with a learning rate of up to {rate:g} changed no weight as the checkpoint "
            "stores it, expected a training that learns. Raise learning_rate or steps, or start from a checkpoint in fp32."
        )
    return True


def _is_unchanged(init: Path, output: Path) -> bool:
    new_adapter = is_adapter(output) and not is_adapter(init)
    compared = _new_factors(output) if new_adapter else _pairs(init, output)
    first = next(compared, None)
    return first is not None and _equal(first) and all(map(_equal, compared))


def _equal(pair: tuple[Any, Any]) -> bool:
    before, after = pair
    return before.dtype == after.dtype and before.shape == after.shape and bool((before == after).all())


def _pairs(init: Path, output: Path) -> Iterator[tuple[Any, Any]]:
    """Yields the weights that both checkpoints have, before and after."""
    from safetensors import safe_open

    before = _places(init)
    for name, path in _places(output).items():
        if name in before:
            with safe_open(before[name], framework="pt") as old, safe_open(path, framework="pt") as new:
                yield old.get_tensor(name), new.get_tensor(name)


def _new_factors(output: Path) -> Iterator[tuple[Any, Any]]:
    import torch
    from safetensors import safe_open

    for name, path in _places(output).items():
        if name.endswith(NEW_FACTOR):
            with safe_open(path, framework="pt") as new:
                weight = new.get_tensor(name)
            yield torch.zeros_like(weight), weight


def _places(checkpoint: Path) -> dict[str, Path]:
    """Returns by the name of a weight the file that holds it."""
    from safetensors import safe_open

    found = {}
    for path in sorted(checkpoint.glob("*.safetensors")):
        with safe_open(path, framework="pt") as weights:
            found.update(dict.fromkeys(weights.keys(), path))
    return found
