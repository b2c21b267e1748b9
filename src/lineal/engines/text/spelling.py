"""The spelling of a text by a tokenizer as the continuation of another, and back.

SentencePiece's kind (Llama 2, Mistral, Phi-3) begins a text with a space that is not written and takes the first space of what
it decodes away. A completion goes on behind its prompt, so it is encoded and decoded behind a short text, which is cut off
again. Where it begins a text, behind nothing or behind some control tokens, that space is its own.
Tokenizers that spell a text the same way wherever it stands (byte-level ones, characters) do without.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, cast

from lineal.engines.text.control_tokens import refuse_unknown
from lineal.errors import EngineError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ANCHORS = ("\n", "a", ".", "0", "=", " ")
"""Texts to put before another; where a token would span the border, the next one is tried."""
PROBES = (
    "a",
    "b",
    " a",
    "  a",
    "    b",
    "\na",
    "\n    a",
    "\n",
    " ",
    "a b",
    "a  b",
    "a ",
    "A b",
    "B",
    "a.",
    " .",
    "a , b",
    "it's",
    "1",
    "12 3",
    " 1",
    "(a)",
    "don't",
    "=",
    "x = 1\n    y",
    "\n\n",
    "\ta",
)
"""Texts that tokenizers are known to change; one with a character that a tokenizer lacks proves nothing."""
Encoded = Sequence[Sequence[int]]


class Spelling:
    """The spelling of continuations by a tokenizer.

    Attributes:
        moves: whether a text is spelled differently after another than by itself.
        begins_after_control: whether a text behind a control token is spelled as one that begins.

    Args:
        tokenizer: a checkpoint's.

    Raises:
        EngineError: the tokenizer does not give texts back as they are.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        probes = [probe for probe in PROBES if self._knows(probe)]
        self.moves = not all(self._stays(probe, probes) for probe in probes)
        self._anchors = (
            [(text, self._ids([text])[0]) for text in ANCHORS if self._knows(text)] if self.moves else []
        )
        self._require_probes(probes)
        self.begins_after_control = self.moves and self._begins_after_control(probes)

    @property
    def anchors(self) -> tuple[str, ...]:
        """Texts to put before another; none where spelling does not depend on the place."""
        return tuple(text for text, _ in self._anchors)

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Encodes texts as continuations of others; text that spells a control token stays text.

        Raises:
            EngineError: a part of a text is unknown, or the ids would say another text.
        """
        return self._anchored(texts) if self.moves else self._known_ids(texts)

    def encode_begun(self, texts: Sequence[str]) -> list[list[int]]:
        """Encodes texts that begin.

        Raises:
            EngineError: as `encode`.
        """
        usual = self._known_ids(texts)
        if not self.moves:
            return usual
        changed = [place for place, said in enumerate(self._texts(usual)) if said != texts[place]]
        for before in (
            " ",
            "",
        ):  # the space that decoding takes away, which a space of the text's own may stand for
            behind = self._anchored([before + texts[place] for place in changed])
            for place, ids, said in zip(changed, behind, self._texts(behind), strict=True):
                usual[place] = ids if said == texts[place] else usual[place]
        self._require_texts(texts, usual)
        return usual

    def decode(self, rows: Encoded) -> list[str]:
        """Decodes token ids that continue others, without control tokens.

        Raises:
            EngineError: the tokenizer changes every text that could stand before one.
        """
        if not self.moves:
            return self._texts(rows)
        found: list[str | None] = [None] * len(rows)
        for _, anchor in self._anchors:
            waiting = [place for place, text in enumerate(found) if text is None]
            before = self._texts([anchor])[0]
            for place, text in zip(
                waiting, self._texts([[*anchor, *rows[place]] for place in waiting]), strict=True
            ):
                found[place] = text[len(before) :] if text.startswith(before) else None
        if None in found:
            raise EngineError(
                self._fault(
                    f"tokens {list(rows[found.index(None)])[:20]}", "a text that cannot be told apart"
                )
            )
        return cast("list[str]", found)

    def _anchored(self, texts: Sequence[str]) -> list[list[int]]:
        found: dict[int, list[int]] = {}
        for before, anchor in self._anchors:
            waiting = [place for place in range(len(texts)) if place not in found]
            whole = self._ids([before + texts[place] for place in waiting])
            said = self._texts(whole)
            own = self._texts([anchor])[0]
            for place, ids, text in zip(waiting, whole, said, strict=True):
                if ids[: len(anchor)] == anchor and text == own + texts[place]:
                    found[place] = ids[len(anchor) :]
        lost = next((text for place, text in enumerate(texts) if place not in found), None)
        if lost is not None:
            self._known_ids([lost])
            raise EngineError(self._fault(repr(lost[:60]), repr(self._texts(self._ids([lost]))[0][:60])))
        return [found[place] for place in range(len(texts))]

    def _require_probes(self, probes: Sequence[str]) -> None:
        if self.moves:
            self._anchored(probes)
        else:
            self._require_texts(probes, self._ids(probes))

    def _require_texts(self, texts: Sequence[str], encoded: Encoded) -> None:
        for text, said in zip(texts, self._texts(encoded), strict=True):
            if text != said:
                raise EngineError(self._fault(repr(text[:60]), repr(said[:60])))

    def _begins_after_control(self, probes: Sequence[str]) -> bool:
        letter = next((probe for probe in probes if probe.isalnum()), None)
        if letter is None:
            return True
        ids = cast(
            "list[int]",
            self._tokenizer(f"{self._tokenizer.eos_token}{letter}", add_special_tokens=False)["input_ids"],
        )
        return ids[1:] != self._anchored([letter])[0]

    def _fault(self, got: str, said: str) -> str:
        return (
            f"{self._tokenizer.name_or_path}: the tokenizer makes {said} of {got}, expected the text as it is: a model would be "
            "trained and scored on other texts than it samples. Use a model whose tokenizer keeps case, spaces and line breaks."
        )

    def _stays(self, probe: str, probes: Sequence[str]) -> bool:
        """Tells whether a text is spelled the same by itself and after others."""
        ids = self._ids([probe])[0]
        others = self._ids(probes)
        joined = self._texts([[*other, *ids] for other in others])
        return joined == [other + probe for other in probes] and self._texts([ids]) == [probe]

    def _knows(self, text: str) -> bool:
        unknown = self._tokenizer.unk_token_id
        return unknown is None or unknown not in self._ids([text])[0]

    def _known_ids(self, texts: Sequence[str]) -> list[list[int]]:
        found = self._ids(texts)
        for ids, text in zip(found, texts, strict=True):
            refuse_unknown(self._tokenizer, ids, text)
        return found

    def _ids(self, texts: Sequence[str]) -> list[list[int]]:
        if not texts:
            return []
        encoded = self._tokenizer(list(texts), add_special_tokens=False, split_special_tokens=True)[
            "input_ids"
        ]
        return cast("list[list[int]]", encoded)

    def _texts(self, rows: Encoded) -> list[str]:
        if not rows:
            return []
        return self._tokenizer.batch_decode(
            [list(row) for row in rows], skip_special_tokens=True, clean_up_tokenization_spaces=False
        )


@lru_cache(maxsize=8)
def spelling_of(tokenizer: PreTrainedTokenizerBase) -> Spelling:
    """Determines the spelling of a tokenizer, once.

    Raises:
        EngineError: the tokenizer does not give texts back as they are.
    """
    return Spelling(tokenizer)
