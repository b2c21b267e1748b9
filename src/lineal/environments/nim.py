"""`nim`: two players take stones in turn, and who takes the last one wins. Needs no package."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import reduce
from operator import xor
from typing import Any, Literal

FIRST, SECOND = "first", "second"
LETTERS = "abcdefghij"
MOST = 3
"""How many stones may be taken at once, unless the entry says another number."""
Move = tuple[int, int]
"""Which heap, and how many of its stones."""


class Nim:
    """Heaps of stones as numbers, `3 5`. A move is the letter of a heap and how many of its stones are taken: `b2`.

    Two players play it; with an `opponent` it is a game of one, whose other side moves at random or like the expert.
    """

    def reset(
        self,
        *,
        seed: int,
        heaps: Sequence[int],
        most: int = MOST,
        opponent: Literal["random", "expert"] | None = None,
    ) -> str:
        """Sets the heaps up; `most` stones may be taken at once."""
        self._heaps, self._most, self._opponent = list(heaps), most, opponent
        self._draw = random.Random(seed)  # noqa: S311 - reproducible on purpose
        self._mover = FIRST
        return self._seen()

    @property
    def player(self) -> str | None:
        """The player who moves next; None where the other side is the game's own."""
        return self._mover if self._opponent is None else None

    def step(self, text: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Makes one move, and the opponent's where there is one."""
        move = self._read(text)
        if move is None:
            why = f"{text!r:.20} is no move: take 1 to {self._most} stones of a heap that has them"
            return self._seen(), 0.0, False, False, {"invalid": why}
        mover = self._mover
        self._take(move)
        if any(self._heaps) and self._opponent is not None:
            self._take(self._answer())
        if any(self._heaps):
            return self._seen(), 0.0, False, False, {}
        winner = SECOND if self._mover == FIRST else FIRST
        reward = 1.0 if winner == mover else -1.0
        info = {
            "success": reward > 0,
            "rewards": {mover: reward, SECOND if mover == FIRST else FIRST: -reward},
        }
        return self._seen(), reward, True, False, info

    def expert(self) -> str:
        """Returns a winning move, else the first that is allowed."""
        return self._written(best_move(self._heaps, self._most))

    def _answer(self) -> Move:
        if self._opponent == "expert":
            return best_move(self._heaps, self._most)
        moves = allowed(self._heaps, self._most)
        return moves[int(self._draw.random() * len(moves))]

    def _take(self, move: Move) -> None:
        self._heaps[move[0]] -= move[1]
        self._mover = SECOND if self._mover == FIRST else FIRST

    def _read(self, text: str) -> Move | None:
        moves = {self._written(move): move for move in allowed(self._heaps, self._most)}
        return moves.get(text.strip().lower())

    def _written(self, move: Move) -> str:
        return f"{LETTERS[move[0]]}{move[1]}"

    def _seen(self) -> str:
        return " ".join(map(str, self._heaps))

    @staticmethod
    def task(seed: int, level: int) -> dict[str, Any]:
        """Makes a task of `level` stones in two heaps; a single one is one heap."""
        small = 1 + seed % (level // 2) if level > 1 else 0
        heaps = [stones for stones in (level - small, small) if stones]
        how = (
            "Take 1 to 3 stones of a heap; who takes the last one wins. A move is a letter and a number: a2."
        )
        return {"prompt": f"{how} Heaps: {' '.join(map(str, heaps))}", "entry": {"heaps": heaps}}


def allowed(heaps: Sequence[int], most: int) -> list[Move]:
    """Returns all moves."""
    return [(heap, count) for heap, stones in enumerate(heaps) for count in range(1, min(stones, most) + 1)]


def best_move(heaps: Sequence[int], most: int) -> Move:
    """Returns the first move after which the next player loses, else the first of all."""
    moves = allowed(heaps, most)
    return next((move for move in moves if _is_lost(_after(heaps, move), most)), moves[0])


def _after(heaps: Sequence[int], move: Move) -> list[int]:
    return [stones - (move[1] if heap == move[0] else 0) for heap, stones in enumerate(heaps)]


def _is_lost(heaps: Sequence[int], most: int) -> bool:
    """Tells whether the player to move loses, by Bouton's theorem for heaps with at most so many stones per move."""
    return reduce(xor, (stones % (most + 1) for stones in heaps), 0) == 0
