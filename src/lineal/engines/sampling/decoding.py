"""The decode loop of one tile: a fixed number of rows, one prompt length, a KV cache, noise per row."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from inspect import signature
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol, TypeVar, cast
from weakref import WeakKeyDictionary

from lineal.engines.arithmetic import is_pinned
from lineal.engines.models.checkpoints import vocabulary_of
from lineal.engines.sampling.cache import (
    explicit_mask,
    has_full_attention,
    new_cache,
    rows_of_cache,
    takes_explicit_masks,
)

if TYPE_CHECKING:
    import torch
    from transformers import DynamicCache, PreTrainedModel

    from lineal.engines.text.stop_texts import TextWatch
    from lineal.engines.text.tokens import Lead

T = TypeVar("T")
Given = tuple[tuple[int, ...], tuple[str, ...]]
"""A prompt's ids, and the digests of its pictures."""
TILE_ROWS = 128
FEWEST, FEWEST_READ = 16, 4
"""The fewest rows of a pass that draws tokens, and of one that reads prompts, where they give the same bits (`narrow`)."""
MOST_THREADS = 2
"""With more, a thread's part of a small matrix product may take other kernels (`bench/rows.py --sweep`)."""
PROBED = 8  # tokens of the prompts that `TileDecoder.narrow` is tested with
_NARROW: WeakKeyDictionary[PreTrainedModel, dict[int, bool]] = WeakKeyDictionary()
"""By model and number of threads."""


class DrawSettings(Protocol):
    """The sampling settings that decide which token is drawn."""

    @property
    def temperature(self) -> float: ...
    @property
    def top_p(self) -> float: ...
    @property
    def top_k(self) -> int: ...
    @property
    def max_tokens(self) -> int: ...


@dataclass(frozen=True)
class Row:
    """A row to decode: its place among the requests, its prompt's ids, the seed of its noise, and its lead (`tokens.Lead`).

    `images` are the digests of the pictures that the prompt shows.
    """

    index: int
    prompt_ids: tuple[int, ...]
    seed: int
    lead: Lead = None
    images: tuple[str, ...] = ()

    @property
    def given(self) -> Given:
        """The ids and pictures that the model reads before it writes."""
        return self.prompt_ids, self.images


@dataclass(frozen=True)
class Decoded:
    """A decoded row: drawn ids (including the one that ended it), whether it ended, and the sum of their log-probabilities."""

    ids: list[int]
    stopped: bool
    logprob: float


