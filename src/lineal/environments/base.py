"""The interface of environments, and their answers as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from math import isfinite
from typing import Any, Protocol

SUCCESS, INVALID, REWARDS = "success", "invalid", "rewards"
"""What `info` may hold: whether the goal is reached (bool), why an action could not be read (text), and each player's reward."""


class TextEnvironment(Protocol):
    """A game that is played in text. A class needs these two methods, and may have:

    - `expert(self) -> str`: the best move now, for demonstrations.
    - `task(seed, level) -> {"prompt": text, "entry": {...}}` (a static method): a task of a level, for `environment_tasks`.
      `entry` holds what `reset` needs to set up the same game for ever.
    - `close(self)`: frees what it holds.
    - `ran(self, output)`: where `step` put a Python program into `info["program"]`. It is run in the sandbox of model-written
      programs, and what it wrote, or why it was ended, is `output`. What this method returns, as `step` does, is the answer.
    - `browsed(self, seen)`: where `reset` or `step` put a page into `info["browse"]`: `page` (HTML), and the `acts` to do in it,
      each {do: click, type or select, control: number, text}. A browser shows it. `seen` holds its accessibility tree, `text`
      and `controls`; or the `request` that the last act led to: method, path, fields. `environments.website` does all of this.
    - `player: str`: in a game of two, the name of who moves next. What `reset` and `step` return is then what that player
      sees, and `info["rewards"]` holds each player's reward for the move, by name.
    - `model_plays: str`: of a game of two whose players have different parts, on the class: the player that is always the model,
      and never the opponent. Without it the two take turns at beginning.

    The same seed, row and moves must give the same answers, in any process.
    """

    def reset(self, *, seed: int, **row: Any) -> str:
        """Begins a game and returns what the player sees; or that and an `info` with a page to show first.

        Args:
            seed: of all that is drawn.
            row: the task: the values of its `entry`, its prompt, answer and columns of your own. What the method does not name
                is not passed, unless it takes `**row`.
        """
        ...

    def step(self, text: str, /) -> tuple[str, float, bool, bool, Mapping[str, Any]]:
        """Answers a move: what the player sees now, the reward, whether the game is over, whether it was cut short, and more.

        In the last, `success` says whether the goal is reached, and `invalid` why a move could not be read; others are ignored.
        """
        ...


@dataclass(frozen=True)
class Answer:
    """An environment's answer.

    Attributes:
        observation: what the player sees.
        reward: for the move.
        terminated: whether the game is over.
        truncated: whether it was cut short.
        success: whether the goal is reached; None where the environment does not say.
        invalid: why the move could not be read; None where it could.
        player: who moves next, in a game of two.
        rewards: each player's, in a game of two; empty where the reward is the mover's alone.
    """

    observation: str
    reward: float = 0.0
    terminated: bool = False
    truncated: bool = False
    success: bool | None = None
    invalid: str | None = None
    player: str | None = None
    rewards: Mapping[str, float] = field(default_factory=dict)

    @property
    def done(self) -> bool:
        """True if the environment takes no further moves."""
        return self.terminated or self.truncated

    def plain(self) -> dict[str, Any]:
        """Returns the answer in JSON values."""
        return asdict(self)


def read_reset(given: Any, player: str | None = None) -> Answer:
    """Reads what `reset` returned; `player` moves next.

    Raises:
        TypeError: it is no text.
    """
    return Answer(_text("reset", given), player=player)


def read_step(given: Any, player: str | None = None, method: str = "step") -> Answer:
    """Reads what `step`, or another method in its place, returned; `player` moves next.

    Raises:
        TypeError: it is not observation, reward, terminated, truncated and info, or one of them has another type.
    """
    if not isinstance(given, tuple) or len(given) != 5:
        raise TypeError(
            f"{method} gave {_named(given)}, expected (observation, reward, terminated, truncated, info)"
        )
    observation, reward, terminated, truncated, info = given
    if not isinstance(info, Mapping):
        raise TypeError(f"{method} gave {_named(info)} as info, expected a mapping")
    return Answer(
        _text(method, observation),
        _number(reward),
        _flag("terminated", terminated),
        _flag("truncated", truncated),
        None if info.get(SUCCESS) is None else _flag(SUCCESS, info[SUCCESS]),
        None if info.get(INVALID) in (None, False) else str(info[INVALID]),
        player,
        _rewards(info.get(REWARDS) or {}),
    )


def _text(method: str, value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{method} gave {_named(value)} as the observation, expected a text")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise TypeError(f"{method} gave an observation that is no Unicode text: {error}") from error
    return value


def _rewards(given: Any) -> dict[str, float]:
    if not isinstance(given, Mapping):
        raise TypeError(f"step gave {_named(given)} as {REWARDS}, expected a mapping from players to numbers")
    return {str(player): _number(reward) for player, reward in given.items()}


def _number(value: Any) -> float:
    try:
        reward = float(value)
    except (TypeError, ValueError) as error:
        raise TypeError(f"step gave {_named(value)} as the reward, expected a number") from error
    if not isfinite(reward):
        raise TypeError(f"step gave the reward {reward}, expected a finite number")
    return reward


def _flag(name: str, value: Any) -> bool:
    if value in (True, False):  # numpy's booleans, too
        return bool(value)
    raise TypeError(f"step gave {_named(value)} as {name}, expected true or false")


def _named(value: Any) -> str:
    return f"{value!r:.60} (a {type(value).__name__})"
