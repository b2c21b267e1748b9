"""The worker process of the vLLM engine, from lineal's side: messages out, answers in, and an end for all its children."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

from lineal.errors import EngineError

GRACE_SECONDS = 10.0
_ERROR_LINE = re.compile(r"\b([A-Za-z_.]*(?:Error|Exception|OutOfMemory\w*): .+)$")
_POINTERS = re.compile("initialization failed|EngineCore encountered")
"""vLLM's message about a process under the worker that failed: the reason is in its log alone."""
_REFUSED = re.compile(
    r"^\w+: 1 validation error for \w+\s+Value error, (.*?)(?: \[type=\w+, input.*)?$", re.DOTALL
)
_UNKNOWN = re.compile(r"(?:\w+: )?Model architectures \[(.*?)\] are not supported.*", re.DOTALL)
"""What follows is every architecture that vLLM knows."""
MOST_CHARACTERS = 1000
MAKE_ONE = (
    "Make an environment for it (python3 -m venv .venv-vllm && .venv-vllm/bin/pip install vllm; for a CPU see docs/engines.md) "
    "and write compute.vllm.python: .venv-vllm/bin/python"
)
_HINTS = {
    r"kv_cache_gb": "Lower compute.vllm.kv_cache_gb, or raise gpu_memory_utilization.",
    r"(?i)memory|kv cache": "Raise compute.vllm.gpu_memory_utilization or tensor_parallel, lower max_model_len or kv_cache_gb.",
    r"(?i)architecture": "Set compute.engine: transformers, or take a model that vLLM knows.",
    r"(?i)max_model_len|max_position": "Correct compute.vllm.max_model_len.",
    r"(?i)lora|adapter": "Set compute.engine: transformers, or train an adapter of a kind that vLLM serves.",
    r"unexpected keyword": "Correct the names in compute.vllm.extra.",
    r"No module named": f"Name an interpreter that has vLLM in compute.vllm.python. {MAKE_ONE}.",
}


def vllm_interpreter(python: str | None, project: Path) -> str:
    """Returns the interpreter that `compute.vllm.python` names. vLLM is not searched in it, which takes seconds.

    Raises:
        EngineError: there is none, or none is named and lineal's own has no vLLM.
    """
    if python is None:
        if find_spec("vllm") is not None:
            return sys.executable
        raise EngineError(
            f"compute.engine is vllm, but {sys.executable} has no vLLM. {MAKE_ONE}, or run: pip install 'lineal[vllm]'"
        )
    found = shutil.which(str(project / python) if os.sep in python else python)
    if found is None:
        raise EngineError(
            f"compute.vllm.python: got {python!r}, expected an interpreter that has vLLM: a path from {project.resolve()}, or a "
            f"name on the PATH. Correct it. {MAKE_ONE}"
        )
    return found


class VllmProcess:
    """A running worker.

    It leads a process group of its own, so that nothing it started outlives it; it ends itself when this process is gone.

    Args:
        command: interpreter and script; the numbers of two descriptors are appended.
        environment: the worker's environment.
        log: the file for vLLM's output, which is overwritten.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self._log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        requests_out, self._requests = _pipe("wb")
        self._answers, answers_in = _pipe("rb")
        theirs = (requests_out, answers_in)
        try:
            with log.open("wb") as stream:
                self._process = subprocess.Popen(  # noqa: S603 - the interpreter that params.yaml names, and our own script
                    [*command, *map(str, theirs)],
                    pass_fds=theirs,
                    env=environment,
                    process_group=0,
                    stdin=subprocess.DEVNULL,
                    stdout=stream,
                    stderr=stream,
                )
        finally:
            for descriptor in theirs:
                os.close(descriptor)
        self._finalizer = weakref.finalize(self, _end, self._process, self._requests, self._answers)

    def send(self, message: Mapping[str, Any]) -> None:
        """Sends a message. A dead worker shows in the next `receive`."""
        with suppress(BrokenPipeError):
            self._requests.write(json.dumps(message).encode() + b"\n")
            self._requests.flush()

    def receive(self, expected: str) -> Any:
        """Returns the worker's next answer, under the name that it must have.

        Raises:
            EngineError: it failed, died, or answered something else.
        """
        line = self._answers.readline()
        if not line.endswith(b"\n"):
            raise self._died()
        try:
            message = json.loads(line)
        except ValueError:
            message = None
        if isinstance(message, dict) and "failed" in message:
            raise self._failed(str(message["failed"]), str(message.get("error")))
        if not isinstance(message, dict) or expected not in message:
            self.close()
            raise EngineError(
                f"vLLM's worker answered {line[:80]!r}, expected {expected!r}. Its log: {self._log}"
            )
        return message[expected]

    def close(self) -> None:
        """Ends the worker and everything that it started; waits until they are gone."""
        self._finalizer()

    def _died(self) -> EngineError:
        self.close()
        code = self._process.returncode
        how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit status {code}"
        memory = " (the kernel does that when memory runs out)" if code == -signal.SIGKILL else ""
        return EngineError(
            f"vLLM's worker ended {how}{memory} before it had answered. What it had finished is saved: run again. "
            f"Last error in its log: {self._last_error() or 'none'}. Its log: {self._log}"
        )

    def _failed(self, stage: str, error: str) -> EngineError:
        self.close()
        if _POINTERS.search(error):
            error = self._last_error() or error
        hint = next((f" {hint}" for pattern, hint in _HINTS.items() if re.search(pattern, error)), "")
        return EngineError(f"vLLM cannot {stage}: {_sentence(error)}{hint} Its log: {self._log}")

    def _last_error(self) -> str:
        text = self._log.read_text(encoding="utf-8", errors="replace")
        found = [match[1] for line in text.splitlines() if (match := _ERROR_LINE.search(line))]
        return next((line for line in reversed(found) if not _POINTERS.search(line)), "")


def _sentence(error: str) -> str:
    """Returns vLLM's words without pydantic's frame and without long lists; the log has all."""
    text = _REFUSED.sub(r"\1", error.strip())
    text = _UNKNOWN.sub(lambda found: f"it does not know {found[1].replace(chr(39), '')}", text).strip()
    if len(text) > MOST_CHARACTERS:
        return f"{text[:MOST_CHARACTERS]} ..."
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _pipe(mode: str) -> tuple[Any, Any]:
    """Opens a pipe as (read end, write end); the end of `mode` is a file, the other a descriptor."""
    read, write = os.pipe()
    return (read, os.fdopen(write, mode)) if mode == "wb" else (os.fdopen(read, mode), write)


def _end(process: subprocess.Popen[bytes], requests: IO[bytes], answers: IO[bytes]) -> None:
    with suppress(BrokenPipeError):
        requests.close()
    answers.close()
    with suppress(subprocess.TimeoutExpired):
        process.wait(GRACE_SECONDS)
    with suppress(ProcessLookupError):  # whatever is left of its group
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
