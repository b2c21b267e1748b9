"""vLLM called as its documentation does, by `LLM.generate`; runs in vLLM's interpreter for `bench/sample.py`.

Reads a line of JSON with the checkpoint and the prompts, then a line for every turn; answers each on a descriptor of its own.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any


def main() -> None:
    with os.fdopen(int(sys.argv[1])) as requests, os.fdopen(int(sys.argv[2]), "w") as answers:
        setup = json.loads(requests.readline())
        model = _load(setup["model"], setup["arguments"])
        print(json.dumps({"ready": True}), file=answers, flush=True)
        for line in requests:
            print(
                json.dumps({"rate": _rate(model, setup["prompts"], json.loads(line))}),
                file=answers,
                flush=True,
            )


def _load(model: str, arguments: dict[str, Any]) -> Any:
    from vllm import LLM

    return LLM(model=model, **arguments)


def _rate(model: Any, prompts: list[str], turn: dict[str, Any]) -> float:
    """Tokens a second; `seeds` are None for plain sampling."""
    from vllm import SamplingParams

    began = time.perf_counter()
    own = [{} if seed is None else {"seed": seed, "logprobs": 0} for seed in turn["seeds"]]
    settings = [SamplingParams(max_tokens=turn["max_tokens"], **one) for one in own]
    outputs = model.generate(prompts, settings, use_tqdm=False)
    return sum(len(output.outputs[0].token_ids) for output in outputs) / (time.perf_counter() - began)


if __name__ == "__main__":
    main()
