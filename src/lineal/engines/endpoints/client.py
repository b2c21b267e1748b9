"""One server: requests with retries. An answered request is never sent twice."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from secrets import SystemRandom
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from pydantic import BaseModel, ValidationError

from lineal.engines.endpoints.address import Address
from lineal.engines.endpoints.failures import Passing, require_ok, shown
from lineal.engines.endpoints.messages import ChatReply, read_answer
from lineal.engines.endpoints.rates import Rates
from lineal.errors import EngineError, did_you_mean

LONGEST_BACKOFF = 60.0
LISTING_SECONDS = 30.0
"""For a list of models; a completion has longer."""
QUIET_SECONDS = 5.0
"""How long a request waits for the rate limits before the user is told."""
NOT_OFFERED = (404, 405, 501)
"""Statuses of a server that doesn't list its models."""
_JITTER = SystemRandom()

Say = Callable[[str], None]
"""Takes a line about the progress."""
T = TypeVar("T")


class _Listed(BaseModel):
    id: str


class _Models(BaseModel):
    data: list[_Listed]


class Client:
    """Sends requests to one server; an asynchronous context manager that holds its connections.

    Attributes:
        patient: whether failed requests are sent again.

    Args:
        address: the server and the model.
        key: its key.
        rates: its rate limits.
        say: called with the reason when it takes long.
    """

    def __init__(self, address: Address, key: str | None, rates: Rates, say: Say) -> None:
        self._address, self._key, self._rates, self._say = address, key, rates, say
        self._turn, self._returned = asyncio.Lock(), asyncio.Event()
        self.patient = True

    async def __aenter__(self) -> Self:
        endpoint = self._address.endpoint
        # trust_env would read .netrc for every request; proxies are looked up once below.
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"Authorization": f"Bearer {self._key}"} if self._key else None,
        )
        self._proxy = _proxy(endpoint.url)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def require_model(self) -> None:
        """Asks the server whether it has the model; one that doesn't list its models is trusted, except for checkpoints.

        Raises:
            EngineError: nothing answers, the key is refused, or it has other models.
        """
        listed, wanted = await self.models(), self._address.model
        server = f"{self._address.setting}: {self._address.endpoint.url}"
        if listed is not None and wanted not in listed:
            has = (
                did_you_mean(wanted, (ascii(name)[1:-1] for name in listed))
                if listed
                else "Its list of models is empty."
            )
            raise EngineError(f"{server} has no model {wanted!r}. {has} {self._address.fix}")
        if listed is None and self._address.must_list:
            raise EngineError(f"{server} lists no models, and {wanted!r} must be listed. {self._address.fix}")

    async def models(self) -> list[str] | None:
        """Returns the models that the server lists; None where it knows no such request.

        Raises:
            EngineError: nothing answers, or the key is refused.
        """
        listed, _ = await self._persistently(self._models, 0, at_start=True)
        return listed

    async def complete(self, path: str, body: dict[str, Any], tokens: int) -> tuple[ChatReply, int]:
        """Returns one completion, and how many tries it took.

        Args:
            path: after the server's url.
            body: the request.
            tokens: what it can cost at most.

        Raises:
            EngineError: the server refuses it, or failed too often.
        """

        async def attempt() -> ChatReply:
            status, retry_after, content = await self._exchange(
                "POST", path, body, self._address.endpoint.timeout_seconds
            )
            require_ok(self._address, status, retry_after, content, self._key)
            return read_answer(self._address, content, self._key)

        answer, tries = await self._persistently(attempt, tokens)
        self._rates.unneeded(tokens - answer.prompt_tokens - answer.completion.tokens)
        self._returned.set()
        return answer, tries

    async def _models(self) -> list[str] | None:
        limit = min(LISTING_SECONDS, self._address.endpoint.timeout_seconds)
        status, retry_after, content = await self._exchange("GET", "models", None, limit)
        if status in NOT_OFFERED:
            return None
        require_ok(self._address, status, retry_after, content, self._key)
        try:
            return [model.id for model in _Models.model_validate_json(content).data]
        except ValidationError as error:
            said = shown(content.decode("utf-8", "replace"), self._key)
            raise Passing(
                f"answers what is no list of models (its url usually ends in /v1): {said}"
            ) from error

    async def _persistently(
        self, attempt: Callable[[], Awaitable[T]], tokens: int, at_start: bool = False
    ) -> tuple[T, int]:
        """Retries an attempt; returns its result and the number of attempts."""
        tries = 0
        while True:
            tries += 1
            await self._may_go(tokens)
            try:
                return await attempt(), tries
            except Passing as failure:
                last = tries > self._address.endpoint.retries or (at_start and failure.unreachable)
                if self.patient and not last:
                    if at_start and tries == 1:
                        self._say_again(failure)
                    await self._pause(failure, tries)
                if last or not self.patient:
                    raise EngineError(self._given_up(failure, tries)) from failure

    async def _may_go(self, tokens: int) -> None:
        """Waits until the rates allow a request, in order of arrival. Tokens that others give back shorten the wait."""
        async with self._turn:
            since = time.monotonic()
            while (wait := self._rates.wait()) > 0:
                if time.monotonic() - since >= QUIET_SECONDS and not self._rates.told:
                    self._rates.told = True
                    limit = self._rates.holding_back()
                    self._say(
                        f"{self._address.setting}: requests wait for {limit}; the next goes in {wait:.0f} s at most"
                    )
                self._returned.clear()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._returned.wait(), min(wait, QUIET_SECONDS))
            self._rates.take(tokens)

    def _say_again(self, failure: Passing) -> None:
        endpoint = self._address.endpoint
        self._say(
            f"{self._address.setting}: {endpoint.url} {failure.words}; it is asked again, {endpoint.retries} times at most"
        )

    async def _pause(self, failure: Passing, tries: int) -> None:
        if failure.wait is not None:
            self._rates.rest(failure.wait)
            return
        longest = min(LONGEST_BACKOFF, self._address.endpoint.backoff_seconds * 2.0 ** (tries - 1))
        await asyncio.sleep(longest * _JITTER.uniform(0.5, 1.0))

    async def _exchange(
        self, method: str, path: str, body: dict[str, Any] | None, limit: float
    ) -> tuple[int, str, bytes]:
        """Sends a request; returns status, the header Retry-After, and content; `limit` in seconds."""
        endpoint = self._address.endpoint
        whole = aiohttp.ClientTimeout(total=limit, sock_connect=endpoint.connect_seconds)
        try:
            # A redirect would carry the key to another host.
            async with self._session.request(
                method,
                f"{endpoint.url}/{path}",
                json=body,
                allow_redirects=False,
                proxy=self._proxy,
                timeout=whole,
            ) as response:
                return response.status, response.headers.get("Retry-After", ""), await response.read()
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise Passing(
                f"cannot be reached ({shown(str(error).replace(' ssl:default', ''), self._key)})",
                unreachable=True,
            ) from error
        except TimeoutError as error:
            setting = (
                f" ({self._address.setting}.timeout_seconds)" if limit == endpoint.timeout_seconds else ""
            )
            raise Passing(f"gives no answer within {limit:g} s{setting}") from error
        except (aiohttp.ClientError, OSError) as error:
            raise Passing(f"drops the connection ({shown(str(error), self._key)})") from error

    def _given_up(self, failure: Passing, tries: int) -> str:
        often = f", {tries} times in a row" if tries > 1 else ""
        fix = "See to the server; what is finished is kept: run again"
        if failure.unreachable:
            fix = f"Start the server, or correct {self._address.setting}.url. {self._address.fix}"
        return f"{self._address.setting}: {self._address.endpoint.url} {failure.words}{often}. {fix}"


def _proxy(url: str) -> str | None:
    """Returns the proxy that the environment names for a server."""
    parts = urlsplit(url)
    return None if proxy_bypass(parts.netloc) else getproxies().get(parts.scheme)
