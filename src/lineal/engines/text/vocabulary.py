"""Compares a tokenizer's ids with the model's: it may have fewer, and a padded vocabulary has ids without a token."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lineal.errors import EngineError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MOST_NAMES = 5


def require_vocabulary(tokenizer: PreTrainedTokenizerBase, size: int | None, checkpoint: Path) -> None:
    """Checks that the model knows every id that the tokenizer can give it.

    A control token beyond the model's vocabulary does no harm as long as neither the chat template nor the tokenizer writes
    it: texts never become control tokens. Gemma 3's text models have such a one for images.

    Args:
        tokenizer: the checkpoint's.
        size: ids of the model; None: unknown.
        checkpoint: the directory.

    Raises:
        EngineError: there are further ids.
    """
    if size is None:
        return
    beyond = {token: number for token, number in tokenizer.get_vocab().items() if number >= size}
    written = [
        token
        for token in sorted(beyond, key=lambda token: beyond[token])
        if _may_be_written(tokenizer, token)
    ]
    if written:
        named = ", ".join(f"{token!r} ({beyond[token]})" for token in written[:MOST_NAMES])
        raise EngineError(
            f"{checkpoint}: got a tokenizer with {len(written):,} tokens that the model does not know ({named}), expected ids "
            f"below its vocabulary of {size:,}. Take the tokenizer of this model, or give the model further embeddings "
            "(resize_token_embeddings) and train them."
        )


def ids_without_token(tokenizer: PreTrainedTokenizerBase, size: int | None) -> list[int]:
    """Returns the ids of the model that its tokenizer has no token for, in order: they would vanish from a text."""
    return [] if size is None else sorted({*range(size)} - {*tokenizer.get_vocab().values()})


def _may_be_written(tokenizer: PreTrainedTokenizerBase, token: str) -> bool:
    control = {added.content for added in tokenizer.added_tokens_decoder.values() if added.special}
    named = (tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token, tokenizer.unk_token)
    return token not in control or token in named or token in str(tokenizer.chat_template or "")
