"""`hidden_signal`: a signal from a model's hidden states of a prompt, before anything is sampled (GAIN-RL, arXiv:2506.02281)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar

from pydantic import PrivateAttr

from lineal.components.base import Columns, ModelRef, Workspace
from lineal.components.verifiers.model_scores import ScoresRows
from lineal.data.conversations import prompts_of
from lineal.data.schema import types_of
from lineal.engines.factory import open_hidden_states
from lineal.engines.sampling.protocols import HiddenStateSource

if TYPE_CHECKING:
    import pyarrow as pa

    from lineal.data.progress import Progress


class HiddenSignal(ScoresRows):
    """Adds `score`, the angle concentration of each prompt: the mean cosine between any two tokens' last hidden states.

    Where it is high a model learns fast, by GAIN-RL. A prompt of one token has none. For entropy see `certainty`, for perplexity
    `likelihood` with `per_token`.

    Attributes:
        rows: prompts, or rows with one.
        scorer: the model.
        chat: whether prompts pass through the tokenizer's chat template.
    """

    added: ClassVar[Mapping[str, str]] = types_of("score")
    reads: ClassVar[Columns] = ("prompt",)

    scorer: ModelRef
    chat: bool = False
    _model: HiddenStateSource = PrivateAttr()

    @contextmanager
    def ready(self, workspace: Workspace) -> Iterator[None]:
        """Loads the model."""
        self._model = open_hidden_states(workspace, "scorer")
        yield

    def judge(self, table: pa.Table, progress: Progress) -> pa.Table:
        """Scores; a prompt's score does not depend on its neighbours."""
        import pyarrow as pa

        found = self._model.angles(prompts_of(table), self.chat, progress.advance)
        return pa.table({self.column("score"): pa.array(found, pa.float64())})
