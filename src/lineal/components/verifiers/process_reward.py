"""`process_reward`: completions scored step by step by a process reward model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import fsum, prod
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import PrivateAttr

from lineal.components.base import RewardRef, Workspace
from lineal.components.generators.drawing import written_by
from lineal.components.trainers.process_reward_model import Separator
from lineal.components.verifiers.model_scores import ScoresRows
from lineal.data.conversations import prompts_of
from lineal.data.schema import types_of
from lineal.data.steps import LINE_BREAK
from lineal.engines.factory import open_step_scorer
from lineal.engines.sampling.protocols import StepScoreSource
from lineal.recipe.compute import Strict

if TYPE_CHECKING:
    import pyarrow as pa

    from lineal.data.progress import Progress

By = Literal["min", "last", "product", "mean"]
REDUCTIONS: Mapping[str, Callable[[Sequence[float]], float]] = {
    "min": min,
    "last": lambda scores: scores[-1],
    "product": prod,
    "mean": lambda scores: fsum(scores) / len(scores),
}


class StepReading(Strict):
    """Splitting of a completion into steps, and combination of their scores; settings of `ProcessReward`.

    Attributes:
        separator: what ends a step, as in the training of the model.
        by: the completion's score: that of its worst step ('min'), its last one, the 'product' or the 'mean' of all.
    """

    separator: Separator = LINE_BREAK
    by: By = "min"

    def reduced(self, steps: Sequence[float]) -> float:
        """Combines scores into one number for a completion."""
        return REDUCTIONS[self.by](steps)


class ProcessReward(ScoresRows):
    """Adds `step_scores`, from 0 to 1 for each step, and `score`, which combines them.

    Of rows that are steps, the steps in their `prefix` count too.

    Attributes:
        scorer: a model that `process_reward_model` trained.
        chat: whether prompts pass through the tokenizer's chat template.
        separator: what ends a step, as in the training of the model.
        by: the completion's score: that of its worst step ('min'), its last one, the 'product' or the 'mean' of all.
    """

    added: ClassVar[Mapping[str, str]] = types_of("score", "step_scores")

    scorer: RewardRef
    chat: bool = False
    separator: Separator = LINE_BREAK
    by: By = "min"
    _model: StepScoreSource = PrivateAttr()

    @contextmanager
    def ready(self, workspace: Workspace) -> Iterator[None]:
        """Loads the model."""
        self._model = open_step_scorer(workspace, "scorer")
        yield

    def judge(self, table: pa.Table, progress: Progress) -> pa.Table:
        """Scores; a row's score does not depend on its neighbours.

        Raises:
            DataError: a row has no completion.
        """
        import pyarrow as pa

        self.require_completions(table)
        steps = step_scores(self._model, table, self.separator, self.chat, progress.advance)
        scores = [REDUCTIONS[self.by](own) for own in steps]
        return pa.table(
            {
                self.column("score"): pa.array(scores, pa.float64()),
                self.column("step_scores"): pa.array(steps, pa.list_(pa.float64())),
            }
        )


def step_scores(
    model: StepScoreSource, table: pa.Table, separator: str, chat: bool, advance: Callable[[int], None]
) -> list[list[float]]:
    """Returns for each row the scores of its steps, including those of its `prefix`."""
    texts = table.select(
        [name for name in ("prefix", "completion") if name in table.column_names]
    ).to_pylist()
    return model.score_steps(
        list(zip(prompts_of(table), map(written_by, texts), strict=True)), separator, chat, advance
    )
