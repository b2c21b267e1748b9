"""`drawn_shapes`: questions about drawn shapes. The drawing is the truth: counts, colours and places are exact."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from itertools import count
from typing import Annotated, Any, Literal, Self

import pydantic

from lineal.components.base import Workspace
from lineal.components.sources.base import Row
from lineal.components.sources.bitmaps import COLOURS, SHAPES, Grid, Mark, Scale, drawn
from lineal.components.sources.letter_mistakes import below
from lineal.components.sources.letter_sort import Range, bounded_range
from lineal.components.sources.pictured import PicturedSource, named_once
from lineal.data.ids import row_seed

Question = Literal["count", "colour", "relation"]
Shape = tuple[str, str]
"""A colour and a form."""
Asked = tuple[list[Shape], str, str]
"""The shapes of a picture, the question, and its answer; for a relation the places are the first two of `_places`."""


class DrawnShapes(PicturedSource):
    """Pictures of coloured shapes in the cells of a grid, each with a question and its exact answer.

    Questions are drawn evenly, and so are a question's answers: `How many red circles?` (`0` up to the number of shapes),
    `Which colour is the circle?`, `Is the red circle left of the blue square?` (`yes` or `no`, also with `above`). Pictures are
    PNGs of `8 * grid * scale` pixels a side, the same bytes everywhere.

    Attributes:
        questions: which questions.
        shapes: the fewest and the most shapes in a picture, drawn evenly; a row's difficulty is their number.
        grid: cells on a side.
        scale: pixels on the side of a dot; a cell has 8 x 8 dots.
        size: how many prompts.
        split: which split's prompts; default: the task set's name. It is decided by the picture.
    """

    questions: Annotated[list[Question], pydantic.Field(min_length=1)] = ["count", "colour", "relation"]
    grid: Grid = 4
    scale: Scale = 1
    shapes: Range = (2, 4)

    @pydantic.field_validator("questions")
    @classmethod
    def _once(cls, value: list[Question]) -> list[Question]:
        return named_once(value, "a question", "questions")

    @pydantic.model_validator(mode="after")
    def _fit(self) -> Self:
        low, _ = bounded_range(self.shapes, self.grid**2)
        if "relation" in self.questions and (low < 2 or self.grid < 2):
            raise ValueError(
                "questions: relation needs two shapes in every picture, and a grid of 2. Write shapes: [2, 4]"
            )
        return self

    def candidates(self, workspace: Workspace) -> Iterator[Row]:
        """Yields random pictures and questions."""
        for index in count():
            draw = random.Random(row_seed(workspace.seed, workspace.step, index))  # noqa: S311 - reproducible on purpose
            low, high = self.shapes
            number = low + below(draw, high - low + 1)
            places = _shuffled(
                draw, [(row, column) for row in range(self.grid) for column in range(self.grid)]
            )
            shapes, prompt, answer = _ASK[_one_of(draw, self.questions)](draw, number, places)
            marks = [
                Mark(place[0], place[1], SHAPES[form], colour)
                for place, (colour, form) in zip(places, shapes, strict=False)
            ]
            yield self.asked(drawn(self.grid, self.scale, marks), prompt, answer, float(number))


def _one_of(draw: random.Random, values: Any) -> Any:
    listed = list(values)
    return listed[below(draw, len(listed))]


def _shuffled(draw: random.Random, values: list[Any]) -> list[Any]:
    return sorted(values, key=lambda _: draw.random())


def _shape(draw: random.Random, unlike: Callable[[Shape], bool] = lambda shape: False) -> Shape:
    every = [(colour, form) for colour in COLOURS for form in SHAPES]
    chosen: Shape = _one_of(draw, [shape for shape in every if not unlike(shape)])
    return chosen


def _count(draw: random.Random, number: int, places: list[tuple[int, int]]) -> Asked:
    """Asks for the number of one shape, of one form, or of one colour."""
    colour, form = _shape(draw)
    kind = below(draw, 3)
    named = (f"{colour} {form}", form, f"{colour} shape")[kind]
    fits: Callable[[Shape], bool] = (
        lambda one: one == (colour, form),
        lambda one: one[1] == form,
        lambda one: one[0] == colour,
    )[kind]
    answer = below(draw, number + 1)
    meant = [_shape(draw, lambda one: not fits(one)) for _ in range(answer)]
    return (
        [*meant, *(_shape(draw, fits) for _ in range(number - answer))],
        f"How many {_plural(named)}?",
        str(answer),
    )


def _plural(named: str) -> str:
    return f"{named}{'es' if named.endswith('s') else 's'}"


def _colour(draw: random.Random, number: int, places: list[tuple[int, int]]) -> Asked:
    """Asks for the colour of the only shape of a form."""
    colour, form = _shape(draw)
    others = [_shape(draw, lambda one: one[1] == form) for _ in range(number - 1)]
    return [(colour, form), *others], f"Which colour is the {form}?", colour


def _relation(draw: random.Random, number: int, places: list[tuple[int, int]]) -> Asked:
    """Asks for the places of two shapes, each the only one of its kind, in a row or column that differs."""
    first = _shape(draw)
    second = _shape(draw, lambda one: one == first)
    others = [_shape(draw, lambda one: one in (first, second)) for _ in range(number - 2)]
    differs = [axis for axis in (0, 1) if places[0][axis] != places[1][axis]]
    axis = _one_of(draw, differs)
    answer = "yes" if places[0][axis] < places[1][axis] else "no"
    word = ("above", "left of")[axis]
    return [first, second, *others], f"Is the {' '.join(first)} {word} the {' '.join(second)}?", answer


_ASK: dict[str, Callable[[random.Random, int, list[tuple[int, int]]], Asked]] = {
    "count": _count,
    "colour": _colour,
    "relation": _relation,
}
