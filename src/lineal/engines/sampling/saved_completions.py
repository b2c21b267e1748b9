"""Finished completions of a running step, saved one by one: a killed step never samples them again."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from json.encoder import encode_basestring_ascii
from pathlib import Path
from typing import Any, Self

from lineal.data.conversations import plain_values
from lineal.data.ids import canonical_json, digest_of_list
from lineal.data.whole_lines import whole_lines
from lineal.engines.sampling.protocols import CompletionSource
from lineal.engines.sampling.sampler import Completion, Request, SamplingSettings

FLUSH_SECONDS = 0.2
"""How long a finished completion may wait until it is saved: after a kill these are sampled again."""


class SavedSampler:
    """A sampling engine whose finished completions are saved in a file as they come.

    A request is identified by its prompt, seed and settings; the file belongs to one checkpoint in one step.

    Args:
        engine: draws the completions that aren't saved yet.
        path: the file, one JSON line for each completion; made when it is needed.
        facts: the step's facts; `resumed_completions` counts what was found in the file.
    """

    def __init__(self, engine: CompletionSource, path: Path, facts: dict[str, Any]) -> None:
        self._engine = engine
        self._path = path
        self._facts = facts
        self._earlier: dict[str, Completion] | None = None
        """What the file held before this sampler drew anything, except completions that were already returned."""

    def sample(
        self,
        requests: Sequence[Request],
        settings: SamplingSettings,
        progress: Callable[[int], None] = lambda rows: None,
    ) -> list[Completion]:
        """Returns one completion for each request, in the order of the requests.

        Args:
            requests: prompts with their seeds.
            settings: how to draw.
            progress: told how many more are done.

        Raises:
            EngineError: raised by the engine; the finished completions are saved.
        """
        keys = _keys(requests, settings)
        if self._earlier is None:
            self._earlier = _read(self._path)
        found = (
            {index: self._earlier[key] for index, key in enumerate(keys) if key in self._earlier}
            if self._earlier
            else {}
        )
        if found:
            progress(len(found))
            self._facts["resumed_completions"] = self._facts.get("resumed_completions", 0) + len(found)
        missing = [index for index in range(len(requests)) if index not in found]
        for index, completion in self._drawn([(requests[place], keys[place]) for place in missing], settings):
            found[missing[index]] = completion
            progress(1)
        return [found[index] for index in range(len(requests))]

    def _drawn(
        self, requests: Sequence[tuple[Request, str]], settings: SamplingSettings
    ) -> Iterator[tuple[int, Completion]]:
        if not requests:
            return
        with _Lines(self._path) as lines:
            for index, completion in self._engine.stream([request for request, _ in requests], settings):
                lines.add(_line(requests[index][1], completion))
                yield index, completion


class _Lines:
    """Appends lines to a file within `FLUSH_SECONDS`, in a thread of its own inside a `with` block, and at its end.

    A write for each takes as long as all else that is done for a short completion; and an engine may wait long before its next.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._stream = path.open("ab")
        self._waiting: list[str] = []
        self._ended = threading.Event()
        self._failure: OSError | None = None
        self._thread = threading.Thread(target=self._write_often, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def add(self, line: str) -> None:
        """Queues a line for writing.

        Raises:
            OSError: an earlier one could not be.
        """
        if self._failure is not None:
            raise self._failure
        self._waiting.append(line)

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()
        with self._stream:
            self._write()

    def _write_often(self) -> None:
        try:
            while not self._ended.wait(FLUSH_SECONDS):
                self._write()
        except OSError as error:
            self._failure = error

    def _write(self) -> None:
        """Writes the queued lines; `add` may queue more meanwhile."""
        count = len(self._waiting)
        if count:
            self._stream.write(("\n".join(self._waiting[:count]) + "\n").encode())
            self._stream.flush()
            del self._waiting[:count]


def _line(key: str, completion: Completion) -> str:
    """Writes `json.dumps` of a list of the key and the completion's values, in a fifth of its time."""
    reason, logprob = encode_basestring_ascii(completion.finish_reason), completion.logprob
    told = repr(logprob) if type(logprob) is float and math.isfinite(logprob) else json.dumps(logprob)
    ids = "null" if completion.token_ids is None else repr(completion.token_ids)
    return (
        f'["{key}", {encode_basestring_ascii(completion.text)}, {completion.tokens}, {reason}, {told}, {ids}]'
    )


def _keys(requests: Sequence[Request], settings: SamplingSettings) -> list[str]:
    """Returns the key of each request: the digest of its prompt, seed and settings, of which the last is the same for all."""
    described, prompt, text = canonical_json(settings.described()), None, ""
    found = []
    for request in requests:
        if request.prompt is not prompt:  # all samples of a prompt follow each other
            prompt, text = request.prompt, canonical_json(plain_values(request.prompt))
        shown = (canonical_json(request.images),) if request.images else ()
        found.append(digest_of_list((text, str(request.seed), described, *shown)))
    return found


def _read(path: Path) -> dict[str, Completion]:
    """Reads a file's completions by key."""
    return {key: Completion(*values) for key, *values in map(json.loads, whole_lines(path))}