@dataclass(frozen=True)
class TileDecoder:
    """Decodes tiles with one model and one way of drawing.

    Attributes:
        model: in evaluation mode.
        settings: how to draw.
        stop_ids: tokens that end a completion.
        pad_id: what fills prompts on the left; masked everywhere.
        watch: makes a watch for stop texts in rows with these leads; None: no stop texts.
        never: ids that are not drawn: a padded vocabulary has ids without a token, and a completion holds no pictures.
        pixels: what the model is given of the pictures of some rows; all rows of one reading have the same number of them.
    """

    model: PreTrainedModel
    settings: DrawSettings
    stop_ids: Sequence[int]
    pad_id: int
    watch: Callable[[Sequence[Lead]], TextWatch] | None = None
    never: Sequence[int] = ()
    pixels: Callable[[Sequence[tuple[str, ...]]], Mapping[str, torch.Tensor]] | None = None

    def decode(self, rows: Sequence[Row], length: int) -> Iterator[tuple[Sequence[Row], list[Decoded]]]:
        """Decodes rows whose prompts pad to `length` tokens, tile by tile: yields the tile's rows and a result for each.

        The model reads the prompts once, whatever the number of rows that share them. Missing rows are filled with copies
        of the last one, so that every forward pass has `TILE_ROWS` rows, and the batch never shrinks: the kernels then do
        the same arithmetic for a row whoever its neighbours are. Where fewer rows are the same arithmetic (`narrow`), passes
        have no more rows than they need, and ended rows are left out of later ones.

        Args:
            rows: with at most `TILE_ROWS` different prompts.
            length: a padded prompt, in tokens.
        """
        tiles = [rows[start : start + TILE_ROWS] for start in range(0, len(rows), TILE_ROWS)]
        if len(tiles) == 1 and not self.narrow:
            read = self._read(_filled([row.given for row in rows], TILE_ROWS), length)
            yield rows, self._decode_tile(rows, _filled(rows, TILE_ROWS), read)
            return
        places = {given: place for place, given in enumerate(dict.fromkeys(row.given for row in rows))}
        read = self._read(_filled(list(places), self._rows(len(places), reading=True)), length)
        for tile in tiles:
            filled = _filled(tile, self._rows(len(tile)))
            yield tile, self._decode_tile(tile, filled, read.rows([places[row.given] for row in filled]))

    def _rows(self, needed: int, reading: bool = False) -> int:
        """Returns how many rows a forward pass has that needs so many."""
        if not self.narrow:
            return TILE_ROWS
        rows = FEWEST_READ if reading else FEWEST
        while rows < needed:
            rows *= 2
        return rows

    def follow(self, prompt: tuple[int, ...], following: Sequence[int], length: int) -> torch.Tensor:
        """Returns the model's logits after a prompt, padded to `length`, and after each of the tokens that follow it.

        Returns:
            logits, fp32, (1 + number of tokens that follow, vocabulary).
        """
        import torch

        read = self._read([(prompt, ())], length)
        said = [read.logits]
        with torch.inference_mode():
            for step, token in enumerate(following, start=1):
                ids = torch.tensor([[token]], device=self.model.device)
                said.append(self._logits(ids, torch.full_like(ids, len(prompt) - 1 + step), read, step))
        return torch.cat(said)

    @cached_property
    def narrow(self) -> bool:
        """True if a forward pass of fewer rows gives a row the same bits, so that it need not be filled up.

        Matrix products of other sizes may take other kernels, which round differently. The AVX2 kernels that lineal
        chooses on a CPU do the same arithmetic for a row from four rows on, as long as few threads share them. Each model
        is tested once, too.
        """
        import torch

        threads, on_cpu = torch.get_num_threads(), self.model.device.type == "cpu"
        pinned = on_cpu and is_pinned() and threads <= MOST_THREADS
        if not pinned or self.pixels is not None or not has_full_attention(self.model) or self._has_experts:
            return False
        tested = _NARROW.setdefault(self.model, {})
        if threads not in tested:
            tested[threads] = self._fewer_rows_agree()
        return tested[threads]

    def _fewer_rows_agree(self) -> bool:
        """Tells whether the smallest passes say of some rows what larger ones do."""
        import torch

        vocabulary = vocabulary_of(self.model.config) or 1
        prompts: list[Given] = [
            (tuple((7 * row + 3 * place) % vocabulary for place in range(PROBED)), ())
            for row in range(FEWEST)
        ]
        every, few = (self._read(own, PROBED) for own in (prompts, prompts[:FEWEST_READ]))
        said = []
        with torch.inference_mode():
            for rows in (TILE_ROWS, FEWEST):
                read = every.rows([row % FEWEST for row in range(rows)])
                ids = read.logits.argmax(-1, keepdim=True)
                said.append(self._logits(ids, torch.full_like(ids, PROBED), read, 1)[:FEWEST])
        return torch.equal(*said) and torch.equal(every.logits[:FEWEST_READ], few.logits)

    @cached_property
    def _has_experts(self) -> bool:
        """True if tokens choose among experts, whose matrix products have as many rows as chose them."""
        return any("expert" in name for name, _ in self.model.named_modules())

    @cached_property
    def _explicit(self) -> bool:
        return takes_explicit_masks(self.model)

    @cached_property
    def _has_states(self) -> bool:
        """True if the model's memory is the states of Mamba and its kind, and its mask covers the new tokens alone."""
        return "cache_params" in signature(self.model.forward).parameters

    def _read(self, prompts: Sequence[Given], length: int) -> _Read:
        import torch

        shown = {} if self.pixels is None else self.pixels([images for _, images in prompts])
        pixels = {name: value.to(self.model.device) for name, value in shown.items()}
        ids, mask = _left_padded(
            [own for own, _ in prompts], length, self.settings.max_tokens, self.pad_id, self.model.device
        )
        read = _Read(length, mask, new_cache(self.model), torch.empty(0))
        with torch.inference_mode():
            read.logits = self._logits(ids, (mask[:, :length].cumsum(-1) - 1).clamp(min=0), read, 0, pixels)
        return read

    def _decode_tile(self, tile: Sequence[Row], filled: Sequence[Row], read: _Read) -> list[Decoded]:
        import torch

        watch = None if self.watch is None else self.watch([row.lead for row in tile])
        with torch.inference_mode():
            drawn, logprobs = self._loop(filled, len(tile), read, watch)
        pairs = zip(drawn[: len(tile)].tolist(), logprobs[: len(tile)].tolist(), strict=True)
        lengths = {} if watch is None else watch.lengths
        return [_cut(ids, values, self.stop_ids, lengths.get(row)) for row, (ids, values) in enumerate(pairs)]

    def _loop(
        self, tile: Sequence[Row], real: int, read: _Read, watch: TextWatch | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Draws ids and their log-probabilities, both (rows, steps); values after a row's stop are meaningless."""
        import torch

        device, max_tokens, logits = self.model.device, self.settings.max_tokens, read.logits
        last = (read.mask[:, : read.length].sum(-1, keepdim=True) - 1).clamp(min=0)
        uniforms = _uniforms(tile, max_tokens, device)
        stops, never = (
            torch.tensor(ids, dtype=torch.long, device=device) for ids in (self.stop_ids, self.never)
        )
        drawn = torch.zeros((len(tile), max_tokens), dtype=torch.long, device=device)
        logprobs = torch.zeros((len(tile), max_tokens), device=device)
        # the places in the tile of the rows that are drawn; rows after them only fill up
        places = torch.arange(real, device=device)
        done = torch.arange(len(tile), device=device) >= real
        for step in range(max_tokens):
            said = logits.log_softmax(-1)  # of all ids, as a likelihood is
            if self.never:
                logits = logits.index_fill(-1, never, float("-inf"))
            ids = draw(logits, self.settings, uniforms[:, step : step + 1])
            drawn[places, step] = ids[: len(places), 0]
            logprobs[places, step] = said.gather(-1, ids)[: len(places), 0]
            done = done | torch.isin(ids[:, 0], stops)
            if watch is not None:
                done[watch.add(places.tolist(), ids[: len(places), 0].tolist())] = True
            if bool(done.all()):
                break
            if self.narrow and (fewer := self._rows(int((~done).sum()))) < len(done):
                left = (~done).nonzero()[:, 0]
                index = torch.tensor(_filled(left.tolist(), fewer), device=device)
                read, places = read.rows(index), places[left]
                ids, last, uniforms = ids[index], last[index], uniforms[index]
                done = torch.arange(fewer, device=device) >= len(left)
            if step + 1 < max_tokens:
                logits = self._logits(ids, last + step + 1, read, step + 1)
        return drawn[:, : step + 1], logprobs[:, : step + 1]

    def _logits(
        self,
        ids: torch.Tensor,
        positions: torch.Tensor,
        read: _Read,
        step: int,
        pixels: Mapping[str, torch.Tensor] = MappingProxyType({}),
    ) -> torch.Tensor:
        """Returns the logits after `ids`: fp32, (rows, vocabulary); the cache grows by them."""
        seen = read.mask[:, : read.length + step]
        if self._has_states:
            memory = {"cache_params": read.cache, "attention_mask": seen[:, -ids.shape[1] :].long()}
        else:
            mask = explicit_mask(read.mask, read.length, step) if self._explicit else seen.long()
            memory = {"past_key_values": read.cache, "attention_mask": mask}
        output = self.model(
            input_ids=ids, position_ids=positions, use_cache=True, logits_to_keep=1, **memory, **pixels
        )
        return cast("torch.Tensor", output.logits[:, -1].float())


@dataclass
class _Read:
    """Prompts that the model has read.

    Attributes:
        length: of a padded prompt, in tokens.
        mask: (rows, `length` and all that can follow), true where a token counts.
        cache: keys and values.
        logits: logits of the next token, fp32, (rows, vocabulary).
    """

    length: int
    mask: torch.Tensor
    cache: DynamicCache
    logits: torch.Tensor

    def rows(self, places: Sequence[int] | torch.Tensor) -> _Read:
        """Returns the rows at some places, with keys and values in memory of their own."""
        import torch

        index = torch.as_tensor(places, device=self.mask.device)
        return _Read(self.length, self.mask[index], rows_of_cache(self.cache, index), self.logits[index])


def _filled(rows: Sequence[T], count: int) -> list[T]:
    return [*rows, *[rows[-1]] * (count - len(rows))]


def draw(logits: torch.Tensor, settings: DrawSettings, uniforms: torch.Tensor) -> torch.Tensor:
    """Draws token ids (rows, 1) from `logits` (rows, vocabulary) by inverting the cumulative distribution.

    One uniform number per token suffices; Gumbel noise would take one per entry of the vocabulary, which is 19 million
    per step of a tile at 151,936 entries. Temperature 0 takes the first of the likeliest.

    Args:
        logits: fp32.
        settings: temperature, `top_k` and then `top_p`.
        uniforms: (rows, 1), fp64, in [0, 1).
    """
    import torch

    if settings.temperature == 0:
        return logits.argmax(-1, keepdim=True)
    # The maximum goes first: a temperature near 0 would otherwise overflow to infinity.
    scaled = (logits - logits.amax(-1, keepdim=True)) / settings.temperature
    if 0 < settings.top_k < scaled.shape[-1]:
        scaled = _keep_top_k(scaled, settings.top_k)
    if settings.top_p < 1:
        scaled = _keep_top_p(scaled, settings.top_p)
    # fp64: an fp32 sum over a large vocabulary is off by 1e-5, enough to lose its rare tokens.
    cumulative = scaled.softmax(-1).cumsum(-1, dtype=torch.float64)
    # right=True skips entries of probability 0, whose cumulative value equals the one before.
    token = torch.searchsorted(cumulative, uniforms * cumulative[:, -1:], right=True)
    return token.clamp(max=scaled.shape[-1] - 1)


def _keep_top_k(scaled: torch.Tensor, top_k: int) -> torch.Tensor:
    border = scaled.topk(top_k, dim=-1).values[:, -1:]
    return scaled.masked_fill(scaled < border, float("-inf"))


def _keep_top_p(scaled: torch.Tensor, top_p: float) -> torch.Tensor:
    ordered, indices = scaled.sort(dim=-1, descending=True, stable=True)
    probabilities = ordered.softmax(-1)
    dropped = probabilities.cumsum(-1) - probabilities >= top_p  # the first is always kept
    return scaled.masked_fill(dropped.scatter(-1, indices, dropped), float("-inf"))


def _left_padded(
    prompts: Sequence[tuple[int, ...]], length: int, max_tokens: int, pad_id: int, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Pads prompts on the left to ids (rows, length), with the mask (rows, length + max_tokens) of all that can follow."""
    import torch

    padding = [length - len(prompt) for prompt in prompts]
    ids = [[pad_id] * pads + list(prompt) for pads, prompt in zip(padding, prompts, strict=True)]
    mask = torch.arange(length + max_tokens) >= torch.tensor(padding)[:, None]
    return torch.tensor(ids, device=device), mask.to(device)


def _uniforms(tile: Sequence[Row], count: int, device: torch.device) -> torch.Tensor:
    """Returns noise (rows, count) in [0, 1), fp64: number i of a row is a function of its seed and i alone."""
    import numpy as np
    import torch

    # Raw words, since numpy may change its Generator's streams. One generator set to each row's key and counter 0:
    # building 128 of them takes 3.7 ms, this 0.6 ms.
    philox = np.random.Philox(key=0)
    start = philox.state
    words = np.empty((len(tile), count), np.uint64)
    for index, row in enumerate(tile):
        start["state"]["key"][0] = row.seed
        philox.state = start
        words[index] = philox.random_raw(count)
    return torch.from_numpy((words >> np.uint64(11)) * 2.0**-53).to(device)


def _cut(ids: list[int], logprobs: list[float], stop_ids: Sequence[int], length: int | None) -> Decoded:
    """Truncates drawn ids after the first token that ends the row; `length` are those up to a stop text."""
    ends = [place for place, token in enumerate(ids, start=1) if token in stop_ids][:1]
    end = min([*ends, *([] if length is None else [length])], default=None)
    return Decoded(ids[:end], end is not None, math.fsum(logprobs[:end]))
