"""A checkpoint as engines that draw token ids need it: its tokenizer, what its weights declare, and requests as ids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lineal.data.conversations import Prompt
from lineal.engines.models.checkpoints import is_adapter, require_base, require_sound
from lineal.engines.models.declared import declared_positions, declared_stops, declared_vocabulary
from lineal.engines.sampling.sampler import Request
from lineal.engines.text.spelling import spelling_of
from lineal.engines.text.tokens import Lead, encode_prompts, is_chat, leads_of, load_tokenizer, stop_ids
from lineal.engines.text.vocabulary import ids_without_token, require_vocabulary


@dataclass(frozen=True)
class EncodedPrompt:
    """A prompt as an engine takes it.

    Attributes:
        ids: its token ids, at least one.
        end_ids: the ids of which any ends a completion.
        lead: what decodes a completion.
    """

    ids: list[int]
    end_ids: list[int]
    lead: Lead


class TokenizedCheckpoint:
    """The tokenizer of a checkpoint, checked against its weights.

    Attributes:
        weights: directory of the full model: the checkpoint itself, or the base of an adapter.
        tokenizer: the checkpoint's own.
        vocabulary: how many ids the model has.
        never_ids: ids that no token of the tokenizer has.
        positions: tokens that the model can read; None where it declares none.

    Args:
        checkpoint: directory of a full model, or of a LoRA adapter.
        base: the full model under an adapter; None for a full model.

    Raises:
        EngineError: an adapter without its base, weights that aren't whole, or a tokenizer that doesn't go with them.
    """

    def __init__(self, checkpoint: Path, base: Path | None) -> None:
        self.weights = require_base(checkpoint, base) if is_adapter(checkpoint) else checkpoint
        self.tokenizer = load_tokenizer(checkpoint)
        spelling_of(self.tokenizer)  # refuses one that no completion could be decoded with
        require_sound(self.weights)
        declared = declared_vocabulary(self.weights)
        require_vocabulary(self.tokenizer, declared, checkpoint)
        self.vocabulary = len(self.tokenizer) if declared is None else declared
        self.never_ids = ids_without_token(self.tokenizer, declared)
        self.positions = declared_positions(self.weights)
        self._stops = declared_stops(self.weights)

    def encode(self, requests: Sequence[Request], chat: bool) -> dict[Prompt, EncodedPrompt]:
        """Returns the different prompts of requests, encoded, in the order of their first request.

        Raises:
            EngineError: a prompt cannot be encoded.
        """
        prompts = list(dict.fromkeys(request.prompt for request in requests))
        encoded = encode_prompts(self.tokenizer, prompts, chat)
        leads = leads_of(self.tokenizer, prompts, encoded, chat)
        ends = {
            one: stop_ids(self.tokenizer, self._stops, one) for one in {is_chat(p, chat) for p in prompts}
        }
        return {
            prompt: EncodedPrompt(ids, ends[is_chat(prompt, chat)], lead)
            for prompt, ids, lead in zip(prompts, encoded, leads, strict=True)
        }
