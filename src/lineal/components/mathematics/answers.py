"""Answers in references and completions: which part of a text is the answer, how to read it, and whether two are equal."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache

from lineal.components.mathematics.nodes import Expression
from lineal.components.mathematics.numbers import Compared
from lineal.components.mathematics.parser import parse
from lineal.components.mathematics.structures import same
from lineal.components.mathematics.tokens import MOST_LETTERS, TooLarge, Unreadable, plain_signs
from lineal.components.mathematics.units import split_units

_DOLLARS = re.compile(r"(?<!\\)\$\$?")
_FORMULAS = re.compile(
    r"\$\$(?P<a>[^$]+)\$\$|(?<![\\\d])\$(?P<b>[^$]{1,200}?)(?<!\\)\$|\\\((?P<c>.+?)\\\)|\\\[(?P<d>.+?)\\\]",
    re.DOTALL,
)
_WRAPPED = re.compile(
    r"^(?:\$\$?(?P<a>[^$]*)\$\$?|\\\((?P<b>.*)\\\)|\\\[(?P<c>.*)\\\]|\*\*(?P<d>[^*]*)\*\*|`(?P<e>[^`]*)`)$",
    re.DOTALL,
)
_MARKED = re.compile(
    r"(?:answer|result|solution)\s*(?:is|are|:|=)+[\s*:]*(?P<tail>[^\n]+)|\bis\s+(?P<is>[^\n]{1,80})$",
    re.IGNORECASE,
)
_LAST_NUMBER = re.compile(
    r"(?<![\d.,])[-+\u2212]?(?:\d{1,3}(?:,\d{3})+|\d+(?:,\d{1,2}(?!\d))?)?(?:\.\d+)?(?<=\d)(?:\s*/\s*\d+)?(?:\s*(?:%|percent))?"
)
_TEXT = re.compile(
    r"\\(?:text|textbf|textit|textnormal|textrm|mbox|mathrm|operatorname|mathbf)\s*\{([^{}]*)\}"
)
_WORDS = re.compile(r"\(?[A-Za-z][A-Za-z'-]*\)?(?:[ ,]+\(?[A-Za-z][A-Za-z'-]*\)?)*")
_BETWEEN_BOXES = re.compile(r"(?:[\s$,;~]|\\[()\[\],;]|\\q?quad|and|or|\\text\{\s*(?:and|or)\s*\})*")
_LAST_LETTERS = 2000
_FEW_LETTERS = 60


class SecondOpinion(IntEnum):
    """The second comparison's finding about a row."""

    EXACT = 0
    LENIENT = 1
    DIFFERENT = 2
    UNKNOWN = 3
    TOO_LARGE = 4


@dataclass(frozen=True)
class Reading:
    """One way to read an answer.

    Attributes:
        tree: its content.
        lenient: whether something was removed or guessed.
        unit: the unit that was removed, if any.
    """

    tree: Expression
    lenient: bool = False
    unit: str = ""


@dataclass(frozen=True)
class Answers:
    """The part of a completion that is its answer.

    Attributes:
        texts: candidates.
        certain: whether it is marked as the answer, or is the whole completion.
        further: a candidate that counts only where another reader takes it too: all boxes of the text together.
    """

    texts: tuple[str, ...]
    certain: bool
    further: tuple[str, ...] = ()


def boxes(text: str) -> list[str]:
    """Returns the contents of every `\\boxed{...}`, adjacent boxes as one list."""
    found: list[str] = []
    ended = -1
    for match in re.finditer(r"\\(?:boxed|fbox)\s*\{", text):
        end = _closing(text, match.end())
        if end is None or match.start() < ended:
            continue
        between = text[ended : match.start()] if found else "x"
        inside = text[match.end() : end]
        joined = _BETWEEN_BOXES.fullmatch(between)
        found = [*found[:-1], f"{found[-1]}, {inside}"] if joined and found else [*found, inside]
        ended = end + 1
    return found


def _closing(text: str, place: int) -> int | None:
    depth = 1
    for match in re.finditer(r"\\.|[{}]", text[place:], re.DOTALL):
        depth += {"{": 1, "}": -1}.get(match.group(), 0)
        if depth == 0:
            return place + match.start()
    return None


def answers_in(completion: str) -> Answers:
    """Returns the candidates for a completion's answer."""
    boxed = boxes(completion)
    if boxed:
        return Answers((boxed[-1],), True, (", ".join(boxed),) if len(boxed) > 1 else ())
    if "####" in completion:
        return Answers((completion.rpartition("####")[2].strip(),), True)
    if formula_of(completion) is not None or (
        len(completion) <= _FEW_LETTERS and _words(clean(completion)) is not None
    ):
        return Answers((completion,), True)
    return Answers(tuple(dict.fromkeys(_loose(completion[-_LAST_LETTERS:]))), False)


def _loose(text: str) -> Iterator[str]:
    """Yields candidates from an unmarked text: its last formula, what follows 'the answer is', the last number."""
    text = text.strip()
    formulas = [next(group for group in match.groups() if group) for match in _FORMULAS.finditer(text)]
    if formulas:
        yield formulas[-1]
    tails = [match["tail"] or match["is"] for match in _MARKED.finditer(text)]
    if tails:
        yield tails[-1]
    last = text.splitlines()[-1] if text else ""
    if not formulas and "\\" not in last:
        # a number within a formula that could not be read is not the answer
        yield from _LAST_NUMBER.findall(last)[-1:]


