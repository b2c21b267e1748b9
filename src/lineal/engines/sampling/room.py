"""The room in a model's positions: finds prompts that leave too little of it for a completion."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from lineal.data.conversations import Prompt
from lineal.engines.models.checkpoints import positions_of
from lineal.engines.sampling.sampler import SamplingSettings
from lineal.engines.text.tokens import encode_prompts, load_tokenizer

Room = Callable[[Sequence[Prompt], SamplingSettings], list[bool]]
"""Tells for each prompt whether it fits into a model's positions with `max_tokens` after it."""


def room_of(checkpoint: Path, base: Path | None) -> Room:
    """Makes a function that tells whether each prompt, with `max_tokens` after it, fits into the checkpoint's positions.

    Args:
        checkpoint: a full model, or an adapter.
        base: the full model under an adapter.
    """
    from transformers import AutoConfig

    tokenizer = load_tokenizer(checkpoint)
    positions = positions_of(AutoConfig.from_pretrained(str(base or checkpoint), local_files_only=True))

    def room(prompts: Sequence[Prompt], settings: SamplingSettings) -> list[bool]:
        if positions is None:
            return [True] * len(prompts)
        return [
            len(ids) + settings.max_tokens <= positions
            for ids in encode_prompts(tokenizer, prompts, settings.chat)
        ]

    return room
