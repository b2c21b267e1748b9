"""Checks that a LoRA adapter fits on a base, by the shapes of both, before either is loaded."""

from __future__ import annotations

from pathlib import Path

from lineal.engines.models.checkpoints import ADAPTER_WEIGHTS
from lineal.errors import EngineError

_PREFIX = "base_model.model."
_OUTER = {".lora_A.weight": 1, ".lora_B.weight": 0}
"""The dimension of a factor that is a width of the base's layer: the factors are (rank, in) and (out, rank)."""


def require_fit(adapter: Path, base: Path) -> None:
    """Checks that the adapter's factors have the widths of the base's layers.

    A layer that the base's files name differently, or hold quantized, is left to the engine.

    Raises:
        EngineError: the adapter was made for another base.
    """
    layers = _shapes(base, "*.safetensors")
    for name, shape in _shapes(adapter, ADAPTER_WEIGHTS).items():
        factor = next((ending for ending in _OUTER if name.endswith(ending)), None)
        if factor is None:
            continue
        layer = layers.get(name.removeprefix(_PREFIX).removesuffix(factor) + ".weight")
        if layer is not None and shape[_OUTER[factor]] not in layer:
            raise EngineError(
                f"{adapter}: the adapter does not fit its base {base}: {name} is {shape}, the base's layer {layer}. "
                "Expected the base it was trained on. Pass that one."
            )


def _shapes(directory: Path, pattern: str) -> dict[str, list[int]]:
    """Returns by name the shapes of a directory's unquantized tensors."""
    from safetensors import SafetensorError, safe_open

    found = {}
    try:
        for path in sorted(directory.glob(pattern)):
            with safe_open(str(path), framework="pt") as file:
                slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
                found.update(
                    {
                        name: one.get_shape()
                        for name, one in slices.items()
                        if one.get_dtype() in ("F32", "F16", "BF16")
                    }
                )
    except (OSError, SafetensorError) as error:
        raise EngineError(
            f"{directory}: {pattern} cannot be read: {error}. Restore it: dvc checkout"
        ) from error
    return found
