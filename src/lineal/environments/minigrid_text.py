"""`minigrid`: grids of the package minigrid, seen as its agent sees them, in letters; a move is one letter."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

MOVES = "LRFPDT"
"""Turn left, turn right, forward, pick up, drop, toggle: the package's actions 0 to 5."""
AHEAD = ((1, 0), (0, 1), (-1, 0), (0, -1))
"""By direction, the step forward."""
LETTERS = {"wall": "#", "goal": "G", "lava": "~", "key": "K", "ball": "B", "box": "C", "floor": "."}
HIDDEN, FREE, PLAYER = "?", ".", "A"
State = tuple[int, int, int, bool, frozenset[tuple[int, int]]]
"""Column, row, direction, whether the key is carried, and the doors that are open."""
GAMES: dict[str, tuple[str, Callable[[int], dict[str, Any]]]] = {
    "empty": ("EmptyEnv", lambda level: {"size": level, "agent_start_pos": None}),
    "door_key": ("DoorKeyEnv", lambda level: {"size": level}),
    "crossing": (
        "CrossingEnv",
        lambda level: {"size": 9, "num_crossings": level, "obstacle_type": _module("core.world_object").Wall},
    ),
    "lava": ("CrossingEnv", lambda level: {"size": 9, "num_crossings": level}),
    "multi_room": (
        "MultiRoomEnv",
        lambda level: {"minNumRooms": level, "maxNumRooms": level, "maxRoomSize": 6},
    ),
}
"""By name the package's class, and what it takes at a level: the side, the number of walls, the number of rooms."""


class MiniGrid:
    """Walk to G in MiniGrid's `empty`, `door_key`, `crossing`, `lava` or `multi_room`.

    The player A sees the 7 rows before it, itself in the middle of the last one, and what it carries: `???.../..K../..A..`.
    Walls are #, lava ~, doors X (locked), D (closed) and O (open), what is hidden ?.
    """

    def reset(self, *, seed: int, level: int, game: str = "empty") -> str:
        """Makes a grid of a game at a level.

        Raises:
            ValueError: there is no such game.
        """
        if game not in GAMES:
            raise ValueError(f"game {game!r}, expected one of {', '.join(GAMES)}")
        name, settings = GAMES[game]
        self._game = getattr(_module("envs"), name)(**settings(level))
        self._game.reset(seed=seed % 2**32)
        return self._seen()

    def step(self, text: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Makes one move, by its letter."""
        move = text.strip().upper()
        if len(move) != 1 or move not in MOVES:
            return (
                self._seen(),
                0.0,
                False,
                False,
                {"invalid": f"{text!r:.20} is none of the moves {', '.join(MOVES)}"},
            )
        _, reward, over, cut, _ = self._game.step(MOVES.index(move))
        return self._seen(), float(reward), bool(over), bool(cut), {"success": bool(over) and reward > 0}

    def expert(self) -> str:
        """Returns the first move of a shortest way to the goal, as one who sees the whole grid.

        Raises:
            LookupError: there is no way.
        """
        game = self._game
        column, row = map(int, game.agent_pos)
        start: State = (column, row, int(game.agent_dir), game.carrying is not None, frozenset())
        first: dict[State, str] = {start: ""}
        for state in (waiting := [start]):
            if self._type(state[0], state[1]) == "goal":
                return first[state]
            for move, there in self._following(state):
                if there not in first:
                    first[there] = first[state] or move
                    waiting.append(there)
        raise LookupError("no way leads to the goal from here")

    def _following(self, state: State) -> Iterator[tuple[str, State]]:
        column, row, direction, carries, opened = state
        there = column + AHEAD[direction][0], row + AHEAD[direction][1]
        ahead, thing = self._type(*there), self._game.grid.get(*there)
        is_open = ahead == "door" and (thing.is_open or there in opened)
        yield "L", (column, row, (direction - 1) % 4, carries, opened)
        yield "R", (column, row, (direction + 1) % 4, carries, opened)
        if ahead in (None, "goal", "floor") or is_open or (ahead == "key" and carries):
            yield "F", (*there, direction, carries, opened)
        if ahead == "key" and not carries:
            yield "P", (column, row, direction, True, opened)
        if ahead == "door" and not is_open and (carries or not thing.is_locked):
            yield "T", (column, row, direction, carries, opened | {there})

    def _type(self, column: int, row: int) -> str | None:
        thing = self._game.grid.get(column, row)
        return None if thing is None else str(thing.type)

    def _seen(self) -> str:
        game = self._game
        grid, shown = game.gen_obs_grid()
        player = grid.width // 2, grid.height - 1
        rows = (
            "".join(
                PLAYER
                if (column, row) == player
                else _letter(grid.get(column, row))
                if shown[column, row]
                else HIDDEN
                for column in range(grid.width)
            )
            for row in range(grid.height)
        )
        return "/".join(rows) + ("" if game.carrying is None else f" {_letter(game.carrying)}")

    @staticmethod
    def task(seed: int, level: int) -> dict[str, Any]:
        """Makes a task of a level; the entry's `game` says of which game."""
        how = "Moves: L and R turn, F walks, P picks up, D drops, T opens a door. # is a wall, ~ deadly, ? hidden."
        return {"prompt": f"Lead A to G. {how}", "entry": {"seed": seed, "level": level}}


def _letter(thing: Any) -> str:
    if thing is None:
        return FREE
    if thing.type == "door":
        return "O" if thing.is_open else "X" if thing.is_locked else "D"
    return LETTERS[thing.type]


def prepare() -> None:
    """Imports the package.

    Raises:
        ModuleNotFoundError: it is not installed; says how to install it.
    """
    _module("envs")


def _module(name: str) -> Any:
    try:
        return import_module(f"minigrid.{name}")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"{error}; install it: pip install 'lineal[minigrid]'") from error
