"""Many requests to one server at once, with answers as they come."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

from lineal.engines.endpoints.budget import Budget
from lineal.engines.endpoints.client import Client
from lineal.engines.endpoints.messages import ChatReply
from lineal.engines.endpoints.spending import Spending

Job = tuple[int, str, dict[str, Any], int]
"""A request's place, the path after the server's url, its body, and its maximum cost in tokens."""


class RequestPool:
    """Works jobs off with a number of workers. After the first failure nothing new is sent, and what is in flight is awaited,
    since it will be paid for.

    Args:
        client: the server.
        budget: keeps to the token budget.
        spending: where answers are counted.
        jobs: the requests.
    """

    def __init__(self, client: Client, budget: Budget, spending: Spending, jobs: Iterator[Job]) -> None:
        self._client, self._budget, self._spending = client, budget, spending
        self._jobs = jobs
        self._answers: asyncio.Queue[tuple[int, ChatReply] | None] = asyncio.Queue()
        self._workers: list[asyncio.Task[None]] = []
        self._failure: BaseException | None = None
        self._working = 0

    async def start(self, workers: int) -> None:
        """Starts the workers."""
        await self._client.__aenter__()
        self._working = workers
        self._workers = [asyncio.create_task(self._work()) for _ in range(workers)]

    async def answered(self) -> list[tuple[int, ChatReply]]:
        """Returns new answers with their places, at least one; none when all jobs are done.

        Raises:
            EngineError: a request failed for good; every other answer was given before.
        """
        found: list[tuple[int, ChatReply]] = []
        while not found and self._working:
            entries = [await self._answers.get()]
            while not self._answers.empty():
                entries.append(self._answers.get_nowait())
            found = [entry for entry in entries if entry is not None]
            self._working -= len(entries) - len(found)
        if not found and self._failure is not None:
            raise self._failure
        return found

    async def close(self) -> None:
        """Stops the requests in flight."""
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        await self._client.__aexit__()

    async def _work(self) -> None:
        try:
            for place, path, body, tokens in self._jobs:
                await self._budget.reserve(tokens)
                try:
                    if self._failure is not None:
                        return
                    answer, tries = await self._client.complete(path, body, tokens)
                    self._spending.record(answer, tries)
                finally:
                    self._budget.settle(tokens)
                self._answers.put_nowait((place, answer))
        except BaseException as error:
            self._failure, self._client.patient = self._failure or error, False
            raise
        finally:
            self._answers.put_nowait(None)
