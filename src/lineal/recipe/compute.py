"""The table of execution settings: what may differ between two machines that make the same bytes.

Everything in a pipeline's YAML is identity and enters digests. Everything here is execution: it comes from
`compute:` in `params.yaml` and never enters a digest, a manifest or a row.
"""

from __future__ import annotations

import os
import re
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from annotated_types import Ge, Gt, Le
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from lineal.errors import did_you_mean
from lineal.recipe.plugins import named_once

Positive = Annotated[int, Ge(1)]
Seconds = Annotated[float, Gt(0)]
Amount = Annotated[float, Ge(0)]
DEVICES = ("auto", "cpu", "cuda")
CLUSTERS = ("ray", "k8s")
"""Executors whose cluster hands out devices and memory itself."""
ENGINES = ("transformers", "vllm", "openai", "fake")
"""lineal's own engines."""
ENGINE_POINTS = "lineal.engines"
"""The entry points under which packages add engines."""
_UNITS = {"MB": 10**6, "GB": 10**9, "TB": 10**12, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}


def _bytes(text: Any) -> int:
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?([MGT]i?B)", text) if isinstance(text, str) else None
    if found is None:
        raise ValueError(f"expected a size such as '60GB' or '512MiB', got {text!r}")
    size = int(float(found[1]) * _UNITS[found[2]])
    if not size:
        raise ValueError(f"expected more than nothing, got {text!r}")
    return size


def _pool(value: Any) -> tuple[str, ...] | None:
    if value == "auto":
        return None
    names = [str(gpu) for gpu in value] if isinstance(value, list) else [""]
    if len(set(names)) < len(names) or not all(re.fullmatch(r"[\w-]+", name) for name in names):
        raise ValueError(
            f"expected 'auto', or a list of indices or UUIDs as `nvidia-smi -L` shows them, each once; got {value!r}"
        )
    return tuple(names)


def _engine(name: str) -> str:
    """Checks that an engine is one of lineal's, or of an installed package.

    Raises:
        ValueError: it is neither.
    """
    known = (*ENGINES, *named_once(ENGINE_POINTS, "engine", ENGINES)) if name not in ENGINES else ENGINES
    if name not in known:
        fix = f"If a package adds it (entry points {ENGINE_POINTS!r}), install that package here"
        raise ValueError(f"unknown engine {name!r}. {did_you_mean(name, known)} {fix}")
    return name


def _cluster_address(value: str) -> str:
    """Checks that an address of a Ray cluster is one that the step's own process can join.

    Raises:
        ValueError: it is of another form.
    """
    host, _, port = value.rpartition(":")
    if value != "auto" and ("/" in value or not host or not port.isdecimal()):
        raise ValueError(
            f"expected auto or HOST:PORT of the cluster's head (its port is 6379 unless it was given another), got {value!r}"
        )
    return value


