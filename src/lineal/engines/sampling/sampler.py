"""Sampling with transformers: a row's result depends on weights, prompt, seed and settings, bit for bit.

Batch size, order, neighbours and thread count change nothing, because every forward pass has a shape that
depends on the row alone: tiles of a fixed number of rows, prompts left-padded to the next multiple of 8.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

from lineal.data.conversations import Prompt, short
from lineal.data.media import Pictures
from lineal.engines.models.attention import use_row_stable_attention
from lineal.engines.models.checkpoints import (
    is_adapter,
    load_adapted_model,
    load_full_model,
    positions_of,
    require_base,
    stored_dtype,
    vocabulary_of,
)
from lineal.engines.models.self_test import require_same_stepwise
from lineal.engines.models.sight import Sight, sight_of
from lineal.engines.sampling.cache import has_full_attention
from lineal.engines.sampling.decoding import TILE_ROWS, Decoded, Row, TileDecoder
from lineal.engines.text.spelling import spelling_of
from lineal.engines.text.stop_texts import StopTexts, TextWatch, ids_of_text, stop_texts_from
from lineal.engines.text.tokens import (
    Lead,
    decode_completions,
    encode_prompts,
    is_chat,
    leads_of,
    load_tokenizer,
    stop_ids,
)
from lineal.engines.text.vocabulary import ids_without_token, require_vocabulary
from lineal.errors import EngineError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

PROMPT_MULTIPLE = 8  # tokens; with TILE_ROWS it is part of the engine's version: another value, other bits
LOOKAHEAD = 8  # batches sorted together, so that rows of one length end together and few tiles are part empty
SEED_LIMIT = 2**64


@dataclass(frozen=True)
class SamplingSettings:
    """Settings of sampling.

    Attributes:
        temperature: divides the logits; 0 takes the likeliest token, ties go to the lowest id.
        top_p: smallest set of tokens with at least this probability, after `top_k`; 1 keeps all.
        top_k: number of likeliest tokens kept, ties at the border included; 0 keeps all.
        max_tokens: longest completion, eos included.
        chat: the prompt passes through the tokenizer's chat template.
        stop: texts that end a completion besides the end token; None: none do.

    Raises:
        EngineError: a value out of range.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    max_tokens: int = 64
    chat: bool = False
    stop: StopTexts | None = None

    def described(self) -> dict[str, Any]:
        """Returns plain values, as they enter ids; absent stop texts are left out."""
        values = {name: value for name, value in self.__dict__.items() if name != "stop"}
        return values if self.stop is None else {**values, "stop": self.stop.described()}

    def __post_init__(self) -> None:
        allowed = {
            "temperature": (self.temperature, self.temperature >= 0, "at least 0"),
            "top_p": (self.top_p, 0 < self.top_p <= 1, "above 0 and at most 1"),
            "top_k": (self.top_k, self.top_k >= 0, "at least 0"),
            "max_tokens": (self.max_tokens, self.max_tokens >= 1, "at least 1"),
        }
        for name, (value, fits, expected) in allowed.items():
            if not fits:
                raise EngineError(f"sampling setting {name}: got {value}, expected {expected}. Correct it.")


def settings_from(described: Mapping[str, Any]) -> SamplingSettings:
    """Reads the settings from `SamplingSettings.described`."""
    return SamplingSettings(**{**described, "stop": stop_texts_from(described.get("stop"))})


@dataclass(frozen=True)
class Request:
    """One completion to draw.

    Attributes:
        prompt: a text, or a conversation, which the tokenizer's chat template renders whatever the settings say of `chat`.
        seed: of its noise, an unsigned 64-bit number.
        images: digests of the pictures that stand before the text.
    """

    prompt: Prompt
    seed: int
    images: tuple[str, ...] = ()


@dataclass(frozen=True)
class Completion:
    """One drawn completion.

    Attributes:
        text: without special tokens, and without the stop text that ended it unless that is kept.
        tokens: tokens drawn, eos or those of the stop text included.
        finish_reason: 'stop' after an eos token or a stop text, 'length' at `max_tokens`, 'content_filter' where a server held
            text back.
        logprob: sum of the drawn tokens' log-probabilities, `tokens` of them, at temperature 1 without filters; None where
            the engine doesn't tell.
        token_ids: ids of the drawn tokens, the one that ended it included; after a stop text those that spell `text`. None
            where the engine doesn't tell, or `text` ends inside a token.
    """

    text: str
    tokens: int
    finish_reason: str
    logprob: float | None
    token_ids: list[int] | None = None


