"""Sampling with vLLM: lineal's tokens go in and come out, a worker in vLLM's own interpreter draws them.

All requests of a call are in flight at once, samples of one prompt share its prefix, and an adapter is served on its base
without being merged. Equal bytes are vLLM's to promise: it does so in its batch-invariant mode only.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, cast

from lineal.data.conversations import Prompt
from lineal.engines.models.adapter_fit import require_fit
from lineal.engines.models.checkpoints import ADAPTER_CONFIG, is_adapter, stored_dtype
from lineal.engines.models.declared import config_of
from lineal.engines.models.whole_weights import require_finite
from lineal.engines.sampling.decoding import Decoded
from lineal.engines.sampling.sampler import SEED_LIMIT, Completion, Request, SamplingSettings, completions_of
from lineal.engines.sampling.tokenized import EncodedPrompt, TokenizedCheckpoint
from lineal.engines.vllm.process import VllmProcess, vllm_interpreter
from lineal.errors import EngineError
from lineal.recipe.compute import VllmCompute

WORKER = Path(__file__).with_name("worker.py")
LOWEST_TEMPERATURE = 0.01  # vLLM raises values between 0 and this
LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # the sizes that vLLM can make room for
GIB = 1024**3


class VllmSampler:
    """A checkpoint that vLLM samples from; loaded when the first completion is requested.

    Attributes:
        in_flight: requests handed over at once.

    Args:
        checkpoint: directory of a full model, or of a LoRA adapter.
        settings: how vLLM runs.
        log: the file for vLLM's output.
        base: the full model under an adapter.
        project: where a relative path of `settings.python` starts.
        loading: times and announces the loading.
        facts: the step's facts; the engine adds its version and what it took from the model.

    Raises:
        EngineError: no interpreter with vLLM, no tokenizer, an adapter without its base or on another one, or weights that
            aren't whole.
    """

    def __init__(
        self,
        checkpoint: Path,
        settings: VllmCompute,
        log: Path,
        base: Path | None = None,
        project: Path = Path(),
        loading: Callable[[], AbstractContextManager[None]] = nullcontext,
        facts: dict[str, Any] | None = None,
    ) -> None:
        self.in_flight = settings.in_flight
        self._settings, self._log, self._loading = settings, log, loading
        self._facts = {} if facts is None else facts
        self._python = vllm_interpreter(settings.python, project)
        self._adapter = checkpoint if is_adapter(checkpoint) else None
        self._model = TokenizedCheckpoint(checkpoint, base)
        if self._adapter is not None:
            require_fit(self._adapter, self._model.weights)
            require_finite(self._adapter)
        self._positions = settings.max_model_len or self._model.positions
        self._tokenizer_files = checkpoint
        self._process: VllmProcess | None = None
        self._reads_texts = False

    def stream(
        self, requests: Sequence[Request], settings: SamplingSettings
    ) -> Iterator[tuple[int, Completion]]:
        """Yields each request's place and its completion, as they are finished.

        Args:
            requests: prompts with their seeds; a seed is vLLM's, so it draws another completion than transformers would.
            settings: how to draw.

        Raises:
            EngineError: before anything is drawn, for a prompt that cannot be encoded or is too long, a seed or a temperature
                out of range, and what the model, the device or `compute.vllm` cannot do; later, when the worker dies.
        """
        encoded = self._model.encode(requests, settings.chat)
        message = self._message(requests, encoded, settings)
        waiting = set(range(len(requests)))
        try:
            process = self._running(
                max(map(len, message["prompts"]), default=0) + settings.max_tokens, settings.stop is not None
            )
            process.send(message)
            while waiting:
                rows = process.receive("finished")
                self._refuse_unasked([place for place, _, _ in rows], waiting)
                prompts = [encoded[requests[place].prompt] for place, _, _ in rows]
                drawn = [
                    Decoded(ids, ids[-1] in prompt.end_ids, logprob)
                    for (_, ids, logprob), prompt in zip(rows, prompts, strict=True)
                ]
                leads = [prompt.lead for prompt in prompts]
                completions = completions_of(self._model.tokenizer, drawn, leads, settings)
                for (place, _, _), one in zip(rows, completions, strict=True):
                    self._require_ended(one, settings)
                    waiting.remove(place)
                    yield place, one
        finally:
            if waiting:  # the worker's remaining answers belong to nobody
                self.close()

    def close(self) -> None:
        """Stops the engine; the next request would load it again."""
        if self._process is not None:
            self._process.close()
            self._process = None

    def _refuse_unasked(self, places: Sequence[int], waiting: set[int]) -> None:
        for place in places:
            if place not in waiting or places.count(place) > 1:
                raise EngineError(
                    f"vLLM's worker answered request {place} unasked or twice. Its log: {self._log}"
                )

    def _require_ended(self, one: Completion, settings: SamplingSettings) -> None:
        """Checks that vLLM found the stop texts that lineal finds."""
        if one.finish_reason == "length" and one.tokens < settings.max_tokens:
            raise EngineError(
                f"vLLM ended {one.text[-60:]!r} at a stop text after {one.tokens} of {settings.max_tokens} tokens, expected that "
                "text in it. Correct stop (a tokenizer may leave out the space before the first word), or set compute.engine: "
                "transformers."
            )

    def _message(
        self, requests: Sequence[Request], encoded: Mapping[Prompt, EncodedPrompt], settings: SamplingSettings
    ) -> dict[str, Any]:
        if 0 < settings.temperature < LOWEST_TEMPERATURE:
            raise EngineError(
                f"temperature: got {settings.temperature}, expected 0 or at least {LOWEST_TEMPERATURE} with vLLM, which would "
                f"take {LOWEST_TEMPERATURE}. Set it to 0, or set compute.engine: transformers."
            )
        for request in requests:
            if not 0 <= request.seed < SEED_LIMIT:
                raise EngineError(f"seed: got {request.seed}, expected 0 to 2**64 - 1. Derive it as 64 bits.")
        ids = [prompt.ids for prompt in encoded.values()]
        self._require_room(max(map(len, ids), default=0) + settings.max_tokens, self._positions)
        places = {prompt: place for place, prompt in enumerate(encoded)}
        texts = {} if settings.stop is None else {"stop": list(settings.stop.texts), "detokenize": True}
        return {
            "prompts": ids,
            "draws": [
                [places[request.prompt], engine_seed(request.seed), encoded[request.prompt].end_ids]
                for request in requests
            ],
            "sampling": {
                "temperature": settings.temperature,
                "top_p": settings.top_p,
                "top_k": settings.top_k,
                "max_tokens": settings.max_tokens,
                "ignore_eos": True,
                **texts,
            },
            "never": self._model.never_ids,
        }

    def _require_room(self, tokens: int, positions: int | None) -> None:
        if positions is not None and tokens > positions:
            raise EngineError(
                f"sampling: the longest prompt with max_tokens has {tokens} tokens, that is more than the {positions} that vLLM "
                "is to keep. Raise compute.vllm.max_model_len if the model has more positions, lower max_tokens, or "
                "shorten the prompts."
            )

    def _running(self, tokens: int, reads_texts: bool) -> VllmProcess:
        """Starts the worker with its checkpoint loaded, room for so many tokens, and a tokenizer where it has to read texts."""
        if reads_texts and not self._reads_texts:
            self.close()
        if self._process is None:
            with self._loading():
                self._process, self._reads_texts = (
                    VllmProcess([self._python, str(WORKER)], self._environment(), self._log),
                    reads_texts,
                )
                self._process.send(self._setup())
                ready = self._process.receive("ready")
            self._positions = ready["max_model_len"]
            self._facts |= {"vllm": ready["vllm"], "max_model_len": ready["max_model_len"]}
        self._require_room(tokens, self._positions)
        return self._process

    def _environment(self) -> dict[str, str]:
        environment = dict(os.environ)
        if self._settings.python is not None:  # lineal's modules are not that interpreter's
            environment = {
                name: value for name, value in environment.items() if name not in ("PYTHONPATH", "PYTHONHOME")
            }
        invariant = str(int(self._settings.batch_invariant))
        quiet = {"VLLM_NO_USAGE_STATS": "1", "VLLM_DO_NOT_TRACK": "1", "HF_HUB_OFFLINE": "1"}
        return (
            environment | quiet | {"VLLM_BATCH_INVARIANT": invariant, "VLLM_WORKER_MULTIPROC_METHOD": "spawn"}
        )

    def _setup(self) -> dict[str, Any]:
        settings = self._settings
        own = stored_dtype(self._model.weights)
        name = str(own).removeprefix("torch.") if settings.dtype == "auto" else settings.dtype
        arguments: dict[str, Any] = {
            "model": str(self._model.weights),
            "tokenizer": str(self._tokenizer_files),
            "skip_tokenizer_init": not self._reads_texts,
            "trust_remote_code": False,
            "load_format": "safetensors",
            "generation_config": "vllm",
            "seed": 0,
            "enable_prefix_caching": True,
            "disable_log_stats": True,
            "logprobs_mode": "raw_logprobs",
            "dtype": name,
            "tensor_parallel_size": settings.tensor_parallel,
            "gpu_memory_utilization": settings.gpu_memory_utilization,
            "enforce_eager": settings.enforce_eager,
        }
        if settings.max_model_len is not None:
            arguments["max_model_len"] = settings.max_model_len
        if settings.kv_cache_gb is not None:
            arguments["kv_cache_memory_bytes"] = round(settings.kv_cache_gb * GIB)
        if self._adapter is not None:
            arguments |= {"enable_lora": True, "max_loras": 1, "max_lora_rank": _lora_room(self._adapter)}
        stored = sum(path.stat().st_size for path in self._model.weights.glob("*.safetensors"))
        return {
            "arguments": arguments | settings.extra,
            "adapter": None if self._adapter is None else str(self._adapter.resolve()),
            "weights_bytes": stored * _bits(name) // _bits(str(own)),
        }


def engine_seed(seed: int) -> int:
    """Returns a seed as vLLM takes it: the same 64 bits as a signed number.

    -1 means "no seed" there, so the highest seed is given as the second highest; they are the one pair that draws alike.
    """
    signed = seed - SEED_LIMIT if seed >= SEED_LIMIT // 2 else seed
    return min(signed, -2) if signed == -1 else signed


def _lora_room(adapter: Path) -> int:
    rank = config_of(adapter, ADAPTER_CONFIG)["r"]
    room = next((size for size in LORA_RANKS if size >= rank), None)
    if room is None:
        raise EngineError(
            f"{adapter}: rank {rank}, vLLM serves ranks up to {LORA_RANKS[-1]}. Set compute.engine: transformers."
        )
    return room


def _bits(dtype: str) -> int:
    import torch

    return cast(int, getattr(torch, dtype.removeprefix("torch.")).itemsize) * 8
