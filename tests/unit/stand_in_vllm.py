"""A package that stands where vLLM would: the real worker runs on it in a process of its own, in milliseconds.

Its engine finishes one request a step; what it draws is told by the prompt's length and the seed. `STAND_IN` says what it
is to do wrong, and every draw is noted in the file `STAND_IN_DRAWN`.
"""

from __future__ import annotations

import sys
from pathlib import Path

FILES = {
    "__init__.py": """
import json, os, signal, time
from types import SimpleNamespace
from vllm.sampling_params import SamplingParams

__version__ = "stand-in"
PLAN = json.loads(os.environ.get("STAND_IN", "{}"))


class EngineArgs:
    def __init__(self, model, extra_thing=None, **arguments):
        self.arguments = arguments
        if PLAN.get("refuses"):
            raise ValueError(PLAN["refuses"])


class LLMEngine:
    def __init__(self, arguments):
        self.model_config = SimpleNamespace(max_model_len=arguments.get("max_model_len", 64))
        self.arguments, self.waiting, self.drawn = arguments, [], 0

    @classmethod
    def from_engine_args(cls, args):
        return cls(args.arguments)

    def add_lora(self, adapter):
        self.adapter = adapter

    def add_request(self, name, prompt, params, lora_request=None):
        self.waiting.append((name, prompt["prompt_token_ids"], params))

    def has_unfinished_requests(self):
        return bool(self.waiting)

    def step(self):
        time.sleep(PLAN.get("seconds", 0))
        name, ids, params = self.waiting.pop()
        if self.drawn == PLAN.get("dies_after"):
            os.kill(os.getpid(), signal.SIGKILL)
        if self.drawn == PLAN.get("hangs_after"):
            time.sleep(600)
        self.drawn += 1
        with open(os.environ["STAND_IN_DRAWN"], "a") as stream:
            stream.write(f"{os.getpid()} {params.settings['seed']}\\n")
        tokens = [4 + (len(ids) + params.settings["seed"]) % 20, params.settings["stop_token_ids"][0]]
        tokens = tokens[: params.settings["max_tokens"]]
        reason = PLAN.get("reason", "stop")
        drawn = SimpleNamespace(token_ids=tokens, finish_reason=reason, cumulative_logprob=-1.5)
        return [SimpleNamespace(request_id=name, finished=True, outputs=[drawn])]
""",
    "sampling_params.py": """
class RequestOutputKind:
    FINAL_ONLY = 2


class SamplingParams:
    def __init__(self, **settings):
        self.settings = settings
""",
    "platforms.py": """
import os


class current_platform:
    is_cpu = staticmethod(lambda: False)
    is_cuda_alike = staticmethod(lambda: "STAND_IN_CUDA" in os.environ)
    device_count = staticmethod(lambda: int(os.environ.get("STAND_IN_DEVICES", "1")))
    get_device_total_memory = staticmethod(lambda: int(os.environ.get("STAND_IN_MEMORY", str(8 << 30))))
""",
    "inputs.py": "def tokens_input(ids):\n    return {'prompt_token_ids': ids}\n",
    "envs.py": "VLLM_BATCH_INVARIANT = False\n",
    "lora/__init__.py": "",
    "lora/request.py": """
class LoRARequest:
    def __init__(self, name, number, path):
        self.path = path
""",
}


def make_stand_in(directory: Path) -> Path:
    """Writes the package, and an interpreter that finds it; returns the interpreter's path."""
    for name, text in FILES.items():
        path = directory / "stand_in" / "vllm" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    call = f'PYTHONPATH="{directory / "stand_in"}" exec "{sys.executable}" "$@"'
    return make_program(directory / "python", "/bin/sh", call)


def make_program(path: Path, runs: str, text: str) -> Path:
    """Writes a program that is called as the worker's interpreter would be: with a script and two descriptors."""
    path.write_text(f"#!{runs}\n{text}\n")
    path.chmod(0o755)
    return path
