"""`continue`: continues a row's completion, in a text after it, in a chat inside the same turn."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from lineal.components.base import MAIN, Columns, Output, Role, Workspace, merged
from lineal.components.generators.drawing import (
    Draw,
    RowSampler,
    begun,
    draw_rows,
    require_distinct,
    sampled_columns,
)
from lineal.components.generators.sample import KeepsIds
from lineal.data.conversations import MESSAGE_COLUMNS
from lineal.data.ids import row_id
from lineal.data.schema import arrow_type, row_key
from lineal.engines.factory import open_sampler
from lineal.recipe.references import ArtifactKind

if TYPE_CHECKING:
    import pyarrow as pa

    from lineal.data.progress import Progress


class Continue(RowSampler):
    """Samples continuations of rows' completions; `parents` of a new row is the row that it continues.

    The new rows' prompt is the old one with the old completion, under a prompt id of its own, and their completion is what
    follows: such rows are judged, paired and learnt like any others. Rows whose completion has come to its end are for a
    selector to leave out before.

    Attributes:
        model: the checkpoint that samples.
        rows: rows with a prompt and the completion to continue; before a step, its `prefix` stands too.
        samples: new rows for each.
        temperature, top_p, top_k, max_tokens, stop, token_ids: as for `sample`.
        chat: whether prompts pass through the tokenizer's chat template; the completion is then the beginning of the answer.
    """

    role: ClassVar[Role] = Role.GENERATOR
    told_apart: ClassVar[Columns] = ("rows",)

    token_ids: KeepsIds = False

    def needs(self) -> dict[str, Columns]:
        return {"rows": ("prompt_id", "prompt", "completion")}

    def outputs(self, inputs: Mapping[str, Columns]) -> dict[str, Output]:
        return {MAIN: Output(ArtifactKind.ROWS, sampled_columns(inputs["rows"], self._adds))}

    @property
    def _adds(self) -> Columns:
        return merged(MESSAGE_COLUMNS if self.chat else (), ("token_ids",) if self.token_ids else ())

    def run(self, workspace: Workspace) -> None:
        """Draws `samples` rows for each row, shard by shard."""
        rows = workspace.rows("rows")
        require_distinct(rows, row_key(rows.columns), workspace.step)
        draw = Draw(
            self.sampling, self.samples, render=partial(begun, chat=self.chat), adds=self._adds, goes_on=True
        )
        sampler = open_sampler(workspace, "model")

        def transform(table: pa.Table, progress: Progress) -> pa.Table:
            drawn = draw_rows(workspace, sampler, _with_own_prompt_ids(table), [draw], progress.advance)
            return _of_rows(drawn, table, self.samples)

        out = workspace.map_rows(rows, transform, self.samples, "samples")
        workspace.counts.update({"in": rows.count, "expected": rows.count * self.samples, "out": out})


def _of_rows(drawn: pa.Table, rows: pa.Table, samples: int) -> pa.Table:
    """Makes the continued rows the parents, also where these are a data set's, which have no ids but their prompts'."""
    import pyarrow as pa

    keys = rows[row_key(rows.column_names)].to_pylist()
    parents = pa.array([[key] for key in keys for _ in range(samples)], arrow_type("parents"))
    return drawn.set_column(drawn.column_names.index("parents"), "parents", parents)


def _with_own_prompt_ids(rows: pa.Table) -> pa.Table:
    """Gives the rows prompt ids that identify what they continue."""
    import pyarrow as pa

    keys = rows[row_key(rows.column_names)].to_pylist()
    ids = pa.array([row_id("continued", key) for key in keys], arrow_type("prompt_id"))
    return rows.set_column(rows.column_names.index("prompt_id"), "prompt_id", ids)
