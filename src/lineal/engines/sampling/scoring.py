"""Scores of given texts: their likelihood under a language model, or a reward model's number; bit for bit per row.

As in sampling, batch size, order, neighbours and thread count change nothing: every forward pass has a shape that
depends on the row alone, a fixed number of tokens cut into rows of one padded length. Padding is on the right, where no
token of a causal model sees it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from lineal.data.conversations import Prompt
from lineal.data.media import Pictures
from lineal.engines.models.checkpoints import is_reward_model, load_reward_model, positions_of, vocabulary_of
from lineal.engines.models.sight import Encoded, Images, Sight, sight_of
from lineal.engines.sampling.sampler import load_for_inference, named_device, require_number
from lineal.engines.text.tokens import Answer, encode_pairs, encode_prompts, load_tokenizer
from lineal.engines.text.vocabulary import require_vocabulary
from lineal.errors import EngineError

if TYPE_CHECKING:
    import torch

TILE_TOKENS = 2048  # with LENGTH_MULTIPLE part of the engine's version: another value, other bits
LENGTH_MULTIPLE = 8
Pair = tuple[Prompt, Answer]
"""A prompt and a completion; a conversation goes through the chat template in any case."""
Score = TypeVar("Score")


@dataclass(frozen=True)
class LogProbability:
    """A completion's log-probability under a model, summed over its tokens, including the end token."""

    logprob: float
    tokens: int


@dataclass(frozen=True)
class CertaintyMeans:
    """A model's certainty while it reads a completion, as means over the completion's tokens, including the end token.

    Attributes:
        divergence: of its next-token distribution from the uniform one, KL(uniform, model): self-certainty.
        entropy: of its next-token distribution.
    """

    divergence: float
    entropy: float


class LikelihoodScorer:
    """A language model held in memory that scores the likelihood of given completions.

    Args:
        checkpoint: directory of a full model, or of a LoRA adapter.
        device: 'auto' (the GPU if there is one), or a torch device name.
        base: the full model under an adapter.
        pictures: those that prompts show; None where there are none.

    Raises:
        EngineError: the checkpoint cannot be loaded or sees no pictures, or an adapter comes without `base`.
    """

    def __init__(
        self,
        checkpoint: Path,
        device: str = "auto",
        base: Path | None = None,
        pictures: Pictures | None = None,
    ) -> None:
        self._sight = sight_of(checkpoint, base, pictures)
        self._hold(load_for_inference(checkpoint, base, named_device(device)), load_tokenizer(checkpoint))
        require_vocabulary(self._tokenizer, vocabulary_of(self._model.config), checkpoint)

    def _hold(self, model: Any, tokenizer: Any) -> None:
        self._model, self._tokenizer = model, tokenizer

    @classmethod
    def around(cls, model: Any, tokenizer: Any) -> Self:
        """Makes a scorer of a model that is in memory already, in evaluation mode."""
        made = cls.__new__(cls)
        made._sight = None
        made._hold(model, tokenizer)
        return made

    def score(
        self, pairs: Sequence[Pair], chat: bool = False, progress: Callable[[int], None] | None = None
    ) -> list[LogProbability]:
        """Returns the likelihood of each (prompt, completion), in order; the prompt is given, the completion counts.

        Raises:
            EngineError: a text cannot be encoded or exceeds the model's positions.
        """
        return self.score_ids(encode_pairs(self._tokenizer, pairs, chat), progress)

    def score_ids(
        self,
        encoded: Sequence[Encoded],
        progress: Callable[[int], None] | None = None,
        images: Sequence[Images] = (),
    ) -> list[LogProbability]:
        """Scores token ids, otherwise as `score`; every completion has at least one id.

        With `images` the prompts show pictures, whose tokens are among the ids.
        """
        return self._read(encoded, _likelihood, lambda found: found.logprob, progress, images)

    def certainty(
        self, pairs: Sequence[Pair], chat: bool = False, progress: Callable[[int], None] | None = None
    ) -> list[CertaintyMeans]:
        """Returns how sure the model is of each completion; otherwise as `score`."""
        return self._read(
            encode_pairs(self._tokenizer, pairs, chat), _certainty, lambda found: found.divergence, progress
        )

    def angles(
        self, prompts: Sequence[Prompt], chat: bool = False, progress: Callable[[int], None] | None = None
    ) -> list[float | None]:
        """Returns how alike the directions of each prompt's tokens are, in order; None for a prompt of one token.

        The mean cosine between any two tokens' last hidden states. Otherwise as `score`.
        """
        ids = encode_prompts(self._tokenizer, prompts, chat)

        def read(outputs: Any, indices: Sequence[int]) -> list[float | None]:
            states = outputs.hidden_states[-1]
            found = [
                _concentration(own[: len(ids[index])]) for own, index in zip(states, indices, strict=False)
            ]
            for one in found:
                require_number(one or 0.0, str(self._model.name_or_path))
            return found

        pad_id = cast(int, self._tokenizer.pad_token_id)
        return scored(
            self._model, pad_id, [(own, []) for own in ids], read, progress, output_hidden_states=True
        )

    def _read(
        self,
        encoded: Sequence[Encoded],
        of: Callable[[torch.Tensor, list[int], list[int]], Score],
        number: Callable[[Score], float],
        progress: Callable[[int], None] | None,
        images: Sequence[Images] = (),
    ) -> list[Score]:
        def read(outputs: Any, indices: Sequence[int]) -> list[Score]:
            found = [
                of(logits, *encoded[index]) for logits, index in zip(outputs.logits, indices, strict=False)
            ]
            for one in found:
                require_number(number(one), str(self._model.name_or_path))
            return found

        pad_id = cast(int, self._tokenizer.pad_token_id)
        return scored(self._model, pad_id, encoded, read, progress, self._sight, images)


