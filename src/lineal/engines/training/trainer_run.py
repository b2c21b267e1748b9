"""The common part of TRL's trainers: arguments that make equal bytes, and the run that keeps each step's figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lineal.engines.models.checkpoints import quiet
from lineal.engines.models.sight import SHOWN
from lineal.engines.training.execution import ALONE, Execution
from lineal.engines.training.finite import require_finite_step
from lineal.engines.training.processes import process_count, shared_batch
from lineal.engines.training.saves import last_save, resuming, saver, step_of

if TYPE_CHECKING:
    from lineal.engines.models.sight import Sight
    from lineal.engines.training.settings import TrainingSettings

FIXED_ARGUMENTS: dict[str, Any] = {
    "max_length": None,
    "dataloader_num_workers": 0,
    "dataloader_pin_memory": False,
    "save_strategy": "no",
    "disable_tqdm": True,
    "optim": "adamw_torch_fused",
    "logging_strategy": "steps",
    "logging_steps": 1,
    "logging_nan_inf_filter": False,  # else a loss of nan is shown as 0
}
Progress = Callable[[int, int, dict[str, float]], None]


def trainer_arguments(
    settings: TrainingSettings, scratch: Path, execution: Execution = ALONE
) -> dict[str, Any]:
    """Makes the arguments for any of TRL's configurations.

    Args:
        settings: what decides the bytes.
        scratch: the output directory, where only checkpoints inside the step are written.
        execution: what does not decide the bytes.

    Raises:
        EngineError: the batch cannot be shared evenly among the processes.
    """
    batch_size, accumulation = shared_batch(
        settings.batch_size, settings.gradient_accumulation, process_count()
    )
    return {
        **FIXED_ARGUMENTS,
        "output_dir": str(scratch),
        "max_steps": -1 if settings.steps is None else settings.steps,
        "num_train_epochs": 1.0 if settings.epochs is None else settings.epochs,
        "per_device_train_batch_size": batch_size,
        "gradient_accumulation_steps": accumulation,
        "learning_rate": settings.learning_rate,
        "lr_scheduler_type": settings.schedule,
        "weight_decay": settings.weight_decay,
        "adam_beta2": settings.beta2,
        "max_grad_norm": settings.max_grad_norm,
        "seed": settings.seed,
        "bf16": settings.precision == "bf16",
        "use_cpu": execution.on_cpu,
        "activation_checkpointing": execution.recompute_activations,
        "report_to": list(execution.report_to) or "none",
        "run_name": execution.run_name or None,
    }


Collator = Callable[[list[dict[str, Any]]], dict[str, Any]]


def with_numbers(collate: Collator, columns: Sequence[str]) -> Collator:
    """Extends a collator of TRL's to pass columns of numbers on, each a tensor (batch,)."""
    import torch

    def collated(examples: list[dict[str, Any]]) -> dict[str, Any]:
        bare = [
            {name: value for name, value in example.items() if name not in columns} for example in examples
        ]
        return collate(bare) | {
            name: torch.tensor([example[name] for example in examples]) for name in columns
        }

    return collated


def with_pictures(collate: Collator, sight: Sight, copies: int = 1) -> Collator:
    """Extends a collator of TRL's to show the pictures that the examples name.

    Args:
        collate: makes a batch of examples that name none.
        sight: what shows them.
        copies: how often the batch holds the examples, one copy below the other; 2 for pairs.
    """

    def collated(examples: list[dict[str, Any]]) -> dict[str, Any]:
        bare = [{name: value for name, value in example.items() if name != SHOWN} for example in examples]
        return collate(bare) | sight.pixels([tuple(example[SHOWN]) for example in examples] * copies)

    return collated


def run_trainer(
    trainer: Any, progress: Progress | None, execution: Execution
) -> tuple[list[dict[str, float]], int]:
    """Trains to the end, from the last save where there is one.

    Returns:
        each step's figures (`loss`, `learning_rate`, `num_tokens` so far, ...), in order, those before the save included,
        and the step of that save, 0 where there was none.

    Raises:
        EngineError: the training diverged.
    """
    from transformers import PrinterCallback, TrainerCallback

    class Reporter(TrainerCallback):
        """Checks each step's figures, before the step is saved, and passes them on."""

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            if not logs or "loss" not in logs:
                return
            require_finite_step(state.global_step, state.max_steps, logs)
            if progress is not None:
                progress(state.global_step, state.max_steps, dict(logs))

    trainer.remove_callback(PrinterCallback)  # it prints every log to stdout
    trainer.add_callback(Reporter())
    found = None
    if execution.saves is not None:
        trainer.add_callback(saver(trainer, execution))
        with trainer.accelerator.main_process_first():
            found = last_save(execution.saves, execution.on_cpu, trainer.accelerator.num_processes)
    with quiet(), resuming(found):
        trainer.train(resume_from_checkpoint=None if found is None else str(found))
    logs = [
        {name: value for name, value in log.items() if name != "step"}
        for log in trainer.state.log_history
        if "loss" in log
    ]
    return logs, 0 if found is None else step_of(found)
