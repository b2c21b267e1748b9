"""Sampling from a model behind an endpoint."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any

from lineal.engines.endpoints.address import Address, key_of
from lineal.engines.endpoints.budget import Budget
from lineal.engines.endpoints.client import Client
from lineal.engines.endpoints.exchange import Exchange, Job
from lineal.engines.endpoints.messages import body_of, most_tokens, path_of, require_sayable
from lineal.engines.endpoints.rates import Rates
from lineal.engines.endpoints.spending import Spending
from lineal.engines.sampling import Completion, Request, SamplingSettings

WAVES = 8
"""A slice holds this many times the requests in flight, so that little of it is the tail in which fewer are."""


def require_reachable(address: Address) -> None:
    """Asks the server whether it has the model.

    Raises:
        EngineError: nothing answers, the key is missing or refused, or it has other models.
    """
    asyncio.run(_ask_for_model(address, key_of(address)))


async def _ask_for_model(address: Address, key: str | None) -> None:
    async with Client(address, key, Rates(address.endpoint)) as client:
        await client.require_model()


class EndpointSampler:
    """A model behind an endpoint, asked for completions.

    Attributes:
        in_flight: how many requests a slice should hold.

    Args:
        address: the model.
        spending: where what is spent is counted.
        facts: the step's facts; told what was spent.

    Raises:
        EngineError: as `require_reachable` does.
    """

    def __init__(self, address: Address, spending: Spending, facts: dict[str, Any]) -> None:
        self._address, self._spending, self._facts = address, spending, facts
        self._key, self._rates = key_of(address), Rates(address.endpoint)
        self.in_flight = WAVES * address.endpoint.concurrency
        facts.update(spending.facts())
        require_reachable(address)

    def stream(self, requests: Sequence[Request], settings: SamplingSettings) -> Iterator[tuple[int, Completion]]:
        """Each request's place and its completion, as the server finishes them.

        Raises:
            EngineError: the server can't be told the settings, refuses a request or fails too often, or the token budget is
                spent; what was given before stays good.
        """
        require_sayable(self._address, settings)
        with asyncio.Runner() as runner:
            exchange = runner.run(self._begin(requests, settings))
            try:
                while answers := runner.run(exchange.answered()):
                    for place, answer in answers:
                        yield place, answer.completion
            finally:
                runner.run(exchange.close())
                self._spending.close()
                self._facts.update(self._spending.facts())

    async def _begin(self, requests: Sequence[Request], settings: SamplingSettings) -> Exchange:
        client, budget = Client(self._address, self._key, self._rates), Budget(self._address, self._spending)
        exchange = Exchange(client, budget, self._spending, path_of(settings), self._jobs(requests, settings))
        await exchange.start(min(self._address.endpoint.concurrency, len(requests)))
        return exchange

    def _jobs(self, requests: Sequence[Request], settings: SamplingSettings) -> Iterator[Job]:
        for place, request in enumerate(requests):
            yield place, body_of(self._address, request, settings), most_tokens(self._address, request, settings)
