"""`consensus`: rows scored by how much their completion agrees with the other completions of the prompt; no label, no judge.

The utility of minimum Bayes risk decoding (arXiv:2410.02902 trains on it); of short answers it is the vote's share.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, ClassVar

from lineal.components.base import Columns, Workspace
from lineal.components.selectors.query import Session, beside, open_session, table_session, with_columns
from lineal.components.verifiers.base import AddsColumns
from lineal.data.schema import arrow_type, types_of
from lineal.data.sql import literal
from lineal.data.store import Rows

if TYPE_CHECKING:
    import pyarrow as pa

    from lineal.data.progress import Progress


class Consensus(AddsColumns):
    """Adds `score`: the mean agreement with the prompt's other completions, from 0 to 1, and no verdict.

    Two completions agree by Dice's share of their parts, each part counted once. A row without a completion, or whose prompt has
    no other, has no score.

    Attributes:
        separator: the text between two parts of a completion; '': every letter is a part.
    """

    added: ClassVar[Mapping[str, str]] = types_of("score")
    reads: ClassVar[Columns] = ("prompt_id", "completion")

    separator: str = " "

    def judge(self, table: pa.Table, progress: Progress) -> pa.Table:
        """Compares the samples of one table."""
        with table_session(table, self.reads) as session:
            self._compare(session)
            found = session.connection.sql(_WANTED).to_arrow_table()
        progress.advance(table.num_rows)
        return found.rename_columns([self.column("score")]).cast(self._schema)

    def run(self, workspace: Workspace) -> None:
        """Compares over the whole input, out of core."""
        rows = workspace.rows("rows")
        with workspace.timed("verify"), open_session(workspace, {"rows": rows}) as session:
            self._compare(session)
            with workspace.progress(rows.count, "rows") as progress:
                out = workspace.write_rows(self._compared(session, rows, progress))
        workspace.counts.update({"in": rows.count, "out": out})

    @property
    def _schema(self) -> pa.Schema:
        import pyarrow as pa

        return pa.schema([(self.column("score"), arrow_type("score"))])

    def _compared(self, session: Session, rows: Rows, progress: Progress) -> Iterator[pa.Table]:
        for table, scores in beside(session, rows, _WANTED):
            progress.advance(table.num_rows)
            yield with_columns(table, scores.rename_columns([self.column("score")]).cast(self._schema))

    def _compare(self, session: Session) -> None:
        parts = f"list_distinct(string_split(completion, {literal(self.separator)}))"
        session.create(
            "parts", f"SELECT position, prompt_id, {parts} AS parts FROM rows WHERE completion IS NOT NULL"
        )
        session.create("utilities", _UTILITIES)


_UTILITIES = """
    SELECT a.position,
        avg(2 * len(list_intersect(a.parts, b.parts)) / (len(a.parts) + len(b.parts)) ORDER BY b.position) AS utility
    FROM parts a JOIN parts b ON a.prompt_id = b.prompt_id AND a.position <> b.position GROUP BY a.position
"""
_WANTED = "SELECT utility AS score FROM rows LEFT JOIN utilities USING (position) ORDER BY position"