class Sampler:
    """A checkpoint held in memory for sampling.

    Attributes:
        in_flight: rows of one tile.

    Args:
        checkpoint: directory of a full model, or of a LoRA adapter.
        device: 'auto' (the GPU if there is one), or a torch device name.
        batch_size: tiles are formed from 8 times as many rows at once; no effect on results.
        base: the full model under an adapter.
        pictures: those that prompts show; None where there are none.

    Raises:
        EngineError: the checkpoint cannot be loaded or sees no pictures, or an adapter comes without `base`.
    """

    in_flight = TILE_ROWS

    _sight: Sight | None = None

    def __init__(
        self,
        checkpoint: Path,
        device: str = "auto",
        batch_size: int = 256,
        base: Path | None = None,
        pictures: Pictures | None = None,
    ) -> None:
        if batch_size < 1:
            raise EngineError(f"batch_size: got {batch_size}, expected at least 1. Correct it.")
        tokenizer = load_tokenizer(checkpoint)
        spelling_of(tokenizer)
        self._sight = sight_of(checkpoint, base, pictures)
        self._hold(load_for_inference(checkpoint, base, named_device(device)), tokenizer, batch_size)
        require_vocabulary(tokenizer, vocabulary_of(self._model.config), checkpoint)

    @classmethod
    def around(cls, model: Any, tokenizer: PreTrainedTokenizerBase, sight: Sight | None = None) -> Self:
        """Makes a sampler of a model that is in memory already, in evaluation mode; `sight` shows it pictures."""
        made = cls.__new__(cls)
        made._sight = sight
        made._hold(model, tokenizer, TILE_ROWS)
        return made

    def _hold(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, batch_size: int) -> None:
        self._model, self._tokenizer = model, tokenizer
        self._window = -(-LOOKAHEAD * batch_size // TILE_ROWS) * TILE_ROWS
        self._shares_prompts = has_full_attention(self._model)
        self._pad_id = cast(int, self._tokenizer.pad_token_id)
        unnamed = ids_without_token(self._tokenizer, vocabulary_of(self._model.config))
        self._never = [*unnamed, *([] if self._sight is None else self._sight.never)]

    def sample(self, requests: Sequence[Request], settings: SamplingSettings) -> list[Completion]:
        """Returns one completion per request, in the order of the requests; raises as `stream` does."""
        found = dict(self.stream(requests, settings))
        return [found[index] for index in range(len(requests))]

    def stream(
        self, requests: Sequence[Request], settings: SamplingSettings
    ) -> Iterator[tuple[int, Completion]]:
        """Yields each request's place and its completion, tile by tile.

        Args:
            requests: prompts with their seeds.
            settings: how to draw.

        Raises:
            EngineError: before anything is drawn, if a prompt cannot be encoded, a seed is out of range, or a prompt
                with `max_tokens` exceeds the model's positions.
        """
        rows = self._rows(requests, settings)
        for chat in (False, True):
            own = [row for row in rows if is_chat(requests[row.index].prompt, settings.chat) == chat]
            if own:
                yield from self._decoded(
                    own, settings, stop_ids(self._tokenizer, _declared(self._model), chat)
                )

    def _decoded(
        self, rows: list[Row], settings: SamplingSettings, stops: Sequence[int]
    ) -> Iterator[tuple[int, Completion]]:
        watch = None if settings.stop is None else partial(TextWatch, self._tokenizer, settings.stop)
        pixels = None if self._sight is None else self._sight.pixels
        decoder = TileDecoder(self._model, settings, stops, self._pad_id, watch, self._never, pixels)
        for length, group in _groups(rows, self._window, self._shares_prompts):
            for tile, drawn in decoder.decode(group, length):
                said = completions_of(self._tokenizer, drawn, [row.lead for row in tile], settings)
                yield from zip((row.index for row in tile), said, strict=True)

    def _rows(self, requests: Sequence[Request], settings: SamplingSettings) -> list[Row]:
        prompts = list(dict.fromkeys(request.prompt for request in requests))
        ids = map(tuple, encode_prompts(self._tokenizer, prompts, settings.chat))
        encoded = dict(zip(prompts, ids, strict=True))
        leads = dict(
            zip(
                prompts,
                leads_of(self._tokenizer, prompts, list(encoded.values()), settings.chat),
                strict=True,
            )
        )
        self._refuse_long(encoded, settings.max_tokens)
        for request in requests:
            if not 0 <= request.seed < SEED_LIMIT:
                raise EngineError(f"seed: got {request.seed}, expected 0 to 2**64 - 1. Derive it as 64 bits.")
        rows = [
            Row(index, encoded[request.prompt], request.seed, leads[request.prompt])
            for index, request in enumerate(requests)
        ]
        return rows if self._sight is None else self._shown(self._sight, rows, requests, settings)

    def _shown(
        self, sight: Sight, rows: Sequence[Row], requests: Sequence[Request], settings: SamplingSettings
    ) -> list[Row]:
        """Returns the rows with their pictures before the texts."""
        shown: list[Row] = []
        for row, request in zip(rows, requests, strict=True):
            ids = tuple(sight.placed(request.prompt, row.prompt_ids, request.images, settings.chat))
            shown.append(replace(row, prompt_ids=ids, images=request.images))
        self._refuse_long({requests[row.index].prompt: row.prompt_ids for row in shown}, settings.max_tokens)
        return shown

    def _refuse_long(self, encoded: dict[Prompt, tuple[int, ...]], max_tokens: int) -> None:
        positions = positions_of(self._model.config)
        longest = max(encoded, key=lambda prompt: len(encoded[prompt]), default=None)
        if positions is None or longest is None or len(encoded[longest]) + max_tokens <= positions:
            return
        raise EngineError(
            f"sampling: prompt {short(longest)} has {len(encoded[longest])} tokens, with max_tokens {max_tokens} that "
            f"is more than the {positions} positions of the model. Lower max_tokens or shorten the prompts."
        )


def completions_of(
    tokenizer: PreTrainedTokenizerBase,
    drawn: Sequence[Decoded],
    leads: Sequence[Lead],
    settings: SamplingSettings,
) -> Iterator[Completion]:
    """Yields the completions of drawn rows: texts, truncated at the settings' stop texts; `leads` are their leads.

    Raises:
        EngineError: the model gave a drawn token no number as its probability.
    """
    for row in drawn:
        require_number(row.logprob, tokenizer.name_or_path)
    texts = decode_completions(tokenizer, [row.ids for row in drawn], leads)
    for text, row, lead in zip(texts, drawn, leads, strict=True):
        ended = None if settings.stop is None else settings.stop.ended(text)
        if ended is None:
            yield Completion(text, len(row.ids), "stop" if row.stopped else "length", row.logprob, row.ids)
        else:
            yield Completion(
                ended, len(row.ids), "stop", row.logprob, ids_of_text(tokenizer, row.ids, ended, lead)
            )


def require_number(logprob: float, checkpoint: str) -> None:
    """Checks that a model's number for a text is finite.

    Raises:
        EngineError: it is no finite number.
    """
    if not math.isfinite(logprob):
        raise EngineError(
            f"{checkpoint}: the model gives a text the log-probability {logprob}, expected a finite number: its logits overflow, "
            "though its weights are finite. Take an earlier checkpoint, or train with a lower learning rate."
        )


def named_device(name: str) -> torch.device:
    """Returns the device of a name; 'auto' is the GPU if there is one."""
    import torch

    return torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)


