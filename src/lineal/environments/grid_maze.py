"""`grid_maze`: a walk to a goal between walls. Needs no package, and draws nothing random after it is made."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any

WALL, FREE, PLAYER, GOAL = "#", ".", "A", "G"
WALLS = 0.1
"""The share of cells that are drawn as walls."""
SIDE = 8
"""Rows and columns; more where the way would not fit."""
MOVES = {"L": (0, -1), "R": (0, 1), "U": (-1, 0), "D": (1, 0)}
Cell = tuple[int, int]


class GridMaze:
    """The player A walks to G. It sees where the goal is, and the cells left, right, above and below: `R3U2 #..#`.

    A move is one letter: L, R, U or D. A move into a wall, or out of the maze, does nothing.
    """

    def reset(self, *, seed: int, maze: str) -> str:
        """Sets up the maze that a text draws, rows separated by `/`."""
        self._rows = maze.split("/")
        cells = {
            letter: cell for cell in _cells(self._rows) if (letter := _at(self._rows, cell)) in (PLAYER, GOAL)
        }
        self._player, self._goal = cells[PLAYER], cells[GOAL]
        return self._seen()

    def step(self, text: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Makes one move."""
        move = MOVES.get(text.strip().upper())
        if move is None:
            return (
                self._seen(),
                0.0,
                False,
                False,
                {"invalid": f"{text!r:.20} is none of the moves L, R, U and D"},
            )
        there = self._player[0] + move[0], self._player[1] + move[1]
        self._player = there if _is_free(self._rows, there) else self._player
        won = self._player == self._goal
        return self._seen(), float(won), won, False, {"success": won}

    def expert(self) -> str:
        """Returns the first move of a shortest way."""
        return shortest_way(self._rows, self._player, self._goal)[0]

    def _seen(self) -> str:
        down, right = (goal - own for goal, own in zip(self._goal, self._player, strict=True))
        way = f"{'L' if right < 0 else 'R'}{abs(right)}{'U' if down < 0 else 'D'}{abs(down)}"
        around = ((self._player[0] + row, self._player[1] + column) for row, column in MOVES.values())
        return f"{way} {''.join(FREE if _is_free(self._rows, cell) else WALL for cell in around)}"

    @staticmethod
    def task(seed: int, level: int) -> dict[str, Any]:
        """Makes a maze whose shortest way has `level` moves, drawn as a map; only `Random.random` is used."""
        draw, side = random.Random(seed), max(SIDE, level // 2)  # noqa: S311 - reproducible on purpose
        goals: list[Cell] = []
        while not goals:
            rows = [
                "".join(WALL if draw.random() < WALLS else FREE for _ in range(side)) for _ in range(side)
            ]
            player = int(draw.random() * side), int(draw.random() * side)
            goals = [cell for cell, way in ways_from(rows, player).items() if len(way) == level]
        maze = "/".join(_with(_with(rows, player, PLAYER), goals[int(draw.random() * len(goals))], GOAL))
        return {"prompt": f"Lead A to G. Moves: L, R, U, D; # is a wall.\n{maze}", "entry": {"maze": maze}}


def shortest_way(rows: Sequence[str], start: Cell, goal: Cell) -> str:
    """Returns the moves of a shortest way; empty where there is none."""
    return ways_from(rows, start).get(goal, "")


def ways_from(rows: Sequence[str], start: Cell) -> dict[Cell, str]:
    """Returns the moves of a shortest way to each cell, the first of equal ones in the order L, R, U, D."""
    ways = {start: ""}
    for cell in (waiting := [start]):
        for letter, (down, right) in MOVES.items():
            there = cell[0] + down, cell[1] + right
            if there not in ways and _is_free(rows, there):
                ways[there] = ways[cell] + letter
                waiting.append(there)
    return ways


def _cells(rows: Sequence[str]) -> Iterator[Cell]:
    return ((row, column) for row in range(len(rows)) for column in range(len(rows[row])))


def _at(rows: Sequence[str], cell: Cell) -> str:
    return rows[cell[0]][cell[1]]


def _is_free(rows: Sequence[str], cell: Cell) -> bool:
    return 0 <= cell[0] < len(rows) and 0 <= cell[1] < len(rows[cell[0]]) and _at(rows, cell) != WALL


def _with(rows: list[str], cell: Cell, letter: str) -> list[str]:
    row, column = cell
    return [*rows[:row], rows[row][:column] + letter + rows[row][column + 1 :], *rows[row + 1 :]]
