"""The one table of execution settings: what may differ between two machines that make the same bytes.

Everything in a pipeline's YAML is identity and enters digests. Everything here is execution: it comes from
`compute:` in `params.yaml` and never enters a digest, a manifest or a row.
"""

from __future__ import annotations

import os
from typing import Annotated, Literal

from annotated_types import Ge
from pydantic import BaseModel, ConfigDict

Positive = Annotated[int, Ge(1)]


class Strict(BaseModel):
    """Frozen, and closed to unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), strict=True)


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
        grpo_vllm: has `grpo` sample with vLLM, inside its own process or by a server; the manifest says so, since only
            transformers, where it is left out, promise bit equality.
        grpo_vllm_server: the address of that server.
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
    grpo_vllm: Literal["colocate", "server"] | None = None
    grpo_vllm_server: str = "http://localhost:8000"
    memory_limit: str = "4GB"

    @property
    def worker_count(self) -> int:
        """`workers`, with 0 read as one per available core."""
        return self.workers or len(os.sched_getaffinity(0))