class Strict(BaseModel):
    """Frozen; refuses unknown keys, NaN and infinities."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", protected_namespaces=(), strict=True, allow_inf_nan=False
    )


class ResourceRequest(Strict):
    """A step's request to the machine that runs it.

    Attributes:
        gpus: how many GPUs of its own; None leaves it to the step: one if it loads a model.
        memory: main memory in bytes; written '60GB' or '60GiB'.
    """

    gpus: Annotated[int, Ge(0)] | None = None
    memory: Annotated[int, BeforeValidator(_bytes)] | None = None


class Price(Strict):
    """The price of a million tokens.

    Attributes:
        prompt, completion: for a million tokens given, and drawn.
        currency: of both.
    """

    prompt: Amount
    completion: Amount
    currency: str = "USD"


class Endpoint(Strict):
    """A server that speaks the OpenAI API (docs/endpoints.md). The requests to it are identity and are declared in pipelines.

    Attributes:
        url: where it is, up to its `/v1`.
        model: what it calls a served model; None: as the pipeline does.
        key_variable: the environment variable that holds the key; None: it needs none.
        concurrency: requests in flight at once.
        requests_per_minute, tokens_per_minute: its limits; None: none.
        retries: how often a request that failed in passing is sent again.
        backoff_seconds: the pause before the first of them; it doubles up to a minute.
        timeout_seconds, connect_seconds: how long an answer, and a connection, may take.
        max_tokens_total: what one step may spend, prompts and completions together, whether or not it was resumed.
        price: what tokens cost, for the run log.
        seed, logprobs, top_k: whether it takes a seed, tells log-probabilities, and knows `top_k`.
        keep_stop: whether it knows `include_stop_str_in_output`.
        max_tokens_name: what it calls the limit of a completion.
    """

    url: str
    model: str | None = None
    key_variable: str | None = None
    concurrency: Positive = 64
    requests_per_minute: Positive | None = None
    tokens_per_minute: Positive | None = None
    retries: Annotated[int, Ge(0)] = 8
    backoff_seconds: Seconds = 1.0
    timeout_seconds: Seconds = 600.0
    connect_seconds: Seconds = 10.0
    max_tokens_total: Positive | None = None
    price: Price | None = None
    seed: bool = True
    logprobs: bool = False
    top_k: bool = False
    keep_stop: bool = False
    max_tokens_name: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"

    @field_validator("url")
    @classmethod
    def _is_address(cls, url: str) -> str:
        parts = urlsplit(url)
        if (
            parts.scheme not in ("http", "https")
            or not parts.hostname
            or parts.username
            or parts.query
            or parts.fragment
        ):
            raise ValueError(
                "must be like http://localhost:8000/v1, without user, password or query; set key_variable for a key"
            )
        return url.rstrip("/")

    @field_validator("key_variable")
    @classmethod
    def _is_variable(cls, name: str | None) -> str | None:
        if name is not None and not re.fullmatch(r"[A-Z][A-Z0-9_]*", name):
            raise ValueError(
                "must be an environment variable's name in capitals, such as OPENAI_API_KEY; never the key itself"
            )
        return name


VLLM_OWN = (
    "model",
    "tokenizer",
    "skip_tokenizer_init",
    "trust_remote_code",
    "load_format",
    "generation_config",
    "seed",
    "enable_prefix_caching",
    "enable_lora",
    "max_lora_rank",
    "max_loras",
    "tensor_parallel_size",
    "gpu_memory_utilization",
    "kv_cache_memory_bytes",
    "max_model_len",
    "dtype",
    "enforce_eager",
    "logprobs_mode",
)
"""Arguments of vLLM's engine that lineal sets itself."""