class RewardScorer:
    """A reward model held in memory.

    Args:
        checkpoint: directory of a model that `train_reward_model` wrote, or of any with one label.
        device: as for `LikelihoodScorer`.

    Raises:
        EngineError: the checkpoint cannot be loaded, or is no reward model.
    """

    def __init__(self, checkpoint: Path, device: str = "auto") -> None:
        import torch

        if not is_reward_model(checkpoint):
            raise EngineError(
                f"{checkpoint}: got a language model, expected a reward model. "
                "Name a checkpoint that reward_model made, or score by likelihood."
            )
        self._tokenizer = load_tokenizer(checkpoint)
        self._pad_id = cast(int, self._tokenizer.pad_token_id)
        self._model = (
            load_reward_model(checkpoint, torch.float32, self._pad_id)
            .to(cast(Any, named_device(device)))
            .eval()
        )
        require_vocabulary(self._tokenizer, vocabulary_of(self._model.config), checkpoint)

    def score(
        self, pairs: Sequence[Pair], chat: bool = False, progress: Callable[[int], None] | None = None
    ) -> list[float]:
        """Returns the reward of each (prompt, completion), in order.

        Raises:
            EngineError: a text cannot be encoded or exceeds the model's positions, or a reward is no finite number.
        """

        def read(outputs: Any, indices: Sequence[int]) -> list[float]:
            told = outputs.logits[: len(indices), 0].tolist()
            return [finite_reward(value, str(self._model.name_or_path)) for value in told]

        return scored(self._model, self._pad_id, encode_pairs(self._tokenizer, pairs, chat), read, progress)


def _likelihood(logits: torch.Tensor, prompt: list[int], completion: list[int]) -> LogProbability:
    """Computes a likelihood from one row's logits (tokens, vocabulary)."""
    import torch

    predicted = _predicted(logits, prompt, completion)
    chosen = predicted.gather(-1, torch.tensor(completion, device=logits.device)[:, None])
    return LogProbability(math.fsum(chosen[:, 0].tolist()), len(completion))


def _certainty(logits: torch.Tensor, prompt: list[int], completion: list[int]) -> CertaintyMeans:
    """Computes a certainty from one row's logits (tokens, vocabulary)."""
    predicted = _predicted(logits, prompt, completion)
    divergences = (-predicted.mean(-1) - math.log(predicted.shape[-1])).tolist()
    entropies = (-(predicted.exp() * predicted).sum(-1)).tolist()
    return CertaintyMeans(math.fsum(divergences) / len(completion), math.fsum(entropies) / len(completion))


