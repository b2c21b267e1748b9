"""Throughput of `lineal.engines.sampling.sampler` against plain batched `generate`, on a model trained here in seconds.

Both get the same prompts, tokenise and decode them, and are timed in turns. `generate` gets its prompts sorted by
length, which is its best case. Run: python bench/sample.py

With `--vllm PYTHON` (an interpreter that has vLLM) the vLLM engine is timed too, against vLLM's own `LLM.generate` on the same
texts: once with the seeds and log-probabilities that rows need, once without them. Both engines are loaded at once: on a GPU
each takes 0.4 of its memory.

With `--pictures` a random model that sees gets a picture before each text; `generate` gets its pictures decoded.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import string
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from tiny import SHAPE

from lineal.engines.sampling.sampler import Completion, Request, Sampler, SamplingSettings
from lineal.engines.sampling.saved_completions import SavedSampler
from lineal.engines.training.job import Checkpoint, TrainingJob
from lineal.engines.training.settings import Example, TrainingSettings
from lineal.engines.training.train import initialise, train_sft
from lineal.engines.vllm.process import VllmProcess
from lineal.engines.vllm.sampler import VllmSampler, engine_seed
from lineal.recipe.compute import VllmCompute

SETTINGS = SamplingSettings(max_tokens=24)
MOST_ALONE = 128
"""Rows of a larger model, or on a GPU, that are sampled one by one too, each of which takes as long as a batch."""


def main() -> None:
    """Train the model, time both engines, print the table and whether the bits agree."""
    import torch

    arguments = _arguments()
    with tempfile.TemporaryDirectory() as directory:
        if arguments.pictures:
            _compare_pictures(Path(directory), arguments)
            return
        checkpoint = arguments.checkpoint or _trained(Path(directory), arguments.steps)
        if arguments.threads:
            torch.set_num_threads(arguments.threads)
        requests = _requests(arguments.rows, arguments.samples, seed=1)
        if not arguments.only_vllm:
            sampler = Sampler(checkpoint, device=arguments.device, batch_size=arguments.batch_size)
            tiny = arguments.checkpoint is None and arguments.device == "cpu"
            some = requests if tiny else requests[:MOST_ALONE]
            differing = _compare_bits(checkpoint, sampler, some, arguments.device)
            figures = {
                **_compare_speed(checkpoint, sampler, requests, arguments),
                "differing_completions": differing,
            }
            if arguments.json and not arguments.vllm:
                arguments.json.write_text(json.dumps(figures), encoding="utf-8")
        if arguments.vllm:
            _compare_vllm(checkpoint, requests, arguments, Path(directory))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--rows", type=int, default=4096, help="completions per repeat (default: %(default)s)"
    )
    parser.add_argument(
        "--samples", type=int, default=4, help="completions of each prompt (default: %(default)s, the demo's)"
    )
    parser.add_argument("--batch-size", type=int, default=256, help="of both engines (default: %(default)s)")
    parser.add_argument(
        "--repeats", type=int, default=5, help="timed turns, at least 3 (default: %(default)s)"
    )
    parser.add_argument(
        "--steps", type=int, default=300, help="training steps of the model (default: %(default)s)"
    )
    parser.add_argument("--threads", type=int, help="CPU threads while sampling (default: torch's own)")
    parser.add_argument("--checkpoint", type=Path, help="a model to use instead of training one")
    parser.add_argument(
        "--device", choices=["cpu", "cuda"], default="cpu", help="of both (default: %(default)s)"
    )
    parser.add_argument(
        "--pictures", action="store_true", help="a model that sees, with a picture before each text"
    )
    parser.add_argument("--vllm", help="an interpreter that has vLLM: time that engine too")
    parser.add_argument(
        "--only-vllm", action="store_true", help="leave out transformers and the comparison of bits"
    )
    parser.add_argument("--json", type=Path, help="a file for the figures (of vLLM, where it is timed)")
    parser.add_argument(
        "--eager", action="store_true", help="both vLLMs without compilation: a quicker start, other figures"
    )
    parser.add_argument("--kv-cache-gb", type=float, help="GiB for vLLM's keys and values (on a CPU: 1)")
    return parser.parse_args()


def _letters(generator: random.Random, shortest: int, longest: int) -> str:
    return "".join(generator.sample(string.ascii_lowercase, generator.randint(shortest, longest)))


def _requests(count: int, samples: int, seed: int) -> list[Request]:
    generator = random.Random(seed)
    prompts = [_letters(generator, 12, 22) + "=" for _ in range(-(-count // samples))]
    return [Request(prompts[index // samples], generator.getrandbits(64)) for index in range(count)]


def _trained(directory: Path, steps: int) -> Path:
    """Sorts letters; trained on all lengths, so that completions end where they should."""
    generator = random.Random(0)
    words = [_letters(generator, 2, 22) for _ in range(64 * steps)]
    examples = [Example(word + "=", "".join(sorted(word))) for word in words]
    settings = TrainingSettings(
        steps=steps, epochs=None, batch_size=64, learning_rate=3e-3, warmup=0.05, beta2=0.99, seed=0
    )
    initialise(SHAPE, 0, directory / "init")
    began = time.perf_counter()
    report = train_sft(TrainingJob(Checkpoint(directory / "init"), settings, directory / "trained"), examples)
    print(
        f"trained {report.steps} steps in {time.perf_counter() - began:.1f} s, final loss {report.final_loss:.4f}"
    )
    return directory / "trained"


def _compare_bits(checkpoint: Path, sampler: Sampler, requests: list[Request], device: str) -> int:
    """Completions that other batch sizes, another order, or drawing alone change, all together."""
    expected = sampler.sample(requests, SETTINGS)
    found = []
    for batch_size in (1, 64, 512, len(requests)):
        other = Sampler(checkpoint, device=device, batch_size=batch_size).sample(requests, SETTINGS)
        found.append(_differing(other, expected))
        print(f"batch size {batch_size:>5}: {found[-1]} of {len(expected)} completions differ")
    order = random.Random(2).sample(range(len(requests)), len(requests))
    shuffled = sampler.sample([requests[index] for index in order], SETTINGS)
    found.append(_differing(shuffled, [expected[index] for index in order]))
    print(f"other order     : {found[-1]} differ")
    alone = [sampler.sample([request], SETTINGS)[0] for request in requests[:8]]
    found.append(_differing(alone, expected[:8]))
    print(f"row by row      : {found[-1]} of 8 differ")
    return sum(found)


def _differing(left: list[Completion], right: list[Completion]) -> int:
    return sum(a != b for a, b in zip(left, right, strict=True))


def _compare_speed(
    checkpoint: Path, sampler: Sampler, requests: list[Request], arguments: argparse.Namespace
) -> dict[str, float]:
    model, tokenizer = _plain(checkpoint, arguments.device)
    prompts = sorted((request.prompt for request in requests), key=len)
    return _in_turns(
        sampler,
        requests,
        lambda: _generate_rate(model, tokenizer, prompts, arguments.batch_size),
        arguments.repeats,
    )


def _compare_pictures(directory: Path, arguments: argparse.Namespace) -> None:
    from sights import SEEING, packed, plain

    initialise(SEEING, 0, directory / "seeing")
    pictures, digests = packed(directory / "media", -(-arguments.rows // arguments.samples))
    asked = _requests(arguments.rows, arguments.samples, seed=1)
    requests = [
        replace(one, images=(digests[place // arguments.samples],)) for place, one in enumerate(asked)
    ]
    sampler = Sampler(directory / "seeing", "cpu", arguments.batch_size, None, pictures)
    model, processor = plain(directory / "seeing")
    shown = sorted(
        ((one.prompt, pictures.decoded(one.images[0])) for one in requests), key=lambda one: len(one[0])
    )
    figures = _in_turns(
        sampler,
        requests,
        lambda: _seeing_rate(model, processor, shown, arguments.batch_size),
        arguments.repeats,
    )
    if arguments.json:
        arguments.json.write_text(json.dumps(figures), encoding="utf-8")


def _seeing_rate(model: Any, processor: Any, shown: list[tuple[str, Any]], batch_size: int) -> float:
    import torch

    tokens, began, pad = 0, time.perf_counter(), processor.tokenizer.pad_token_id
    for start in range(0, len(shown), batch_size):
        part = shown[start : start + batch_size]
        texts, images = [f"<bos><image>{prompt}" for prompt, _ in part], [[image] for _, image in part]
        batch = processor(
            text=texts, images=images, add_special_tokens=False, padding=True, return_tensors="pt"
        )
        with torch.inference_mode():
            output = model.generate(
                **batch, do_sample=True, top_k=0, temperature=1.0, max_new_tokens=SETTINGS.max_tokens
            )
        drawn = output[:, batch["input_ids"].shape[1] :]
        processor.batch_decode(drawn, skip_special_tokens=True)
        tokens += int((drawn != pad).sum())
    return tokens / (time.perf_counter() - began)


def _in_turns(
    sampler: Sampler, requests: list[Request], plain: Callable[[], float], repeats: int
) -> dict[str, float]:
    rates: list[tuple[float, float]] = []
    print(f"\n{'repeat':>6} {'lineal tok/s':>13} {'generate tok/s':>15} {'ratio':>6}")
    for repeat in range(repeats + 1):
        rate = (_lineal_rate(sampler, requests), plain())
        if repeat:  # the first turn warms both up
            rates.append(rate)
            print(f"{repeat:>6} {rate[0]:>13,.0f} {rate[1]:>15,.0f} {rate[0] / rate[1]:>6.2f}")
    best = [max(values) for values in zip(*rates, strict=True)]
    median = sorted(ours / plain for ours, plain in rates)[len(rates) // 2]
    print(
        f"{'best':>6} {best[0]:>13,.0f} {best[1]:>15,.0f} {best[0] / best[1]:>6.2f}   median ratio {median:.2f}"
    )
    return {
        "median_ratio": round(median, 3),
        "lineal_tokens_per_second": round(best[0]),
        "generate_tokens_per_second": round(best[1]),
    }


def _lineal_rate(sampler: Sampler, requests: list[Request]) -> float:
    began = time.perf_counter()
    completions = sampler.sample(requests, SETTINGS)
    return sum(completion.tokens for completion in completions) / (time.perf_counter() - began)


def _compare_vllm(
    checkpoint: Path, requests: list[Request], arguments: argparse.Namespace, directory: Path
) -> None:
    """In turns: through lineal, `LLM.generate` with the same seeds and log-probabilities, and without any."""
    room = arguments.kv_cache_gb
    settings = VllmCompute(
        python=arguments.vllm, kv_cache_gb=room, gpu_memory_utilization=0.4, enforce_eager=arguments.eager
    )
    sampler = VllmSampler(checkpoint, settings, directory / "vllm.log")
    direct = _direct(checkpoint, requests, arguments, directory)
    turns = [[engine_seed(request.seed) for request in requests], [None] * len(requests)]
    rates: list[list[float]] = []
    print(
        f"\n{'repeat':>6} {'lineal vllm tok/s':>18} {'LLM.generate':>13} {'without seeds':>14} {'ratio':>6} {'ratio':>6}"
    )
    for repeat in range(arguments.repeats + 1):
        rate = [_vllm_rate(sampler, requests, directory / f"saved_{repeat}.jsonl")]
        for seeds in turns:
            direct.send({"seeds": seeds, "max_tokens": SETTINGS.max_tokens})
            rate.append(direct.receive("rate"))
        if repeat:  # the first turn loads and warms up
            rates.append(rate)
            print(f"{repeat:>6} {rate[0]:>18,.0f} {rate[1]:>13,.0f} {rate[2]:>14,.0f}", end="")
            print(f" {rate[0] / rate[1]:>6.2f} {rate[0] / rate[2]:>6.2f}")
    medians = [sorted(rate[0] / rate[column] for rate in rates)[len(rates) // 2] for column in (1, 2)]
    print(
        f"median ratio: {medians[0]:.2f} with the same seeds and log-probabilities, {medians[1]:.2f} against none"
    )
    sampler.close()
    direct.close()
    if arguments.json:
        best = [max(column) for column in zip(*rates, strict=True)]
        names = (
            "ratio_with_seeds",
            "ratio_without_seeds",
            "lineal_tokens_per_second",
            "generate_with_seeds",
            "generate_without",
        )
        figures = dict(zip(names, [*(round(one, 3) for one in medians), *map(round, best)], strict=True))
        arguments.json.write_text(json.dumps(figures), encoding="utf-8")


def _direct(
    checkpoint: Path, requests: list[Request], arguments: argparse.Namespace, directory: Path
) -> VllmProcess:
    import torch

    script = Path(__file__).with_name("vllm_direct.py")
    process = VllmProcess([arguments.vllm, str(script)], dict(os.environ), directory / "direct.log")
    room: dict[str, Any] = {}
    if arguments.kv_cache_gb is not None:
        room["kv_cache_memory_bytes"] = round(arguments.kv_cache_gb * 2**30)
    if (
        not torch.cuda.is_available()
    ):  # as lineal does: LLM.generate with seeds and parts of prompts raises on a CPU
        room["enable_chunked_prefill"] = False
    own = {"dtype": "float32", "gpu_memory_utilization": 0.4, "enforce_eager": arguments.eager, **room}
    process.send(
        {"model": str(checkpoint), "prompts": [request.prompt for request in requests], "arguments": own}
    )
    process.receive("ready")
    return process


def _vllm_rate(sampler: VllmSampler, requests: list[Request], path: Path) -> float:
    """As a step draws: every finished completion is saved."""
    began = time.perf_counter()
    completions = SavedSampler(sampler, path, {}).sample(requests, SETTINGS)
    return sum(completion.tokens for completion in completions) / (time.perf_counter() - began)


def _plain(checkpoint: Path, device: str) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(str(checkpoint), local_files_only=True).eval().to(device)
    return model, AutoTokenizer.from_pretrained(str(checkpoint), padding_side="left", local_files_only=True)


def _generate_rate(model: Any, tokenizer: Any, prompts: list[str], batch_size: int) -> float:
    import torch

    tokens, began = 0, time.perf_counter()
    for start in range(0, len(prompts), batch_size):
        batch = tokenizer(
            prompts[start : start + batch_size],
            return_tensors="pt",
            padding=True,
            return_token_type_ids=False,
        ).to(model.device)
        with torch.inference_mode():
            output = model.generate(
                **batch, do_sample=True, top_k=0, temperature=1.0, max_new_tokens=SETTINGS.max_tokens
            )
        drawn = output[:, batch["input_ids"].shape[1] :]
        tokenizer.batch_decode(drawn, skip_special_tokens=True)
        tokens += int((drawn != tokenizer.pad_token_id).sum())
    return tokens / (time.perf_counter() - began)


if __name__ == "__main__":
    main()
