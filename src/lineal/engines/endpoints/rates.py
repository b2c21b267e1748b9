"""Rate limits of a server."""

from __future__ import annotations

import time

from lineal.recipe.compute import Endpoint


class RatePace:
    """A rate: units are spread evenly over the minute, so that no window of it holds more than the limit.

    Args:
        per_minute: the limit; None is none.
    """

    def __init__(self, per_minute: int | None) -> None:
        self._seconds = 60 / per_minute if per_minute else 0.0
        self._free_at = 0.0

    def wait(self) -> float:
        """Returns the seconds until the next unit may pass; none or less: now."""
        return self._free_at - time.monotonic()

    def take(self, units: int) -> None:
        """Lets units pass now."""
        self._free_at = max(self._free_at, time.monotonic()) + units * self._seconds

    def give_back(self, units: int) -> None:
        """Gives back units that were not needed."""
        self._free_at -= units * self._seconds

    def rest(self, seconds: float) -> None:
        """Lets nothing pass for a while."""
        self._free_at = max(self._free_at, time.monotonic() + seconds)


class Rates:
    """A server's limits for requests and tokens, over all slices of a step.

    Attributes:
        told: whether the user was told that requests wait for them.

    Args:
        endpoint: the server.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._requests, self._tokens = (
            RatePace(endpoint.requests_per_minute),
            RatePace(endpoint.tokens_per_minute),
        )
        self._rest = RatePace(None)
        self.told = False

    def wait(self) -> float:
        """Returns the seconds until the next request may go; none or less: now."""
        return max(self._waits().values())

    def holding_back(self) -> str:
        """Names the limit that the next request waits for."""
        waits = self._waits()
        return max(waits, key=waits.__getitem__)

    def _waits(self) -> dict[str, float]:
        return {
            "requests_per_minute": self._requests.wait(),
            "tokens_per_minute": self._tokens.wait(),
            "the server's Retry-After": self._rest.wait(),
        }

    def take(self, tokens: int) -> None:
        """Lets a request go that may use so many tokens."""
        self._requests.take(1)
        self._tokens.take(tokens)

    def unneeded(self, tokens: int) -> None:
        """Gives back tokens that a request did not use."""
        self._tokens.give_back(tokens)

    def rest(self, seconds: float) -> None:
        """Lets nothing pass for a while, as the server asked."""
        self._rest.rest(seconds)