def _predicted(logits: torch.Tensor, prompt: list[int], completion: list[int]) -> torch.Tensor:
    """Computes log-probabilities (completion tokens, vocabulary) from one row's logits (tokens, vocabulary)."""
    start = len(prompt) - 1
    return logits[start : start + len(completion)].float().log_softmax(-1)


def _concentration(states: torch.Tensor) -> float | None:
    """Computes the mean cosine over all pairs of a prompt's tokens, whose states are (tokens, width)."""
    from torch.nn.functional import normalize

    tokens = len(states)
    if tokens < 2:
        return None
    total = normalize(states.double(), dim=-1).sum(0)
    return (float(total @ total) - tokens) / (tokens * (tokens - 1))


def finite_reward(value: float, checkpoint: str) -> float:
    """Checks a reward model's number.

    Raises:
        EngineError: it is no finite number.
    """
    if not math.isfinite(value):
        raise EngineError(
            f"{checkpoint}: got the reward {value}, expected a finite number. Take an earlier checkpoint."
        )
    return value


def scored(
    model: Any,
    pad_id: int,
    encoded: Sequence[Encoded],
    read: Callable[[Any, Sequence[int]], list[Score]],
    progress: Callable[[int], None] | None,
    sight: Sight | None = None,
    images: Sequence[Images] = (),
    **wanted: bool,
) -> list[Score]:
    """Applies `read` to the model's outputs and returns its result for each row, in the order of the rows.

    Args:
        model: in evaluation mode.
        pad_id: the padding token.
        encoded: prompts and completions.
        read: gets a forward pass's outputs, and its rows in their order; missing rows are filled with copies of the last.
        progress: told how many more are done.
        sight: shows the rows' pictures.
        images: by row, its pictures; empty where no row has one.
        wanted: further outputs of the model: `output_hidden_states=True`.

    Raises:
        EngineError: a row exceeds the model's positions.
    """
    import torch

    _refuse_long(model, encoded)
    scores: list[Score | None] = [None] * len(encoded)
    with torch.inference_mode():
        for length, indices in _tiles(encoded, images):
            filled = [*indices, *[indices[-1]] * (_tile_rows(length) - len(indices))]
            pixels = {} if sight is None or not images else sight.pixels([images[index] for index in filled])
            outputs = _forward(model, [encoded[index] for index in filled], length, pad_id, pixels, **wanted)
            for index, score in zip(indices, read(outputs, indices), strict=True):
                scores[index] = score
            if progress is not None:
                progress(len(indices))
    return cast("list[Score]", scores)


def _refuse_long(model: Any, encoded: Sequence[Encoded]) -> None:
    positions = positions_of(model.config)
    longest = max((len(prompt) + len(completion) for prompt, completion in encoded), default=0)
    if positions is not None and longest > positions:
        raise EngineError(
            f"scoring: the longest prompt and completion have {longest} tokens, expected at most the {positions} positions "
            "of the model. Lower max_tokens where they are sampled."
        )


def _tiles(encoded: Sequence[Encoded], images: Sequence[Images]) -> Iterator[tuple[int, list[int]]]:
    """Yields padded lengths, and up to a tile of the rows of each; rows of a tile show the same number of pictures."""
    alike: dict[tuple[int, int], list[int]] = {}
    for index, (prompt, completion) in enumerate(encoded):
        length = -(-(len(prompt) + len(completion)) // LENGTH_MULTIPLE) * LENGTH_MULTIPLE
        alike.setdefault((length, len(images[index]) if images else 0), []).append(index)
    for (length, _), indices in sorted(alike.items()):
        rows = _tile_rows(length)
        yield from ((length, indices[start : start + rows]) for start in range(0, len(indices), rows))


def _tile_rows(length: int) -> int:
    return max(1, TILE_TOKENS // length)


def _forward(
    model: Any,
    tile: Sequence[Encoded],
    length: int,
    pad_id: int,
    pixels: Mapping[str, torch.Tensor],
    **wanted: bool,
) -> Any:
    """Returns the model's outputs for a whole tile."""
    import torch

    rows = [prompt + completion for prompt, completion in tile]
    ids = torch.tensor([row + [pad_id] * (length - len(row)) for row in rows], device=model.device)
    shown = {name: value.to(model.device) for name, value in pixels.items()}
    return model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False, **shown, **wanted)
