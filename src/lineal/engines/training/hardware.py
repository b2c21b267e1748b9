"""Hardware that a training needs, checked before a model is loaded."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from lineal.engines.training.processes import SHARDED, process_count
from lineal.errors import EngineError

if TYPE_CHECKING:
    from lineal.engines.training.execution import Execution
    from lineal.engines.training.settings import LoraSettings, TrainingSettings

GIB = 2**30
FP32, ADAM = 4, 8  # bytes of a weight or a gradient, and of Adam's two moments
BF16_COPY = 2  # what autocast keeps of a weight that learns
NF4 = (
    0.5 + 4.127 / 32
)  # a weight in 4 bits and its share of the doubly quantized scales (arXiv:2305.14314, section 3)
NOT_QUANTIZED = ("embed", "lm_head", "wte", "wpe")
"""In names of weights that stay in fp32 under a 4-bit base, and that adapters on all linear layers leave out."""


@dataclass(frozen=True)
class TrainingMemory:
    """Bytes that a training holds from its first to its last step; activations come on top."""

    weights: int
    gradients: int
    optimizer: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.weights + self.gradients + self.optimizer


def training_memory(shapes: dict[str, tuple[int, ...]], settings: TrainingSettings) -> TrainingMemory:
    """Returns the memory for training a model with weights of these shapes, by name of the weight."""
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    copy = BF16_COPY if settings.precision == "bf16" else 0
    if settings.lora is None:
        learning, frozen = sum(sizes.values()), 0.0
    else:
        learning = sum(settings.lora.rank * sum(shapes[name]) for name in _adapted(shapes, settings.lora))
        small = set(_linear(shapes)) if settings.lora.quantize else set()
        frozen = sum(size * (NF4 if name in small else FP32) for name, size in sizes.items())
    return TrainingMemory(int(frozen) + learning * (FP32 + copy), learning * FP32, learning * ADAM)


def require_hardware(weights: Path, settings: TrainingSettings, execution: Execution) -> None:
    """Checks that this machine can train the full model in the directory `weights`.

    Raises:
        EngineError: bf16, 4-bit weights or memory that the GPU does not have, or more GPUs than processes.
    """
    import torch

    if settings.lora is not None and settings.lora.quantize:
        _require_quantization(execution)
    if execution.on_cpu:
        if execution.device.startswith("cuda"):
            raise EngineError(
                f"compute.device: got {execution.device!r}, expected a GPU that torch sees; it sees none. Set device: auto or cpu"
            )
        return
    if settings.precision == "bf16" and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise EngineError(
            f"precision: got 'bf16' on {torch.cuda.get_device_name()}, which computes in bf16 by emulation at best, "
            "expected an Ampere GPU or newer. Set precision: fp32 on the trainer, or compute.device: cpu"
        )
    if torch.cuda.device_count() > 1 and process_count() == 1:
        raise EngineError(
            f"compute.accelerate: got none with {torch.cuda.device_count()} GPUs visible, expected a process for each. "
            f"Set compute.accelerate: {torch.cuda.device_count()}, or let the step ask for one GPU (compute.requests)"
        )
    if not any(os.environ.get(f"ACCELERATE_USE_{sharding}") == "true" for sharding in SHARDED):
        free, _ = torch.cuda.mem_get_info(int(os.environ.get("LOCAL_RANK", "0")))
        require_memory(weights, training_memory(dict(weight_shapes(weights)), settings), free)


def require_memory(weights: Path, needed: TrainingMemory, free: int) -> None:
    """Compares the memory that a training needs with the free bytes of the device.

    Raises:
        EngineError: it needs more; says how much, and which settings change it.
    """
    if needed.total > free:
        raise EngineError(
            f"{weights}: got {free / GIB:.1f} GiB free on the GPU, expected at least {needed.total / GIB:.1f} GiB to train it: "
            f"{needed.weights / GIB:.1f} for weights, {needed.gradients / GIB:.1f} for gradients, "
            f"{needed.optimizer / GIB:.1f} for Adam, and activations on top. Set lora on the trainer, lora.quantize: 4bit, "
            "or share the weights among GPUs by compute.accelerate with an FSDP configuration"
        )


def weight_shapes(checkpoint: Path) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Reads the names and shapes of a checkpoint's weights from the files' headers."""
    from safetensors import safe_open

    for path in sorted(checkpoint.glob("*.safetensors")):
        with safe_open(path, framework="numpy") as tensors:
            for name in tensors.keys():  # noqa: SIM118 - not a dict
                yield name, tuple(tensors.get_slice(name).get_shape())


def _linear(shapes: dict[str, tuple[int, ...]]) -> list[str]:
    return [
        name
        for name, shape in shapes.items()
        if len(shape) == 2 and not any(part in name for part in NOT_QUANTIZED)
    ]


def _adapted(shapes: dict[str, tuple[int, ...]], lora: LoraSettings) -> list[str]:
    if isinstance(lora.target_modules, str):
        return _linear(shapes)
    return [name for name in shapes if name.removesuffix(".weight").rpartition(".")[2] in lora.target_modules]


def _require_quantization(execution: Execution) -> None:
    if execution.on_cpu:
        raise EngineError(
            "lora.quantize: got '4bit' without a GPU, expected one. Remove quantize, or run the step on a GPU"
        )
    if find_spec("bitsandbytes") is None:
        raise EngineError(
            "lora.quantize: 4bit needs the package bitsandbytes, which is not installed. Run: pip install 'lineal[qlora]'"
        )
