"""Gymnasium's `FrozenLake-v1`, `Taxi-v4` and `CliffWalking-v1` as texts; a move is one letter. Needs the package gymnasium."""

from __future__ import annotations

from functools import lru_cache
from importlib import import_module
from typing import Any, ClassVar

DISCOUNT = 0.99
ENOUGH = 1e-9
"""Values that change by less are those of the best policy."""
PICKUP = 4
"""Taxi: the passenger's place when it is in the taxi."""
Transitions = dict[int, dict[int, list[tuple[float, int, float, bool]]]]


class ToyText:
    """Base: the package's environment holds one game at a time, so the state and the generator of each game are kept here."""

    moves: ClassVar[str]
    _settings: tuple[tuple[str, Any], ...] = ()

    def _begin(self, seed: int, state: int | None = None) -> str:
        game = self._game()
        self._state, _ = game.reset(seed=seed)
        self._random = game.np_random
        self._state = self._state if state is None else state
        return self.seen(self._state)

    def _game(self) -> Any:
        return made(type(self).__name__, self._settings)

    def step(self, text: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Makes one move, by its letter."""
        move = text.strip().upper()
        if len(move) != 1 or move not in self.moves:
            why = f"{text!r:.20} is none of the moves {', '.join(self.moves)}"
            return self.seen(self._state), 0.0, False, False, {"invalid": why}
        game = self._game()
        game.s, game.np_random = self._state, self._random
        self._state, reward, over, cut, _ = game.step(self.moves.index(move))
        return (
            self.seen(self._state),
            float(reward),
            bool(over),
            bool(cut),
            {"success": over and self.won(float(reward))},
        )

    def expert(self) -> str:
        """Returns the best move."""
        return self.moves[best_moves(type(self).__name__, self._settings)[self._state]]

    def seen(self, state: int) -> str:
        """Shows a state as text."""
        raise NotImplementedError

    def won(self, reward: float) -> bool:
        """Tells whether the last reward of a game is that of the goal."""
        return True


class FrozenLake(ToyText):
    """A lake of `level` rows and columns: S is the start, F is ice, H a hole, G the goal, A the player; L, D, R and U are moves.

    On slippery ice a move goes astray two times of three, as in the original.
    """

    moves = "LDRU"

    def reset(self, *, seed: int, lake: str, slippery: bool = False) -> str:
        """Sets up the lake that a text draws."""
        self._rows = lake.split("/")
        self._settings = (("desc", tuple(self._rows)), ("is_slippery", slippery))
        return self._begin(seed)

    def seen(self, state: int) -> str:
        row, column = divmod(state, len(self._rows[0]))
        rows = list(self._rows)
        rows[row] = rows[row][:column] + "A" + rows[row][column + 1 :]
        return "/".join(rows)

    def won(self, reward: float) -> bool:
        return reward > 0

    @staticmethod
    def task(seed: int, level: int) -> dict[str, Any]:
        """Makes a lake with a way over it."""
        lake = "/".join(_module("frozen_lake").generate_random_map(size=level, seed=seed % 2**32))
        prompt = f"Walk from S to G over the ice F, into no hole H; A is you. Moves: L, D, R, U.\n{lake}"
        return {"prompt": prompt, "entry": {"lake": lake}}


class _Numbered(ToyText):
    """A game with one map, whose task is the state it begins in, and whose level is how many moves that is from the end."""

    def reset(self, *, seed: int, state: int) -> str:
        """Begins in a state."""
        return self._begin(seed, state)

    @classmethod
    def task(cls, seed: int, level: int) -> dict[str, Any]:
        """Makes a state from which the shortest way has `level` moves.

        Raises:
            ValueError: there is none.
        """
        states = by_distance(cls.__name__).get(level)
        if not states:
            raise ValueError(
                f"level {level}: expected one of {', '.join(map(str, sorted(by_distance(cls.__name__))))}"
            )
        state = states[seed % len(states)]
        return {"prompt": f"{cls.rules}\n{cls().seen(state)}", "entry": {"state": state}}

    rules: ClassVar[str]


class Taxi(_Numbered):
    """`T23 PY GR`: the taxi is in row 2, column 3, the passenger at Y (T: in the taxi) and wants to R. P and O: in and out."""

    moves = "DURLPO"
    rules = "Bring the passenger to the goal. Moves: D, U, R, L; P lets the passenger in, O out."

    def seen(self, state: int) -> str:
        row, column, passenger, goal = self._game().decode(state)
        return f"T{row}{column} P{'RGYBT'[passenger]} G{'RGYB'[goal]}"


class CliffWalking(_Numbered):
    """`A30 G3b`: the player is in row 3, column 0; columns are hexadecimal. The cells between them in row 3 are the cliff."""

    moves = "URDL"
    rules = "Walk from A to G on a grid of 4 rows and 12 columns; between 30 and 3b is a cliff. Moves: U, R, D, L."

    def seen(self, state: int) -> str:
        row, column = divmod(state, 12)
        return f"A{row}{column:x} G3b"


_CLASSES = {
    "FrozenLake": ("frozen_lake", "FrozenLakeEnv"),
    "Taxi": ("taxi", "TaxiEnv"),
    "CliffWalking": ("cliffwalking", "CliffWalkingEnv"),
}
"""By class here, the package's module and class."""


@lru_cache(maxsize=256)
def made(name: str, settings: tuple[tuple[str, Any], ...]) -> Any:
    """Makes the package's environment."""
    module, attribute = _CLASSES[name]
    given = {key: list(value) if isinstance(value, tuple) else value for key, value in settings}
    return getattr(_module(module), attribute)(**given)


def prepare() -> None:
    """Imports the package.

    Raises:
        ModuleNotFoundError: it is not installed; says how to install it.
    """
    for module, _ in _CLASSES.values():
        _module(module)


def _module(name: str) -> Any:
    try:
        return import_module(f"gymnasium.envs.toy_text.{name}")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"{error}; install it: pip install 'lineal[gymnasium]'") from error


