"""Pictures drawn dot by dot, and the PNG of them: the same bytes everywhere, whatever libraries there are."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated

from annotated_types import Le

from lineal.data.pictures import Picture
from lineal.recipe.compute import Positive

CELL = 8
"""Dots on a cell's side."""
COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (230, 30, 30),
    "green": (30, 170, 60),
    "blue": (50, 90, 240),
    "yellow": (240, 220, 40),
}
BLACK, WHITE = (0, 0, 0), (255, 255, 255)
PALETTE = (BLACK, *COLOURS.values(), WHITE)
INK = {**{name: place for place, name in enumerate(COLOURS, start=1)}, "white": len(COLOURS) + 1}
SHAPES: dict[str, tuple[str, ...]] = {
    "circle": (
        "........",
        "..####..",
        ".######.",
        ".######.",
        ".######.",
        ".######.",
        "..####..",
        "........",
    ),
    "square": (
        "........",
        ".######.",
        ".######.",
        ".######.",
        ".######.",
        ".######.",
        ".######.",
        "........",
    ),
    "triangle": (
        "........",
        "...##...",
        "...##...",
        "..####..",
        "..####..",
        ".######.",
        ".######.",
        "........",
    ),
    "cross": ("........", "...##...", "...##...", ".######.", ".######.", "...##...", "...##...", "........"),
}
"""By name, the dots of a cell."""
_LETTERS = {
    "a": ".##. #..# #..# #### #..# #..# #..#",
    "b": "###. #..# #..# ###. #..# #..# ###.",
    "c": ".### #... #... #... #... #... .###",
    "d": "###. #..# #..# #..# #..# #..# ###.",
    "e": "#### #... #... ###. #... #... ####",
    "f": "#### #... #... ###. #... #... #...",
    "g": ".### #... #... #.## #..# #..# .###",
    "h": "#..# #..# #..# #### #..# #..# #..#",
    "i": "###. .#.. .#.. .#.. .#.. .#.. ###.",
    "j": "..## ...# ...# ...# ...# #..# .##.",
    "k": "#..# #.#. ##.. #... ##.. #.#. #..#",
    "l": "#... #... #... #... #... #... ####",
    "m": "#...# ##.## #.#.# #...# #...# #...# #...#",
    "n": "#...# ##..# #.#.# #..## #...# #...# #...#",
    "o": ".##. #..# #..# #..# #..# #..# .##.",
    "p": "###. #..# #..# ###. #... #... #...",
    "q": ".##. #..# #..# #..# #..# #.## .###",
    "r": "###. #..# #..# ###. ##.. #.#. #..#",
    "s": ".### #... #... .##. ...# ...# ###.",
    "t": "##### ..#.. ..#.. ..#.. ..#.. ..#.. ..#..",
    "u": "#..# #..# #..# #..# #..# #..# .##.",
    "v": "#...# #...# #...# #...# .#.#. .#.#. ..#..",
    "w": "#...# #...# #...# #...# #.#.# ##.## #...#",
    "x": "#...# #...# .#.#. ..#.. .#.#. #...# #...#",
    "y": "#...# #...# .#.#. ..#.. ..#.. ..#.. ..#..",
    "z": "##### ....# ...#. ..#.. .#... #.... #####",
}
_SIGNS = {
    "0": ".##. #..# #.## #### ##.# #..# .##.",
    "1": ".#. ##. .#. .#. .#. .#. ###",
    "2": ".##. #..# ...# ..#. .#.. #... ####",
    "3": "###. ...# ...# .##. ...# ...# ###.",
    "4": "#..# #..# #..# #### ...# ...# ...#",
    "5": "#### #... #... ###. ...# ...# ###.",
    "6": ".##. #... #... ###. #..# #..# .##.",
    "7": "#### ...# ...# ..#. .#.. .#.. .#..",
    "8": ".##. #..# #..# .##. #..# #..# .##.",
    "9": ".##. #..# #..# .### ...# ...# .##.",
    "+": "..... ..#.. ..#.. ##### ..#.. ..#.. .....",
    "=": "..... ..... ##### ..... ##### ..... .....",
}


def _cells(drawings: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    return {
        name: tuple(f".{row:.<{CELL - 1}}" for row in (*rows.split(), "")) for name, rows in drawings.items()
    }


LETTERS = _cells(_LETTERS)
"""The capital letters, by the lower-case ones that they stand for."""
SIGNS = _cells(_SIGNS)
"""Digits, and the signs of a formula."""
Grid = Annotated[Positive, Le(8)]
Scale = Annotated[Positive, Le(16)]


@dataclass(frozen=True)
class Mark:
    """The drawing in one cell.

    Attributes:
        row, column: the cell's place.
        dots: the lines of a cell; `#` is drawn.
        colour: a name of `INK`.
    """

    row: int
    column: int
    dots: Sequence[str]
    colour: str


def drawn(grid: int, scale: int, marks: Iterable[Mark]) -> Picture:
    """Draws marks on black, in a square of `grid` cells and `grid * CELL * scale` pixels a side."""
    dots = blank(grid)
    for mark in marks:
        put(dots, mark.dots, mark.row * CELL, mark.column * CELL, INK[mark.colour])
    return picture_of(dots, scale)


def blank(grid: int) -> list[bytearray]:
    """Returns the dots of a black square of `grid` cells a side, as places in the palette."""
    return [bytearray(grid * CELL) for _ in range(grid * CELL)]


def put(dots: Sequence[bytearray], drawing: Sequence[str], y: int, x: int, ink: int) -> None:
    """Draws the lines of a cell with its upper left dot at a place; dots outside the square are left out."""
    side = len(dots)
    for down, line in enumerate(drawing):
        for right, dot in enumerate(line):
            if dot == "#" and y + down < side and x + right < side:
                dots[y + down][x + right] = ink


def picture_of(dots: Sequence[bytearray], scale: int) -> Picture:
    """Makes the picture of a square of dots, each `scale` pixels a side."""
    data = _png([_scaled(line, scale) for line in dots for _ in range(scale)])
    side = len(dots) * scale
    return Picture(sha256(data).hexdigest(), "image/png", side, side, data)


def _scaled(line: bytearray, scale: int) -> bytes:
    return bytes(dot for dot in line for _ in range(scale))


def _png(lines: Sequence[bytes]) -> bytes:
    """Writes lines of places in the palette as a PNG: 4 bits a pixel, not compressed, since compressors differ."""
    packed = [
        bytes((left << 4) | right for left, right in zip(line[::2], line[1::2], strict=True))
        for line in lines
    ]
    parts: Mapping[bytes, bytes] = {
        b"IHDR": struct.pack(">IIBBBBB", len(lines[0]), len(lines), 4, 3, 0, 0, 0),
        b"PLTE": bytes(value for colour in PALETTE for value in colour),
        b"IDAT": _stored(b"".join(b"\0" + line for line in packed)),
        b"IEND": b"",
    }
    chunks = (
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in parts.items()
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def _stored(data: bytes) -> bytes:
    """Returns the zlib stream of stored blocks, 65,535 bytes each but the last."""
    most = 0xFFFF
    starts = range(0, len(data), most)
    blocks = [data[start : start + most] for start in starts]
    written = (
        struct.pack("<BHH", number == len(blocks), len(block), len(block) ^ most) + block
        for number, block in enumerate(blocks, start=1)
    )
    return b"\x78\x01" + b"".join(written) + struct.pack(">I", zlib.adler32(data))
