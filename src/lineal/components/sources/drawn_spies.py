"""`drawn_spies`: games of "who is the spy", in which one player sees another picture than the others do."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Annotated, ClassVar, Literal, Self

import pydantic

from lineal.components.base import Columns, Workspace, merged
from lineal.components.sources.base import Row
from lineal.components.sources.bitmaps import COLOURS, SHAPES, Grid, Mark, Scale, drawn
from lineal.components.sources.letter_mistakes import below, one_of
from lineal.components.sources.letter_sort import Range, bounded_range
from lineal.components.sources.pictured import PICTURES, PicturedSource, named_once
from lineal.data.ids import row_id, row_seed
from lineal.data.media import IMAGES
from lineal.data.pictures import Picture

GAME: Columns = ("game", "player_number", "players", "spy", "others_picture")
"""Columns by which the clues of a game find each other, and the picture of all but the spy."""
CITIZEN, SPY = "Clue:", "Spy's clue:"
QUESTION = "Spy?"
Property = Literal["colour", "form"]
VALUES: dict[Property, list[str]] = {"colour": list(COLOURS), "form": list(SHAPES)}


@dataclass(frozen=True)
class CellShape:
    """A shape in its cell; `properties` are its colour and its form."""

    row: int
    column: int
    properties: dict[Property, str]


@dataclass(frozen=True)
class SpyGame:
    """A game: what the citizens see, what the spy sees, its place among the players, and what was edited."""

    name: str
    common: str
    pictures: dict[bool, Picture]
    words: dict[bool, list[str]]
    edited: str
    spy: int


class DrawnSpies(PicturedSource):
    """Games in which all players but one see the same shapes; in the spy's picture one shape has another colour or form.

    stage 'clue' has a row for each player: the own picture, and `Clue:` or `Spy's clue:`. The answer is a word that is
    true of the picture, a colour or a form. stage 'decision' has a row for each game: the citizens' picture and a clue of
    everybody, `1 red 2 circle 3 blue Spy?`. Its citizens say what is true, and its spy what was edited, so that the
    answer, the spy's number, can be found. Columns `game`, `player_number`, `players`, `spy` and `others_picture` say which
    clues belong together; the selector `decisions_of_games` makes decisions of clues that were given.

    Attributes:
        stage: 'clue' or 'decision'.
        players: how many, the spy included.
        edits: which property of a shape may be edited.
        shapes: the fewest and the most shapes in a picture, drawn evenly; a row's difficulty is their number.
        grid: cells on a side.
        scale: pixels on the side of a dot; a cell has 8 x 8 dots.
        size: how many prompts; every `players` clues are a game.
        split: which split's prompts; default: the task set's name. It is decided by what no edit changes: the places
            of the shapes, and their forms or colours where these are not edited.
    """

    columns: ClassVar[Columns] = merged(PicturedSource.columns, GAME)

    stage: Literal["clue", "decision"]
    players: Annotated[int, pydantic.Field(ge=3, le=9)] = 4
    edits: Annotated[list[Property], pydantic.Field(min_length=1)] = ["colour", "form"]
    grid: Grid = 3
    scale: Scale = 1
    shapes: Range = (1, 3)

    @pydantic.field_validator("edits")
    @classmethod
    def _once(cls, value: list[Property]) -> list[Property]:
        return named_once(value, "a property", "edits")

    @pydantic.model_validator(mode="after")
    def _fit(self) -> Self:
        most = min(self.grid**2, len(COLOURS) - 1)  # so that a colour and a form are left for the edit
        bounded_range(self.shapes, most)
        if self.stage == "clue" and isinstance(self.size, int) and self.size % self.players:
            whole = self.size + -self.size % self.players
            raise ValueError(
                f"size is {self.size:,}, but clues come in games of {self.players}. Write size: {whole}"
            )
        return self

    def candidates(self, workspace: Workspace) -> Iterator[Row]:
        """Yields the rows of random games."""
        for index in count():
            draw = random.Random(row_seed(workspace.seed, workspace.step, index))  # noqa: S311 - reproducible on purpose
            game = self._game(draw, f"{workspace.step}/{index}")
            number = float(len(game.words[False]) // len(VALUES))
            if self.stage == "decision":
                yield self._row(game, f"{self._clues(draw, game)} {QUESTION}", str(game.spy), number, None)
                continue
            for player in range(1, self.players + 1):
                is_spy = player == game.spy
                yield self._row(
                    game, SPY if is_spy else CITIZEN, one_of(draw, game.words[is_spy]), number, player
                )

    def split_id(self, row: Row) -> str:
        common: str = row["common"]
        return common

    def _row(self, game: SpyGame, prompt: str, answer: str, difficulty: float, player: int | None) -> Row:
        picture = game.pictures[player == game.spy]
        return {
            **self.asked(picture, prompt, answer, difficulty),
            "prompt_id": row_id(self.use, game.name, game.pictures[False].sha256, str(player), prompt),
            "common": game.common,
            "game": game.name,
            "player_number": None if player is None else str(player),
            "players": str(self.players),
            "spy": str(game.spy),
            "others_picture": game.pictures[False].sha256,
            PICTURES: [picture],
            IMAGES: [picture.sha256],
        }

    def _game(self, draw: random.Random, name: str) -> SpyGame:
        low, high = self.shapes
        cells = sorted(range(self.grid**2), key=lambda _: draw.random())
        shapes = [
            CellShape(
                *divmod(cell, self.grid), {name: one_of(draw, values) for name, values in VALUES.items()}
            )
            for cell in cells[: low + below(draw, high - low + 1)]
        ]
        edit = self.edits[below(draw, len(self.edits))]
        there = {shape.properties[edit] for shape in shapes}
        new = one_of(draw, [value for value in VALUES[edit] if value not in there])
        first, *rest = shapes
        others = CellShape(first.row, first.column, {**first.properties, edit: new})
        kept = [name for name in VALUES if name not in self.edits]
        common = sorted([one.row, one.column, *(one.properties[name] for name in kept)] for one in shapes)
        seen = {False: shapes, True: [others, *rest]}
        return SpyGame(
            name=row_id(self.use, name),
            common=row_id(self.use, str(common)),
            pictures={is_spy: self._drawn(one) for is_spy, one in seen.items()},
            words={
                is_spy: [word for shape in one for word in shape.properties.values()]
                for is_spy, one in seen.items()
            },
            edited=new,
            spy=1 + below(draw, self.players),
        )

    def _drawn(self, shapes: list[CellShape]) -> Picture:
        marks = [
            Mark(one.row, one.column, SHAPES[one.properties["form"]], one.properties["colour"])
            for one in shapes
        ]
        return drawn(self.grid, self.scale, marks)

    def _clues(self, draw: random.Random, game: SpyGame) -> str:
        """Draws a true clue of every citizen, and puts the edited property in the spy's mouth."""
        said = (
            game.edited if player == game.spy else one_of(draw, game.words[False])
            for player in range(1, self.players + 1)
        )
        return " ".join(f"{player} {clue}" for player, clue in enumerate(said, start=1))
