"""The processes that share a training, as `compute.accelerate` asks for them: read and checked before a model is loaded."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lineal.components.trainers.base import Trainer
from lineal.engines.training.processes import shared_batch
from lineal.engines.training.reporting import require_trackers
from lineal.errors import ProjectError
from lineal.plan import Plan, Step
from lineal.recipe.compute import Compute
from lineal.recipe.document import Document, read_document

SETTING = "compute.accelerate"
ONE_PROCESS = ("NO", "MULTI_CPU")
"""Types of which `accelerate launch` starts one process; it leaves those of the second to MPI."""


@dataclass(frozen=True)
class Sharing:
    """The number of processes that share a training.

    Attributes:
        processes: on all machines together.
        here: on this machine.
        config: accelerate's own configuration; None where a number was given.
        document: its content.
    """

    processes: int
    here: int
    config: Path | None = None
    document: Document | None = None


def require_trainings(plan: Plan, steps: Iterable[Step]) -> None:
    """Checks the requirements of trainings against installed packages and configuration, before any step runs.

    Raises:
        ProjectError: accelerate's configuration is missing or doesn't fit a training.
        EngineError: a tracker is not installed, or a training's batch cannot be dealt out among the processes.
    """
    compute = plan.project.params.compute
    for step in steps:
        if isinstance(step.component, Trainer):
            require_trackers(compute.report_to)
            if step.component.shares_training and compute.shared:
                require_sharing(plan.project.root, compute, step.component, step.key)


def require_sharing(project: Path, compute: Compute, trainer: Trainer, key: str) -> Sharing:
    """Returns the processes for a training, if it fits them.

    Raises:
        ProjectError: accelerate's configuration is missing, broken, or says another precision than the training.
        EngineError: the training's batch cannot be dealt out among the processes.
    """
    sharing = sharing_of(project, compute)
    if isinstance(trainer.batch_size, int) and isinstance(
        trainer.gradient_accumulation, int
    ):  # not given by a controller
        shared_batch(trainer.batch_size, trainer.gradient_accumulation, sharing.processes)
    if (document := sharing.document) is not None:
        mixed = document.value.get("mixed_precision", "no")
        if mixed not in ("no", trainer.precision):
            fix = "The method decides: write mixed_precision: 'no' there, or set precision on the trainer"
            raise _wrong(
                document,
                "mixed_precision",
                f"got {mixed!r} for {key}, whose precision is {trainer.precision}. {fix}",
            )
    return sharing


def sharing_of(project: Path, compute: Compute) -> Sharing:
    """Reads the number of processes from `compute.accelerate`.

    Raises:
        ProjectError: accelerate's configuration is missing, or doesn't say how many it starts.
    """
    asked = compute.accelerate
    if not isinstance(asked, str):
        return Sharing(asked or 1, asked or 1)
    config = project / asked
    if not config.is_file():
        fix = "Write it with: accelerate config --config_file PATH, or give a number of processes"
        raise ProjectError(f"params.yaml: {SETTING}: got {asked!r}, expected a file at {config}. {fix}")
    document = read_document(config, asked)
    if not isinstance(document.value, dict) or "distributed_type" not in document.value:
        raise _wrong(
            document,
            "distributed_type",
            "is missing. Write the file with: accelerate config --config_file PATH",
        )
    kind = document.value["distributed_type"]
    processes, machines = (_count(document, name) for name in ("num_processes", "num_machines"))
    if processes > 1 and kind in ONE_PROCESS:
        fix = f"Name MULTI_GPU (with use_cpu: true on a processor), FSDP or DEEPSPEED, or write {SETTING}: {processes}"
        raise _wrong(
            document, "distributed_type", f"got {kind!r} for {processes} processes, which starts one. {fix}"
        )
    if processes % machines:
        raise _wrong(
            document,
            "num_processes",
            f"got {processes} on {machines} machines, expected the same number on each",
        )
    return Sharing(processes, processes // machines, config, document)


def _count(document: Document, name: str) -> int:
    found: Any = document.value.get(name, 1 if name == "num_machines" else None)
    if not isinstance(found, int) or isinstance(found, bool) or found < 1:
        raise _wrong(document, name, f"got {found!r}, expected a whole number from 1")
    return found


def _wrong(document: Document, key: str, message: str) -> ProjectError:
    return ProjectError(f"{SETTING} (params.yaml): {document.error((key,), message)}")
