"""An engine without a model, for tests of the plan's shape: completions are a hash's choice, checkpoints a few bytes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

from lineal.data.conversations import Prompt
from lineal.data.steps import steps_of
from lineal.engines.sampling.rollouts import Generation, SampledRollout
from lineal.engines.sampling.sampler import Completion, Request, SamplingSettings
from lineal.engines.sampling.scoring import CertaintyMeans, LogProbability, Pair


class FakeSampler:
    """Solves a sorting prompt in about half of the samples, by the seed."""

    in_flight = 1

    def stream(
        self, requests: Sequence[Request], settings: SamplingSettings
    ) -> Iterator[tuple[int, Completion]]:
        """Yields each request's completion; the same (prompt, seed) gives the same completion."""
        for index, request in enumerate(requests):
            yield index, self._complete(request, settings)

    def _complete(self, request: Request, settings: SamplingSettings) -> Completion:
        letters = sorted(text_of(request.prompt).strip("="))
        text = "".join(letters if request.seed % 2 else reversed(letters))
        reason = "stop" if len(text) < settings.max_tokens else "length"
        ended = None if settings.stop is None else settings.stop.ended(text[: settings.max_tokens])
        if ended is not None:
            return Completion(ended, len(ended) + 1, "stop", -float(len(text)))
        return Completion(
            text[: settings.max_tokens], min(len(text) + 1, settings.max_tokens), reason, -float(len(text))
        )


def text_of(prompt: Prompt) -> str:
    """Returns a prompt's question: a text itself, or the last user turn of a conversation."""
    return prompt if isinstance(prompt, str) else prompt.question


def fake_generation(prompts: Sequence[Prompt], samples: int, max_tokens: int, seed: int) -> Generation:
    """Makes up what an online training samples: each prompt once, before the first step."""
    requests = [Request(prompt, seed + index) for prompt in prompts for index in range(samples)]
    drawn = FakeSampler().stream(requests, SamplingSettings(max_tokens=max_tokens))
    rollouts = [
        SampledRollout(place // samples, 0, one.text, one.tokens, one.finish_reason) for place, one in drawn
    ]
    return Generation(0, len(rollouts), tuple(rollouts))


class FakeLikelihoods:
    """Makes shorter texts likelier."""

    def score(
        self, pairs: Sequence[Pair], chat: bool = False, progress: Callable[[int], None] | None = None
    ) -> list[LogProbability]:
        """Returns one likelihood per pair: minus the completion's tokens, one per character and one for the end."""
        if progress is not None:
            progress(len(pairs))
        return [LogProbability(-float(len(text) + 1), len(text) + 1) for text in map(_written, pairs)]

    def certainty(
        self, pairs: Sequence[Pair], chat: bool = False, progress: Callable[[int], None] | None = None
    ) -> list[CertaintyMeans]:
        """Is surer of shorter texts."""
        if progress is not None:
            progress(len(pairs))
        return [CertaintyMeans(1 / (len(text) + 1), float(len(text))) for text in map(_written, pairs)]

    def angles(
        self, prompts: Sequence[Prompt], chat: bool = False, progress: Callable[[int], None] | None = None
    ) -> list[float | None]:
        """Finds shorter prompts more alike in their tokens."""
        if progress is not None:
            progress(len(prompts))
        return [1 / (len(text_of(prompt)) + 1) for prompt in prompts]


class FakeRewards:
    """Rewards letters that are in order."""

    def score(
        self, pairs: Sequence[Pair], chat: bool = False, progress: Callable[[int], None] | None = None
    ) -> list[float]:
        """Returns one number per pair: how many neighbours in the completion are in order."""
        if progress is not None:
            progress(len(pairs))
        return [float(sum(a < b for a, b in pairwise(text))) for text in map(_written, pairs)]


class FakeStepScores:
    """Prefers shorter steps."""

    def score_steps(
        self,
        rows: Sequence[tuple[Prompt, str]],
        separator: str,
        chat: bool = False,
        progress: Callable[[int], None] | None = None,
    ) -> list[list[float]]:
        """Returns for each step 1 divided by its letters and 1."""
        if progress is not None:
            progress(len(rows))
        return [[1 / (1 + len(step)) for step in steps_of(text, separator)] for _, text in rows]


def _written(pair: Pair) -> str:
    return pair[1] if isinstance(pair[1], str) else pair[1].text


def write_fake_checkpoint(directory: Path, *provenance: str) -> None:
    """Writes a stand-in checkpoint whose bytes depend on the provenance alone."""
    directory.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256(json.dumps(provenance).encode()).hexdigest()
    (directory / "config.json").write_text(
        json.dumps({"model_type": "fake", "weights": digest}) + "\n", encoding="utf-8"
    )
