"""`drawn_documents`: small pages with a title, lines of words, tables and formulas, and what they say in Markdown."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from string import ascii_lowercase, digits
from typing import Annotated, Any, ClassVar, Literal, Self

import pydantic

from lineal.components.base import Columns, Workspace, merged
from lineal.components.sources.base import Row
from lineal.components.sources.bitmaps import CELL, INK, LETTERS, SIGNS, Scale, blank, picture_of, put
from lineal.components.sources.letter_mistakes import below, one_of
from lineal.components.sources.letter_sort import Range, bounded_range
from lineal.components.sources.pictured import PicturedSource, named_once
from lineal.data.ids import row_id, row_seed
from lineal.data.pictures import Picture

PROMPT = "Read."
OCR = "ocr"
"""The column with another reader's text of the page."""
GLYPHS = {**LETTERS, **SIGNS, " ": ()}
UNDERLINE = (*("",) * (CELL - 1), "#" * CELL)
RULE = ("#",) * CELL
MOST_MOVED = 2
"""Moved by so many dots to the right, a character is still inside its cell."""
TABLE_ROWS = 2
Element = Literal["title", "text", "table", "formula"]


@dataclass(frozen=True)
class PageLine:
    """A line of a page.

    Attributes:
        shown: its characters, one in each cell.
        written: what it is in Markdown.
        words: its words alone.
        title: whether it is underlined.
        ruled: whether there are rules around its cells.
    """

    shown: str
    written: str
    words: str
    title: bool = False
    ruled: bool = False


class DrawnDocuments(PicturedSource):
    """Pictures of small pages; the answer is what stands on them, in Markdown.

    A page begins with its title (underlined; `# abc`); then come lines of words, tables of two rows of single characters between
    rules (`|a|b|`) and formulas (`$a+b=c$`), drawn evenly until the page has its lines. The column `ocr` holds the words as a
    reader without a sense for structure finds them, some characters wrong. The text of a page decides its split.

    Attributes:
        lines: the fewest and the most lines of a page, drawn evenly; a row's difficulty is the length of its answer.
        elements: what a page may have.
        alphabet: the letters and digits that words are made of.
        grid: cells on a side; a cell holds one character.
        spread: whether lines begin anywhere, with free ones between them; if not, at the left, one below the other.
        moved: the most dots by which a line is moved to the right. Together with `spread`, `noise` and a larger `scale` it makes
            pages look like scans.
        noise: the share of dots that are flipped.
        misread: the share of characters that `ocr` has wrong.
        scale: pixels on the side of a dot; a cell has 8 x 8 dots.
        size: how many pages.
        split: which split's pages; default: the task set's name.
    """

    columns: ClassVar[Columns] = merged(PicturedSource.columns, (OCR,))

    grid: Annotated[int, pydantic.Field(ge=3, le=8)] = 5
    lines: Range = (2, 4)
    elements: Annotated[list[Element], pydantic.Field(min_length=1)] = ["title", "text", "table", "formula"]
    alphabet: str = ascii_lowercase + digits
    spread: bool = False
    moved: Annotated[int, pydantic.Field(ge=0, le=MOST_MOVED)] = 0
    noise: Annotated[float, pydantic.Field(ge=0.0, le=0.5), pydantic.Strict(False)] = 0.0
    misread: Annotated[float, pydantic.Field(ge=0.0, le=1.0), pydantic.Strict(False)] = 0.05
    scale: Scale = 1

    @pydantic.field_validator("elements")
    @classmethod
    def _once(cls, value: list[Element]) -> list[Element]:
        return named_once(value, "an element", "elements")

    @pydantic.field_validator("alphabet")
    @classmethod
    def _drawable(cls, value: str) -> str:
        if len(set(value)) < max(2, len(value)):
            raise ValueError(f"must name two characters or more, and each once; got {value!r}")
        if unknown := sorted(set(value) - set(ascii_lowercase + digits)):
            raise ValueError(f"got {unknown[0]!r}, which cannot be drawn; expected letters a to z and digits")
        return value

    @pydantic.model_validator(mode="after")
    def _fit(self) -> Self:
        low, _ = bounded_range(self.lines, self.grid)
        fewest = min(_HEIGHT[name] for name in self.elements)
        if low < fewest:
            raise ValueError(
                f"lines begins at {low}, but a table has {fewest} lines. Write lines: [{fewest}, {max(fewest, self.lines[1])}]"
            )
        return self

    def candidates(self, workspace: Workspace) -> Iterator[Row]:
        """Yields random pages."""
        for index in count():
            draw = random.Random(row_seed(workspace.seed, workspace.step, index))  # noqa: S311 - reproducible on purpose
            page = self._page(draw)
            picture = self._drawn(draw, page)
            answer = "\n".join(line.written for line in page)
            row = self.asked(picture, PROMPT, answer, float(len(answer)))
            yield {**row, OCR: self._misread(draw, " ".join(line.words for line in page))}

    def split_id(self, row: Row) -> str:
        return row_id(self.use, row["answer"])

    def _page(self, draw: random.Random) -> list[PageLine]:
        low, high = self.lines
        wanted = low + below(draw, high - low + 1)
        page = _title(draw, self.alphabet, self.grid) if "title" in self.elements else []
        while fitting := [
            name for name in self.elements if name != "title" and len(page) + _HEIGHT[name] <= wanted
        ]:
            page += _WRITE[one_of(draw, fitting)](draw, self.alphabet, self.grid)
        return page

    def _drawn(self, draw: random.Random, page: Sequence[PageLine]) -> Picture:
        dots = blank(self.grid)
        rows = _chosen(draw, self.grid, len(page)) if self.spread else range(len(page))
        for row, line in zip(rows, page, strict=True):
            free = self.grid - len(line.shown) - line.ruled if self.spread else 0
            _put_line(dots, line, row * CELL, CELL * below(draw, free + 1) + below(draw, self.moved + 1))
        _flip(draw, dots, self.noise)
        return picture_of(dots, self.scale)

    def _misread(self, draw: random.Random, words: str) -> str:
        def read(letter: str) -> str:
            others = [other for other in self.alphabet if other != letter]
            wrong = draw.random() < self.misread and letter in self.alphabet
            return one_of(draw, others) if wrong else letter

        return "".join(map(read, words))


