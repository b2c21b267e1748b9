"""The model in training, as verifiers that judge by it see it: with the weights of its present optimizer step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from lineal.engines.models.attention import use_row_stable_attention
from lineal.engines.models.self_test import require_same_stepwise
from lineal.engines.sampling.decoding import TILE_ROWS, TileDecoder
from lineal.engines.sampling.sampler import Completion, Request, Sampler, SamplingSettings
from lineal.engines.sampling.scoring import CertaintyMeans, LikelihoodScorer, LogProbability, Pair
from lineal.errors import EngineError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from lineal.engines.models.sight import Sight


class LivePolicy:
    """Samples and scores with a model that is in training, as an engine does with a checkpoint.

    Nothing of the training changes by it: no random number is drawn from torch's generator, and the model is in the mode in
    which it was.

    Attributes:
        in_flight: as of `Sampler`.
    """

    in_flight = TILE_ROWS

    def __init__(self) -> None:
        self._held: tuple[Any, PreTrainedTokenizerBase] | None = None
        self._sight: Sight | None = None

    def hold(
        self, model: Any, tokenizer: PreTrainedTokenizerBase, mixed: bool, sight: Sight | None = None
    ) -> None:
        """Takes the model that a training is about to train.

        Args:
            model: on the device where it trains.
            tokenizer: its tokenizer.
            mixed: whether it trains in mixed precision, which rounds more than the self-test of a model in fp32 allows.
            sight: shows it pictures.

        Raises:
            EngineError: the model does not say the same token by token as at once, so that it cannot sample here.
        """
        self._held, self._sight = (model, tokenizer), sight
        if not mixed:
            with self._reading() as (read, _):
                require_same_stepwise(read, TileDecoder(read, SamplingSettings(), (), 0).follow)

    def stream(
        self, requests: Sequence[Request], settings: SamplingSettings
    ) -> Iterator[tuple[int, Completion]]:
        """Yields completions as `Sampler.stream`."""
        with self._reading() as (model, tokenizer):
            drawn = list(Sampler.around(model, tokenizer, self._sight).stream(requests, settings))
        yield from drawn

    def sample(self, requests: Sequence[Request], settings: SamplingSettings) -> list[Completion]:
        """Returns completions as `Sampler.sample`."""
        with self._reading() as (model, tokenizer):
            return Sampler.around(model, tokenizer, self._sight).sample(requests, settings)

    def score(
        self, pairs: Sequence[Pair], chat: bool = False, progress: Callable[[int], None] | None = None
    ) -> list[LogProbability]:
        """Scores as `LikelihoodScorer.score`."""
        with self._reading() as (model, tokenizer):
            return LikelihoodScorer.around(model, tokenizer).score(pairs, chat, progress)

    def certainty(
        self, pairs: Sequence[Pair], chat: bool = False, progress: Callable[[int], None] | None = None
    ) -> list[CertaintyMeans]:
        """Scores as `LikelihoodScorer.certainty`."""
        with self._reading() as (model, tokenizer):
            return LikelihoodScorer.around(model, tokenizer).certainty(pairs, chat, progress)

    @contextmanager
    def _reading(self) -> Iterator[tuple[Any, PreTrainedTokenizerBase]]:
        """Puts the model into evaluation mode, with the attention of inference."""
        if self._held is None:
            raise EngineError(
                "self: got no model in training, expected one: a verifier asked before the training began."
            )
        model, tokenizer = self._held
        training, attention = model.training, model.config._attn_implementation
        model.eval()
        use_row_stable_attention(model)
        try:
            yield model, tokenizer
        finally:
            if model.config._attn_implementation != attention:
                model.set_attn_implementation(attention)
            model.train(training)
