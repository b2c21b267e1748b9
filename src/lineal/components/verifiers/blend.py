"""`blend`: a weighted sum of several scores as reward, such as 1 for a right answer and a fifth of a process reward.

B-STaR (arXiv:2412.17256) ranks and filters by such a sum.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar

import pydantic

from lineal.components.base import MAIN, Columns, Component, Output, Role, RowsRef, Workspace
from lineal.recipe.references import ArtifactKind

if TYPE_CHECKING:
    import pyarrow as pa

    from lineal.data.progress import Progress


class Blend(Component):
    """Replaces the rows' score by a weighted sum of columns; verdict and detail stay those of the outcome's verifier.

    Attributes:
        rows: rows that have been judged.
        weights: by column, its factor. A row that lacks one of them gets no score.
    """

    role: ClassVar[Role] = Role.VERIFIER

    rows: RowsRef
    weights: Annotated[dict[str, float], pydantic.Field(min_length=1)]

    def needs(self) -> dict[str, Columns]:
        return {"rows": ("verdict", "score", *self.weights)}

    def outputs(self, inputs: Mapping[str, Columns]) -> dict[str, Output]:
        return {MAIN: Output(ArtifactKind.ROWS, inputs["rows"])}

    def run(self, workspace: Workspace) -> None:
        """Sums column by column, in the order of `weights`."""

        def transform(table: pa.Table, progress: Progress) -> pa.Table:
            progress.advance(table.num_rows)
            return table.set_column(table.column_names.index("score"), "score", self._sum(table))

        out = workspace.map_rows(workspace.rows("rows"), transform)
        workspace.counts.update({"in": workspace.rows("rows").count, "out": out})

    def _sum(self, table: pa.Table) -> pa.ChunkedArray:
        import pyarrow as pa
        import pyarrow.compute as pc

        total = pa.scalar(0.0)
        for name, weight in self.weights.items():
            total = pc.add(total, pc.multiply(table[name].cast(pa.float64()), weight))
        return total
