"""`solve`: answers of a source's own rule to prompts that a model posed, so that they have a reference answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, ClassVar

import pydantic

from lineal.components.base import Columns, Workspace
from lineal.components.mathematics import solving
from lineal.components.selectors.query import with_columns
from lineal.components.sources import addition, letter_sort
from lineal.components.verifiers.base import AddsColumns, written
from lineal.data.schema import types_of
from lineal.errors import did_you_mean

if TYPE_CHECKING:
    import pyarrow as pa

    from lineal.data.progress import Progress

SOLVERS: Mapping[str, Callable[[str], str | None]] = {
    "addition": addition.solved,
    "letter_sort": letter_sort.solved,
    "formula": solving.solved,
}
"""By source, its rule's answer to a prompt; None where the text is no prompt of its kind."""


class Solve(AddsColumns):
    """Adds the `answer` that a source gives to each prompt by its rule; a text that is no prompt of its kind gets none.

    Attributes:
        source: whose rule: 'letter_sort'; 'addition' with its most significant digit first; or 'formula', which is no source: a
            formula without letters (`12*(3+4)=`) or a linear equation of one (`3x+2=11`), answered exactly.
    """

    added: ClassVar[Mapping[str, str]] = types_of("answer")
    reads: ClassVar[Columns] = ("prompt",)

    source: str

    @pydantic.field_validator("source")
    @classmethod
    def _solves(cls, source: str) -> str:
        if source not in SOLVERS:
            raise ValueError(f"{source!r} has no solver. {did_you_mean(source, sorted(SOLVERS))}")
        return source

    def run(self, workspace: Workspace) -> None:
        """Answers all prompts, slice by slice."""
        rows = workspace.rows("rows")

        def transform(table: pa.Table, progress: Progress) -> pa.Table:
            progress.advance(table.num_rows)
            return with_columns(table, self._answers(table))

        out = workspace.map_rows(rows, transform)
        unsolved = written(workspace, [self.column("answer")]).column(0).null_count
        workspace.counts.update({"in": rows.count, "out": out, "unsolved": unsolved})

    def _answers(self, table: pa.Table) -> pa.Table:
        import pyarrow as pa

        solver = SOLVERS[self.source]
        answers = [None if prompt is None else solver(prompt) for prompt in table["prompt"].to_pylist()]
        return pa.table({self.column("answer"): pa.array(answers, pa.string())})
