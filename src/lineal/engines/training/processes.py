"""The processes that share one training, as accelerate and torchrun start them."""

from __future__ import annotations

import os
from typing import Any

from lineal.errors import EngineError

SHARDED = ("FSDP", "DEEPSPEED")
"""accelerate's names of the ways in which each process holds a part of the weights."""


def process_count() -> int:
    """Returns how many processes share this training; 1 where none was launched."""
    return int(os.environ.get("WORLD_SIZE", "1")) if "LOCAL_RANK" in os.environ else 1


def process_index() -> int:
    """Returns this process's number among them, from 0."""
    return int(os.environ.get("RANK", "0")) if "LOCAL_RANK" in os.environ else 0


def is_main_process() -> bool:
    """Tells whether this process writes the training's results."""
    return process_index() == 0


def is_sharded(accelerator: Any) -> bool:
    """Tells whether each process of a training holds a part of the weights."""
    return accelerator.distributed_type.value in SHARDED


def use_own_device() -> None:
    """Makes `cuda` mean this process's own GPU, for whatever runs before the trainer takes it."""
    import torch

    if process_count() > 1 and torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))


def shared_batch(batch_size: int, accumulation: int, processes: int) -> tuple[int, int]:
    """Returns each process's batch size and accumulation, so that together they see the same examples in a step as one would.

    Args:
        batch_size: examples per forward pass of one process alone; no process gets more.
        accumulation: forward passes per step of one process alone.
        processes: how many there are.

    Raises:
        EngineError: the examples of a step cannot be dealt out evenly.
    """
    together = batch_size * accumulation
    if together % processes:
        raise EngineError(
            f"compute.accelerate: got {processes} processes for {together} examples per step (batch_size {batch_size} x "
            f"gradient_accumulation {accumulation}), expected a divisor of {together}. Choose another number of processes: "
            "the batch is the method's, so it does not change."
        )
    share = together // processes
    size = max(size for size in range(1, min(batch_size, share) + 1) if share % size == 0)
    return size, share // size
