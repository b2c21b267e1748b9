"""The common part of scorers that are models: a number on every row. Selection decides what is good enough."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar

from pydantic import PrivateAttr

from lineal.components.base import Columns, ModelRef, Workspace
from lineal.components.selectors.query import with_columns
from lineal.components.trainers.base import answers_of
from lineal.components.trainers.ends import EndsSetting
from lineal.components.verifiers.base import AddsColumns
from lineal.data.conversations import prompts_of
from lineal.data.schema import types_of
from lineal.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

    from lineal.data.progress import Progress
    from lineal.engines.sampling.scoring import Pair

Scores = Callable[[Sequence["Pair"], Callable[[int], None]], list[float]]
"""Numbers for (prompt, completion) pairs, in order; advances the progress."""


class ScoresRows(AddsColumns):
    """Base of components whose model scores every row, and gives no verdict."""

    loads_model: ClassVar[bool] = True
    kinds: ClassVar[tuple[str, ...]] = ("huggingface",)
    reads: ClassVar[Columns] = ("prompt", "completion")

    def require_completions(self, table: pa.Table) -> None:
        """Checks that there is something to score in each row.

        Raises:
            DataError: a row has no completion.
        """
        missing = table["completion"].null_count
        if missing:
            raise DataError(f"{missing:,} rows have no completion to score. Drop them with a selector first")

    def run(self, workspace: Workspace) -> None:
        """Scores all rows, slice by slice."""

        def transform(table: pa.Table, progress: Progress) -> pa.Table:
            with workspace.timed("score"):
                return with_columns(table, self.judged(table, progress))

        rows = workspace.rows("rows")
        with self.ready(workspace):
            out = workspace.map_rows(rows, transform)
        workspace.counts.update({"in": rows.count, "out": out})


class ModelScores(ScoresRows):
    """Adds `score`, and no verdict.

    Attributes:
        scorer: the model.
        chat: whether prompts pass through the tokenizer's chat template.
        ends: whether an end follows each completion and is scored with it: true, false, or `{unless: TEXTS}`, see `Unless`.
    """

    added: ClassVar[Mapping[str, str]] = types_of("score")

    scorer: ModelRef
    chat: bool = False
    ends: EndsSetting = True
    _scores: Scores = PrivateAttr()

    def scores(self, workspace: Workspace) -> Scores:
        """Loads the scorer."""
        raise NotImplementedError

    @contextmanager
    def ready(self, workspace: Workspace) -> Iterator[None]:
        """Loads the model."""
        self._scores = self.scores(workspace)
        yield

    def judge(self, table: pa.Table, progress: Progress) -> pa.Table:
        """Scores; a row's score does not depend on its neighbours.

        Raises:
            DataError: a row has no completion.
        """
        import pyarrow as pa

        self.require_completions(table)
        pairs = list(zip(prompts_of(table), answers_of(table, ends=self.ends), strict=True))
        return pa.table({self.column("score"): pa.array(self._scores(pairs, progress.advance), pa.float64())})