def formula_of(text: str) -> str | None:
    """Returns the text without wrapping, where all of it is one formula; None where words are beside it."""
    cleaned = clean(text)
    try:
        whole = any(
            next(_formulas(value), None) for value in (cleaned, *(value for value, _ in split_units(cleaned)))
        )
    except TooLarge:
        return cleaned
    return cleaned if whole else None


def clean(text: str) -> str:
    """Strips dollar signs, boxes, emphasis and a full stop from an answer."""
    text = text.strip()
    while True:
        before = text
        text = text.strip("*").strip()
        text = (
            text.removesuffix(".").strip()
            if not text.endswith("..") and not re.search(r"[a-z]\.[a-z]\.$", text)
            else text
        )
        boxed = boxes(text) if text.startswith("\\boxed") and text.endswith("}") else []
        match = _WRAPPED.match(text)
        if len(boxed) == 1:
            text = boxed[0].strip()
        elif match is not None:
            text = next(group for group in match.groups() if group is not None).strip()
        if text == before:
            return text


@lru_cache(maxsize=512)
def readings(text: str) -> tuple[Reading, ...]:
    """Returns the ways to read an answer, the plainest first.

    Raises:
        TooLarge: it is longer or deeper than an answer may be.
    """
    if len(text) > MOST_LETTERS:
        raise TooLarge(f"{len(text):,} letters")
    return tuple(_readings(_DOLLARS.sub("", clean(text)) if text.count("$") > 1 else clean(text)))


def _readings(text: str) -> Iterator[Reading]:
    words = _words(text)
    if words is not None:
        yield Reading(Expression("text", (words,)))
        return
    found = list(_formulas(text))
    if re.fullmatch("[A-Za-z]{2,3}", text):
        found.append(Reading(Expression("text", (text.lower(),)), True))
    for value, unit in split_units(text):
        found += [Reading(_percent(reading.tree, unit), True, unit) for reading in _formulas(value)]
    if not found:
        found = [Reading(Expression("unread", (re.sub(r"\s", "", plain_signs(text)),)))]
    yield from found


def _percent(tree: Expression, unit: str) -> Expression:
    return Expression("percent", (tree,)) if unit == "%" else tree


def _formulas(text: str) -> Iterator[Reading]:
    for other, lenient in _spellings(text):
        for thousands in (True, False):
            try:
                tree = parse(other, thousands)
            except TooLarge:
                raise
            except Unreadable:
                continue
            yield Reading(tree, lenient or not thousands)


def _spellings(text: str) -> Iterator[tuple[str, bool]]:
    yield text, False
    if re.fullmatch(r"\s*-?\d+,\d+\s*", text):
        yield text.replace(",", "."), True
    if re.search(r"\d \d{3}(?!\d)", text):
        yield re.sub(r"(?<=\d) (?=\d{3}(?!\d))", "", text), True


def _words(text: str) -> str | None:
    """Normalises words that are no formula: lower case, without brackets; None where it may be a formula."""
    plain = re.sub(r"\s+", " ", _TEXT.sub(lambda match: f" {match.group(1)} ", text)).strip()
    if not _WORDS.fullmatch(plain):
        return None
    quoted = _TEXT.fullmatch(text.strip()) is not None and len(plain.strip("() ")) > 1
    try:
        if not quoted:
            parse(plain)
            return None
    except Unreadable:
        pass
    return re.sub(r"[(),]", "", plain).lower()


def agreement(reference: str, answers: Answers) -> SecondOpinion:
    """Returns the second comparison's finding: the best of any candidate."""
    found = SecondOpinion.UNKNOWN
    reference = (boxes(reference) or [reference])[-1]
    for text in answers.texts:
        outcome = _agreement(reference, text)
        found = outcome if found is SecondOpinion.UNKNOWN else min(found, outcome)
    return found


def _agreement(reference: str, text: str) -> SecondOpinion:
    if _same_text(reference, text):
        return SecondOpinion.EXACT
    try:
        pairs = [(own, other) for own in readings(reference) for other in readings(text)]
    except TooLarge:
        return SecondOpinion.TOO_LARGE
    outcomes = {_of_readings(own, other, reference) for own, other in pairs}
    return min(outcomes)


def _same_text(reference: str, text: str) -> bool:
    first, second = (
        re.sub(r"\s", "", plain_signs(clean(side[: MOST_LETTERS * 4]))) for side in (reference, text)
    )
    return first == second and bool(first)


def _of_readings(own: Reading, other: Reading, seed: str) -> SecondOpinion:
    if own.unit and other.unit and own.unit != other.unit:
        return SecondOpinion.DIFFERENT
    if "unread" in (own.tree.op, other.tree.op):
        return SecondOpinion.EXACT if own.tree == other.tree else SecondOpinion.UNKNOWN
    try:
        outcome = same(own.tree, other.tree, seed)
    except TooLarge:
        return SecondOpinion.TOO_LARGE
    except (Unreadable, ArithmeticError, ValueError):
        return SecondOpinion.UNKNOWN
    except RecursionError:
        return SecondOpinion.TOO_LARGE
    lenient = outcome is Compared.EXACT and (own.lenient or other.lenient) and own.unit != other.unit
    return SecondOpinion.LENIENT if lenient else SecondOpinion(int(outcome))
