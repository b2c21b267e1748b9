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
LETTERS = {
    name: tuple(f".{row:.<{CELL - 1}}" for row in (*rows.split(), "")) for name, rows in _LETTERS.items()
}
"""The capital letters, by the lower-case ones that they stand for."""
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
    side = grid * CELL
    dots = [bytearray(side) for _ in range(side)]
    for mark in marks:
        for y, line in enumerate(mark.dots):
            for x, dot in enumerate(line):
                if dot == "#":
                    dots[mark.row * CELL + y][mark.column * CELL + x] = INK[mark.colour]
    data = _png([_scaled(line, scale) for line in dots for _ in range(scale)])
    return Picture(sha256(data).hexdigest(), "image/png", side * scale, side * scale, data)


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
