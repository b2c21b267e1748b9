"""Overlap of texts with evaluation prompts: whole prompts, or n consecutive words. Never misses a copy.

Every prompt is searched for by the hashes of its runs of n words, and what has an equal hash is compared letter by letter. Runs
that many evaluation prompts share are their template and prove nothing. Prompts of no more than n words, and those that have
nothing but template, are searched for as a whole. A run that is found may have punctuation around it: "(2+3)," holds 2+3.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from lineal.data.normal_text import LEADING, TRAILING, Runs, chunks, has_core, normalised, words_of

if TYPE_CHECKING:
    import numpy as np

CHUNK_BYTES = 1 << 18
"""Letters that are hashed at once: what that takes stays within a core's cache."""
MOST_SHARING = 10
"""A run of words that more evaluation texts share (or more than a tenth of fewer than a hundred) is their template."""
_MIXER = 0xD6E8FEB86659FD93


class OverlapRule(StrEnum):
    """The kinds of overlap with an evaluation prompt, the plainest first."""

    PROMPT_ID = "prompt_id"
    PICTURE = "picture"
    EXACT = "exact"
    EMBEDDED = "embedded"
    NGRAM = "ngram"


@dataclass(frozen=True)
class EvaluationPrompt:
    """One prompt of an evaluation.

    Attributes:
        key: the key of its artifact.
        prompt_id: its id.
        text: its text.
        pictures: the digests of the pictures it is about. It is found by these: many are asked about in the same words.
        entry: the game it is the task of. Rows of another game are not its own: many are played for the same goal.
    """

    key: str
    prompt_id: str
    text: str
    pictures: tuple[str, ...] = ()
    entry: str | None = None


@dataclass(frozen=True)
class Overlap:
    """One text that overlaps with one evaluation text.

    Attributes:
        place: the text's place among those that were searched.
        owner: the place of the evaluation text in `OverlapIndex.texts`.
        rule: how it overlaps.
        ngram: the first words that both have, normalised.
    """

    place: int
    owner: int
    rule: OverlapRule
    ngram: str


@dataclass(frozen=True)
class _Entries:
    """Runs of one length by which evaluation texts are searched for, in the order of their hashes.

    Attributes:
        runs: the runs; `text` is the evaluation text.
        whole: (runs,) hashes of the runs with the punctuation that is their own.
        seen: by a hash's leading bits, whether some run has them.
        shift: how far a mixed hash is shifted to its leading bits.
    """

    runs: Runs
    whole: np.ndarray[Any, Any]
    seen: np.ndarray[Any, Any]
    shift: int

    def found_in(self, runs: Runs) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Finds these runs in `runs` by their hashes: (start, end, place of the one that is held)."""
        run, entry = self._with_equal_cores(runs)
        (own_starts, own_ends), (own_core_starts, own_core_ends) = (
            self.runs.at(entry).spans,
            self.runs.at(entry).cores,
        )
        (least, most), (core_starts, core_ends) = runs.at(run).spans, runs.at(run).cores
        starts, ends = core_starts - (own_core_starts - own_starts), core_ends + (own_ends - own_core_ends)
        held = (starts >= least) & (ends <= most)
        starts, ends, entry = starts[held], ends[held], entry[held]
        same = runs.words.hashes(starts, ends) == self.whole[entry]
        return starts[same], ends[same], entry[same]

    def _with_equal_cores(self, runs: Runs) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Returns every pair of one of `runs` and one of these with equal hashes, as their places."""
        import numpy as np

        near = np.flatnonzero(self.seen[_slots(runs.hashes, self.shift)])
        low = np.searchsorted(self.runs.hashes, runs.hashes[near], "left")
        repeats = np.searchsorted(self.runs.hashes, runs.hashes[near], "right") - low
        before = np.cumsum(repeats) - repeats
        return np.repeat(near, repeats), np.repeat(low - before, repeats) + np.arange(repeats.sum())


def _entries(runs: Runs) -> _Entries:
    import numpy as np

    order = np.argsort(runs.hashes, kind="stable")
    ordered = runs.at(order)
    shift = 64 - min(26, max(12, (16 * len(order)).bit_length()))
    seen = np.zeros(1 << (64 - shift), bool)
    seen[_slots(ordered.hashes, shift)] = True
    return _Entries(ordered, ordered.words.hashes(*ordered.spans), seen, shift)


def _slots(hashes: np.ndarray[Any, Any], shift: int) -> np.ndarray[Any, Any]:
    import numpy as np

    return (hashes * np.uint64(_MIXER)) >> np.uint64(shift)


