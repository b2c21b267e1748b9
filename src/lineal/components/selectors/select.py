"""Selection by an SQL file: every input row is kept, or dropped with a reason."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from lineal.components.base import MAIN, Columns, Output, Role, Workspace, merged
from lineal.components.selectors.decide import decide
from lineal.components.selectors.make import make
from lineal.components.selectors.sql_file import SqlFile
from lineal.recipe.references import ArtifactKind

DROPPED = "dropped"


class Select(SqlFile):
    """Runs `pipelines/selectors/SQL.sql` over rows; docs/selectors.md has the format of such a file, and a list.

    Attributes:
        rows: what to select from.
        sql: the file's name, without `.sql`.

    The file's own settings and further inputs stand beside these:
    `{use: select, rows: verified, sql: keep_correct, max_per_prompt: 4}`.
    """

    role: ClassVar[Role] = Role.SELECTOR
    folder: ClassVar[str] = "selectors"
    what: ClassVar[str] = "selector"

    def empty_means(self) -> str:
        """Returns the meaning of emptiness in the file's header."""
        return self._selector.empty

    def outputs(self, inputs: Mapping[str, Columns]) -> dict[str, Output]:
        """Returns the kept (or made) rows, and the dropped ones."""
        decision = ("decision", "reason", "weight", *self._selector.adds)
        main = dropped = merged(tuple(name for name in inputs["rows"] if name not in decision), decision)
        makes = self._selector.makes
        if makes is not None:
            key = ("sample_id",) if makes.kind == "rows" else ()
            available = merged(*inputs.values())
            main = (*key, "parents", *makes.columns(available), "round")
        return {MAIN: Output(ArtifactKind.ROWS, main), DROPPED: Output(ArtifactKind.ROWS, dropped)}

    def run(self, workspace: Workspace) -> None:
        """Runs the query and writes both outputs."""
        arguments = {**self._selector.arguments(self._extra), "seed": workspace.seed}
        if self._selector.makes is None:
            decide(workspace, self._selector, arguments)
        else:
            inputs = {name: workspace.rows(name).columns for name in self.references()}
            make(workspace, self._selector, arguments, self.outputs(inputs)[MAIN].columns)
