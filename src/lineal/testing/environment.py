"""Checks that an environment can be played, replayed and trained on: `check_environment`, for the tests of your own package."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from typing import Any

from lineal.components.playing.arena import Arena, Game, difference
from lineal.components.playing.replay import game_key, replayed
from lineal.environments.base import Answer
from lineal.environments.registry import location_of

UNREADABLE = ("", "\n", "no such move", "\x00", "💥", "x" * 10_000, "<action>")
"""A model's possible output; an environment answers it, and does not raise."""


def check_environment(
    environment: type | str,
    row: Mapping[str, Any],
    moves: Sequence[str] | None = None,
    seed: int = 0,
    most_turns: int = 200,
    seconds: float = 10.0,
) -> None:
    """Plays an environment as steps do, in processes with limits of time and memory, and checks what they rely on.

    - The same seed, row and moves give the same answers: in another process, and beside other games in one process.
    - A game ends within `most_turns`, by the moves given or by the environment's expert.
    - Moves that cannot be read are answered, in another process alike.

    It proves as much as the game that it plays: where the expert wins in one move, give longer `moves`.

    Args:
        environment: its name, or its class, which must be importable.
        row: what `reset` takes beside the seed.
        moves: of a game that comes to its end, with detours and mistakes; None: those of its expert.
        seed: of the game.
        most_turns: an upper bound of the game's length.
        seconds: processor time for one answer.

    Raises:
        AssertionError: a check failed; a difference is told with the first turn that differs.
        KeyError: no environment has this name.
    """
    location = (
        location_of(environment)
        if isinstance(environment, str)
        else f"{environment.__module__}:{environment.__qualname__}"
    )
    first, again, beside, unread = (Game(f"game {number}", location, seed, dict(row)) for number in range(4))
    with Arena([location], 1, seconds) as arena:
        arena.begin({0: first})
        played = _play(arena, first, moves, most_turns)
        answered = _answer_unreadable(arena, unread)
    with Arena([location], 1, seconds) as arena:
        arena.begin({0: again})
        _play_again(arena, again, played)
        _require_same(first, again, "in another process")
        _play_beside(arena, beside, Game("other", location, seed + 1, dict(row)), played)
        _require_same(first, beside, "beside another game in one process")
        for text, answers in _answer_unreadable(arena, unread).items():
            _require_equal(answered[text], answers, f"in another process, where the move is {text!r:.40}")


def check_episodes(turns: Iterable[Mapping[str, Any]], seconds: float = 10.0) -> int:
    """Replays stored episodes move by move, and checks that the environments give the rows' answers.

    Args:
        turns: rows of turns as `rollout`, `demonstrations` or `grpo` write them, each episode's in order; of games of two, both
            sides'.
        seconds: processor time for one answer.

    Returns:
        how many games there are.

    Raises:
        AssertionError: an observation or a reward is another one; says the episode, the turn and both.
        DataError: no environment has the name that a row says, or a game of two lacks one side.
    """
    games: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in turns:
        games.setdefault(game_key(row), []).append(row)
    tasks = sorted({rows[0]["task"] for rows in games.values()})
    for found in replayed(games.values(), tasks, 1, seconds):
        if found is not None:
            raise AssertionError(str(found))
    return len(games)


def _play(arena: Arena, game: Game, moves: Sequence[str] | None, most_turns: int) -> list[str]:
    """Plays a game to its end; returns its moves."""
    _require_sound(game)
    while not game.answers[-1].done:
        if len(game.moves) >= most_turns:
            raise AssertionError(
                f"the game is not over after {most_turns} moves. Give moves that end it, or raise most_turns"
            )
        text = (
            _next(arena, game)
            if moves is None
            else next(iter(moves[len(game.moves) : len(game.moves) + 1]), None)
        )
        if text is None:
            raise AssertionError(
                f"the game is not over after all {len(game.moves)} moves given: {game.seen!r:.200}"
            )
        arena.move({0: (game, text)})
        _require_sound(game)
    arena.end({0: game})
    return game.moves


def _next(arena: Arena, game: Game) -> str:
    move = arena.expert({0: game})[0]
    if game.problem is not None:
        raise AssertionError(f"{game.problem}. Give moves")
    return move


def _play_again(arena: Arena, game: Game, moves: Sequence[str]) -> None:
    """Plays these moves, as far as the game takes them."""
    for text in moves:
        if game.problem is None and not game.answers[-1].done:
            arena.move({0: (game, text)})
    arena.end({0: game})


def _play_beside(arena: Arena, game: Game, other: Game, moves: Sequence[str]) -> None:
    """Plays a game move by move with another in the same process, which makes the same moves a turn before."""
    arena.begin({0: game, 1: other})
    for text in moves:
        if not other.answers[-1].done:
            arena.move({1: (other, text)})
            _require_sound(other)
        if not game.answers[-1].done:
            arena.move({0: (game, text)})
            _require_sound(game)
    arena.end({0: game, 1: other})


def _answer_unreadable(arena: Arena, game: Game) -> dict[str, list[Answer]]:
    """Makes each unreadable move in a new game; returns the answers to `reset` and to the move."""
    answered: dict[str, list[Answer]] = {}
    for text in UNREADABLE:
        arena.begin({0: game})
        game.moves.clear()
        arena.move({0: (game, text)})
        if game.problem is not None:
            fix = "Answer it with an observation, and say why in info['invalid']"
            raise AssertionError(f"the move {text!r:.40} is not answered: {game.problem}. {fix}")
        answered[text] = game.answers
    arena.end({0: game})
    return answered


def _require_sound(game: Game) -> None:
    if game.problem is not None:
        raise AssertionError(game.problem)


def _require_same(first: Game, second: Game, where: str) -> None:
    _require_equal(first.answers, second.answers, where, second.problem)


def _require_equal(
    first: Sequence[Answer], second: Sequence[Answer], where: str, problem: str | None = None
) -> None:
    for turn, (one, other) in enumerate(zip_longest(first, second)):
        if one != other:
            lacking = problem or "has another length"
            said = lacking if one is None or other is None else difference(one, other, turn)
            raise AssertionError(f"not deterministic {where}: {said}")
