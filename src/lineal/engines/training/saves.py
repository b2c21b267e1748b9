"""Checkpoints inside a training: a killed one continues from the last and ends with the bytes of an undisturbed one.

    .checkpoint.partial/training/
        made_with          what could make other bytes of the same training: device, processes, package versions
        checkpoint-120/    being written, as transformers names it
        whole-80/          renamed when all its files are on the disk; the newest is continued

docs/decisions/0013-checkpoints-inside-a-training.md says what is in them and why that is no pickle of ours.
"""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lineal.data.workspace import sync_directory

if TYPE_CHECKING:
    from lineal.engines.training.execution import Execution

WHOLE = "whole-"
PACKAGES = ("torch", "transformers", "trl", "accelerate")
COST = 20
"""A save that takes s seconds is followed by 20 s seconds of training at least: saving takes 5% of the time at most."""


def last_save(directory: Path, on_cpu: bool, processes: int) -> Path | None:
    """Returns the newest whole checkpoint in a directory; those of another device, process count or package version are deleted.

    The main process calls it before the others, for which nothing is left to delete.
    """
    made_with = {"device": "cpu" if on_cpu else "cuda", "processes": processes}
    text = json.dumps(made_with | {name: version(name) for name in PACKAGES}, sort_keys=True)
    stamp = directory / "made_with"
    if not stamp.exists() or stamp.read_text(encoding="utf-8") != text:
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        stamp.write_text(text, encoding="utf-8")
    for half in directory.glob("checkpoint-*"):
        shutil.rmtree(half)
    return max(directory.glob(f"{WHOLE}*"), key=step_of, default=None)


def saver(trainer: Any, execution: Execution) -> Any:
    """Makes a callback that saves every `save_seconds`, and restores on a resumed trainer what transformers does not."""
    from transformers import TrainerCallback

    class Saver(TrainerCallback):
        """Decides when to save, and gives a save its name when it is whole."""

        def __init__(self) -> None:
            self._wait = execution.save_seconds
            self._last = time.monotonic()

        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.log_history:  # TRL counts tokens from 0 in every process
                trainer._total_train_tokens = int(state.log_history[-1]["num_tokens"])

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            now = time.monotonic()
            if state.global_step < state.max_steps and _agreed(trainer, now - self._last >= self._wait):
                self._last = now
                control.should_save = True

        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            trainer.accelerator.wait_for_everyone()
            if trainer.accelerator.is_main_process:
                _name(Path(args.output_dir), state.global_step)
            now = time.monotonic()
            self._wait = execution.save_seconds and max(execution.save_seconds, COST * (now - self._last))
            self._last = now

    return Saver()


@contextmanager
def resuming(save: Path | None) -> Iterator[None]:
    """Keeps transformers from warning that a save lacks the weights that are tied to others, which it never writes."""
    logger = logging.getLogger("transformers.trainer")
    level = logger.level
    if save is not None:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _agreed(trainer: Any, due: bool) -> bool:
    """Returns the main process's answer: clocks differ, and all processes must save at the same step."""
    if trainer.accelerator.num_processes == 1:
        return due
    import torch

    answer = torch.tensor(int(due), device=trainer.accelerator.device)
    torch.distributed.broadcast(answer, src=0)
    return bool(answer.item())


def _name(directory: Path, step: int) -> None:
    written = directory / f"checkpoint-{step}"
    (written / "training_args.bin").unlink(missing_ok=True)  # the one full pickle in it; nothing reads it
    sync_directory(written)
    written.rename(directory / f"{WHOLE}{step}")
    for older in directory.glob(f"{WHOLE}*"):
        if step_of(older) < step:
            shutil.rmtree(older)


def step_of(save: Path) -> int:
    """Returns the step after which a whole checkpoint was saved."""
    return int(save.name.removeprefix(WHOLE))
