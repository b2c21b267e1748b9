"""Draw what is described: `red box at 1 2, 3 by 1=` -> `<rect x="1" y="2" width="3" height="1" fill="red"/>`."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import count
from typing import Any

import pydantic

from lineal.components.base import Workspace
from lineal.components.sources.base import Row, SyntheticSource
from lineal.components.sources.letter_mistakes import below, one_of
from lineal.components.sources.letter_sort import Range, checked_range
from lineal.data.ids import row_id, row_seed

MOST_SHAPES = 20
SIDE = 10
"""Places have one digit; a shape reaches at most to 13."""
LARGEST = 4
COLOURS = ("red", "blue", "green")


class Drawings(SyntheticSource):
    """Descriptions of boxes and discs, later ones over earlier ones; the answer is a drawing as `svg_match` reads it.

    Attributes:
        shapes: the fewest and the most; a row's difficulty is how many there are.
        size: how many prompts.
        split: which split's prompts; default: the task set's name.
    """

    shapes: Range

    @pydantic.field_validator("shapes")
    @classmethod
    def _exists(cls, value: Any, info: pydantic.ValidationInfo) -> Any:
        return checked_range(value, info, MOST_SHAPES, _descriptions, "descriptions of so many shapes")

    def space(self) -> int:
        """Returns how many descriptions there are."""
        return _descriptions(*self.shapes)

    def candidates(self, workspace: Workspace) -> Iterator[Row]:
        """Yields random descriptions."""
        low, high = self.shapes
        for index in count():
            draw = random.Random(row_seed(workspace.seed, workspace.step, index))  # noqa: S311 - reproducible on purpose
            many = low + below(draw, high - low + 1)
            told, drawn = zip(*(_shape(draw) for _ in range(many)), strict=True)
            prompt, answer = f"{'; '.join(told)}=", "".join(drawn)
            yield {
                "prompt_id": row_id(self.use, prompt, answer),
                "prompt": prompt,
                "answer": answer,
                "difficulty": float(many),
                "task": self.use,
            }


def _shape(draw: random.Random) -> tuple[str, str]:
    """Draws a shape's description and its element."""
    fill = one_of(draw, COLOURS)
    x, y = below(draw, SIDE), below(draw, SIDE)
    if below(draw, 2):
        r = 1 + below(draw, LARGEST)
        return f"{fill} disc at {x} {y}, {r}", f'<circle cx="{x}" cy="{y}" r="{r}" fill="{fill}"/>'
    width, height = 1 + below(draw, LARGEST), 1 + below(draw, LARGEST)
    element = f'<rect x="{x}" y="{y}" width="{width}" height="{height}" fill="{fill}"/>'
    return f"{fill} box at {x} {y}, {width} by {height}", element


def _descriptions(low: int, high: int) -> int:
    one = len(COLOURS) * SIDE**2 * (LARGEST + LARGEST**2)
    return sum(one**many for many in range(low, high + 1))
