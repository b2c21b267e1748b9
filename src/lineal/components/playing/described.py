"""The facts of an environment's class, known before it is played: a package's is loaded in a process of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from lineal.components.isolated.pool import Worker
from lineal.components.playing.chromium import lacking
from lineal.components.registry import MEND_LOADING
from lineal.environments.registry import BUILT_IN, location_of, shown_environment
from lineal.environments.sessions import describe, unknown_key
from lineal.errors import DataError

FUNCTION = "lineal.environments.sessions:answer"
LOAD_SECONDS = 60.0


@dataclass(frozen=True)
class Described:
    """The methods of an environment's class.

    Attributes:
        takes: what `reset` takes by name; None where it takes everything.
        expert: whether it has an expert.
        task: whether it makes tasks.
        browses: whether it is played in a browser.
        model_plays: of a game of two, the player that is always the model; None where the two take turns at beginning.
    """

    takes: list[str] | None
    expert: bool
    task: bool
    browses: bool = False
    model_plays: str | None = None

    def lacking(self) -> list[str]:
        """Returns what playing needs and is not here; a sentence each, with what to install."""
        return lacking() if self.browses else []

    def unknown(self, entry: Mapping[str, Any]) -> str:
        """Returns the problem of an entry with a key that `reset` does not take; empty where there is none."""
        return unknown_key(entry, self.takes)


def described(name: str) -> Described:
    """Describes an environment by its name.

    Raises:
        KeyError: none has this name.
        DataError: its class cannot be loaded; names the package and the entry point.
    """
    location = location_of(name)
    if name in BUILT_IN:
        return Described(**describe(location))
    try:
        return _loaded(location)
    except DataError as error:
        raise DataError(f"{shown_environment(name)}: {error}. {MEND_LOADING}") from error


@cache
def _loaded(location: str) -> Described:
    worker = Worker(FUNCTION, LOAD_SECONDS, [location.partition(":")[0]])
    try:
        reply = worker.ask({"do": "describe", "environment": location})
    finally:
        worker.stop()
    if "error" in reply:
        raise DataError(reply["error"])
    return Described(**reply["answer"])
