"""Games of two: the player to move is asked, in all games at once; each side is an episode of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lineal.components.playing.arena import Arena, Game
from lineal.components.playing.episode import CONTEXT, PlayerSide
from lineal.components.playing.waves import Player, asked_to_move

MODEL, OPPONENT = "model", "opponent"
"""The seats of a game of two."""


@dataclass
class Match:
    """A game and its two sides.

    Attributes:
        game: it.
        sides: by seat.
        model_plays: the player that is always the model; None where each begins in every second episode of a task.
    """

    game: Game
    sides: dict[str, PlayerSide]
    model_plays: str | None = None

    def seated(self) -> None:
        """Assigns the seats, once the game has begun."""
        first = self.game.answers[-1].player if self.game.answers else None
        if self.model_plays is not None:
            self.sides[MODEL].player = self.model_plays
        else:
            self.sides[MODEL if self.sides[MODEL].index % 2 == 0 else OPPONENT].player = first or ""
        for side in self.sides.values():
            side.begun()

    @property
    def to_move(self) -> str:
        """The seat that moves next."""
        player = self.game.answers[-1].player
        return next((seat for seat, side in self.sides.items() if side.player == player), MODEL)

    def follow(self) -> None:
        """Passes the answer to a move to both sides; the name of the player who moves second shows only now."""
        names = (
            []
            if self.game.problem is not None
            else [self.game.answers[-1].player, *self.game.answers[-1].rewards]
        )
        for side in self.sides.values():
            side.player = side.player or next(
                (name for name in names if name and name not in self._players()), ""
            )
        for side in self.sides.values():
            side.follows()

    def _players(self) -> set[str]:
        return {side.player for side in self.sides.values()}

    @property
    def over(self) -> bool:
        """True if one side's game has ended, and so the other's."""
        return any(side.finish is not None for side in self.sides.values())

    def named(self, facts: Mapping[str, Mapping[str, Any]]) -> list[PlayerSide]:
        """Returns both sides, the model's first, with the values of their rows."""
        for seat, side in self.sides.items():
            side.facts = {**facts[seat], "seat": seat, "player": side.player or None}
        return list(self.sides.values())

    def end(self) -> None:
        """Ends both sides in the same way."""
        how = next(side.finish for side in self.sides.values() if side.finish is not None)
        for side in self.sides.values():
            side.finish = side.finish or how


def play_matches(
    matches: Sequence[Match],
    arena: Arena,
    players: Mapping[str, Player],
    run_seed: int,
    step: str,
    over: Callable[[int], None],
) -> None:
    """Plays games of two to their ends.

    Args:
        matches: by number.
        arena: where their games are.
        players: by seat, the player.
        run_seed, step: with a side's row, its index and the turn, the seed of that turn.
        over: called with the number of newly finished ones.
    """
    arena.begin({number: match.game for number, match in enumerate(matches)})
    for match in matches:
        match.seated()
    live = _live(range(len(matches)), matches, arena, over)
    while live:
        to_move = {number: matches[number].to_move for number in live}
        for seat, player in players.items():
            own = {number: matches[number].sides[seat] for number in live if to_move[number] == seat}
            fits = player.fits([side.given() for side in own.values()])
            for side, room in zip(own.values(), fits, strict=True):
                side.finish = None if room else CONTEXT
            asked = {number: side for number, side in own.items() if side.finish is None}
            moves = asked_to_move(asked, player, run_seed, step)
            arena.move(moves)
            for number, side in asked.items():
                _tell(matches[number], side, number in moves)
        live = _live(live, matches, arena, over)


def _tell(match: Match, mover: PlayerSide, moved: bool) -> None:
    """Passes the answer to a move to both sides; where no move was found, only to the mover."""
    if not moved:
        mover.answered()
        return
    mover.made[-1].invalid = match.game.answers[-1].invalid if match.game.problem is None else None
    match.follow()


def _live(
    numbers: Sequence[int], matches: Sequence[Match], arena: Arena, over: Callable[[int], None]
) -> list[int]:
    ended = [number for number in numbers if matches[number].over]
    for number in ended:
        matches[number].end()
    arena.end({number: matches[number].game for number in ended})
    over(2 * len(ended))
    return [number for number in numbers if not matches[number].over]
