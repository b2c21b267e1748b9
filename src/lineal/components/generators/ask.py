"""`ask`: fills a template with a row; the checkpoint's output is a new row.

A critique, a correction, a refinement, an answer to a follow-up question, an answer that has seen the others' answers
and a newly posed problem differ in the template alone (docs/roles.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

from lineal.components.base import MAIN, Columns, Output, Role, Workspace, merged
from lineal.components.generators.asking import Asker, asked_columns
from lineal.components.generators.drawing import require_distinct, sampled_columns
from lineal.data.schema import row_key
from lineal.engines.factory import open_sampler
from lineal.recipe.references import ArtifactKind

if TYPE_CHECKING:
    import pyarrow as pa

    from lineal.data.progress import Progress


class Ask(Asker):
    """Samples from a template filled with each row; `parents` of a new row is the row that it was made from.

    Attributes:
        row_prompt: the new rows' prompt. 'asked': what the checkpoint was given, under a prompt id of its own; such rows
            teach the role. 'own': the prompt of the row; such rows are further answers to it, and count as hinted. What
            the checkpoint was given then stands in the column `asked`.
    """

    role: ClassVar[Role] = Role.GENERATOR
    told_apart: ClassVar[Columns] = ("rows",)

    row_prompt: Literal["asked", "own"] = "asked"

    @property
    def _keeps(self) -> bool:
        return self.row_prompt == "own"

    def needs(self) -> dict[str, Columns]:
        return {"rows": merged(self._template.columns, ("prompt_id", "prompt") if self._keeps else ())}

    def outputs(self, inputs: Mapping[str, Columns]) -> dict[str, Output]:
        if self._keeps:
            return {MAIN: Output(ArtifactKind.ROWS, (*sampled_columns(inputs["rows"]), "asked"))}
        return {MAIN: Output(ArtifactKind.ROWS, sampled_columns(asked_columns(inputs["rows"]), self._adds))}

    def run(self, workspace: Workspace) -> None:
        """Draws `samples` rows for each row, shard by shard."""
        rows = workspace.rows("rows")
        require_distinct(rows, row_key(rows.columns), workspace.step)
        sampler = open_sampler(workspace, "model")

        def transform(table: pa.Table, progress: Progress) -> pa.Table:
            return self.ask(workspace, sampler, table, progress.advance, own=self._keeps)

        out = workspace.map_rows(rows, transform, self.samples, "samples")
        workspace.counts.update({"in": rows.count, "expected": rows.count * self.samples, "out": out})
