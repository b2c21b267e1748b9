"""The one table of execution settings: what may differ between two machines that make the same bytes.

Everything in a pipeline's YAML is identity and enters digests. Everything here is execution: it comes from
`compute:` in `params.yaml` and never enters a digest, a manifest or a row.
"""

from __future__ import annotations

import os
from typing import Annotated, Literal

from annotated_types import Ge
from pydantic import AfterValidator, BaseModel, ConfigDict

Positive = Annotated[int, Ge(1)]


def _cluster_address(value: str) -> str:
    """An address of a Ray cluster, if the step's own process can join there.

    Raises:
        ValueError: it is of another form.
    """
    host, _, port = value.rpartition(":")
    if value != "auto" and ("/" in value or not host or not port.isdecimal()):
        raise ValueError("must be auto or HOST:PORT of the cluster's head (its port is 6379 unless it was given another)")
    return value


class Strict(BaseModel):
    """Frozen, and closed to unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), strict=True)


class RayCompute(Strict):
    """Where the replicas of a step run, and what each gets. Rows don't feel which replica made them.

    Attributes:
        address: the head of a running cluster as 'HOST:PORT', or 'auto' for the one that this machine belongs to; None
            starts one on this machine for as long as the step runs.
        cpus_per_replica: cores that a replica reserves; one that verifies has as many processes.
        gpus_per_replica: GPUs (or a share of one) that a replica reserves where it holds a model.
        block_rows: rows that a replica is given at once; they are what is made again when it dies.
        retries: how often a block is given out again after the process of its replica died.
    """

    address: Annotated[str, AfterValidator(_cluster_address)] | None = None
    cpus_per_replica: Positive = 1
    gpus_per_replica: Annotated[float, Ge(0)] = 0.0
    block_rows: Positive = 512
    retries: Annotated[int, Ge(0)] = 3


class Compute(Strict):
    """How steps are executed. Each field says why it cannot change an artifact's bytes.

    Attributes:
        executor: which Dagster executor schedules steps; order between independent steps carries no state.
        engine: which sampler runs; the manifest names it, since only `transformers` promises bit equality
            ('fake' is for tests of the plan's shape and says so in its manifests).
        device: where models run; one architecture's bytes are promised, another's may differ in floating point.
        batch_size: rows a sampler looks at together; its tiles have a fixed shape, so rows don't feel neighbours.
        shard_rows: rows between two crash-safe saves; files are cut anew at a fixed size when the step ends.
        workers: processes and DuckDB threads for row-wise work; rows are put back in input order.
        max_concurrent: steps the multiprocess executor runs at once.
        processes: 'fork' runs steps in children of one server that has the heavy imports done, 'spawn' starts each afresh.
        replicas: processes on a Ray cluster that one step's sampling, scoring and verification fan out over, each with the
            model; 0 keeps them in the step's own process. Results are put back in input order.
        ray: where these replicas run.
        memory_limit: what DuckDB may hold before it spills to disk, in its own units ('4GB').
    """

    executor: Literal["in_process", "multiprocess"] = "in_process"
    engine: Literal["transformers", "fake"] = "transformers"
    device: str = "auto"
    batch_size: Positive = 256
    shard_rows: Positive = 4096
    workers: Annotated[int, Ge(0)] = 0
    max_concurrent: Positive = 2
    processes: Literal["fork", "spawn"] = "fork"
    replicas: Annotated[int, Ge(0)] = 0
    ray: RayCompute = RayCompute()
    memory_limit: str = "4GB"

    @property
    def worker_count(self) -> int:
        """`workers`, with 0 read as one per available core."""
        return self.workers or len(os.sched_getaffinity(0))
