"""The nodes of a Ray cluster, checked before a run: a job that fits on none of them would wait there for ever."""

from __future__ import annotations

import os
from collections.abc import Iterable
from importlib import import_module
from typing import TYPE_CHECKING, Any

from lineal.data.progress import say
from lineal.engines.ray.cluster import HOW_TO_JOIN, quiet, reason
from lineal.errors import MachineError, number_of
from lineal.orchestrate.dagster_executors import extra
from lineal.plan import Plan, Step
from lineal.step.resources import StepResources, resources_of

if TYPE_CHECKING:
    import dagster as dg

SECONDS = 30
Resources = dict[str, float]
"""A node's resources, in Ray's names: CPU, GPU, and memory in bytes."""


def require_nodes(plan: Plan, steps: Iterable[Step], instance: dg.DagsterInstance) -> None:
    """Checks each node of the Ray cluster against the requests of steps, where `compute.executor` is `ray`.

    An autoscaler may add a larger node, so a step that has to wait for one there is only reported.

    Raises:
        MachineError: the cluster doesn't answer or needs a token, or no node has what a step requests.
    """
    compute = plan.project.params.compute
    if compute.executor != "ray":
        return
    extra("dagster_ray.core.executor", compute)
    address = os.environ.get("RAY_ADDRESS", "http://127.0.0.1:8265")
    nodes, grows = _ask(address, instance)
    for step in steps:
        asked = resources_of(plan, step)
        if not any(_fits(asked, node) for node in nodes):
            there = f"no node of the Ray cluster at {address} has that ({_have(nodes)})"
            problem = f"{step.key} asks for {_asked(asked)}, and {there}"
            if not grows:
                raise MachineError(
                    f"{problem}. Lower gpus or memory in compute.requests (params.yaml), or add a larger node"
                )
            say(f"{problem}: it waits until the cluster's autoscaler adds one", None)


def _ask(address: str, instance: dg.DagsterInstance) -> tuple[list[Resources], bool]:
    """Returns the resources of each living node, and whether there may be others later, from the client that submits the jobs."""
    not_allowed = import_module("ray.exceptions").AuthenticationError
    try:
        with quiet():
            client = _client(instance)
            nodes = _get(client, "/api/v0/nodes?detail=1&limit=10000")["result"]["result"]
            status = _get(client, "/api/cluster_status")["clusterStatus"] or {}
    except not_allowed as error:
        raise MachineError(
            f"compute.executor: ray: the cluster at {address} lets nobody in: {reason(error)}. {HOW_TO_JOIN}"
        ) from error
    except OSError as error:  # the errors of the package requests are of this type
        fix = "Start a cluster (ray start --head), or set RAY_ADDRESS to the dashboard's address of one, http://HEAD:8265"
        raise MachineError(
            f"compute.executor: ray: no Ray cluster answers at {address}: {reason(error)}. {fix}"
        ) from error
    except (
        RuntimeError,
        ValueError,
        KeyError,
        TypeError,
    ) as error:  # another program, or another version of Ray
        raise MachineError(
            f"compute.executor: ray: {address} answers, but not as Ray's dashboard: {reason(error)}"
        ) from error
    kinds = ((status.get("autoscalerReport") or {}).get("nodeTypeMapping") or {}).items()
    # without an autoscaler every node is of a kind of its own, which Ray names so
    fixed = bool(kinds) and all(kind == f"node_{node}" for node, kind in kinds)
    return [node["resources_total"] for node in nodes if node["state"] == "ALIVE"], not fixed


def _client(instance: dg.DagsterInstance) -> Any:
    """Makes the client as dagster-ray's executor does."""
    if isinstance(instance.run_launcher, import_module("dagster_ray.core.run_launcher").RayRunLauncher):
        return instance.run_launcher.client
    return import_module("ray.job_submission").JobSubmissionClient()


def _get(client: Any, path: str) -> Any:
    """Sends a request with the token as Ray's client does, which has no public method for these two."""
    answer = client._do_request("GET", path, timeout=SECONDS)
    answer.raise_for_status()
    return answer.json()["data"]


def _fits(asked: StepResources, node: Resources) -> bool:
    return (
        asked.gpus <= node.get("GPU", 0)
        and (asked.memory_bytes or 0) <= node.get("memory", 0)
        and node.get("CPU", 0) >= 1
    )


def _asked(asked: StepResources) -> str:
    gpus = [number_of(asked.gpus, "GPU")] if asked.gpus else []
    memory = [] if asked.memory_bytes is None else [f"{asked.memory_bytes / 1e9:.1f} GB of memory"]
    return " and ".join(["a core", *gpus, *memory])


def _have(nodes: list[Resources]) -> str:
    """Describes the nodes in words, each kind once."""
    words = [
        f"{node.get('GPU', 0):g} GPUs, {node.get('memory', 0) / 1e9:.1f} GB of memory, {node.get('CPU', 0):g} cores"
        for node in nodes
    ]
    return "; ".join(dict.fromkeys(words)) or "it has no nodes"