class VllmCompute(Strict):
    """Settings of `engine: vllm`. vLLM promises equal bytes in its batch-invariant mode only; other manifests say so.

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
            raise ValueError(
                f"{', '.join(taken)}: set by lineal, or by a field of compute.vllm; remove it from extra"
            )
        return extra


class RayCompute(Strict):
    """Settings of a step's replicas on Ray. Rows don't depend on which replica made them.

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
    """Execution settings. Each field says why it cannot change an artifact's bytes.

    Attributes:
        executor: which Dagster executor schedules steps; order between independent steps carries no state.
        engine: which sampler runs; the manifest names it, and says where it does not promise equal bytes
            ('fake' is for tests of the plan's shape and says so in its manifests). A package may add one.
        engine_options: keyword arguments of a package's engine; lineal's own have settings of their own. What an engine is told
            here must not change what it draws by more than its `equal_bytes` says.
        device: where models run; one architecture's bytes are promised, another's may differ in floating point.
        gpus: the GPUs that steps on this machine share, as `nvidia-smi -L` names them; None, written 'auto', takes all that
            are visible. Which of them a step gets is not in its bytes, as long as they are of one architecture.
        requests: by a glob over step keys, what these steps ask of a machine; the last glob that matches counts. It decides
            where and when a step runs, not what it does.
        batch_size: rows a sampler looks at together; its tiles have a fixed shape, so rows don't feel neighbours.
        shard_rows: rows between two crash-safe saves; files are cut to a fixed size when the step ends.
        workers: processes and DuckDB threads for row-wise work; rows are put back in input order.
        max_concurrent: steps the multiprocess executor runs at once.
        processes: 'fork' runs steps in children of one server that has the heavy imports done, 'spawn' starts each afresh.
        grpo_vllm: has `grpo` sample with vLLM, inside its own process or by a server; the manifest says so, since only
            transformers, where it is left out, promise bit equality.
        grpo_vllm_server: the address of that server.
        replicas: processes on a Ray cluster that one step's sampling, scoring and verification fan out over, each with the
            model; 0 keeps them in the step's own process. Results are put back in input order.
        ray: where these replicas run.
        memory_limit: what DuckDB may hold before it spills to disk, in its own units ('4GB').
        query_seconds: how long a selector's query may run before it is stopped as endless; no result
            depends on it.
        save_seconds: seconds between two checkpoints inside a training; one that was killed continues from the last and
            ends with the same bytes. Saving takes 5% of the time at most, so a large model's are further apart; 0 saves
            after every step.
        gradient_checkpointing: a training computes activations again in the backward pass: the same sums in less memory
            and more time (91 instead of 70-84 ms per step of the tiny model).
        accelerate: processes that share a training, or an accelerate configuration (a path in the project) that names
            them; sums are added up in another order then, so the manifest says how many there were.
        report_to: trackers that get a training's figures; what they write lies in `runs/`.
        vllm: how the engine `vllm` runs.
        endpoints: by a served model's name, the server that has it; 'default' is for the others, and for checkpoints under
            `engine: openai`. Nobody can promise what a server answers, and the manifest says so.
    """

    executor: Literal["in_process", "multiprocess", "ray", "k8s"] = "in_process"
    engine: Annotated[str, AfterValidator(_engine), Field(examples=ENGINES)] = "transformers"
    engine_options: dict[str, Any] = {}
    device: str = "auto"
    gpus: Annotated[tuple[str, ...] | None, BeforeValidator(_pool)] = None
    requests: dict[str, ResourceRequest] = {}
    batch_size: Positive = 256
    shard_rows: Positive = 4096
    workers: Annotated[int, Ge(0)] = 0
    max_concurrent: Positive = 2
    processes: Literal["fork", "spawn"] = "fork"
    grpo_vllm: Literal["colocate", "server"] | None = None
    grpo_vllm_server: str = "http://localhost:8000"
    replicas: Annotated[int, Ge(0)] = 0
    ray: RayCompute = RayCompute()
    memory_limit: str = "4GB"
    query_seconds: Seconds = 4 * 3600.0
    save_seconds: Annotated[float, Ge(0)] = 300.0
    gradient_checkpointing: bool = False
    accelerate: Positive | str | None = None
    report_to: list[Literal["tensorboard", "wandb", "mlflow", "trackio"]] = []
    vllm: VllmCompute = VllmCompute()
    endpoints: dict[str, Endpoint] = {}

    @property
    def shared(self) -> bool:
        """True if the step starts processes that share its training."""
        return self.accelerate not in (None, 1) and self.engine != "fake"

    @property
    def worker_count(self) -> int:
        """`workers`, with 0 read as one per available core."""
        return self.workers or len(os.sched_getaffinity(0))

    @field_validator("device")
    @classmethod
    def _is_known(cls, device: str) -> str:
        if device.startswith("cuda:"):
            raise ValueError(f"a step sees only GPUs of its own: write device: cuda and gpus: [{device[5:]}]")
        if device not in DEVICES:
            raise ValueError(f"expected one of {', '.join(DEVICES)}, got {device!r}")
        return device

    @model_validator(mode="after")
    def _options_have_an_engine(self) -> Self:
        if self.engine_options and self.engine in ENGINES:
            own = {"vllm": "write compute.vllm", "openai": "write compute.endpoints"}.get(
                self.engine, "remove them"
            )
            raise ValueError(f"engine_options are for engines of packages; for engine: {self.engine} {own}")
        return self

    @model_validator(mode="after")
    def _cluster_hands_out_devices(self) -> Self:
        if self.executor in CLUSTERS and self.gpus is not None:
            raise ValueError(f"executor: {self.executor} hands out its cluster's GPUs itself: remove gpus")
        if self.executor in CLUSTERS and self.device == "auto":
            raise ValueError(
                f"executor: {self.executor} must know what to ask its cluster for: write device: cuda (or cpu) instead of auto"
            )
        return self
