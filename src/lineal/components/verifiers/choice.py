"""`choice`: which option of a multiple-choice prompt a completion names, by letter or by text."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from lineal.components.base import Columns
from lineal.components.verifiers.base import ERROR, FAIL, PASS, Judged, RowVerifier

if TYPE_CHECKING:
    import pyarrow as pa

    from lineal.data.progress import Progress

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
NOTHING_NAMED = "names no option"
SEVERAL_NAMED = "names several options"
MOST_LETTERS = 20_000
"""Characters at a completion's end that are searched."""

_MARKS = r"(?:\\(?:text|textbf|mathrm|mathbf)\{|[\s*_$(\[\"'`{]){0,8}"
_ENDS = r"(?:[\s*_$)\]\"'`}.,:]|\\[)\]]){0,8}"
_ALONE = re.compile(rf"{_MARKS}(?:option\s+)?(?P<letter>[A-Za-z]){_ENDS}", re.IGNORECASE)
_BEFORE_TEXT = re.compile(rf"{_MARKS}(?P<letter>[A-Z])[).:\]][\s*]+(?P<text>.+)", re.DOTALL)
_BOX = re.compile(r"\\boxed\s*\{((?:[^{}]|\{[^{}]*\})*)\}")
_MARKED = re.compile(
    r"(?:answer|choice|option)\b\s*(?:is|are|:|=)?[\s:]*(?P<tail>(?:(?!\b(?:answer|choice|option)\b)[^\n]){1,200})",
    re.IGNORECASE,
)
_FURTHER = re.compile(
    r"(?:,|/|&|\bor\b|\band\b)\s*(?:or\s+|and\s+)?\(?(?P<letter>[A-Z])(?![A-Za-z'])|\((?P<bracketed>[A-Z])\)"
)
_LEADING = re.compile(rf"{_MARKS}(?P<letter>[A-Z])(?![A-Za-z'])")


class Choice(RowVerifier):
    """Passes a completion that names the right option and no other.

    The column `options` holds the options' texts as a JSON list; a dataset's list becomes one. `answer` is the right option's
    letter or its text. What is marked as the answer counts (a box, 'the answer is'), else the whole completion.

    Attributes:
        by: whether an option is named by its letter, by its text, or in any of these ways.
    """

    reads: ClassVar[Columns] = ("completion", "answer", "options")

    by: Literal["any", "letter", "text"] = "any"

    def score(self, table: pa.Table, progress: Progress) -> Judged:
        """Reads each completion; a row whose options or answer make no sense is an error."""
        import pyarrow as pa

        told = []
        for row in table.select(list(self.reads)).to_pylist():
            told.append(self._told(row))
            progress.advance()
        verdicts, scores, details = zip(*told, strict=True)
        return Judged(
            pa.array(verdicts, pa.string()), pa.array(scores, pa.float64()), pa.array(details, pa.string())
        )

    def _told(self, row: dict[str, Any]) -> tuple[str, float | None, str | None]:
        try:
            options = options_of(row["options"])
            right = right_option(row["answer"], options)
        except ValueError as error:
            return ERROR, None, str(error)
        named = chosen(row["completion"], options, self.by)
        if named == {right}:
            return PASS, 1.0, None
        said = (
            NOTHING_NAMED
            if not named
            else SEVERAL_NAMED
            if len(named) > 1
            else f"chose {LETTERS[min(named)]}"
        )
        return FAIL, 0.0, said


