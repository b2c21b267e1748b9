"""Texts that end a completion, by one rule for all engines: the one that is complete first ends it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from lineal.engines.text.tokens import Lead, decode_completions
from lineal.errors import EngineError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

UNFINISHED = "\N{REPLACEMENT CHARACTER}"
"""The result of decoding a part of a character."""


@dataclass(frozen=True)
class StopTexts:
    """Texts that end a completion.

    Attributes:
        texts: any of them ends it.
        keep: whether the completion's text holds the one that ended it.

    Raises:
        EngineError: there are none, or one is empty.
    """

    texts: tuple[str, ...]
    keep: bool = False

    def __post_init__(self) -> None:
        if not all(self.texts) or not self.texts:
            raise EngineError(
                f"stop: got {list(self.texts)}, expected one or more texts that are not empty. Correct it."
            )

    def ended(self, text: str) -> str | None:
        """Truncates the text at the stop text that is complete first, and keeps that text if `keep`; None where it has none."""
        places = [(place, place + len(stop)) for stop in self.texts if (place := text.find(stop)) >= 0]
        if not places:
            return None
        start, end = min(places, key=lambda span: (span[1], span[0]))
        return text[: end if self.keep else start]

    def described(self) -> dict[str, Any]:
        """Returns plain values."""
        return {"texts": list(self.texts), "keep": self.keep}


def stop_texts_from(described: Mapping[str, Any] | None) -> StopTexts | None:
    """Reads the stop texts of `StopTexts.described`."""
    return None if described is None else StopTexts(tuple(described["texts"]), described["keep"])


class TextWatch:
    """Watches the rows of one tile for stop texts while their tokens are drawn.

    Args:
        tokenizer: decodes the tokens.
        stop: the texts to watch for.
        leads: the lead of each row.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, stop: StopTexts, leads: Sequence[Lead]) -> None:
        self._tokenizer, self._stop, self._leads = tokenizer, stop, leads
        self._ids: list[list[int]] = [[] for _ in leads]
        self.lengths: dict[int, int] = {}

    def add(self, rows: Sequence[int], drawn: Sequence[int]) -> list[int]:
        """Adds the next token of some rows; returns the places, in `rows`, of those that reached a stop text with it.

        Their lengths are kept.
        """
        for row, token in zip(rows, drawn, strict=True):
            self._ids[row].append(token)
        news = zip(rows, drawn, strict=True)
        near = [row for row, token in news if row not in self.lengths and self._may_end(token)]
        texts = decode_completions(
            self._tokenizer, [self._ids[row] for row in near], [self._leads[row] for row in near]
        )
        ended = {row for row, text in zip(near, texts, strict=True) if self._stop.ended(text) is not None}
        self.lengths.update((row, len(self._ids[row])) for row in ended)
        return [place for place, row in enumerate(rows) if row in ended]

    def _may_end(self, token: int) -> bool:
        return any(stop[-1] in _spelled(self._tokenizer, token) for stop in self._stop.texts) or (
            UNFINISHED in _spelled(self._tokenizer, token)
        )


@lru_cache(maxsize=2**18)
def _spelled(tokenizer: PreTrainedTokenizerBase, token: int) -> str:
    """Returns what a token may add to a text: it is decoded twice, since some tokenizers drop the first space of a text."""
    return decode_completions(tokenizer, [[token, token]])[0]


def ids_of_text(
    tokenizer: PreTrainedTokenizerBase, ids: Sequence[int], text: str, lead: Lead
) -> list[int] | None:
    """Returns as many of these ids as spell `text`; None where the text ends inside a token."""
    kept = list(ids)
    while (said := decode_completions(tokenizer, [kept], [lead])[0]) != text:
        if not kept or len(said) < len(text):
            return None
        kept.pop()
    return kept
