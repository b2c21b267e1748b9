"""Sampling from a model behind an endpoint."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from lineal.data.media import Pictures
from lineal.engines.endpoints.address import Address, key_of
from lineal.engines.endpoints.budget import Budget
from lineal.engines.endpoints.client import Client, Say
from lineal.engines.endpoints.greedy_detector import MANY, GreedyDetector
from lineal.engines.endpoints.messages import body_of, most_tokens, path_of, require_sayable
from lineal.engines.endpoints.rates import Rates
from lineal.engines.endpoints.request_pool import Job, RequestPool
from lineal.engines.endpoints.spending import Spending
from lineal.engines.sampling.sampler import Completion, Request, SamplingSettings
from lineal.engines.text.stop_texts import StopTexts

WAVES = 8
"""A slice holds this many times the requests in flight, so that its end, where fewer are in flight, is a small part."""


def require_reachable(address: Address, say: Say) -> None:
    """Asks the server whether it has the model.

    Args:
        address: the server and the model.
        say: called with the reason when it takes long.

    Raises:
        EngineError: nothing answers, the key is missing or refused, or it has other models.
    """
    asyncio.run(_at_start(address, say, Client.require_model))


def require_answering(address: Address, say: Say) -> None:
    """Asks the server for its models, whichever they are; otherwise as `require_reachable`."""
    asyncio.run(_at_start(address, say, Client.models))


async def _at_start(address: Address, say: Say, ask: Callable[[Client], Awaitable[object]]) -> None:
    async with Client(address, key_of(address), Rates(address.endpoint), say) as client:
        await ask(client)


class EndpointSampler:
    """A model behind an endpoint, as a sampling engine.

    Attributes:
        in_flight: how many requests a slice should hold.

    Args:
        address: the model.
        spending: counts what is spent.
        facts: the step's facts, which get what was spent.
        say: called when it takes long, and when the server doesn't seem to sample.
        pictures: those that prompts show; None where there are none.

    Raises:
        EngineError: as `require_reachable` does.
    """

    def __init__(
        self,
        address: Address,
        spending: Spending,
        facts: dict[str, Any],
        say: Say,
        pictures: Pictures | None = None,
    ) -> None:
        self._pictures = pictures
        self._address, self._spending, self._facts, self._say = address, spending, facts, say
        self._key, self._rates = key_of(address), Rates(address.endpoint)
        self._greedy = GreedyDetector()
        self.in_flight = WAVES * address.endpoint.concurrency
        facts.update(spending.facts())
        require_reachable(address, say)

    def stream(
        self, requests: Sequence[Request], settings: SamplingSettings
    ) -> Iterator[tuple[int, Completion]]:
        """Yields each request's place and its completion, as the server finishes them.

        Raises:
            EngineError: the API can't express the settings, refuses a request or fails too often, or the token budget is
                spent; earlier completions remain valid.
        """
        require_sayable(self._address, requests, settings)
        with asyncio.Runner() as runner:
            pool = runner.run(self._begin(requests, settings))
            try:
                while answers := runner.run(pool.answered()):
                    for place, answer in answers:
                        asked = requests[place].prompt, requests[place].images
                        if settings.temperature and self._greedy.is_greedy(asked, answer.completion.text):
                            self._say_it_does_not_sample(settings)
                        yield place, stopped(answer.completion, settings.stop)
            finally:
                runner.run(pool.close())
                self._spending.close()
                self._facts.update(self._spending.facts())

    async def _begin(self, requests: Sequence[Request], settings: SamplingSettings) -> RequestPool:
        client = Client(self._address, self._key, self._rates, self._say)
        budget = Budget(self._address, self._spending)
        pool = RequestPool(client, budget, self._spending, self._jobs(requests, settings))
        await pool.start(min(self._address.endpoint.concurrency, len(requests)))
        return pool

    def _say_it_does_not_sample(self, settings: SamplingSettings) -> None:
        self._say(
            f"{self._address.setting}: all answers to each of {MANY} prompts are alike at temperature {settings.temperature:g}: "
            "the model is very sure, or the server ignores the temperature (docs/endpoints.md, What other servers need)"
        )

    def _jobs(self, requests: Sequence[Request], settings: SamplingSettings) -> Iterator[Job]:
        for place, request in enumerate(requests):
            body = body_of(self._address, request, settings, self._pictures)
            tokens = most_tokens(self._address, request, settings)
            yield place, path_of(request, settings), body, tokens


def stopped(one: Completion, stop: StopTexts | None) -> Completion:
    """Truncates a server's completion at a stop text: servers differ in what they leave after it."""
    ended = None if stop is None else stop.ended(one.text)
    return one if ended is None else replace(one, text=ended, finish_reason="stop")
