"""Checks that an environment can be played, replayed and trained on: `check_environment`, for the tests of your own package."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from typing import Any

from lineal.components.playing.arena import Arena, Game, difference
from lineal.components.playing.settings import game_of
from lineal.environments.registry import location_of

UNREADABLE = ("", "\n", "no such move", "\x00", "💥", "x" * 10_000, "<action>")
"""A model's possible output; an environment answers it, and does not raise."""


def check_environment(
    environment: type | str, row: Mapping[str, Any], moves: Sequence[str] | None = None, seed: int = 0, most_turns: int = 200,
    seconds: float = 10.0,
) -> None:  # fmt: skip
    """Plays an environment as steps do, in processes with limits of time and memory, and checks what they rely on.

    - The same seed, row and moves give the same answers: in another process, and beside other games in one process.
    - A game ends within `most_turns`, by the moves given or by the environment's expert.
    - Moves that cannot be read are answered.

    Args:
        environment: its name, or its class, which must be importable.
        row: what `reset` takes beside the seed.
        moves: of a game that comes to its end; None: those of its expert.
        seed: of the game.
        most_turns: an upper bound of the game's length.
        seconds: processor time for one answer.

    Raises:
        AssertionError: a check failed; a difference is told with the first turn that differs.
        KeyError: no environment has this name.
    """
    location = (
        location_of(environment) if isinstance(environment, str) else f"{environment.__module__}:{environment.__qualname__}"
    )
    games = [Game(f"game {number}", location, seed, dict(row)) for number in range(4)]
    first, again, beside, unread = games
    with Arena([location], 1, seconds) as arena:
        arena.begin({0: first})
        played = _play(arena, first, moves, most_turns)
    with Arena([location], 1, seconds) as arena:
        arena.begin({0: again})
        _play(arena, again, played, most_turns)
        _require_same(first, again, "in another process")
        _play_beside(arena, beside, Game("other", location, seed + 1, dict(row)), played)
        _require_same(first, beside, "beside another game in one process")
        _answer_unreadable(arena, unread)


def check_episodes(turns: Iterable[Mapping[str, Any]], seconds: float = 10.0) -> int:
    """Replays stored episodes move by move, and checks that the environments give the rows' answers.

    Args:
        turns: rows of turns as `rollout`, `demonstrations` or `grpo` write them, of games of one; whole episodes, in order.
        seconds: processor time for one answer.

    Returns:
        how many episodes there are.

    Raises:
        AssertionError: an observation or a reward is another one; says the episode, the turn and both.
        KeyError: no environment has the name that a row says.
    """
    episodes: dict[str, list[Mapping[str, Any]]] = {}
    for row in turns:
        episodes.setdefault(row["episode_id"], []).append(row)
    places = {name: location_of(name) for name in {rows[0]["task"] for rows in episodes.values()}}
    with Arena(places.values(), 1, seconds) as arena:
        for name, rows in episodes.items():
            _play_again(arena, _taken_up(arena, name, rows[0], places), rows)
    return len(episodes)


def _taken_up(arena: Arena, name: str, row: Mapping[str, Any], places: Mapping[str, str]) -> Game:
    """Starts the game of a stored episode, where its first row begins."""
    if row.get("seat") is not None:
        raise AssertionError(
            f"episode {name} is one side of a game of two, whose other moves are in other rows. Give games of one"
        )
    past = json.loads(row["past"])
    game = game_of(row, name, places, past["goal"])
    arena.begin({0: game})
    for _, action in past["turns"][:-1]:
        if action is not None:
            arena.move({0: (game, action)})
    return game


def _play_again(arena: Arena, game: Game, rows: Sequence[Mapping[str, Any]]) -> None:
    for row in rows:
        if row["action"] is None:  # the environment was not asked
            continue
        arena.move({0: (game, row["action"])})
        said = ("", 0.0) if game.problem is not None else (game.seen, game.answers[-1].reward)
        if said != (row["observation"], row["reward"]):
            stored = (row["observation"], row["reward"])
            why = f" ({game.problem})" if game.problem else ""
            raise AssertionError(f"episode {game.session}, turn {row['turn']}: stored {stored!r:.200}, now {said!r:.200}{why}")
    arena.end({0: game})


def _play(arena: Arena, game: Game, moves: Sequence[str] | None, most_turns: int) -> list[str]:
    """Plays a game to its end; returns its moves."""
    _require_sound(game)
    while not game.answers[-1].done:
        if len(game.moves) >= most_turns:
            raise AssertionError(f"the game is not over after {most_turns} moves. Give moves that end it, or raise most_turns")
        text = _next(arena, game) if moves is None else next(iter(moves[len(game.moves) : len(game.moves) + 1]), None)
        if text is None:
            raise AssertionError(f"the game is not over after all {len(game.moves)} moves given: {game.seen!r:.200}")
        arena.move({0: (game, text)})
        _require_sound(game)
    arena.end({0: game})
    return game.moves


def _next(arena: Arena, game: Game) -> str:
    move = arena.expert({0: game})[0]
    if game.problem is not None:
        raise AssertionError(f"{game.problem}. Give moves")
    return move


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


def _answer_unreadable(arena: Arena, game: Game) -> None:
    for text in UNREADABLE:
        arena.begin({0: game})
        game.moves.clear()
        arena.move({0: (game, text)})
        if game.problem is not None:
            fix = "Answer it with an observation, and say why in info['invalid']"
            raise AssertionError(f"the move {text!r:.40} is not answered: {game.problem}. {fix}")
    arena.end({0: game})


def _require_sound(game: Game) -> None:
    if game.problem is not None:
        raise AssertionError(game.problem)


def _require_same(first: Game, second: Game, where: str) -> None:
    for turn, (one, other) in enumerate(zip_longest(first.answers, second.answers)):
        if one != other:
            said = "has another length" if one is None or other is None else difference(one, other, turn)
            raise AssertionError(f"not deterministic {where}: {said}")
