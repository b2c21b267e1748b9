"""Normalised text for the search for overlap: no case, width or spacing; and hashes of all its runs of words at once."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

SPACE, END = 32, 10
"""Bytes between words and after texts; normalised texts hold no other white space."""
LEADING, TRAILING = "([{<\"'`*_~#$|", ")]}>\"'`*_~$|,;:.!?="
"""What may stand before and behind a copy of a text without white space. No operator is among them: 7+2*3 is not 2*3."""
_QUOTES = dict.fromkeys(map(ord, "\u2018\u2019\u201a\u201b"), "'") | dict.fromkeys(
    map(ord, "\u201c\u201d\u201e\u201f\xab\xbb"), '"'
)
_BASE = 0x9E3779B97F4A7C15
_INVERSE = pow(_BASE, -1, 1 << 64)


def normalised(text: str) -> str:
    """Returns the text casefolded, in Unicode NFKC, with plain quotation marks, its words separated by single spaces.

    Upper case comes first, since some letters only meet there: dotless i and i.
    """
    if text.isascii():
        return " ".join(text.lower().split())
    folded = unicodedata.normalize("NFKC", text).translate(_QUOTES).upper().casefold()
    return " ".join(unicodedata.normalize("NFKC", folded).split())


def has_core(word: str) -> bool:
    """Tells whether something is left of a word without the punctuation before and behind it."""
    return len(word.lstrip(LEADING)) + len(word.rstrip(TRAILING)) > len(word)


@dataclass(frozen=True)
class Words:
    """The words of some normalised texts, and a hash of any run of their bytes.

    Attributes:
        data: (bytes,) the texts in UTF-8, each with a line feed after it.
        starts, ends: (words,) where each word begins, and the place after its last byte.
        core_starts, core_ends: (words,) the same without punctuation around it; a word of punctuation alone is its own core.
        text: (words,) the number of the text that each word stands in.
        prefix: (bytes + 1,) polynomial hashes of everything before a place.
    """

    data: bytes
    starts: np.ndarray[Any, Any]
    ends: np.ndarray[Any, Any]
    core_starts: np.ndarray[Any, Any]
    core_ends: np.ndarray[Any, Any]
    text: np.ndarray[Any, Any]
    prefix: np.ndarray[Any, Any]

    def hashes(self, starts: np.ndarray[Any, Any], ends: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Returns the hashes of some runs of bytes; equal runs have equal ones."""
        powers = _powers(_INVERSE, _room(len(self.data)))
        hashed: np.ndarray[Any, Any] = (self.prefix[ends] - self.prefix[starts]) * powers[starts]
        return hashed

    def runs(self, length: int) -> Runs:
        """Returns all runs of `length` words that lie in one text."""
        import numpy as np

        count = max(0, len(self.starts) - length + 1)
        first = np.flatnonzero(self.text[:count] == self.text[length - 1 :][:count])
        return Runs(
            self, first, length, self.hashes(self.core_starts[first], self.core_ends[first + length - 1])
        )


@dataclass(frozen=True)
class Runs:
    """Runs of equally many words.

    Attributes:
        words: the words.
        first: (runs,) each one's first word.
        length: how many words each has.
        hashes: (runs,) their hashes, without punctuation before the first word and behind the last.
    """

    words: Words
    first: np.ndarray[Any, Any]
    length: int
    hashes: np.ndarray[Any, Any]

    @property
    def text(self) -> np.ndarray[Any, Any]:
        """(runs,) The number of the text that each is in."""
        numbers: np.ndarray[Any, Any] = self.words.text[self.first]
        return numbers

    @property
    def spans(self) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """(runs,) Where each begins, and the place after its last byte."""
        return self.words.starts[self.first], self.words.ends[self.first + self.length - 1]

    @property
    def cores(self) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """(runs,) The same without punctuation before and behind."""
        return self.words.core_starts[self.first], self.words.core_ends[self.first + self.length - 1]

    def at(self, which: np.ndarray[Any, Any]) -> Runs:
        """Returns some of them, by place or by mask."""
        return Runs(self.words, self.first[which], self.length, self.hashes[which])

    def and_(self, others: Runs) -> Runs:
        """Joins these with others of the same words and length."""
        import numpy as np

        first = np.concatenate([self.first, others.first])
        return Runs(self.words, first, self.length, np.concatenate([self.hashes, others.hashes]))


def words_of(texts: Sequence[str]) -> Words:
    """Splits normalised texts into words. Equal runs of words have equal hashes; unequal ones mostly not."""
    import numpy as np

    data = "".join(f"{text}\n" for text in texts).encode()
    found = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero((found == SPACE) | (found == END))
    starts = np.empty_like(ends)
    starts[:1], starts[1:] = 0, ends[:-1] + 1
    last = found[ends] == END
    text = np.cumsum(last) - last
    prefix = np.zeros(len(data) + 1, np.uint64)
    np.cumsum(found * _powers(_BASE, _room(len(data)))[: len(data)], out=prefix[1:])
    return Words(data, starts, ends, *_cores(found, starts, ends), text, prefix)


def _cores(
    found: np.ndarray[Any, Any], starts: np.ndarray[Any, Any], ends: np.ndarray[Any, Any]
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Returns the begin and end of words without the punctuation around them; few words have any."""
    import numpy as np

    leading, trailing = _is_one_of(LEADING)[found], _is_one_of(TRAILING)[found]
    core_starts, core_ends = starts.copy(), ends.copy()
    touched = np.flatnonzero(leading[starts] | trailing[ends - 1])
    if len(touched):
        others = np.flatnonzero(~leading)
        core_starts[touched] = others[np.searchsorted(others, starts[touched])]
        others = np.append(-1, np.flatnonzero(~trailing))
        core_ends[touched] = others[np.searchsorted(others, ends[touched]) - 1] + 1
        bare = touched[core_starts[touched] >= core_ends[touched]]
        core_starts[bare], core_ends[bare] = starts[bare], ends[bare]
    return core_starts, core_ends


@cache
def _is_one_of(characters: str) -> np.ndarray[Any, Any]:
    """Returns (256,) whether a byte is one of some ASCII characters."""
    import numpy as np

    table = np.zeros(256, bool)
    table[list(characters.encode())] = True
    return table


def chunks(texts: Sequence[str], size_bytes: int) -> Iterator[tuple[int, int]]:
    """Yields slices of the texts that hold about `size_bytes` letters each, as (start, stop)."""
    start, size = 0, 0
    for place, text in enumerate(texts):
        size += len(text) + 1
        if size >= size_bytes:
            yield start, place + 1
            start, size = place + 1, 0
    if start < len(texts):
        yield start, len(texts)


def _room(count: int) -> int:
    """Returns a power of two that holds `count`, so that few tables are made."""
    return 1 << max(18, count.bit_length())


@cache
def _powers(base: int, count: int) -> np.ndarray[Any, Any]:
    """Returns 1, base, base**2, ... modulo 2**64."""
    import numpy as np

    powers = np.full(count, base, np.uint64)
    powers[0] = 1
    return np.cumprod(powers, dtype=np.uint64)
