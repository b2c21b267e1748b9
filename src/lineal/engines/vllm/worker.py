"""The worker in vLLM's own interpreter: holds one checkpoint and samples for lineal. It imports nothing of lineal.

Lines of JSON on two inherited descriptors, since vLLM itself writes to standard output:

    first     {"arguments": {...}, "adapter": PATH or null, "weights_bytes": N}
    answer    {"ready": {"vllm": VERSION, "max_model_len": N}}
    then      {"prompts": [[ID, ...], ...], "draws": [[PROMPT, SEED, [STOP, ...]], ...], "sampling": {...}}, as often as wanted
    answers   {"finished": [[PLACE, [ID, ...], LOGPROB], ...]}, until every draw is answered

What goes wrong is answered with {"failed": STAGE, "error": TEXT}. When lineal is gone, this process ends, and with it all that
it started: they are one process group.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

GRACE_SECONDS = 8.0
GIB = 1024**3
LORA_DTYPES = ("bfloat16", "float16")


class Requests:
    """Lines from lineal, read by a thread, so that the end of lineal is noticed whatever vLLM is doing."""

    def __init__(self, descriptor: int) -> None:
        self._lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._waiting = False
        threading.Thread(target=self._read, args=(descriptor,), daemon=True).start()

    def next(self) -> dict[str, Any] | None:
        """Returns the next message; None when lineal has closed the pipe."""
        self._waiting = True
        line = self._lines.get()
        self._waiting = False
        message: dict[str, Any] | None = None if line is None else json.loads(line)
        return message

    def _read(self, descriptor: int) -> None:
        with os.fdopen(descriptor, "rb") as stream:
            for line in stream:
                self._lines.put(line)
        idle = self._waiting
        self._lines.put(None)
        if idle:  # an engine that is not at work may end by itself: killed ones leave shared memory behind
            time.sleep(GRACE_SECONDS)
        os.killpg(0, signal.SIGKILL)


def main() -> None:
    """Serves one checkpoint until the requests end."""
    descriptors = [int(argument) for argument in sys.argv[1:3]]
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)  # a child that held them would hide this process's death
    requests = Requests(descriptors[0])
    with os.fdopen(descriptors[1], "wb") as answers:

        def answer(**message: Any) -> None:
            answers.write(json.dumps(message).encode() + b"\n")
            answers.flush()

        stage = "import"
        try:
            setup = requests.next() or {}
            _fit_to_cpu(setup["arguments"])
            stage = "check"
            _require_devices(setup["arguments"], setup["weights_bytes"])
            stage = "load"
            engine, adapter = _load(setup["arguments"], setup["adapter"])
            answer(ready=_ready(engine))
            stage = "draw"
            while (message := requests.next()) is not None:
                for rows in _draw(engine, adapter, message):
                    answer(finished=rows)
        except Exception as error:
            answer(failed=stage, error=f"{type(error).__name__}: {error}")
            raise


def _fit_to_cpu(arguments: dict[str, Any]) -> None:
    """Runs the engine in this process on a CPU: then its batches depend on the requests alone, not on when they arrive."""
    from vllm.platforms import current_platform

    if not current_platform.is_cpu():
        return
    # After a part of a prompt vLLM 0.32 sets a seeded request's generator back, which a CPU's cannot: it raises.
    arguments.setdefault("enable_chunked_prefill", False)
    if arguments["tensor_parallel_size"] == 1:
        os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"


def _require_devices(arguments: dict[str, Any], weights_bytes: int) -> None:
    """Refuses impossible settings before vLLM spends minutes on them."""
    from vllm import envs
    from vllm.platforms import current_platform

    wanted, count = arguments["tensor_parallel_size"], _device_count()
    if wanted > count:
        raise ValueError(
            f"compute.vllm.tensor_parallel is {wanted}, visible devices: {count}. Set it to {count} at most."
        )
    if envs.VLLM_BATCH_INVARIANT and current_platform.is_cpu():
        raise ValueError(
            "compute.vllm.batch_invariant is true, but vLLM has no batch-invariant mode on a CPU. Set it to false."
        )
    if (
        arguments.get("enable_lora")
        and arguments["dtype"] not in LORA_DTYPES
        and current_platform.is_cuda_alike()
    ):
        wanted_types = f"expected {' or '.join(LORA_DTYPES)}, which vLLM's kernels for adapters take on a GPU"
        got = f"the model under the adapter would be loaded as {arguments['dtype']}"
        raise ValueError(f"{got}, {wanted_types}. Set compute.vllm.dtype: {LORA_DTYPES[0]}.")
    total = current_platform.get_device_total_memory()
    usable = total * arguments["gpu_memory_utilization"]
    weights, cache = weights_bytes / wanted, arguments.get("kv_cache_memory_bytes", 0)
    if weights + cache > usable:
        share = f"{total / GIB:.2f} GiB x gpu_memory_utilization {arguments['gpu_memory_utilization']} = {usable / GIB:.2f} GiB"
        taken = f"the weights take {weights / GIB:.2f} GiB on each of {wanted} device(s)"
        if weights <= usable:
            taken = f"compute.vllm.kv_cache_gb asks for {cache / GIB:.2f} GiB, and {taken}"
        raise ValueError(f"too little memory: {taken}, of {share} to use.")


def _device_count() -> int:
    """Counts the devices that tensor parallelism can use; on a CPU these are its memory nodes."""
    from vllm.platforms import current_platform

    if not current_platform.is_cpu():
        return int(current_platform.device_count())
    from vllm.utils.cpu_resource_utils import get_visible_memory_node

    return len(get_visible_memory_node())


def _load(arguments: dict[str, Any], adapter: str | None) -> tuple[Any, Any]:
    """Loads the engine, and returns how requests name the adapter."""
    from vllm import EngineArgs, LLMEngine
    from vllm.lora.request import LoRARequest

    engine = LLMEngine.from_engine_args(EngineArgs(**arguments))
    if adapter is None:
        return engine, None
    named = LoRARequest("adapter", 1, adapter)
    engine.add_lora(named)
    return engine, named


def _ready(engine: Any) -> dict[str, Any]:
    import vllm

    return {"vllm": vllm.__version__, "max_model_len": engine.model_config.max_model_len}


def _draw(engine: Any, adapter: Any, message: dict[str, Any]) -> Iterator[list[Any]]:
    """Draws all of a message's requests at once; yields the finished ones after each step of the engine."""
    from vllm import SamplingParams
    from vllm.inputs import tokens_input
    from vllm.sampling_params import RequestOutputKind

    prompts, never = message["prompts"], dict.fromkeys(message["never"], -100.0) or None
    own = {
        "logit_bias": never,
        "logprobs": 0,
        "flat_logprobs": True,
        "detokenize": False,
        "output_kind": RequestOutputKind.FINAL_ONLY,
    }
    for place, (prompt, seed, stops) in enumerate(message["draws"]):
        settings = SamplingParams(**(own | message["sampling"]), seed=seed, stop_token_ids=stops)
        engine.add_request(str(place), tokens_input(prompts[prompt]), settings, lora_request=adapter)
    while engine.has_unfinished_requests():
        rows = [_row(output) for output in engine.step() if output.finished]
        if rows:
            yield rows


def _row(output: Any) -> list[Any]:
    (drawn,) = output.outputs
    if drawn.finish_reason not in ("stop", "length"):
        raise RuntimeError(
            f"request {output.request_id} ended with {drawn.finish_reason!r} after {len(drawn.token_ids)} tokens"
        )
    return [int(output.request_id), list(drawn.token_ids), drawn.cumulative_logprob]


if __name__ == "__main__":
    # The directory of a script comes first in its path, and the neighbours' names here are not vLLM's modules.
    sys.path[:] = [path for path in sys.path if path != str(Path(__file__).resolve().parent)]
    main()
