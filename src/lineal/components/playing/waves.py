"""Many episodes at once: all live ones request their next move together, and all environments answer together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from lineal.components.playing.arena import Arena, Game
from lineal.components.playing.episode import CONTEXT, FAILED, Episode
from lineal.data.conversations import Prompt
from lineal.data.ids import row_seed
from lineal.data.workspace import Workspace
from lineal.engines.sampling.room import Room
from lineal.engines.sampling.sampler import Completion, Request, SamplingSettings


class Player(Protocol):
    """The interface of players."""

    def fits(self, given: Sequence[Prompt]) -> list[bool]:
        """Tells for each episode whether the player can read its input."""
        ...

    def moves(
        self, numbers: Sequence[int], given: Sequence[Prompt], seeds: Sequence[int]
    ) -> list[Completion]:
        """Returns the player's completions in the episodes with these numbers."""
        ...


class DrawSource(Protocol):
    """The interface of what completions are drawn from."""

    def sample(self, requests: Sequence[Request], settings: SamplingSettings) -> list[Completion]:
        """Returns one completion for each request, in order."""
        ...


@dataclass(frozen=True)
class ModelPlayer:
    """A model that plays. Drawn by a `SavedSampler`, its output is saved at once, and a killed step never draws it again."""

    sampler: DrawSource
    settings: SamplingSettings
    room: Room
    workspace: Workspace

    def fits(self, given: Sequence[Prompt]) -> list[bool]:
        return self.room(given, self.settings)

    def moves(
        self, numbers: Sequence[int], given: Sequence[Prompt], seeds: Sequence[int]
    ) -> list[Completion]:
        requests = [Request(prompt, seed) for prompt, seed in zip(given, seeds, strict=True)]
        with self.workspace.timed("sample"):
            written = self.sampler.sample(requests, self.settings)
        self.workspace.facts["tokens"] = self.workspace.facts.get("tokens", 0) + sum(
            one.tokens for one in written
        )
        return written


@dataclass(frozen=True)
class ExpertPlayer:
    """The environments' own experts."""

    arena: Arena
    episodes: Sequence[Episode]
    written: str
    """The format of a move, with `{}` in its place."""

    def fits(self, given: Sequence[Prompt]) -> list[bool]:
        return [True] * len(given)

    def moves(
        self, numbers: Sequence[int], given: Sequence[Prompt], seeds: Sequence[int]
    ) -> list[Completion]:
        said = self.arena.expert({number: self.episodes[number].game for number in numbers})
        return [Completion(self.written.replace("{}", said[number]), 0, "stop", None) for number in numbers]


def play(
    episodes: Sequence[Episode],
    arena: Arena,
    player: Player,
    run_seed: int,
    step: str,
    over: Callable[[int], None],
) -> None:
    """Plays episodes to their ends.

    Args:
        episodes: by number.
        arena: where their games are.
        player: makes the moves.
        run_seed, step: with an episode's row, its index and the turn, the seed of that turn.
        over: called with the number of newly finished ones.
    """
    _begin(episodes, arena)
    live = _live(range(len(episodes)), episodes, arena, over)
    while live:
        given = [episodes[number].given() for number in live]
        for number, fits in zip(live, player.fits(given), strict=True):
            if not fits:
                episodes[number].finish = CONTEXT
        asked = [number for number in live if episodes[number].finish is None]
        _turn(asked, episodes, arena, player, run_seed, step)
        live = _live(live, episodes, arena, over)


def _begin(episodes: Sequence[Episode], arena: Arena) -> None:
    """Begins all games, and makes the past moves of those that are continued inside an episode."""
    arena.begin({number: episode.game for number, episode in enumerate(episodes)})
    moves = [[action for _, action in episode.past.turns if action is not None] for episode in episodes]
    for place in range(max(map(len, moves), default=0)):
        arena.move(
            {
                number: (episodes[number].game, own[place])
                for number, own in enumerate(moves)
                if place < len(own)
            }
        )
    for episode in episodes:
        episode.begun()


def _turn(
    numbers: list[int], episodes: Sequence[Episode], arena: Arena, player: Player, run_seed: int, step: str
) -> None:
    own = {number: episodes[number] for number in numbers}
    arena.move(asked_to_move(own, player, run_seed, step))
    for episode in own.values():
        if episode.finish is None:
            episode.answered()


def asked_to_move(
    episodes: Mapping[int, Episode], player: Player, run_seed: int, step: str
) -> dict[int, tuple[Game, str]]:
    """Has a player write a turn of some episodes, by number; returns the moves that were found, each with its game."""
    own = list(episodes.values())
    if not own:
        return {}
    given = [episode.given() for episode in own]
    seeds = [row_seed(run_seed, step, episode.seed_key, episode.index, episode.turns + 1) for episode in own]
    written = player.moves(list(episodes), given, seeds)
    moves = {}
    for number, episode, prompt, completion, seed in zip(episodes, own, given, written, seeds, strict=True):
        if episode.game.problem is not None:  # an expert that cannot say
            episode.finish = FAILED
            continue
        action = episode.wrote(prompt, completion, seed)
        if action is not None:
            moves[number] = (episode.game, action)
    return moves


def _live(
    numbers: Sequence[int], episodes: Sequence[Episode], arena: Arena, over: Callable[[int], None]
) -> list[int]:
    """Returns the episodes that continue; the games of the others are freed."""
    ended = [number for number in numbers if episodes[number].finish is not None]
    arena.end({number: episodes[number].game for number in ended})
    over(len(ended))
    return [number for number in numbers if episodes[number].finish is None]
