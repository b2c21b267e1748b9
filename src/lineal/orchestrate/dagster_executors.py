"""Executors: the one that `compute.executor` names, and each step's request as the tags that it reads."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, cast

import dagster as dg

from lineal.errors import MachineError
from lineal.plan import Plan, Step
from lineal.recipe.compute import Compute
from lineal.step.gpus import pool_of
from lineal.step.resources import StepResources, resources_of

GPUS = "lineal/gpus"
"""The tag with the number of GPUs that a step requests; steps without GPUs don't have it."""
WORKER_IMPORTS = (
    "lineal.orchestrate.dagster_definitions",
    "lineal.orchestrate.dagster_run",
    "lineal.orchestrate.dvc_repo",
)
"""Modules that the multiprocess executor's workers need: imported once, then forked."""


def executor_of(plan: Plan) -> dg.ExecutorDefinition:
    """Returns the executor that `compute.executor` names.

    Raises:
        MachineError: its package is not installed, or `compute.gpus` names a GPU that is not there.
    """
    compute = plan.project.params.compute
    match compute.executor:
        case "in_process":
            return dg.in_process_executor
        case "multiprocess":
            return dg.multiprocess_executor.configured(_multiprocess(plan))
        case "ray":
            return cast("dg.ExecutorDefinition", extra("dagster_ray.core.executor", compute).ray_executor)
        case "k8s":
            return cast("dg.ExecutorDefinition", extra("dagster_k8s", compute).k8s_job_executor)


def require_launcher(compute: Compute, instance: dg.DagsterInstance) -> None:
    """Checks the run launcher: the executor for Kubernetes takes image, volumes and namespace from it.

    Raises:
        MachineError: the instance has another one.
    """
    if compute.executor == "k8s":
        launcher = type(instance.run_launcher).__name__
        if not isinstance(instance.run_launcher, extra("dagster_k8s", compute).K8sRunLauncher):
            raise MachineError(
                f"compute.executor: k8s (params.yaml) needs run_launcher in dagster.yaml to be K8sRunLauncher, got {launcher}. "
                "Set it up as docs/clusters.md shows, or choose another executor"
            )


def _multiprocess(plan: Plan) -> dict[str, Any]:
    """Configures workers by `compute.processes`. Steps that would only wait for a GPU are not started."""
    compute = plan.project.params.compute
    wanting = any(resources_of(plan, step).gpus for step in plan.steps.values())
    pool = pool_of(compute) if wanting else []
    start = (
        {"forkserver": {"preload_modules": list(WORKER_IMPORTS)}}
        if compute.processes == "fork"
        else {"spawn": {}}
    )
    limits = [{"key": GPUS, "limit": len(pool)}] if pool else []
    return {"max_concurrent": compute.max_concurrent, "start_method": start, "tag_concurrency_limits": limits}


def extra(module: str, compute: Compute) -> Any:
    """Imports a module of the package that `compute.executor` needs.

    Raises:
        MachineError: it is not installed.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        name = compute.executor
        raise MachineError(
            f"compute.executor: {name} (params.yaml) needs a package that is not installed ({error.name}). "
            f"Run: pip install 'lineal[{name}]'"
        ) from error


def op_tags(plan: Plan, step: Step) -> Mapping[str, Any]:
    """Returns a step's op tags: its role, its GPUs, and its request in the words of the cluster that runs it."""
    compute, asked = plan.project.params.compute, resources_of(plan, step)
    tags: dict[str, Any] = {"lineal/role": str(step.component.role)}
    if asked.gpus:
        tags[GPUS] = str(asked.gpus)
    if compute.executor == "ray":
        tags["dagster-ray/config"] = _ray(asked)
    if compute.executor == "k8s" and (asked.gpus or asked.memory_bytes is not None):
        tags["dagster-k8s/config"] = {"container_config": {"resources": _kubernetes(asked)}}
    return tags


def _ray(asked: StepResources) -> dict[str, Any]:
    """Requests one core a step, since Ray starts any number of steps that request none."""
    found: dict[str, Any] = {"num_cpus": 1}
    if asked.gpus:
        found["num_gpus"] = asked.gpus
    if asked.memory_bytes is not None:
        found["memory"] = asked.memory_bytes
    return found


def _kubernetes(asked: StepResources) -> dict[str, dict[str, str]]:
    """Requests GPUs as a limit, and memory as both: what is requested is reserved, what exceeds the limit is killed."""
    memory = {} if asked.memory_bytes is None else {"memory": str(asked.memory_bytes)}
    gpus = {"nvidia.com/gpu": str(asked.gpus)} if asked.gpus else {}
    return {name: values for name, values in (("requests", memory), ("limits", {**memory, **gpus})) if values}
