"""Environments written for TRL, SkyRL-Gym or Aviary, played as they are: an entry point names their class."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from inspect import Parameter, Signature, iscoroutinefunction, isfunction, signature
from typing import Any, ClassVar

from lineal.environments.tool_calls import CallingEnvironment, StepResult, texts


def adapted(found: Any) -> type | None:
    """Returns an environment made of another library's class; None where it is none of these.

    - A class for TRL's `environment_factory` that owns its reward: `reset`, `get_reward`, and public methods as tools.
    - A `BaseTextEnv` of SkyRL-Gym: `init` and `step`.
    - An `Environment` of Aviary (`fhaviary`): `reset` and `step` are async.

    Raises:
        TypeError: it is one, but cannot be played.
    """
    if not isinstance(found, type):
        return None
    own = {name for name in dir(found) if callable(getattr(found, name))}
    if {"reset", "get_reward"} <= own and "step" not in own:
        _require_plain(found)
        return _subclass(OfTrl, found, _parameters(found.reset)[1:])  # type: ignore[attr-defined]
    if {"reset", "step"} <= own and iscoroutinefunction(found.step):  # type: ignore[attr-defined]
        from lineal.environments.aviary import OfAviary

        return _subclass(OfAviary, found, _parameters(found))
    if {"init", "step"} <= own and "reset" not in own:
        _require_plain(found)
        return _subclass(OfSkyrl, found, _ANY)
    return None


def _parameters(called: Callable[..., Any]) -> list[Parameter]:
    return list(signature(called).parameters.values())


def _require_plain(found: type) -> None:
    waits = sorted(name for name in dir(found) if iscoroutinefunction(getattr(found, name)))
    if waits:
        raise TypeError(f"{found.__qualname__}.{waits[0]} is async, expected a plain function")


def _subclass(base: type, wrapped: type, takes: Iterable[Parameter]) -> type:
    """Returns a class of an environment; its `reset` shows what the wrapped one takes, so that entries are checked as ever."""

    def reset(self: Any, *, seed: int, **row: Any) -> str:
        begun: str = self.begin(seed, row)
        return begun

    reset.__signature__ = Signature([_SELF, *takes])  # type: ignore[attr-defined]
    return type(wrapped.__name__, (base,), {"wrapped": wrapped, "reset": reset, "__doc__": wrapped.__doc__})


_SELF = Parameter("self", Parameter.POSITIONAL_ONLY)
_ANY = (Parameter("row", Parameter.VAR_KEYWORD),)


class OfTrl(CallingEnvironment):
    """A class for TRL's `environment_factory`: its public methods are the tools. A completion without a call ends the episode.

    As in TRL, the model is told what went wrong in a call. An episode's return is the value of `get_reward` at its end; each turn
    gets what that value rose by.
    """

    wrapped: ClassVar[Any]

    def begin(self, seed: int, row: Mapping[str, Any]) -> str:
        """Begins an episode."""
        self._environment, self._reward = self.wrapped(), 0.0
        names = signature(self.wrapped.reset).parameters
        given = {**row, "seed": seed} if "seed" in names else dict(row)
        first = self._environment.reset(**given)
        if first is not None and not isinstance(first, str):
            raise TypeError(f"reset gave {first!r:.60} (a {type(first).__name__}), expected a text or None")
        return first or ""

    def tools(self) -> list[str]:
        """Returns the names of the methods that TRL takes for tools."""
        public = (
            name for name in dir(self.wrapped) if name[0] != "_" and name not in ("reset", "get_reward")
        )
        return [name for name in public if isfunction(getattr(self.wrapped, name))]

    def call(self, name: str, arguments: Mapping[str, Any]) -> StepResult:
        """Calls a method."""
        try:
            said = getattr(self._environment, name)(**arguments)
        except Exception as error:
            said = f"error: {error}"
        return str(said), self._rise(), False, False, {}

    def say(self, _: str) -> StepResult:
        """Ends the episode."""
        return "", self._rise(), True, False, {}

    def _rise(self) -> float:
        before, self._reward = self._reward, float(self._environment.get_reward())
        return self._reward - before


class OfSkyrl:
    """A `BaseTextEnv` of SkyRL-Gym. The task's other columns and its entry are its `extras`."""

    wrapped: ClassVar[Any]

    def begin(self, _: int, row: Mapping[str, Any]) -> str:
        """Begins an episode."""
        asked = [{"role": "user", "content": str(row.get("prompt", ""))}]
        self._environment = self.wrapped(env_config={}, extras=dict(row))
        shown, _info = self._environment.init(list(asked))
        return texts([one for one in shown if one not in asked])

    def step(self, text: str) -> StepResult:
        """Gives the completion to the environment."""
        out = self._environment.step(text)
        return texts(out["observations"]), float(out["reward"]), bool(out["done"]), False, {}

    def close(self) -> None:
        """Frees what the environment holds."""
        self._environment.close()