def load_for_inference(checkpoint: Path, base: Path | None, device: torch.device) -> PreTrainedModel:
    """Loads a language model in evaluation mode on a device, an adapter merged into its base.

    Raises:
        EngineError: the checkpoint cannot be loaded, an adapter comes without `base`, or the model fails the self-test.
    """
    import torch

    weights = require_base(checkpoint, base) if is_adapter(checkpoint) else checkpoint
    # fp32 on the CPU: in bf16 some completions differed there between batch sizes.
    dtype = stored_dtype(weights) if device.type == "cuda" else torch.float32
    if is_adapter(checkpoint):
        model = cast(
            "PreTrainedModel", load_adapted_model(checkpoint, base, dtype, trainable=False).merge_and_unload()
        )
    else:
        model = load_full_model(checkpoint, dtype)
    model = cast("PreTrainedModel", model.to(cast(Any, device)).eval())
    use_row_stable_attention(model)
    require_same_stepwise(model, TileDecoder(model, SamplingSettings(), (), 0).follow)
    return model


def _declared(model: PreTrainedModel) -> list[int]:
    """Returns the end tokens that the model declares."""
    declared = None if model.generation_config is None else model.generation_config.eos_token_id
    return declared if isinstance(declared, list) else [] if declared is None else [declared]


def _groups(rows: Sequence[Row], window: int, shares_prompts: bool) -> Iterator[tuple[int, list[Row]]]:
    """Yields a padded prompt length and rows of that length, of up to `TILE_ROWS` prompts; rows of near lengths together.

    The rows of a group show the same number of pictures.

    Only the last group of a length ends in a tile that is partly empty. Where rows can't share a prompt, each counts as one.
    """

    def prompt(row: Row) -> object:
        return row.given if shares_prompts else row.index

    waiting: dict[tuple[int, int], list[Row]] = {}
    seen: dict[tuple[int, int], set[object]] = {}
    for start in range(0, len(rows), window):
        for row in sorted(rows[start : start + window], key=lambda row: (len(row.prompt_ids), *row.given)):
            length = -(-len(row.prompt_ids) // PROMPT_MULTIPLE) * PROMPT_MULTIPLE
            kind = (length, len(row.images))
            group, prompts = waiting.setdefault(kind, []), seen.setdefault(kind, set())
            if len(prompts) == TILE_ROWS and prompt(row) not in prompts:
                whole = len(group) // TILE_ROWS * TILE_ROWS
                yield length, group[:whole]
                del group[:whole]
                prompts.clear()
                prompts.update(map(prompt, group))
            group.append(row)
            prompts.add(prompt(row))
    for (length, _), group in waiting.items():
        yield length, group