def options_of(text: str) -> tuple[str, ...]:
    """Returns the options' texts, from a JSON list.

    Raises:
        ValueError: it is no list of 2 to 26 different texts.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"options must be a JSON list of texts, got {text[:80]!r}") from error
    if not isinstance(value, list) or not all(isinstance(option, str | int | float) for option in value):
        raise ValueError(f"options must be a JSON list of texts, got {text[:80]!r}")
    options = tuple(str(option).strip() for option in value)
    if not 2 <= len(options) <= len(LETTERS) or len({_plain(option) for option in options}) < len(options):
        raise ValueError(
            f"options must be 2 to {len(LETTERS)} different texts, got {len(options)}: {text[:80]!r}"
        )
    return options


def right_option(answer: str, options: Sequence[str]) -> int:
    """Returns the place of the right option.

    Raises:
        ValueError: the answer is neither an option's letter nor its text, or the letter of one and the text of another.
    """
    found = {place for place, option in enumerate(options) if _plain(option) == _plain(answer)}
    letter = re.fullmatch(r"\(?([A-Za-z])\)?\.?", answer.strip())
    place = LETTERS.index(letter[1].upper()) if letter else len(options)
    found |= {place} if place < len(options) else set()
    if len(found) != 1:
        problem = "names two options" if found else "is no option"
        raise ValueError(f"the answer {answer[:80]!r} {problem}: {', '.join(options)[:200]}")
    return found.pop()


@dataclass(frozen=True)
class _Reader:
    """Finds options in a text."""

    options: tuple[str, ...]
    by: str

    def named(self, text: str) -> set[int]:
        """Returns the options that a text names, by the plainest way in which it names any."""
        alone = _ALONE.fullmatch(text)
        if alone is not None and self.by != "text" and self._place(alone["letter"]) is not None:
            return self._letter(alone["letter"])
        whole = {place for place, option in enumerate(self.options) if _plain(option) == _plain(text)}
        if whole and self.by != "letter":
            return whole
        before = _BEFORE_TEXT.fullmatch(text)
        if before is not None and self._place(before["letter"]) is not None:
            letters = self._letter(before["letter"]) | self._listed(text) if self.by != "text" else set()
            return letters | self._texts(before["text"])
        return self._texts(text)

    def _letter(self, letter: str) -> set[int]:
        place = self._place(letter)
        return set() if place is None else {place}

    def _place(self, letter: str) -> int | None:
        place = LETTERS.index(letter.upper())
        return place if place < len(self.options) else None

    def _texts(self, text: str) -> set[int]:
        """Returns options whose text is in a text as whole words, the longest where one is part of another."""
        if self.by == "letter":
            return set()
        left, found = _plain(text), set()
        for place in sorted(range(len(self.options)), key=lambda place: -len(self.options[place])):
            sought = re.compile(rf"(?<!\w){re.escape(_plain(self.options[place]))}(?!\w)")
            if _plain(self.options[place]) and sought.search(left):
                found.add(place)
                left = sought.sub(" \x00 ", left)
        return found

    def led_by_letter(self, text: str) -> set[int]:
        """Returns the letter at the start of a marked answer, as in 'B, because ...', and those that are listed after it."""
        match = _LEADING.match(text)
        return (
            self._letter(match["letter"]) | self._listed(text)
            if match is not None and self.by != "text"
            else set()
        )

    def _listed(self, text: str) -> set[int]:
        """Returns letters after 'or' or a comma, and letters in brackets."""
        return set().union(
            *(self._letter(match["letter"] or match["bracketed"]) for match in _FURTHER.finditer(text))
        )


def chosen(completion: str, options: tuple[str, ...], by: str = "any") -> set[int]:
    """Returns the places of the options that a completion names as its answer."""
    reader, text = _Reader(options, by), completion[-MOST_LETTERS:].strip()
    boxed = _BOX.findall(text)
    if boxed:
        return reader.named(boxed[-1])
    found = reader.named(text) if len(text) <= max(map(len, options)) + 20 else set()
    if found:
        return found
    for match in reversed(list(_MARKED.finditer(text))):
        tail = match["tail"].strip()
        letters = reader.led_by_letter(tail)
        found = (
            reader.named(tail)
            if not letters
            else letters | (reader.named(tail) if _BEFORE_TEXT.fullmatch(tail) else set())
        )
        if found:
            return found
    return reader.named(text)


def _plain(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip(" .,:;*$\"'`()").casefold()
