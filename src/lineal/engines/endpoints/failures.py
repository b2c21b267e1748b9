"""Failures of requests: those that waiting cures, and those that end the step."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any

from lineal.engines.endpoints.address import Address
from lineal.errors import EngineError

HEALING = frozenset({408, 409, 425, 429})
"""Statuses under 500 that are worth a retry."""
HOPELESS = frozenset({"insufficient_quota", "billing_hard_limit_reached"})
"""Error codes that come with status 429 but that waiting does not cure."""
LONGEST_WAIT = 600.0
MOST_LETTERS = 300
OK = HTTPStatus.OK


class Passing(Exception):
    """A request failed in a way that a retry may cure.

    Attributes:
        words: what happened.
        wait: for how many seconds the server asked to wait.
        unreachable: nothing answers at the address.
    """

    def __init__(self, words: str, wait: float | None = None, unreachable: bool = False) -> None:
        super().__init__(words)
        self.words, self.wait, self.unreachable = words, wait, unreachable


def require_ok(address: Address, status: int, retry_after: str, content: bytes, key: str | None) -> None:
    """Checks an answer's status.

    Raises:
        Passing: a retry may succeed.
        EngineError: it will not.
    """
    if status == OK:
        return
    words, code = _words(content, key)
    said = f"answers {status}: {words}"
    if code in HOPELESS or not (status in HEALING or status >= HTTPStatus.INTERNAL_SERVER_ERROR):
        raise EngineError(f"{address.setting}: {address.endpoint.url} {said}. {_fix(address, status)}")
    wait = _seconds(retry_after)
    if wait is not None and wait > LONGEST_WAIT:
        fix = "What is finished is kept: run again later"
        raise EngineError(
            f"{address.setting}: {address.endpoint.url} {said}, and asks to wait {wait:,.0f} s. {fix}"
        )
    raise Passing(said, wait)


def shown(text: str, key: str | None) -> str:
    """Formats a server's words for a message: short, unprintable characters escaped, and without the key."""
    safe = text.replace(key, "[key]") if key else text
    return f"{safe[:MOST_LETTERS]!a}" + (" ..." if len(safe) > MOST_LETTERS else "")


def _words(content: bytes, key: str | None) -> tuple[str, str]:
    """Returns the message and the code in an error's body, as the different servers write them."""
    text = content.decode("utf-8", "replace").strip()
    try:
        body: Any = json.loads(text)
    except ValueError:
        return shown(text, key), ""
    error = body.get("error", body) if isinstance(body, dict) else body
    if not isinstance(error, dict):
        return shown(str(error), key), ""
    return shown(str(error.get("message") or error.get("detail") or error), key), str(error.get("code", ""))


def _seconds(text: str) -> float | None:
    """Returns the seconds in a Retry-After header, which holds a number or a date."""
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None


def _fix(address: Address, status: int) -> str:
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        variable, setting = address.endpoint.key_variable, f"{address.setting}.key_variable"
        return (
            f"Check the key in {variable}" if variable else f"Name the variable that holds the key: {setting}"
        )
    if status == HTTPStatus.NOT_FOUND:
        return f"Check {address.setting}.url (it usually ends in /v1) and the model's name {address.model!r}"
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        return f"It sends elsewhere, and a key goes to no other host than {address.setting}.url: name the right one there"
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return "What is finished is kept: run again when there is quota"
    return "Correct the setting or the prompt that it speaks of; what is finished is kept"