@lru_cache(maxsize=256)
def best_moves(name: str, settings: tuple[tuple[str, Any], ...]) -> dict[int, int]:
    """Returns for each state the move of the best policy (the first of equal ones), by value iteration."""
    transitions: Transitions = made(name, settings).P
    values = dict.fromkeys(transitions, 0.0)
    change = 1.0
    while change > ENOUGH:
        best = {
            state: max(_worth(values, outcomes) for outcomes in moves.values())
            for state, moves in transitions.items()
        }
        change = max(abs(best[state] - values[state]) for state in best)
        values = best
    worth = {
        state: {move: _worth(values, outcomes) for move, outcomes in moves.items()}
        for state, moves in transitions.items()
    }
    return {
        state: min(moves, key=lambda move: (-round(moves[move], 6), move)) for state, moves in worth.items()
    }


def _worth(values: dict[int, float], outcomes: list[tuple[float, int, float, bool]]) -> float:
    return sum(
        share * (reward + (0.0 if over else DISCOUNT * values[state]))
        for share, state, reward, over in outcomes
    )


@lru_cache(maxsize=8)
def by_distance(name: str) -> dict[int, list[int]]:
    """Groups the states in which a game may begin by the number of moves that the best policy needs."""
    game = made(name, ())
    policy = best_moves(name, ())
    found: dict[int, list[int]] = {}
    for state in game.P:
        moves, here, over = 0, state, False
        while not over and moves <= len(game.P):
            (_, here, _, over), moves = game.P[here][policy[here]][0], moves + 1
        if over and _may_begin(name, game, state):
            found.setdefault(moves, []).append(state)
    return found


def _may_begin(name: str, game: Any, state: int) -> bool:
    """Tells whether a game may begin there. Taxi: the passenger waits, not at the goal. CliffWalking: not on cliff or goal."""
    return game.initial_state_distrib[state] > 0 if name == "Taxi" else state <= 36