class OverlapIndex:
    """Evaluation texts, ready to be searched for.

    Attributes:
        n: how many consecutive words are an overlap.
        texts: the distinct normalised texts.
        prompts: by place in `texts`, the evaluation prompts that have this text.
    """

    def __init__(self, prompts: Iterable[EvaluationPrompt], n: int) -> None:
        found: dict[str, list[EvaluationPrompt]] = {}
        for prompt in prompts:
            found.setdefault(normalised(prompt.text), []).append(prompt)
        found.pop("", None)
        self.n, self.texts, self.prompts = n, list(found), list(found.values())
        self._words = words_of(self.texts)
        self._by_length = self._looked_for()

    def _looked_for(self) -> dict[int, _Entries]:
        """Returns by length the runs of words to search for."""
        import numpy as np

        lengths = np.bincount(self._words.text, minlength=len(self.texts))
        telling = self._telling_runs(lengths)
        whole = np.setdiff1d(np.arange(len(self.texts)), telling.text)
        found = {}
        for length in sorted({*lengths[whole].tolist(), *([self.n] if len(telling.text) else [])}):
            runs = self._words.runs(length)
            own = runs.at(np.isin(runs.text, whole[lengths[whole] == length]))
            found[length] = _entries(own.and_(telling) if length == self.n else own)
        return found

    def _telling_runs(self, lengths: np.ndarray[Any, Any]) -> Runs:
        """Returns the runs of n words of longer texts, each once per text, without those that are template."""
        import numpy as np

        runs = self._words.runs(self.n)
        runs = runs.at(lengths[runs.text] > self.n)
        _, group = np.unique(self._words.hashes(*runs.spans), return_inverse=True)
        _, once = np.unique(group * max(1, len(self.texts)) + runs.text, return_index=True)
        runs, group = runs.at(once), group[once]
        return runs.at(
            np.bincount(group)[group] <= min(MOST_SHARING, max(1, len(self.texts) // 10))
            if len(group)
            else once
        )

    def overlaps(self, texts: Sequence[str]) -> Iterator[Overlap]:
        """Yields the overlaps of some texts with the evaluation texts: one per pair, in the texts' order."""
        normal = [normalised(text) for text in texts] if self.texts else []
        for start, stop in chunks(normal, CHUNK_BYTES):
            yield from self._in_chunk(normal[start:stop], start)

    def _in_chunk(self, texts: list[str], offset: int) -> Iterator[Overlap]:
        words = words_of(texts)
        found: dict[tuple[int, int], str] = {}
        for length, entries in self._by_length.items():
            self._add_shared(found, words.runs(length), entries)
        for text, owner in sorted(found):
            yield Overlap(offset + text, owner, _rule(texts[text], self.texts[owner]), found[text, owner])

    def _add_shared(self, found: dict[tuple[int, int], str], runs: Runs, entries: _Entries) -> None:
        """Adds the first words that a text and an evaluation text share, by pair; letters decide, not hashes."""
        import numpy as np

        words = runs.words
        starts, ends, entry = entries.found_in(runs)
        text, owner = words.text[np.searchsorted(words.starts, starts, "right") - 1], entries.runs.text[entry]
        _, firsts, group = np.unique(
            text * max(1, len(self.texts)) + owner, return_index=True, return_inverse=True
        )
        deceived = np.zeros(len(firsts), bool)
        own_starts, own_ends = entries.runs.at(entry).spans

        def is_shared(place: int) -> bool:
            letters = words.data[starts[place] : ends[place]]
            if letters != self._words.data[own_starts[place] : own_ends[place]]:
                return False
            found.setdefault((int(text[place]), int(owner[place])), letters.decode())
            return True

        for number, place in enumerate(firsts.tolist()):
            deceived[number] = not is_shared(place)
        for place in np.flatnonzero(
            deceived[group]
        ).tolist():  # the first one only had an equal hash: try the others
            is_shared(place)


def _rule(text: str, evaluation: str) -> OverlapRule:
    if text == evaluation:
        return OverlapRule.EXACT
    return OverlapRule.EMBEDDED if _is_embedded(text, evaluation) else OverlapRule.NGRAM


def _is_embedded(text: str, evaluation: str) -> bool:
    """Tells whether a text contains all words of an evaluation text, perhaps with punctuation around them."""
    leading = set(LEADING if has_core(evaluation.partition(" ")[0]) else "")
    trailing = set(TRAILING if has_core(evaluation.rpartition(" ")[2]) else "")
    place = text.find(evaluation)
    while place >= 0:
        before, after = text[:place].rpartition(" ")[2], text[place + len(evaluation) :].partition(" ")[0]
        if leading.issuperset(before) and trailing.issuperset(after):
            return True
        place = text.find(evaluation, place + 1)
    return False
