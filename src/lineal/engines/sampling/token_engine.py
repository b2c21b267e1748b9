"""Sampling engines of other packages: their base class, and how `compute.engine` finds them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any, ClassVar

from lineal.engines.models.checkpoints import is_adapter, require_base, require_sound
from lineal.engines.models.declared import declared_positions, declared_stops, declared_vocabulary
from lineal.engines.sampling.decoding import Decoded
from lineal.engines.sampling.sampler import Completion, Request, SamplingSettings, completions_of
from lineal.engines.text.spelling import spelling_of
from lineal.engines.text.tokens import Lead, encode_prompts, is_chat, leads_of, load_tokenizer, stop_ids
from lineal.engines.text.vocabulary import ids_without_token, require_vocabulary
from lineal.errors import EngineError
from lineal.recipe.compute import ENGINE_POINTS, ENGINES
from lineal.recipe.plugins import named_once, shown


@dataclass(frozen=True)
class TokenRequest:
    """One completion to draw.

    Attributes:
        prompt_ids: the prompt's token ids, at least one.
        end_ids: the ids of which any ends the completion.
        seed: of its noise, an unsigned 64-bit number.
    """

    prompt_ids: list[int]
    end_ids: list[int]
    seed: int


class TokenEngine(ABC):
    """Base of sampling engines that packages add under the entry point `lineal.engines`: token ids go in and come out.

    lineal encodes prompts, renders conversations, and decodes and truncates completions, so these are the same with every engine.
    Training and scoring stay with transformers.

    Attributes:
        equal_bytes: whether a completion depends on weights, prompt, seed and settings alone, and not on what else is drawn or in
            which order. Where it doesn't, manifests say so.
        in_flight: the number of requests that keeps it busy.
        never_ids: ids that no token of the tokenizer has; an engine must not draw them.

    Args:
        checkpoint: directory of a full model, or of a LoRA adapter.
        base: the full model under an adapter; None for a full model.
        device: `compute.device`.
        options: `compute.engine_options`.

    Raises:
        EngineError: weights that aren't whole, a tokenizer that doesn't go with them, or options that the engine doesn't know.
    """

    equal_bytes: ClassVar[bool] = False
    in_flight: int = 256

    def __init__(self, checkpoint: Path, base: Path | None, device: str, options: Mapping[str, Any]) -> None:
        weights = require_base(checkpoint, base) if is_adapter(checkpoint) else checkpoint
        self._tokenizer = load_tokenizer(checkpoint)
        spelling_of(self._tokenizer)
        require_sound(weights)
        size = declared_vocabulary(weights)
        require_vocabulary(self._tokenizer, size, checkpoint)
        self.never_ids = ids_without_token(self._tokenizer, size)
        self._size = len(self._tokenizer) if size is None else size
        self._declared, self._positions = declared_stops(weights), declared_positions(weights)
        self.require_options(options)
        with self._named():
            self.load(checkpoint, base, device, **options)

    @abstractmethod
    def load(self, checkpoint: Path, base: Path | None, device: str) -> None:
        """Loads the model. Options come as further keyword arguments.

        Raises:
            EngineError: it cannot be loaded.
        """

    @abstractmethod
    def draw(
        self, requests: Sequence[TokenRequest], settings: SamplingSettings
    ) -> Iterator[tuple[int, Sequence[int], float]]:
        """Yields, as they are finished, each request's place, the drawn ids, and the sum of their log-probabilities.

        The ids include the one that ended the completion, and are at most `settings.max_tokens`. Log-probabilities are those at
        temperature 1 without filters. An engine may stop at `settings.stop` by itself, or leave that to lineal.

        Raises:
            EngineError: a request cannot be answered; earlier completions remain valid.
        """

    def stream(
        self, requests: Sequence[Request], settings: SamplingSettings
    ) -> Iterator[tuple[int, Completion]]:
        """Yields each request's place and its completion, as they are finished.

        Raises:
            EngineError: a prompt cannot be encoded or is too long, or the engine gave something else than it was asked for.
        """
        asked = self._asked(requests, settings)
        waiting = set(range(len(asked)))
        for place, drawn, logprob in self._drawn([request for request, _ in asked], settings):
            self._check(place, drawn, settings, waiting)
            waiting.remove(place)
            request, lead = asked[place]
            row = Decoded(list(drawn), drawn[-1] in request.end_ids, float(logprob))
            (completion,) = completions_of(self._tokenizer, [row], [lead], settings)
            yield place, completion
        if waiting:
            raise self._wrong(f"left {len(waiting):,} of {len(requests):,} requests unanswered")

    def _drawn(
        self, requests: Sequence[TokenRequest], settings: SamplingSettings
    ) -> Iterator[tuple[int, Sequence[int], float]]:
        with self._named():
            yield from self.draw(requests, settings)

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Names the engine in whatever it raises."""
        try:
            yield
        except EngineError:
            raise
        except Exception as error:
            raise self._wrong(f"failed: {type(error).__name__}: {error}") from error

    def _asked(
        self, requests: Sequence[Request], settings: SamplingSettings
    ) -> list[tuple[TokenRequest, Lead]]:
        """Returns each request as token ids, with the lead of its completion."""
        prompts = list(dict.fromkeys(request.prompt for request in requests))
        encoded = encode_prompts(self._tokenizer, prompts, settings.chat)
        self._require_room(encoded, settings)
        ids = dict(zip(prompts, encoded, strict=True))
        leads = dict(zip(prompts, leads_of(self._tokenizer, prompts, encoded, settings.chat), strict=True))
        ends = {prompt: self._ends(is_chat(prompt, settings.chat)) for prompt in prompts}
        return [
            (TokenRequest(ids[request.prompt], ends[request.prompt], request.seed), leads[request.prompt])
            for request in requests
        ]

    def _ends(self, chat: bool) -> list[int]:
        return stop_ids(self._tokenizer, self._declared, chat)

    @classmethod
    def require_options(cls, options: Mapping[str, Any]) -> None:
        """Checks `compute.engine_options` against what `load` takes.

        Raises:
            EngineError: an option is unknown or missing.
        """
        try:
            signature(cls.load).bind(None, Path(), None, "", **options)
        except TypeError as error:
            got = f"compute.engine_options: {dict(options)} don't fit {cls.__name__}.load: {error}"
            raise EngineError(f"{got}. Its docstring says which it takes") from error

    def _require_room(self, encoded: Sequence[Sequence[int]], settings: SamplingSettings) -> None:
        longest = max(map(len, encoded), default=0)
        if self._positions is not None and longest + settings.max_tokens > self._positions:
            raise EngineError(
                f"sampling: the longest prompt has {longest} tokens, with max_tokens {settings.max_tokens} that is more than the "
                f"{self._positions} positions of the model. Lower max_tokens or shorten the prompts."
            )

    def _check(self, place: int, drawn: Sequence[int], settings: SamplingSettings, waiting: set[int]) -> None:
        if place not in waiting:
            raise self._wrong(f"answered request {place}, which was not asked or is answered already")
        if not 1 <= len(drawn) <= settings.max_tokens:
            raise self._wrong(
                f"drew {len(drawn)} tokens for request {place}, expected 1 to {settings.max_tokens}"
            )
        unknown = sorted(
            {*drawn} & {*self.never_ids} | {number for number in drawn if not 0 <= number < self._size}
        )
        if unknown:
            raise self._wrong(
                f"drew id {unknown[0]} for request {place}, which no token has. Leave out `never_ids`"
            )

    def _wrong(self, what: str) -> EngineError:
        return EngineError(f"the engine {type(self).__name__} {what}")


def engine_class(name: str) -> type[TokenEngine]:
    """Returns the class of a package's engine.

    Raises:
        EngineError: it cannot be imported, or is no `TokenEngine`.
    """
    point = named_once(ENGINE_POINTS, "engine", ENGINES)[name]
    try:
        found = point.load()
    except Exception as error:
        raise EngineError(
            f"engine {name!r} cannot be loaded from {shown(point)}: {type(error).__name__}: {error}"
        ) from error
    if not (isinstance(found, type) and issubclass(found, TokenEngine)):
        got = found.__name__ if isinstance(found, type) else f"a {type(found).__name__}"
        raise EngineError(
            f"engine {name!r} of {shown(point)} is {got}, expected a subclass of {TokenEngine.__module__}.TokenEngine"
        )
    return found