def _word(draw: random.Random, alphabet: str, low: int, high: int) -> str:
    return "".join(one_of(draw, list(alphabet)) for _ in range(low + below(draw, high - low + 1)))


def _title(draw: random.Random, alphabet: str, grid: int) -> list[PageLine]:
    word = _word(draw, alphabet, 2, grid)
    return [PageLine(word, f"# {word}", word, title=True)]


def _text(draw: random.Random, alphabet: str, grid: int) -> list[PageLine]:
    """Draws one word, or where there is room for it one or two."""
    words = _word(draw, alphabet, 2, grid)
    if grid - len(words) > 2:
        words += f" {_word(draw, alphabet, 2, grid - len(words) - 1)}"
    return [PageLine(words, words, words)]


def _table(draw: random.Random, alphabet: str, grid: int) -> list[PageLine]:
    """Draws two rows of two or three cells; a rule needs room behind the last one."""
    columns = 2 + below(draw, min(2, grid - 2))
    rows = [_word(draw, alphabet, columns, columns) for _ in range(TABLE_ROWS)]
    return [PageLine(row, f"|{'|'.join(row)}|", " ".join(row), ruled=True) for row in rows]


def _formula(draw: random.Random, alphabet: str, grid: int) -> list[PageLine]:
    """Draws a sum, or where there is room for it an equation."""
    signs = "+=" if grid >= 5 else one_of(draw, ["+", "="])
    terms = _word(draw, alphabet, len(signs) + 1, len(signs) + 1)
    formula = terms[0] + "".join(sign + term for sign, term in zip(signs, terms[1:], strict=True))
    return [PageLine(formula, f"${formula}$", formula)]


_HEIGHT: dict[Element, int] = {"title": 1, "text": 1, "table": TABLE_ROWS, "formula": 1}
_WRITE: dict[Any, Callable[[random.Random, str, int], list[PageLine]]] = {
    "text": _text,
    "table": _table,
    "formula": _formula,
}


def _chosen(draw: random.Random, total: int, number: int) -> list[int]:
    """Draws so many of the first whole numbers, in order."""
    return sorted(sorted(range(total), key=lambda _: draw.random())[:number])


def _put_line(dots: Sequence[bytearray], line: PageLine, y: int, x: int) -> None:
    """Draws the characters of a line, and its underline or its rules."""
    ink = INK["white"]
    for place, letter in enumerate(line.shown):
        put(dots, GLYPHS[letter], y, x + line.ruled + place * CELL, ink)
        if line.title:
            put(dots, UNDERLINE, y, x + place * CELL, ink)
    for place in range(len(line.shown) + 1) if line.ruled else ():
        put(dots, RULE, y, x + place * CELL, ink)


def _flip(draw: random.Random, dots: Sequence[bytearray], share: float) -> None:
    """Flips a share of the dots, from black to white and back."""
    for line in dots:
        for place, dot in enumerate(line):
            if draw.random() < share:
                line[place] = 0 if dot else INK["white"]
