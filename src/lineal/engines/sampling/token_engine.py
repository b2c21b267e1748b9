"""Sampling engines of other packages: their base class, and how `compute.engine` finds them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import signature
from math import inf
from operator import index
from pathlib import Path
from typing import Any, ClassVar

from lineal.engines.sampling.decoding import Decoded
from lineal.engines.sampling.sampler import Completion, Request, SamplingSettings, completions_of
from lineal.engines.sampling.tokenized import EncodedPrompt, TokenizedCheckpoint
from lineal.engines.text.tokens import Lead
from lineal.errors import EngineError
from lineal.recipe.compute import ENGINE_POINTS, ENGINES
from lineal.recipe.plugins import named_once, shown

ROUNDING = 1e-3
"""How far above 0 a sum of log-probabilities may be rounded."""


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
        self._model = TokenizedCheckpoint(checkpoint, base)
        self.never_ids = self._model.never_ids
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
        temperature 1 without filters. An engine may stop at `settings.stop` by itself, and gives the stop text's ids too, or
        leaves that to lineal. A completion that is shorter than the limit and that nothing ended is an error.

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
        for given in self._drawn([request for request, _ in asked], settings):
            place, drawn, logprob = self._read(given)
            if place not in waiting:
                raise self._wrong(f"answered request {place}, which was not asked or is answered already")
            waiting.remove(place)
            request, lead = asked[place]
            self._check(place, drawn, logprob, request, settings)
            row = Decoded(drawn, drawn[-1] in request.end_ids, logprob)
            (completion,) = completions_of(self._model.tokenizer, [row], [lead], settings)
            if completion.finish_reason == "length":
                self._require_length(place, drawn, settings)
            yield place, completion
        if waiting:
            raise self._wrong(f"left {len(waiting):,} of {len(requests):,} requests unanswered")

    def _drawn(self, requests: Sequence[TokenRequest], settings: SamplingSettings) -> Iterator[Any]:
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
        encoded = self._model.encode(requests, settings.chat)
        self._require_room(encoded.values(), settings)
        asked = [(encoded[request.prompt], request.seed) for request in requests]
        return [(TokenRequest(prompt.ids, prompt.end_ids, seed), prompt.lead) for prompt, seed in asked]

    @classmethod
    def require_options(cls, options: Mapping[str, Any]) -> None:
        """Checks `compute.engine_options` against what `load` takes.

        Raises:
            EngineError: an option is unknown or missing.
        """
        try:
            signature(cls.load).bind(None, Path(), None, "", **options)
        except TypeError as error:
            raise EngineError(
                f"compute.engine_options: got {dict(options)}, expected {_options(cls.load)} as {cls.__name__}.load takes them: "
                f"{error}"
            ) from error

    def _require_room(self, prompts: Iterable[EncodedPrompt], settings: SamplingSettings) -> None:
        longest, positions = max((len(prompt.ids) for prompt in prompts), default=0), self._model.positions
        if positions is not None and longest + settings.max_tokens > positions:
            raise EngineError(
                f"sampling: the longest prompt has {longest} tokens, with max_tokens {settings.max_tokens} that is more than the "
                f"{positions} positions of the model. Lower max_tokens or shorten the prompts."
            )

    def _read(self, given: Any) -> tuple[int, list[int], float]:
        """Reads what `draw` yielded; numbers of torch and numpy are numbers."""
        try:
            place, drawn, logprob = given
            return index(place), [index(number) for number in drawn], float(logprob)
        except (TypeError, ValueError) as error:
            raise self._wrong(
                f"yielded {given!r:.100}, expected (place, ids, logprob): an integer, a sequence of integers, a number ({error})"
            ) from error

    def _check(
        self, place: int, drawn: list[int], logprob: float, request: TokenRequest, settings: SamplingSettings
    ) -> None:
        if not 1 <= len(drawn) <= settings.max_tokens:
            raise self._wrong(
                f"drew {len(drawn)} tokens for request {place}, expected 1 to {settings.max_tokens}"
            )
        self._check_ids(place, drawn, request)
        if not -inf < logprob <= ROUNDING:
            raise self._wrong(
                f"gave the ids of request {place} the log-probability {logprob}, expected a finite number of at most 0: "
                "the sum over all of them, at temperature 1 without filters"
            )

    def _check_ids(self, place: int, drawn: list[int], request: TokenRequest) -> None:
        never, ends = set(self.never_ids), set(request.end_ids)
        for number in drawn:
            if number in never or not 0 <= number < self._model.vocabulary:
                raise self._wrong(
                    f"drew id {number} for request {place}, which no token has. Never draw the ids in `self.never_ids`"
                )
        for number in drawn[:-1]:
            if number in ends:
                raise self._wrong(
                    f"drew {len(drawn)} tokens for request {place}, and id {number} before the last, though it ends the "
                    "completion. Give nothing after the first of `end_ids`, and no padding"
                )

    def _require_length(self, place: int, drawn: list[int], settings: SamplingSettings) -> None:
        """Refuses a completion that is shorter than the limit and that nothing ended: it would count as truncated."""
        if len(drawn) < settings.max_tokens:
            stop = "" if settings.stop is None else ", the ids of a whole stop text"
            raise self._wrong(
                f"drew {len(drawn)} tokens without an end for request {place}; expected one of its `end_ids` as the last{stop}, "
                f"or {settings.max_tokens} tokens"
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
    if found.__abstractmethods__:
        lacking = " and ".join(sorted(found.__abstractmethods__))
        raise EngineError(
            f"engine {name!r} of {shown(point)} is {found.__qualname__} without {lacking}, expected the methods load and draw"
        )
    return found


def _options(load: Callable[..., None]) -> str:
    """Shows the keyword parameters of `load` that are options."""
    further = list(signature(load).parameters.values())[4:]
    return ", ".join(str(one) for one in further) or "none"
