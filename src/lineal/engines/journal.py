"""Finished completions of a running step, saved one by one: a killed step never samples them again."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lineal.data.conversations import plain_values
from lineal.data.ids import digest_of
from lineal.engines.sampling import Completion, Request, SamplingSettings

if TYPE_CHECKING:
    from lineal.engines.factory import CompletionSource


class SavedSampler:
    """A sampling engine whose finished completions are saved in a file as they come.

    A request is identified by its prompt, seed and settings; the file belongs to one checkpoint in one step.

    Args:
        engine: draws what isn't saved yet.
        path: the file, one JSON line for each completion; made when it is needed.
        facts: the step's facts; `resumed_completions` counts what was found in the file.
    """

    def __init__(self, engine: CompletionSource, path: Path, facts: dict[str, Any]) -> None:
        self._engine = engine
        self._path = path
        self._facts = facts

    def sample(
        self, requests: Sequence[Request], settings: SamplingSettings, progress: Callable[[int], None] = lambda rows: None
    ) -> list[Completion]:
        """One completion for each request, in the order of the requests.

        Args:
            requests: prompts with their seeds.
            settings: how to draw.
            progress: told how many more are done.

        Raises:
            EngineError: what the engine raises; the finished completions are saved.
        """
        keys = [digest_of([plain_values(request.prompt), request.seed, settings.described()]) for request in requests]
        saved = _read(self._path)
        found = {index: saved[key] for index, key in enumerate(keys) if key in saved}
        if found:
            progress(len(found))
            self._facts["resumed_completions"] = self._facts.get("resumed_completions", 0) + len(found)
        missing = [index for index in range(len(requests)) if index not in found]
        for index, completion in self._drawn([(requests[place], keys[place]) for place in missing], settings):
            found[missing[index]] = completion
            progress(1)
        return [found[index] for index in range(len(requests))]

    def _drawn(self, requests: Sequence[tuple[Request, str]], settings: SamplingSettings) -> Iterator[tuple[int, Completion]]:
        if not requests:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8", buffering=1) as stream:
            for index, completion in self._engine.stream([request for request, _ in requests], settings):
                stream.write(json.dumps([requests[index][1], *completion.__dict__.values()]) + "\n")
                yield index, completion


def _read(path: Path) -> dict[str, Completion]:
    """What a file holds, by key."""
    return {key: Completion(*values) for key, *values in map(json.loads, whole_lines(path))}


def whole_lines(path: Path) -> list[bytes]:
    """The lines of a file that is appended to, none where it isn't there; a last line that a kill cut off is removed from it."""
    if not path.exists():
        return []
    lines = path.read_bytes().splitlines(keepends=True)
    if lines and not lines[-1].endswith(b"\n"):
        with path.open("r+b") as stream:
            stream.truncate(sum(map(len, lines[:-1])))
        del lines[-1]
    return lines
