"""The games of one worker process: `isolated.worker` calls it with one request at a time.

A request names a session. Python's and numpy's global generators have a state for each session, so that games that draw from them
don't feel which other games are in the same process.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from inspect import Parameter, signature
from typing import Any

from lineal.environments.base import read_reset, read_step
from lineal.environments.foreign import adapted
from lineal.errors import did_you_mean

PROGRAM, BROWSE = "program", "browse"
"""The keys of `info`, and of an answer, with what the environment wants done before it answers: a program run, a page shown."""
_JOBS: dict[str, tuple[type, str, str]] = {
    PROGRAM: (str, "text", "ran"),
    BROWSE: (Mapping, "mapping", "browsed"),
}
"""By key the type of its value, that type's name, and the environment's method that takes what came of it."""
LOST = {"lost": True}
"""The answer for a session that is not in this process."""
_sessions: dict[str, _Session] = {}


def answer(request: Mapping[str, Any]) -> Any:
    """Answers a request.

    `reset` (session, environment, seed, row, entry), `step` (session, text), `told` (session, text, outcomes), `expert`
    (session), `end` (session); `task` (environment, seed, level) and `describe` (environment) need no session.
    """
    do = request["do"]
    if do == "task":
        return make_task(request)
    if do == "describe":
        return describe(request["environment"])
    if do == "reset":
        _sessions[request["session"]] = _Session(request["environment"], request["seed"])
    session = _sessions.get(request["session"])
    if session is None:
        return LOST
    if do == "end":
        del _sessions[request["session"]]
    return session.answers(do, request)


class _Session:
    """A live environment and its own state of the global generators."""

    def __init__(self, location: str, seed: int) -> None:
        environment = class_at(location)
        _seed_generators(seed)
        self._environment = environment()
        self._method: str | None = None
        self._heard = 0
        self._keep()

    def answers(self, do: str, request: Mapping[str, Any]) -> Any:
        with self._own_generators():
            if do == "reset":
                row = self._named(request["row"], request.get("entry", ()))
                return self._read(self._environment.reset(seed=request["seed"], **row), "reset")
            if do == "step":
                return self._read(self._environment.step(request["text"]), "step")
            if do == "told":
                return self._told(request["text"], request["outcomes"])
            if do == "expert":
                return self._expert()
            getattr(self._environment, "close", _nothing)()
            return None

    def _read(self, given: Any, method: str) -> dict[str, Any]:
        """Returns the answer in what a method returned, or what is to be done before there is one."""
        job = job_in(given, method)
        if method in ("reset", "step"):
            self._heard = 0
        self._method = next((_JOBS[key][2] for key in job), None)
        if job:
            return job
        if method == "reset":
            return read_reset(given, self._player()).plain()
        return read_step(given, self._player(), method).plain()

    def _told(self, text: str, outcomes: Sequence[Any]) -> dict[str, Any]:
        """Answers a move, now that its jobs are done; the move itself may have been made in a process that is lost."""
        answer = {} if self._method is not None else self._read(self._environment.step(text), "step")
        for outcome in outcomes[self._heard :]:
            self._heard += 1
            answer = self._read(self._answering()(outcome), str(self._method))
        return answer

    def _answering(self) -> Callable[[Any], Any]:
        """Returns the method that takes the outcome of a job.

        Raises:
            TypeError: there is none, or the environment has no job now.
        """
        if self._method is None:
            raise TypeError("it asked for less when its move was made again")
        if not hasattr(self._environment, self._method):
            key = next(key for key, (*_, method) in _JOBS.items() if method == self._method)
            raise TypeError(
                f'it gave info["{key}"], so it needs a method {self._method} that takes what came of it'
            )
        method: Callable[[Any], Any] = getattr(self._environment, self._method)
        return method

    def _named(self, row: Mapping[str, Any], entry: Iterable[str]) -> dict[str, Any]:
        """Returns the columns of a row that `reset` takes; it must take all of the entry."""
        takes = taken(type(self._environment))
        _require_taken(entry, takes)
        return {name: value for name, value in row.items() if takes is None or name in takes}

    def _player(self) -> str | None:
        return _name_or_none(getattr(self._environment, "player", None), "player")

    def _expert(self) -> str:
        if not callable(getattr(self._environment, "expert", None)):
            raise TypeError(
                f"{type(self._environment).__qualname__} has no expert: give it a method expert(self) -> str"
            )
        move = self._environment.expert()
        if not isinstance(move, str):
            raise TypeError(f"expert gave {move!r:.60} (a {type(move).__name__}), expected a text")
        return move

    @contextmanager
    def _own_generators(self) -> Iterator[None]:
        random.setstate(self._generators[0])
        if len(self._generators) > 1:
            sys.modules["numpy"].random.set_state(self._generators[1])
        try:
            yield
        finally:
            self._keep()

    def _keep(self) -> None:
        self._generators: list[Any] = [random.getstate()]
        if "numpy" in sys.modules:
            self._generators.append(sys.modules["numpy"].random.get_state())


def _name_or_none(value: Any, attribute: str) -> str | None:
    if value is not None and not isinstance(value, str):
        raise TypeError(f"{attribute} is {value!r:.60} (a {type(value).__name__}), expected a name")
    return value


def job_in(given: Any, method: str = "step") -> dict[str, Any]:
    """Returns what an environment wants done before it answers, by its key of `info`; empty where it wants nothing.

    Raises:
        TypeError: it is of another type than such jobs are.
    """
    info = given[-1] if isinstance(given, tuple) and len(given) in (2, 5) else None
    told: Mapping[str, Any] = info if isinstance(info, Mapping) else {}
    for key, (kind, named, _) in _JOBS.items():
        value = told.get(key)
        if value is not None and not isinstance(value, kind):
            raise TypeError(
                f"{method} gave {value!r:.60} (a {type(value).__name__}) as info[{key!r}], expected a {named}"
            )
        if value is not None:
            return {key: value}
    return {}


def _seed_generators(seed: int) -> None:
    random.seed(seed)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(seed % 2**32)


def _nothing() -> None:
    """Does nothing, for an environment without `close`."""


def make_task(request: Mapping[str, Any]) -> dict[str, Any]:
    """Makes a task of an environment: its prompt and its entry.

    Raises:
        TypeError: the environment makes no tasks, or not such as these.
    """
    environment, seed = class_at(request["environment"]), request["seed"]
    if not hasattr(environment, "task"):
        raise TypeError(f"{request['environment']} makes no tasks: give it a static method task(seed, level)")
    _seed_generators(seed)
    made = environment.task(seed=seed, level=request["level"])
    if not isinstance(made, Mapping) or made.keys() != {"prompt", "entry"}:
        got = f"the keys {sorted(map(str, made))}" if isinstance(made, Mapping) else f"{made!r:.60}"
        raise TypeError(
            f"task gave {got}, expected prompt and entry. What reset needs, such as an answer, belongs into entry"
        )
    _require_taken(made["entry"], taken(environment))
    return {"prompt": str(made["prompt"]), "entry": dict(made["entry"])}


def describe(location: str) -> dict[str, Any]:
    """Describes the class at `module:class`.

    Returns:
        The fields of `components.playing.described.Described`.
    """
    found = class_at(location)
    return {
        "takes": taken(found),
        "expert": callable(getattr(found, "expert", None)),
        "task": hasattr(found, "task"),
        "browses": hasattr(found, "browsed"),
        "model_plays": _name_or_none(getattr(found, "model_plays", None), "model_plays"),
    }


def taken(environment: Any) -> list[str] | None:
    """Returns the names that an environment's `reset` takes beside the seed; None where it takes any."""
    parameters = list(signature(environment.reset).parameters.values())[1:]
    if any(one.kind is Parameter.VAR_KEYWORD for one in parameters):
        return None
    return [one.name for one in parameters if one.name != "seed"]


def unknown_key(entry: Iterable[str], takes: Sequence[str] | None) -> str:
    """Returns the problem of an entry with a key that `reset` does not take; empty where there is none."""
    for name in entry:
        if takes is not None and name != "seed" and name not in takes:
            return f"entry: unknown key {name!r}, reset does not take it. {did_you_mean(name, takes)}"
    return ""


def _require_taken(entry: Iterable[str], takes: Sequence[str] | None) -> None:
    problem = unknown_key(entry, takes)
    if problem:
        raise TypeError(problem)


def class_at(location: str) -> Any:
    """Imports the class at `module:class`; one of another library becomes an environment of lineal.

    Raises:
        ImportError: it cannot be imported.
        TypeError: it is no environment.
    """
    module, _, name = location.partition(":")
    found: Any = import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    found = adapted(found) or found
    missing = [method for method in ("reset", "step") if not callable(getattr(found, method, None))]
    if not isinstance(found, type) or missing:
        raise TypeError(
            f"{location} is no environment: expected a class with the methods reset and step, or one for TRL, SkyRL-Gym "
            "or Aviary"
        )
    return found
