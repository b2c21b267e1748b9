"""Requests of steps to their machine: GPUs and memory, from a step's component and `compute.requests`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from lineal.components.trainers.base import Trainer
from lineal.errors import MachineError, did_you_mean, number_of
from lineal.plan import Plan, Step
from lineal.recipe.compute import CLUSTERS, Compute, ResourceRequest
from lineal.recipe.references import ArtifactKind
from lineal.step.gpus import VISIBLE, Gpu, hide_gpus, hold_gpus, pool_of, release_gpus
from lineal.step.sharing import sharing_of


@dataclass(frozen=True)
class StepResources:
    """A step's request, resolved.

    Attributes:
        gpus: how many GPUs of its own.
        or_none: whether it runs on the processor where there is no GPU at all.
        memory_bytes: main memory; None asks for none in particular.
    """

    gpus: int
    or_none: bool
    memory_bytes: int | None


def resources_of(plan: Plan, step: Step) -> StepResources:
    """Returns a step's request: that of `compute.requests`, otherwise a GPU for each process that loads its model.

    Raises:
        ProjectError: the configuration that `compute.accelerate` names doesn't say how many processes it starts.
    """
    compute = plan.project.params.compute
    matching = [request for glob, request in compute.requests.items() if fnmatchcase(step.key, glob)]
    own = matching[-1] if matching else ResourceRequest()
    if own.gpus is not None:
        return StepResources(own.gpus, False, own.memory)
    wants = step.component.loads_model and compute.device in ("auto", "cuda")
    return StepResources(_model_processes(plan, step) if wants else 0, compute.device == "auto", own.memory)


def _model_processes(plan: Plan, step: Step) -> int:
    compute, component = plan.project.params.compute, step.component
    if isinstance(component, Trainer):
        return (
            sharing_of(plan.project.root, compute).here if component.shares_training and compute.shared else 1
        )
    scoring = any(
        plan.output(key).kind is ArtifactKind.MODEL
        for field, (_, accepts) in component.references().items()
        if ArtifactKind.SERVED not in accepts.kinds
        for key in step.inputs.get(field, ())
    )
    elsewhere = (
        compute.engine == "openai" or compute.replicas
    )  # a server has GPUs of its own, and replicas reserve theirs
    if elsewhere or not drawn_from(plan, step):
        return int(scoring)
    return compute.vllm.tensor_parallel if compute.engine == "vllm" else 1


def drawn_from(plan: Plan, step: Step) -> list[str]:
    """Returns the checkpoints that a step samples from. Fields that take only checkpoints score or train with them."""
    return [
        key
        for field, (_, accepts) in step.component.references().items()
        if ArtifactKind.SERVED in accepts.kinds
        for key in step.inputs.get(field, ())
        if plan.output(key).kind is ArtifactKind.MODEL
    ]


def require_machine(plan: Plan, steps: Iterable[Step]) -> None:
    """Checks this machine against the requests of steps, before any of them runs. A cluster's machines are not known here.

    Raises:
        MachineError: it has too few GPUs or too little memory for one of them.
        DeclarationError: `compute.requests` names no step.
    """
    compute = plan.project.params.compute
    for glob in compute.requests:
        if not any(fnmatchcase(key, glob) for key in plan.steps):
            raise plan.project.document.error(
                ("compute", "requests", glob),
                f"no step of the active pipelines matches. {did_you_mean(glob, plan.steps)}",
            )
    if compute.executor in CLUSTERS:
        return
    asking = {step.key: resources_of(plan, step) for step in steps}
    pool = pool_of(compute) if any(asked.gpus for asked in asking.values()) else []
    for key, asked in asking.items():
        _require_room(compute, key, asked, pool)


def take_gpus(plan: Plan, step: Step, say: Callable[[str], None]) -> list[str]:
    """Gives this process the devices that its step requests, before it loads a model; waits while other steps hold the GPUs.

    Args:
        plan: the plan, with the execution settings.
        step: one of its steps.
        say: called when it has to wait.

    Returns:
        the GPUs' names.

    Raises:
        MachineError: the machine is too small for the step.
    """
    release_gpus()
    compute, asked = plan.project.params.compute, resources_of(plan, step)
    pool = pool_of(compute) if asked.gpus else []
    _require_room(compute, step.key, asked, pool)
    if pool:
        return hold_gpus(pool, asked.gpus, step.key, say)
    if (
        step.component.loads_model
        and compute.device == "auto"
        and (not asked.gpus or compute.gpus is not None)
    ):
        hide_gpus()
    return []


def _require_room(compute: Compute, key: str, asked: StepResources, pool: Sequence[Gpu]) -> None:
    if asked.gpus > len(pool) and (pool or not asked.or_none):
        raise MachineError(_too_few(compute, key, asked.gpus, pool))
    if asked.memory_bytes is not None:
        import psutil  # type: ignore[import-untyped]

        there = psutil.virtual_memory().total
        if asked.memory_bytes > there:
            raise MachineError(
                f"{key} asks for {asked.memory_bytes / 1e9:.1f} GB of memory, and this machine has {there / 1e9:.1f} GB. "
                "Lower memory in compute.requests (params.yaml), or run it on a larger machine"
            )


def _too_few(compute: Compute, key: str, count: int, pool: Sequence[Gpu]) -> str:
    if pool:
        where = f"there are {len(pool)} to share ({', '.join(gpu.name for gpu in pool)})"
        fix = "Lower gpus in compute.requests, or add to compute.gpus"
    elif compute.gpus is not None:
        where, fix = "compute.gpus is empty", "List some there, write gpus: auto, or device: cpu"
    else:
        where = f"there is none here (nvidia-smi shows none, or {VISIBLE} hides them)"
        fix = (
            "Write compute.device: auto or cpu, lower gpus in compute.requests, or run it where there is one"
        )
    return f"{key} asks for {number_of(count, 'GPU')}, and {where}. {fix} (params.yaml)"
