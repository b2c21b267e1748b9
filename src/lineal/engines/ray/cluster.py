"""The Ray cluster of a step's replicas: joins or starts one, quietly, and notices when it is gone."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from lineal.errors import EngineError
from lineal.recipe.compute import Compute

CONNECT_SECONDS = 5.0
LOST_SECONDS = 20.0
"""How long a head may not answer. After 60 s Ray itself ends a process that has lost its cluster, without an error."""
OBJECT_STORE_BYTES = 512 << 20
"""For requests and answers in transit; the rest goes to disk. Ray would reserve a third of the machine's memory."""


HOW_TO_JOIN = (
    "If the cluster requires a token (`ray start` sees to that where ~/.ray/auth_token exists), set RAY_AUTH_MODE=token in the "
    "environment, and RAY_AUTH_TOKEN if that file doesn't hold the cluster's"
)


@dataclass(frozen=True)
class Cluster:
    """A Ray cluster that this process has joined.

    Attributes:
        ray: the module.
        head: host and port of its control service.
    """

    ray: Any
    head: tuple[str, int]

    def is_lost(self) -> bool:
        """Tells whether its head gives no answer for `LOST_SECONDS`."""
        deadline = time.monotonic() + LOST_SECONDS
        while not _answers(self.head):
            if time.monotonic() > deadline:
                return True
            time.sleep(1.0)
        return False

    @property
    def logs(self) -> str:
        """The directory of Ray's logs."""
        return (
            "the logs of Ray on the head, /tmp/ray/session_latest/logs unless it was given another directory"
        )


def join(compute: Compute, gpus_per_replica: float) -> Cluster:
    """Joins the cluster that `compute.ray` names, or starts one; once in a process.

    Args:
        compute: the execution settings.
        gpus_per_replica: the GPUs that each replica reserves besides its cores.

    Raises:
        EngineError: Ray is not installed, the cluster cannot be reached, or is too small for the replicas.
    """
    ray = _load()
    if not ray.is_initialized():
        address = compute.ray.address
        _start(ray, compute) if address is None else _connect(ray, address)
    _require_room(ray.cluster_resources(), compute, gpus_per_replica)
    host, _, port = ray.get_runtime_context().gcs_address.rpartition(":")
    return Cluster(ray, (host, int(port)))


def _load() -> Any:
    """Imports Ray with its terminal output and usage reports switched off."""
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault(
        "RAY_worker_niceness", "0"
    )  # its default, 15, starves replicas beside any other load
    os.environ.setdefault(
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0"
    )  # else it warns of a change of its default
    try:
        data = import_module("ray.data")
    except ModuleNotFoundError as error:
        raise EngineError(
            f"compute.replicas needs Ray ({error}). Run: pip install 'lineal[ray]', or set replicas: 0"
        ) from error
    for handler in logging.getLogger("ray.data").handlers:
        if "console" in str(handler.name):
            handler.setLevel(logging.CRITICAL + 1)
    worker: Any = import_module("ray._private.worker")
    worker._worker_logs_enabled = (
        False  # log_to_driver=False does not cover its messages about processes that died
    )
    context = data.DataContext.get_current()
    context.enable_progress_bars = context.print_on_execution_start = False
    return import_module("ray")


def _start(ray: Any, compute: Compute) -> None:
    cores = compute.replicas * compute.ray.cpus_per_replica
    with quiet(), _explained("a Ray cluster cannot be started on this machine"):
        ray.init(
            address="local",
            num_cpus=cores,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.CRITICAL,
            object_store_memory=OBJECT_STORE_BYTES,
        )


def _connect(ray: Any, address: str) -> None:
    host, _, port = address.rpartition(":")
    if address != "auto" and not _answers((host, int(port))):
        raise EngineError(
            f"compute.ray.address: nothing answers at {address}. Expected the head of a running Ray cluster. "
            "Start one (ray start --head), correct the address, or leave it out to use this machine alone"
        )
    with (
        quiet(),
        _explained(f"compute.ray.address: the Ray cluster {address!r} cannot be joined", HOW_TO_JOIN),
    ):
        ray.init(address=address, log_to_driver=False, logging_level=logging.CRITICAL)


@contextmanager
def quiet() -> Iterator[None]:
    """Silences the standard error stream while Ray's core starts, which writes there whatever it was told."""
    kept = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:  # noqa: PTH123 - a device
            os.dup2(nowhere.fileno(), 2)
            yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


@contextmanager
def _explained(problem: str, hint: str = "") -> Iterator[None]:
    rays_own = import_module("ray.exceptions").RayError
    try:
        yield
    except (
        OSError,
        RuntimeError,
        ValueError,
        rays_own,
    ) as error:  # no cluster, another version, no room, no token
        raise EngineError(f"{problem}: {reason(error)}. {hint}".rstrip()) from error


def reason(error: BaseException) -> str:
    """Returns the first sentence of Ray's message; about a refused token Ray writes a page."""
    return (
        str(error).strip().splitlines()[0].split(". ")[0].rstrip(".")
        if str(error).strip()
        else type(error).__name__
    )


def _require_room(resources: Mapping[str, float], compute: Compute, gpus_per_replica: float) -> None:
    """Raises where the whole cluster could not hold all replicas at once.

    Raises:
        EngineError: says what is requested and what there is.
    """
    wanted = {
        "CPU": (compute.ray.cpus_per_replica, "cpus_per_replica"),
        "GPU": (gpus_per_replica, "gpus_per_replica"),
    }
    for resource, (each, setting) in wanted.items():
        there = resources.get(resource, 0.0)
        if compute.replicas * each > there:
            raise EngineError(
                f"compute.replicas: {compute.replicas} with compute.ray.{setting}: {each:g} ask for {compute.replicas * each:g} "
                f"{resource}s, the Ray cluster has {there:g}. Lower one of them, or add nodes"
            )


def _answers(head: tuple[str, int]) -> bool:
    try:
        socket.create_connection(head, CONNECT_SECONDS).close()
    except OSError:
        return False
    return True
