"""`svg_match`: a drawing in a strict subset of SVG that paints the same pixels as the answer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from annotated_types import Ge, Le

from lineal.components.base import Columns
from lineal.components.verifiers.scored import ThresholdVerifier

MOST_LETTERS = 20_000
MOST_SHAPES = 200
UNIT = 1000
"""Coordinates are whole thousandths, so that no float decides over a pixel."""
LENGTHS = {
    "rect": ("x", "y", "width", "height"),
    "circle": ("cx", "cy", "r"),
    "ellipse": ("cx", "cy", "rx", "ry"),
}
SIZES = {"width", "height", "r", "rx", "ry"}

_SHAPE = re.compile(r'<([a-z]{1,10})((?:[ \t\r\n]+[a-z]{1,10}="[^"<>&]{0,40}")*)[ \t\r\n]*/>')
_ATTRIBUTE = re.compile(r'([a-z]{1,10})="([^"<>&]{0,40})"')
_NUMBER = re.compile(r"(-?)([0-9]{1,4})(?:\.([0-9]{1,3}))?")
_FILL = re.compile(r"[a-z]{1,20}|#[0-9a-f]{6}")

Shape = tuple[str, tuple[int, ...], str]
Pixels = dict[tuple[int, int], str]


class SvgMatch(ThresholdVerifier):
    """Passes a drawing that paints the answer's pixels in the answer's colours.

    A drawing is a row of `<rect x y width height fill/>`, `<circle cx cy r fill/>` and `<ellipse cx cy rx ry fill/>`, and nothing
    else. The score is the share of equal pixels among those that either side paints; a pixel is painted where its centre is.

    Attributes:
        size: pixels on each side of the square that is compared; what lies outside is not seen.
        threshold: the least score that is a pass.
    """

    function: ClassVar[str] = "lineal.components.verifiers.svg_match:score_drawing"
    reads: ClassVar[Columns] = ("completion", "answer")

    size: Annotated[int, Ge(1), Le(64)] = 16

    def also_sent(self) -> dict[str, Any]:
        """Returns further arguments of the function."""
        return {"size": self.size}


class UnreadableDrawing(ValueError):
    """A text is no drawing of the subset."""


def score_drawing(row: Mapping[str, Any]) -> tuple[float, str | None]:
    """Returns score and detail of one row. Runs in a child process.

    Raises:
        ValueError: the reference is no drawing, or paints nothing.
    """
    wanted = _reference(row["answer"], row["size"])
    try:
        painted = raster(shapes_of(row["completion"]), row["size"])
    except UnreadableDrawing as error:
        return 0.0, str(error)
    either = wanted.keys() | painted.keys()
    differing = sum(wanted.get(pixel) != painted.get(pixel) for pixel in either)
    detail = f"{differing} of {len(either)} pixels differ" if differing else None
    return (len(either) - differing) / len(either), detail


def _reference(text: str, size: int) -> Pixels:
    try:
        wanted = raster(shapes_of(text), size)
    except UnreadableDrawing as error:
        raise ValueError(f"the reference answer is no drawing: {error}") from error
    if not wanted:
        raise ValueError(f"the reference answer paints none of the {size} x {size} pixels")
    return wanted


def shapes_of(text: str) -> list[Shape]:
    """Reads a drawing.

    Raises:
        UnreadableDrawing: the text is none, or too large.
    """
    text = text.strip()
    if len(text) > MOST_LETTERS:
        raise UnreadableDrawing(f"the drawing has more than {MOST_LETTERS:,} characters")
    shapes: list[Shape] = []
    place = 0
    while place < len(text):
        found = _SHAPE.match(text, place)
        if not found:
            raise UnreadableDrawing(f"no shape at character {place + 1}")
        if len(shapes) == MOST_SHAPES:
            raise UnreadableDrawing(f"the drawing has more than {MOST_SHAPES} shapes")
        shapes.append(_shape(found[1], _ATTRIBUTE.findall(found[2])))
        place = found.end()
        while place < len(text) and text[place].isspace():
            place += 1
    return shapes


def _shape(kind: str, pairs: list[tuple[str, str]]) -> Shape:
    told = dict(pairs)
    if kind not in LENGTHS:
        raise UnreadableDrawing(f"<{kind}> is no shape; there are {', '.join(LENGTHS)}")
    if len(told) != len(pairs) or told.keys() != {*LENGTHS[kind], "fill"}:
        raise UnreadableDrawing(
            f"<{kind}> needs {', '.join(LENGTHS[kind])} and fill, each once, and nothing else"
        )
    if not _FILL.fullmatch(told["fill"]):
        raise UnreadableDrawing("fill is no colour")
    return kind, tuple(_length(name, told[name]) for name in LENGTHS[kind]), told["fill"]


def _length(name: str, text: str) -> int:
    found = _NUMBER.fullmatch(text)
    if not found:
        raise UnreadableDrawing(f"{name} is no number of at most 4 digits and 3 decimals")
    value = int(found[2]) * UNIT + int((found[3] or "").ljust(3, "0"))
    if name in SIZES and (found[1] or not value):
        raise UnreadableDrawing(f"{name} is not above 0")
    return -value if found[1] else value


def raster(shapes: list[Shape], size: int) -> Pixels:
    """Paints shapes over one another; returns the colours of the painted pixels."""
    middles = [place * UNIT + UNIT // 2 for place in range(size)]
    painted: Pixels = {}
    for kind, lengths, fill in shapes:
        for row, y in enumerate(middles):
            painted |= {
                (column, row): fill for column, x in enumerate(middles) if _covers(kind, lengths, x, y)
            }
    return painted


def _covers(kind: str, lengths: tuple[int, ...], x: int, y: int) -> bool:
    if kind == "rect":
        left, top, width, height = lengths
        return left <= x < left + width and top <= y < top + height
    across, down = lengths[2], lengths[-1]  # a circle's radius is both
    return ((x - lengths[0]) * down) ** 2 + ((y - lengths[1]) * across) ** 2 <= (across * down) ** 2
