"""Stored episodes played again: what their environments answer now, beside what the rows hold."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from lineal.components.playing.arena import Arena
from lineal.components.playing.settings import game_of
from lineal.environments.registry import PACKAGE, location_of, package_of
from lineal.errors import DataError

StoredTurn = Mapping[str, Any]
STORED = (
    "prompt_id",
    "prompt",
    "task",
    "episode_id",
    "turn",
    "action",
    "observation",
    "reward",
    "past",
    "sample_index",
    "round",
)
"""The columns by which turns can be played again."""
AT_ONCE = 256
"""Games that are played together."""


@dataclass(frozen=True)
class ReplayDifference:
    """The first turn of a stored game that its environment answers differently.

    Attributes:
        episode: its id.
        turn: its number.
        what: the column that differs; `done` where the game is over earlier than the stored one.
        stored: what the row holds.
        now: what the environment says.
        why: a likely reason; empty where none is known.
    """

    episode: str
    turn: int
    what: str
    stored: Any
    now: Any
    why: str

    def __str__(self) -> str:
        why = f" ({self.why})" if self.why else ""
        return f"episode {self.episode}, turn {self.turn}: stored {self.what} {self.stored!r:.200}, now {self.now!r:.200}{why}"


def game_key(turn: StoredTurn) -> tuple[Any, ...]:
    """Returns the common values of the turns of one game: the episode; of a game of two the task, its number there, the round."""
    return (
        (turn["episode_id"],)
        if turn.get("seat") is None
        else (turn["prompt_id"], turn["sample_index"], turn["round"])
    )


def replayed(
    games: Iterable[Sequence[StoredTurn]], tasks: Iterable[str], workers: int, seconds: float
) -> Iterator[ReplayDifference | None]:
    """Plays stored games again; yields for each the first difference, None where there is none.

    Args:
        games: of each the stored turns: those of one episode, or of both sides of a game of two; each side's in order.
        tasks: the environments that they name.
        workers: how many processes.
        seconds: processor time for one answer.

    Raises:
        DataError: a game of two lacks one side, or an environment is not known here.
    """
    places = _places(tasks)
    with Arena(places.values(), workers, seconds) as arena:
        given = iter(games)
        while block := [_Again(turns, places) for turns in islice(given, AT_ONCE)]:
            _play(block, arena)
            yield from (again.difference for again in block)


def _places(tasks: Iterable[str]) -> dict[str, str]:
    try:
        return {name: location_of(name) for name in tasks}
    except KeyError as error:
        raise DataError(f"the column 'task' names an {error.args[0]}") from error


def _play(games: Sequence[_Again], arena: Arena) -> None:
    numbered = {number: again.game for number, again in enumerate(games)}
    arena.begin(numbered)
    while moves := {
        number: move for number, again in enumerate(games) if (move := again.next_move()) is not None
    }:
        arena.move({number: (numbered[number], move) for number, move in moves.items()})
        for number in moves:
            games[number].answered()
    arena.end(numbered)


@dataclass
class _Side:
    """The stored turns of one player, by number, and all its moves, those before the first stored turn included."""

    turns: dict[int, StoredTurn] = field(default_factory=dict)
    moves: list[str | None] = field(default_factory=list)
    made: int = 0
    owed: float = 0.0
    waits: bool = False

    def add(self, turn: StoredTurn) -> None:
        """Adds a stored turn, behind those before it."""
        self.turns[turn["turn"]] = turn
        self.moves = [action for _, action in json.loads(turn["past"])["turns"]]

    def next_move(self) -> str | None:
        """Returns the next move; what had no readable action was never asked for, and is passed over."""
        while self.made < len(self.moves):
            self.made += 1
            action = self.moves[self.made - 1]
            if action is not None:
                self.waits = True
                return action
        return None

    def left(self) -> StoredTurn | None:
        """Returns the first stored turn that is not played again yet."""
        return next(
            (
                turn
                for number, turn in self.turns.items()
                if number > self.made and turn["action"] is not None
            ),
            None,
        )

    def answered(self) -> tuple[StoredTurn | None, float]:
        """Returns the stored turn that an answer is about, None where it is not stored, and the reward since its move."""
        turn, owed = (self.turns.get(self.made) if self.waits else None), self.owed
        self.owed, self.waits = 0.0, False
        return turn, owed


class _Again:
    """A stored game that is played again; `difference` is the first one found."""

    def __init__(self, turns: Sequence[StoredTurn], places: Mapping[str, str]) -> None:
        self._sides: dict[str | None, _Side] = {}
        for turn in turns:
            self._sides.setdefault(turn.get("player"), _Side()).add(turn)
        row = turns[0]
        self.game = game_of(row, row["episode_id"], places, json.loads(row["past"])["goal"])
        self.difference: ReplayDifference | None = None

    def next_move(self) -> str | None:
        """Returns the next move; None at the end of the stored game, or where it cannot go on."""
        left = next((turn for side in self._sides.values() if (turn := side.left()) is not None), None)
        if left is None:
            self._end()
        if left is None or self.difference is not None:
            return None
        move = self._stored_move(left)
        if move is None and self.game.problem is not None:
            self._differs(left, "observation", "")
        elif move is None and self.game.answers[-1].done:
            self._differs(left, "done", True)
        elif move is None:
            self._differs(left, "player", self.game.answers[-1].player)
        return move

    def _stored_move(self, left: StoredTurn) -> str | None:
        """Returns the stored move of the player who is to move; None where there is none, or where the game takes none.

        Raises:
            DataError: the player to move is the other one of a game of two, and has no turns here.
        """
        if self.game.problem is not None or self.game.answers[-1].done:
            return None
        player = self.game.answers[-1].player
        if player in self._sides:
            return self._sides[player].next_move()
        if None not in self._sides and len(self._sides) == 1:
            raise DataError(
                f"episode {left['episode_id']} is one side of a game of two, and {player!r}, the other one, has no turns "
                "among these rows. Replay the artifact that has both"
            )
        return None

    def answered(self) -> None:
        """Compares the answer to a move with the turns of all who see it."""
        answer, problem = self.game.answers[-1], self.game.problem
        for player, side in self._sides.items():
            side.owed += answer.reward if player is None else answer.rewards.get(player, 0.0)
            if problem is not None or answer.done or player in (None, answer.player):
                turn, owed = side.answered()
                if turn is not None and self.difference is None:
                    self._compare(turn, *(("", 0.0) if problem is not None else (answer.observation, owed)))

    def _end(self) -> None:
        """Compares moves of a game of two that nothing followed, since the other side had its last turn."""
        for side in self._sides.values():
            turn, _ = side.answered()
            if turn is not None:
                self._compare(turn, "", 0.0)

    def _compare(self, turn: StoredTurn, observation: str, reward: float) -> None:
        for what, now in (("observation", observation), ("reward", reward)):
            if turn[what] != now and self.difference is None:
                self._differs(turn, what, now)

    def _differs(self, turn: StoredTurn, what: str, now: Any) -> None:
        stored = False if what == "done" else turn.get(what)
        self.difference = ReplayDifference(
            turn["episode_id"], turn["turn"], what, stored, now, self._reason(turn)
        )

    def _reason(self, turn: StoredTurn) -> str:
        """Returns a likely reason: that the environment broke, or that its package has another version."""
        if self.game.problem is not None:
            return self.game.problem
        before, here = turn.get(PACKAGE), package_of(turn["task"])
        return f"its task is of {before}, and here is {here}" if before and before != here else ""
