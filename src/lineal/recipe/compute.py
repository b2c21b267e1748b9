"""The one table of execution settings: what may differ between two machines that make the same bytes.

Everything in a pipeline's YAML is identity and enters digests. Everything here is execution: it comes from
`compute:` in `params.yaml` and never enters a digest, a manifest or a row.
"""

from __future__ import annotations

import os
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le
from pydantic import BaseModel, ConfigDict, field_validator

Positive = Annotated[int, Ge(1)]


class Strict(BaseModel):
    """Frozen, and closed to unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), strict=True)


VLLM_OWN = (
    "model", "tokenizer", "skip_tokenizer_init", "trust_remote_code", "load_format", "generation_config", "seed",
    "enable_prefix_caching", "enable_lora", "max_lora_rank", "max_loras", "tensor_parallel_size", "gpu_memory_utilization",
    "kv_cache_memory_bytes", "max_model_len", "dtype", "enforce_eager", "logprobs_mode",
)  # fmt: skip
"""Arguments of vLLM's engine that lineal sets itself."""


class VllmCompute(Strict):
    """How `engine: vllm` runs. vLLM promises equal bytes in its batch-invariant mode only; other manifests say so.

    Attributes:
        python: the interpreter that has vLLM (a path from the project, or a name); without one, lineal's own.
        tensor_parallel: devices that share one model.
        gpu_memory_utilization: share of a device's memory that vLLM takes.
        kv_cache_gb: GiB for keys and values, in place of what that share leaves; on a CPU set it.
        max_model_len: longest prompt with its completion; without one, the model's own.
        dtype: type of the weights; 'auto' is the type in which they are stored.
        enforce_eager: no compilation and no CUDA graphs: a quicker start, slower sampling.
        batch_invariant: vLLM's mode in which a row doesn't feel its neighbours, where the device has it.
        in_flight: samples handed over at once; what one slice of a step holds at least.
        extra: further arguments of vLLM's engine (`EngineArgs`), by their names there.
    """

    python: str | None = None
    tensor_parallel: Positive = 1
    gpu_memory_utilization: Annotated[float, Gt(0), Le(1)] = 0.9
    kv_cache_gb: Annotated[float, Gt(0)] | None = None
    max_model_len: Positive | None = None
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    enforce_eager: bool = False
    batch_invariant: bool = False
    in_flight: Positive = 16384
    extra: dict[str, Any] = {}

    @field_validator("extra")
    @classmethod
    def _extra_is_not_set_elsewhere(cls, extra: dict[str, Any]) -> dict[str, Any]:
        taken = sorted(set(extra) & set(VLLM_OWN))
        if taken:
            raise ValueError(f"{', '.join(taken)}: set by lineal, or by a field of compute.vllm; remove it from extra")
        return extra


class Compute(Strict):
    """How steps are executed. Each field says why it cannot change an artifact's bytes.

    Attributes:
        executor: which Dagster executor schedules steps; order between independent steps carries no state.
        engine: which sampler runs; the manifest names it, and says where it does not promise equal bytes
            ('fake' is for tests of the plan's shape and says so in its manifests).
        device: where models run; one architecture's bytes are promised, another's may differ in floating point.
        batch_size: rows a sampler looks at together; its tiles have a fixed shape, so rows don't feel neighbours.
        shard_rows: rows between two crash-safe saves; files are cut anew at a fixed size when the step ends.
        workers: processes and DuckDB threads for row-wise work; rows are put back in input order.
        max_concurrent: steps the multiprocess executor runs at once.
        processes: 'fork' runs steps in children of one server that has the heavy imports done, 'spawn' starts each afresh.
        memory_limit: what DuckDB may hold before it spills to disk, in its own units ('4GB').
        vllm: how the engine `vllm` runs.
    """

    executor: Literal["in_process", "multiprocess"] = "in_process"
    engine: Literal["transformers", "vllm", "fake"] = "transformers"
    device: str = "auto"
    batch_size: Positive = 256
    shard_rows: Positive = 4096
    workers: Annotated[int, Ge(0)] = 0
    max_concurrent: Positive = 2
    processes: Literal["fork", "spawn"] = "fork"
    memory_limit: str = "4GB"
    vllm: VllmCompute = VllmCompute()

    @property
    def worker_count(self) -> int:
        """`workers`, with 0 read as one per available core."""
        return self.workers or len(os.sched_getaffinity(0))
