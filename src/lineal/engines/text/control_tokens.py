"""Control tokens, and texts that spell them: what a person or a model wrote is text, and never becomes a control token.

A rendered conversation holds both, the control tokens of the chat template and the texts between them. Texts that spell a
control token out are masked before they are rendered, and the mask is taken off when the rendering is encoded.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

from lineal.errors import EngineError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

EDGE = "\uf8ff"  # private use: no template looks for it
NONCE_DIGITS = 18
MOST_UNKNOWN = 5
"""Characters that a message names."""


class ControlTokens:
    """The control tokens of a tokenizer: those that it marks as special.

    Args:
        tokenizer: a checkpoint's.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        added = [token for token in tokenizer.added_tokens_decoder.values() if token.special]
        self._added = {token.content: token for token in added if token.content}
        self._places = {content: place for place, content in enumerate(self._added)}
        longest_first = sorted(self._added, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")
        # Unknown to whoever wrote a text, so that no text can hold a mask; it is in nothing that is kept.
        self._nonce = f"{secrets.randbelow(10**NONCE_DIGITS):0{NONCE_DIGITS}}"
        self._mask = re.compile(f"{EDGE}{self._nonce}:([0-9]+){EDGE}")

    def masked(self, text: str) -> str:
        """Masks every control token that the text spells."""
        return self._pattern.sub(lambda found: self._marked(self._places[found[0]]), text)

    def masked_values(self, value: Any) -> Any:
        """Masks every text in a JSON value."""
        if isinstance(value, str):
            return self.masked(value)
        if isinstance(value, list):
            return [self.masked_values(item) for item in value]
        return (
            {key: self.masked_values(item) for key, item in value.items()}
            if isinstance(value, dict)
            else value
        )

    def unmasked(self, text: str) -> str:
        """Restores the text as it was written."""
        contents = list(self._added)
        return self._mask.sub(lambda found: contents[int(found[1])], text)

    def search(self, text: str, start: int = 0, stop: int | None = None) -> re.Match[str] | None:
        """Finds the first control token in a rendered text."""
        return self._pattern.search(text, start, len(text) if stop is None else stop)

    def search_added(self, text: str) -> re.Match[str] | None:
        """Finds the first added token in a rendered text, special or not; a special one if there is one."""
        added = sorted(
            (token.content for token in self._tokenizer.added_tokens_decoder.values()), key=len, reverse=True
        )
        return self.search(text) or re.search("|".join(map(re.escape, filter(None, added))) or r"(?!)", text)

    def last_start(self, text: str) -> int:
        """Returns where the last control token of a rendered text begins; 0 where it has none."""
        return max((found.start() for found in self._pattern.finditer(text)), default=0)

    def swallows_spaces(self, ids: Sequence[int]) -> bool:
        """Tells whether the last of these tokens removes the spaces after it."""
        last = self._tokenizer.added_tokens_decoder.get(ids[-1]) if ids else None
        return last is not None and bool(last.rstrip)

    def probe(self) -> str:
        """Returns a word that nobody has written."""
        return f"A{self._nonce}"

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Encodes rendered texts, in which masks stand for texts; nothing is added before or after them.

        Raises:
            EngineError: a part of a text is unknown to the tokenizer.
        """
        found: list[list[int]] = [[]] * len(texts)
        usual = [place for place, text in enumerate(texts) if self._nonce not in text]
        if usual:
            ids = cast(
                "list[list[int]]",
                self._tokenizer([texts[place] for place in usual], add_special_tokens=False)["input_ids"],
            )
            for place, row in zip(usual, ids, strict=True):
                found[place] = row
        for place in sorted({*range(len(texts))} - {*usual}):
            found[place] = self._encode_masked(texts[place])
        for own, text in zip(found, texts, strict=True):
            refuse_unknown(self._tokenizer, own, text)
        return found

    def _encode_masked(self, text: str) -> list[int]:
        """Encodes control tokens under names that no text spells, with a tokenizer that takes their own names for text."""
        encode, names = _literal_encoder(self._tokenizer)
        renamed = self._pattern.sub(lambda found: names[found[0]], text)
        return encode(self.unmasked(renamed))

    def _marked(self, place: int) -> str:
        return f"{EDGE}{self._nonce}:{place}{EDGE}"


def refuse_unknown(tokenizer: PreTrainedTokenizerBase, ids: list[int], text: str) -> None:
    """Checks that the tokenizer can represent a text.

    Raises:
        EngineError: it maps a part of it to its unknown token.
    """
    unknown = tokenizer.unk_token_id
    if unknown is None or unknown not in ids:
        return
    # GPT-2 and its kin use one token as bos, eos and unk: there it says nothing about the text.
    if unknown in (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id):
        return
    raise EngineError(
        f"text {text!r}: {ids.count(unknown)} of its {len(ids)} tokens are unknown to the tokenizer, expected 0"
        f"{_unknown_characters(tokenizer, text)}. "
        "Remove the characters it does not know, or train a model whose tokenizer has them (of `pretrain`: `characters`)."
    )


def _unknown_characters(tokenizer: PreTrainedTokenizerBase, text: str) -> str:
    """Names the characters of a text that are unknown by themselves; empty where only their combination is."""
    single = list(dict.fromkeys(text))
    ids = cast("list[list[int]]", tokenizer(single, add_special_tokens=False)["input_ids"])
    unknown = [repr(one) for one, own in zip(single, ids, strict=True) if tokenizer.unk_token_id in own]
    more = f" and {len(unknown) - MOST_UNKNOWN} more" if len(unknown) > MOST_UNKNOWN else ""
    return f": {', '.join(unknown[:MOST_UNKNOWN])}{more}" if unknown else ""


@lru_cache(maxsize=4)
def _literal_encoder(tokenizer: PreTrainedTokenizerBase) -> tuple[Callable[[str], list[int]], dict[str, str]]:
    """Makes an encoder of texts with control tokens under other names, and returns it with these names.

    The other names are added tokens with the flags of the control tokens, so that the text between them is cut, stripped and
    encoded just as between those.

    Raises:
        EngineError: the tokenizer has no tokenizer.json.
    """
    from tokenizers import AddedToken, Tokenizer

    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise EngineError(
            f"a text spells out a control token, and {type(tokenizer).__name__} can only read it as one, expected a tokenizer "
            "with a tokenizer.json. Convert the tokenizer, or remove such rows."
        )
    copy, nonce = Tokenizer.from_str(backend.to_str()), secrets.token_hex(12)
    copy.encode_special_tokens = True
    copy.no_truncation()
    copy.no_padding()
    special = {
        number: token
        for number, token in tokenizer.added_tokens_decoder.items()
        if token.special and token.content
    }
    names = {token.content: f"{EDGE}{nonce}.{number}{EDGE}" for number, token in special.items()}
    copy.add_tokens(
        [
            AddedToken(
                names[token.content],
                lstrip=token.lstrip,
                rstrip=token.rstrip,
                normalized=token.normalized,
                single_word=False,
            )
            for token in special.values()
        ]
    )
    own = {copy.token_to_id(names[token.content]): number for number, token in special.items()}
    return lambda text: [
        own.get(number, number) for number in copy.encode(text, add_special_tokens=False).ids
    ], names
