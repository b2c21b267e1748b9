"""One server: requests with retries. Nothing is sent twice that was answered."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from secrets import SystemRandom
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from pydantic import BaseModel, ValidationError

from lineal.engines.endpoints.address import Address
from lineal.engines.endpoints.failures import Passing, require_ok, shown
from lineal.engines.endpoints.messages import Answer, read_answer
from lineal.engines.endpoints.rates import Rates
from lineal.errors import EngineError, did_you_mean

LONGEST_BACKOFF = 60.0
NOT_OFFERED = (404, 405, 501)
"""Statuses of a server that doesn't list its models."""
_JITTER = SystemRandom()

T = TypeVar("T")


class _Listed(BaseModel):
    id: str


class _Models(BaseModel):
    data: list[_Listed]


class Client:
    """Asks one server; an asynchronous context manager that holds its connections.

    Attributes:
        patient: whether failed requests are sent again.

    Args:
        address: the server and the model.
        key: its key.
        rates: how fast it may be asked.
    """

    def __init__(self, address: Address, key: str | None, rates: Rates) -> None:
        self._address, self._key, self._rates = address, key, rates
        self._turn = asyncio.Lock()
        self.patient = True

    async def __aenter__(self) -> Self:
        endpoint = self._address.endpoint
        # trust_env would look into .netrc for every request; proxies are looked up once below.
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), cookie_jar=aiohttp.DummyCookieJar(),
            headers={"Authorization": f"Bearer {self._key}"} if self._key else None,
            timeout=aiohttp.ClientTimeout(total=endpoint.timeout_seconds, sock_connect=endpoint.connect_seconds),
        )  # fmt: skip
        self._proxy = _proxy(endpoint.url)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def require_model(self) -> None:
        """Asks the server whether it has the model.

        Raises:
            EngineError: nothing answers, the key is refused, or it has other models.
        """
        listed, _ = await self._persistently(self._models, 0, at_start=True)
        wanted, server = self._address.model, f"{self._address.setting}: {self._address.endpoint.url}"
        if listed and wanted not in listed:
            has = did_you_mean(wanted, (ascii(name)[1:-1] for name in listed))
            raise EngineError(f"{server} has no model {wanted!r}. {has} {self._address.fix}")
        if not listed and self._address.must_list:
            raise EngineError(f"{server} lists no models, and {wanted!r} must be listed. {self._address.fix}")

    async def complete(self, path: str, body: dict[str, Any], tokens: int) -> tuple[Answer, int]:
        """One completion, and how many tries it took.

        Args:
            path: behind the server's url.
            body: the request.
            tokens: what it can cost at most.

        Raises:
            EngineError: the server refuses it, or failed too often.
        """

        async def attempt() -> Answer:
            status, retry_after, content = await self._exchange("POST", path, body)
            require_ok(self._address, status, retry_after, content, self._key)
            return read_answer(self._address, content, self._key)

        answer, tries = await self._persistently(attempt, tokens)
        self._rates.unneeded(tokens - answer.prompt_tokens - answer.completion.tokens)
        return answer, tries

    async def _models(self) -> list[str] | None:
        """The models that the server lists; None where it lists none."""
        status, retry_after, content = await self._exchange("GET", "models", None)
        if status in NOT_OFFERED:
            return None
        require_ok(self._address, status, retry_after, content, self._key)
        try:
            return [model.id for model in _Models.model_validate_json(content).data]
        except ValidationError as error:
            said = shown(content.decode("utf-8", "replace"), self._key)
            raise Passing(f"answers what is no list of models: {said}") from error

    async def _persistently(self, attempt: Callable[[], Awaitable[T]], tokens: int, at_start: bool = False) -> tuple[T, int]:
        """What an attempt gives, and the number of attempts."""
        tries = 0
        while True:
            tries += 1
            await self._may_go(tokens)
            try:
                return await attempt(), tries
            except Passing as failure:
                last = tries > self._address.endpoint.retries or (at_start and failure.unreachable)
                if self.patient and not last:
                    await self._pause(failure, tries)
                if last or not self.patient:
                    raise EngineError(self._given_up(failure, tries)) from failure

    async def _may_go(self, tokens: int) -> None:
        """Waits until the rates allow a request; first come, first served."""
        async with self._turn:
            while (wait := self._rates.wait()) > 0:
                await asyncio.sleep(wait)
            self._rates.take(tokens)

    async def _pause(self, failure: Passing, tries: int) -> None:
        if failure.wait is not None:
            self._rates.rest(failure.wait)
            return
        longest = min(LONGEST_BACKOFF, self._address.endpoint.backoff_seconds * 2.0 ** (tries - 1))
        await asyncio.sleep(longest * _JITTER.uniform(0.5, 1.0))

    async def _exchange(self, method: str, path: str, body: dict[str, Any] | None) -> tuple[int, str, bytes]:
        """Status, the header Retry-After, and content."""
        url = f"{self._address.endpoint.url}/{path}"
        try:
            # A redirect would carry the key to another host.
            async with self._session.request(method, url, json=body, allow_redirects=False, proxy=self._proxy) as response:
                return response.status, response.headers.get("Retry-After", ""), await response.read()
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise Passing(
                f"cannot be reached ({shown(str(error).replace(' ssl:default', ''), self._key)})", unreachable=True
            ) from error
        except TimeoutError as error:
            limit = self._address.endpoint.timeout_seconds
            raise Passing(f"gives no answer within {limit:g} s ({self._address.setting}.timeout_seconds)") from error
        except (aiohttp.ClientError, OSError) as error:
            raise Passing(f"drops the connection ({shown(str(error), self._key)})") from error

    def _given_up(self, failure: Passing, tries: int) -> str:
        often = f", {tries} times in a row" if tries > 1 else ""
        fix = "See to the server; what is finished is kept: run again"
        if failure.unreachable:
            fix = f"Start the server, or correct {self._address.setting}.url. {self._address.fix}"
        return f"{self._address.setting}: {self._address.endpoint.url} {failure.words}{often}. {fix}"


def _proxy(url: str) -> str | None:
    """The proxy that the environment names for a server."""
    parts = urlsplit(url)
    return None if proxy_bypass(parts.netloc) else getproxies().get(parts.scheme)
