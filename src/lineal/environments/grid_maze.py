"""`grid_maze`: a walk through a small maze that is seen from above. Needs no package, and draws nothing after it is made."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any

WALL, FREE, PLAYER, GOAL = "#", ".", "A", "G"
WALLS = 0.25
"""The share of cells that are drawn as walls."""
MOVES = {"L": (0, -1), "R": (0, 1), "U": (-1, 0), "D": (1, 0)}
Cell = tuple[int, int]


class GridMaze:
    """The player A walks to G; rows are separated by `/`. A move is one letter: L, R, U or D. A move into a wall does nothing."""

    def reset(self, *, seed: int, maze: str) -> str:
        """Sets up the maze that a text draws."""
        self._rows = maze.split("/")
        cells = {letter: cell for cell in _cells(self._rows) if (letter := _at(self._rows, cell)) in (PLAYER, GOAL)}
        self._player, self._goal = cells[PLAYER], cells[GOAL]
        return self._seen()

    def step(self, text: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """One move."""
        move = MOVES.get(text.strip().upper())
        if move is None:
            return self._seen(), 0.0, False, False, {"invalid": f"{text!r:.20} is none of the moves L, R, U and D"}
        there = self._player[0] + move[0], self._player[1] + move[1]
        self._player = there if _is_free(self._rows, there) else self._player
        won = self._player == self._goal
        return self._seen(), float(won), won, False, {"success": won}

    def expert(self) -> str:
        """The first move of a shortest way."""
        return shortest_way(self._rows, self._player, self._goal)[0]

    def _seen(self) -> str:
        rows = ["".join(FREE if letter == PLAYER else letter for letter in row) for row in self._rows]
        row, column = self._player
        rows[row] = rows[row][:column] + PLAYER + rows[row][column + 1 :]
        return "/".join(rows)

    @staticmethod
    def task(seed: int, level: int) -> dict[str, Any]:
        """A maze of `level` rows and columns that has a way of at least so many moves; only `Random.random` is used."""
        draw = random.Random(seed)  # noqa: S311 - reproducible on purpose
        while True:
            rows = ["".join(WALL if draw.random() < WALLS else FREE for _ in range(level)) for _ in range(level)]
            player, goal = _drawn(draw, level), _drawn(draw, level)
            rows = _with(_with(rows, player, PLAYER), goal, GOAL)
            if player != goal and len(shortest_way(rows, player, goal)) >= level - 1:
                maze = "/".join(rows)
                return {"prompt": f"Lead A to G. Moves: L, R, U, D; # is a wall.\n{maze}", "entry": {"maze": maze}}


def shortest_way(rows: Sequence[str], start: Cell, goal: Cell) -> str:
    """The moves of a shortest way, those of equal length in the order L, R, U, D; empty where there is none."""
    ways = {start: ""}
    for cell in (waiting := [start]):
        for letter, (down, right) in MOVES.items():
            there = cell[0] + down, cell[1] + right
            if there not in ways and _is_free(rows, there):
                ways[there] = ways[cell] + letter
                waiting.append(there)
    return ways.get(goal, "")


def _cells(rows: Sequence[str]) -> Iterator[Cell]:
    return ((row, column) for row in range(len(rows)) for column in range(len(rows[row])))


def _at(rows: Sequence[str], cell: Cell) -> str:
    return rows[cell[0]][cell[1]]


def _is_free(rows: Sequence[str], cell: Cell) -> bool:
    return 0 <= cell[0] < len(rows) and 0 <= cell[1] < len(rows[cell[0]]) and _at(rows, cell) != WALL


def _drawn(draw: random.Random, level: int) -> Cell:
    return int(draw.random() * level), int(draw.random() * level)


def _with(rows: list[str], cell: Cell, letter: str) -> list[str]:
    row, column = cell
    return [*rows[:row], rows[row][:column] + letter + rows[row][column + 1 :], *rows[row + 1 :]]
