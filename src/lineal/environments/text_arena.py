"""`textarena`: games of the package textarena for one player or two, as they are; the entry names the game."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from importlib import import_module
from typing import Any

Board = tuple[str, ...]
LINES = ((0, 1, 2), (3, 4, 5), (6, 7, 8), (0, 3, 6), (1, 4, 7), (2, 5, 8), (0, 4, 8), (2, 4, 6))


class TextArena:
    """A game by its id in the package: `entry: {game: GuessTheNumber-v0}`, or `{game: TicTacToe-v0, players: 2}`.

    A move is whatever the game asks for, most often in brackets: `[4]`. A player sees what was said since its last move, without
    that move. A second unreadable move in a row loses the game, by the package's own rules. `GuessTheNumber` and `TicTacToe` have
    an expert.
    """

    def reset(self, *, seed: int, game: str, players: int = 1) -> str:
        """Begins a game of one or of two."""
        self._name, self._players = game.partition("-")[0], players
        self._game = _package().make(f"{game}-raw")
        self._game.reset(num_players=players, seed=seed % 2**32)
        return self._seen()

    @property
    def player(self) -> str | None:
        """The player who moves next; None in a game of one."""
        return f"player {self._mover}" if self._players > 1 else None

    @property
    def _mover(self) -> int:
        return int(self._game.state.current_player_id)

    def step(self, text: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Makes one move."""
        mover, errors = self._mover, self._errors()
        over, _ = self._game.step(text)
        if not over:
            invalid = {"invalid": f"{text!r:.20} is no move of the game"} if self._errors() > errors else {}
            return self._seen(), 0.0, False, False, invalid
        given, told = self._game.close()
        rewards = {player: float((given or {}).get(player, 0.0)) for player in range(self._players)}
        seen = "\n".join(filter(None, (self._seen(), str(told[mover].get("reason") or ""))))
        info: dict[str, Any] = {"success": rewards[mover] >= 1}
        if told[mover].get("invalid_move"):
            info["invalid"] = f"{text!r:.20} is no move of the game, for the second time"
        if self._players > 1:
            info["rewards"] = {f"player {player}": reward for player, reward in rewards.items()}
        return seen, rewards[mover], True, False, info

    def expert(self) -> str:
        """Returns a best move.

        Raises:
            LookupError: the game has no expert.
        """
        if self._name not in EXPERTS:
            raise LookupError(f"{self._name} has no expert; {', '.join(EXPERTS)} have one")
        return EXPERTS[self._name](self._game)

    def _errors(self) -> int:
        return int(getattr(self._game.state, "error_count", 0))

    def _seen(self) -> str:
        player, said = self._game.get_observation()
        others = (
            text for speaker, text, kind in said if not (speaker == player and kind.name == "PLAYER_ACTION")
        )
        return "\n".join(text.strip() for text in others)

    @staticmethod
    def task(seed: int, level: int) -> dict[str, Any]:
        """Makes a task by its seed; games have no levels, and say their rules themselves."""
        return {"prompt": "Play the game.", "entry": {"seed": seed}}


def _bisected(game: Any) -> str:
    low, high = game.min_number, game.max_number
    for guess, hint in game.state.game_state["guess_history"]:
        low, high = (guess + 1, high) if hint == "higher" else (low, guess - 1)
    return f"[{(low + high) // 2}]"


def _best_cell(game: Any) -> str:
    board = tuple(cell for row in game.state.game_state["board"] for cell in row)
    mover = "X" if game.state.current_player_id == 1 else "O"
    return f"[{max(_free(board), key=lambda cell: (_worth(_with(board, cell, mover), mover), -cell))}]"


@lru_cache(maxsize=20_000)
def _worth(board: Board, mover: str) -> int:
    """Returns what a board is worth to the player who moved last: 1 won, 0 drawn, -1 lost."""
    if any(all(board[cell] == mover for cell in line) for line in LINES):
        return 1
    other = "O" if mover == "X" else "X"
    return -max((_worth(_with(board, cell, other), other) for cell in _free(board)), default=0)


def _free(board: Board) -> list[int]:
    return [cell for cell, mark in enumerate(board) if not mark]


def _with(board: Board, cell: int, mark: str) -> Board:
    return (*board[:cell], mark, *board[cell + 1 :])


EXPERTS: dict[str, Callable[[Any], str]] = {"GuessTheNumber": _bisected, "TicTacToe": _best_cell}


def prepare() -> None:
    """Imports the package.

    Raises:
        ModuleNotFoundError: it is not installed; says how to install it.
    """
    _package()


def _package() -> Any:
    try:
        return import_module("textarena")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"{error}; install it: pip install 'lineal[textarena]'") from error
