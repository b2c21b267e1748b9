"""The token budget of a step: no request is sent that could exceed it."""

from __future__ import annotations

import asyncio

from lineal.engines.endpoints.address import Address
from lineal.engines.endpoints.spending import Spending
from lineal.errors import EngineError


class Budget:
    """Reserves tokens for requests in flight.

    Args:
        address: the server, for its budget.
        spending: what is spent.
    """

    def __init__(self, address: Address, spending: Spending) -> None:
        self._setting, self._limit = address.setting, address.endpoint.max_tokens_total
        self._spending, self._reserved = spending, 0
        self._turn, self._settled = asyncio.Lock(), asyncio.Event()

    async def reserve(self, tokens: int) -> None:
        """Reserves tokens for a request; waits while requests in flight may turn out to need less.

        Raises:
            EngineError: the request could exceed the budget.
        """
        async with self._turn:
            while self._limit is not None and self._spending.tokens + self._reserved + tokens > self._limit:
                if not self._reserved:
                    raise EngineError(
                        f"{self._setting}.max_tokens_total: {self._spending.tokens:,} of {self._limit:,} tokens are spent, and "
                        f"the next request may take {tokens:,}. What is finished is kept: raise it and run again"
                    )
                self._settled.clear()
                await self._settled.wait()
            self._reserved += tokens

    def settle(self, tokens: int) -> None:
        """Ends a reservation; the tokens spent are counted by now."""
        self._reserved -= tokens
        self._settled.set()
