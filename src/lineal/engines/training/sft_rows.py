"""Rows of supervised training as tokens in Arrow: in Python's lists a row of 13 characters takes 5 KB."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lineal.data.conversations import Conversation
from lineal.data.progress import progress_of
from lineal.engines.models.sight import SHOWN
from lineal.engines.text.tokens import encode_conversations, encode_pairs
from lineal.engines.training.preference_losses import IGNORED_LABEL

if TYPE_CHECKING:
    import pyarrow as pa
    from transformers import PreTrainedTokenizerBase

    from lineal.engines.models.sight import Sight
    from lineal.engines.training.settings import Example

TOKENISED_AT_ONCE = 1 << 12
"""A tokenizer's own account of a text takes some KB."""


def tokenised(
    tokenizer: PreTrainedTokenizerBase,
    examples: Sequence[Example],
    chat: bool,
    label: str,
    sight: Sight | None = None,
) -> pa.Table:
    """Tokenises rows into `input_ids` and `labels`, and `weight` where rows weigh differently; in order.

    Where there is a sight, `SHOWN` holds the digests of the rows' pictures.

    Args:
        tokenizer: the checkpoint's.
        examples: the rows; all have a weight, or none has.
        chat: whether texts pass through the chat template.
        label: the label of the progress display.
        sight: shows the rows' pictures.
    """
    import pyarrow as pa

    tables = []
    with progress_of(label, len(examples), "rows tokenised") as progress:
        for start in range(0, len(examples), TOKENISED_AT_ONCE):
            part = examples[start : start + TOKENISED_AT_ONCE]
            tables.append(_tokens(tokenizer, part, chat, sight))
            progress.advance(len(part))
    return pa.concat_tables(tables) if tables else pa.table({"input_ids": pa.array([], pa.list_(pa.int32()))})


def _tokens(
    tokenizer: PreTrainedTokenizerBase, examples: Sequence[Example], chat: bool, sight: Sight | None
) -> pa.Table:
    import pyarrow as pa

    pairs = iter(
        encode_pairs(
            tokenizer, [(row.prompt, row.completion) for row in examples if row.completion is not None], chat
        )
    )
    whole = [
        row.prompt for row in examples if row.completion is None and isinstance(row.prompt, Conversation)
    ]
    conversations = iter(encode_conversations(tokenizer, whole))
    rows = [
        _labelled(*next(conversations)) if row.completion is None else _answered(*next(pairs))
        for row in examples
    ]
    if sight is not None:
        rows = [_shown(sight, row, example, chat) for row, example in zip(rows, examples, strict=True)]
    columns = {
        name: pa.array([row[name] for row in rows], pa.list_(pa.int32())) for name in ("input_ids", "labels")
    }
    if examples[0].weight is not None:
        columns["weight"] = pa.array([row.weight for row in examples], pa.float64())
    if sight is not None:
        columns[SHOWN] = pa.array([list(row.images) for row in examples], pa.list_(pa.string()))
    return pa.table(columns)


def _shown(sight: Sight, row: dict[str, list[int]], example: Example, chat: bool) -> dict[str, list[int]]:
    """Returns a row with its pictures before its text; they are read and not learnt."""
    ids = sight.placed(example.prompt, row["input_ids"], example.images, chat)
    more = len(ids) - len(row["input_ids"])
    return {"input_ids": ids, "labels": [*[IGNORED_LABEL] * more, *row["labels"]]}


def _answered(prompt: list[int], completion: list[int]) -> dict[str, list[int]]:
    return {"input_ids": prompt + completion, "labels": [IGNORED_LABEL] * len(prompt) + completion}


def _labelled(ids: list[int], written: list[bool]) -> dict[str, list[int]]:
    return {
        "input_ids": ids,
        "labels": [token if own else IGNORED_LABEL for token, own in zip(ids, written, strict=True)],
    }
