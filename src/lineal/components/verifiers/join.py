"""`join`: verdicts of several judges on the same rows, side by side.

A list in `rows:` puts tables under each other. A panel of judges, or the scores of several rewards, belong beside each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

import pydantic

from lineal.components.base import (
    MAIN,
    Columns,
    Component,
    Output,
    Role,
    RowsRef,
    Surroundings,
    Workspace,
    merged,
)
from lineal.components.selectors.decide import require_row_ids
from lineal.components.selectors.query import Session, beside, open_session, with_columns
from lineal.components.verifiers.base import VERDICT
from lineal.components.verifiers.majority_vote import VOTE
from lineal.data.sql import quoted
from lineal.data.store import Rows
from lineal.errors import DataError
from lineal.recipe.references import NAME, Accepts, ArtifactKind

if TYPE_CHECKING:
    import pyarrow as pa

    from lineal.data.progress import Progress
SAID: Columns = (*VERDICT, *VOTE, "output", "decision", "reason", "weight")
"""Judgements on a row, which may differ in another table."""


class Join(Component):
    """Puts what other tables say of the same rows beside them, matched by row id, in columns named after each table.

    Added is what was said of the rows (verdict, score, detail, votes, a decision), and columns that `rows` lacks. All other
    columns must be equal. Every table must hold the same rows, in any order.

    Attributes:
        rows: the rows, as they are.

    Every other setting is a table, and the word before its columns' names: `{use: join, rows: generated, strict: judged}`
    adds `strict_verdict`, `strict_score`, and what else `judged` says.
    """

    model_config = pydantic.ConfigDict(extra="allow")
    role: ClassVar[Role] = Role.VERIFIER
    kinds: ClassVar[tuple[str, ...]] = ("sql",)

    rows: RowsRef

    @classmethod
    def parse(cls, settings: Mapping[str, Any], surroundings: Surroundings) -> Self:
        """Makes the component.

        Raises:
            ValueError: there is no table, or one is no reference.
        """
        made = cls.model_validate(dict(settings))
        if not made._tables:
            raise ValueError(
                "join has no table. Write WORD: NODE for each whose verdicts are to stand beside the rows as WORD_score"
            )
        for name, value in made._tables.items():
            if not NAME.match(name) or not all(isinstance(item, str) for item in _listed(value)):
                raise ValueError(
                    f"join: {name} must be a lower-case word, and hold rows: a node's name, or a list of names"
                )
        return made

    @property
    def _tables(self) -> dict[str, Any]:
        return dict(self.model_extra or {})

    def references(self) -> dict[str, tuple[list[str], Accepts]]:
        """Returns `rows`, and the tables."""
        found = super().references()
        return found | {name: (_listed(value), found["rows"][1]) for name, value in self._tables.items()}

    def outputs(self, inputs: Mapping[str, Columns]) -> dict[str, Output]:
        """Returns the rows, and the tables' columns.

        Raises:
            ValueError: two columns would have the same name, or a table says nothing of the rows.
        """
        columns = inputs["rows"]
        for name in self._tables:
            added = tuple(_added(name, inputs["rows"], inputs[name]).values())
            if not added:
                raise ValueError(
                    f"join: {name} has no column that rows lacks, and no verdict. Name the table that has them"
                )
            twice = [column for column in added if column in columns]
            if twice:
                raise ValueError(
                    f"join: there is a column {twice[0]!r} already. Take another word than {name}"
                )
            columns = merged(columns, added)
        return {MAIN: Output(ArtifactKind.ROWS, columns)}

    def run(self, workspace: Workspace) -> None:
        """Matches the tables out of core; the rows come straight from their files."""
        views = {name: workspace.rows(name) for name in ("rows", *self._tables)}
        with open_session(workspace, views) as session:
            require_row_ids(session, views)
            for name in self._tables:
                _require_same_rows(session, name, views)
                _require_equal(session, name, views)
            session.create("lineal_joined", self._joined(views))
            with workspace.progress(views["rows"].count, "rows") as progress:
                out = workspace.write_rows(self._beside(session, views["rows"], progress))
        workspace.counts.update({"in": views["rows"].count, "out": out, "joined": len(self._tables)})

    def _joined(self, views: Mapping[str, Rows]) -> str:
        """Writes the query of the added columns, by position."""
        added = [
            f"lineal_{place}.{quoted(column)} AS {quoted(shown)}"
            for place, name in enumerate(self._tables)
            for column, shown in _added(name, views["rows"].columns, views[name].columns).items()
        ]
        joins = " ".join(
            f"JOIN {quoted(name)} lineal_{place} ON lineal_{place}.row_id = r.row_id"
            for place, name in enumerate(self._tables)
        )
        return f"SELECT r.position, {', '.join(added)} FROM (SELECT row_id, position FROM rows) r {joins}"

    @staticmethod
    def _beside(session: Session, rows: Rows, progress: Progress) -> Iterator[pa.Table]:
        for table, added in beside(
            session, rows, "SELECT * EXCLUDE (position) FROM lineal_joined ORDER BY position"
        ):
            progress.advance(table.num_rows)
            yield with_columns(table, added)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _added(word: str, rows: Columns, table: Columns) -> dict[str, str]:
    """Returns the new name of each column of a joined table; one that begins with the word already keeps its name."""
    said = [name for name in table if name not in rows or name in SAID]
    return {name: name if name.startswith(f"{word}_") else f"{word}_{name}" for name in said}


def _require_same_rows(session: Session, name: str, views: Mapping[str, Rows]) -> None:
    """Checks that a table has each of the rows, and no other.

    Raises:
        DataError: says how many rows are on one side only.
    """
    here, there = (
        session.fetch(f"SELECT count(*) FROM {quoted(one)} ANTI JOIN {quoted(other)} USING (row_id)")[0][0]
        for one, other in (("rows", name), (name, "rows"))
    )
    if here or there:
        rows, table = views["rows"], views[name]
        raise DataError(
            f"join: {here:,} of {rows.count:,} rows are not in {name}, and {there:,} of {table.count:,} rows of {name} are not "
            f"in rows ({_keys(rows)}; {_keys(table)}). Join tables of the same rows, and select after it"
        )


def _require_equal(session: Session, name: str, views: Mapping[str, Rows]) -> None:
    """Checks that common columns that are not added are equal.

    Raises:
        DataError: names the column, and says in how many rows.
    """
    rows, table = views["rows"].columns, views[name].columns
    for column in [one for one in table if one not in _added(name, rows, table)]:
        there = f"r.{quoted(column)} IS DISTINCT FROM t.{quoted(column)}"
        count = session.fetch(
            f"SELECT count(*) FROM rows r JOIN {quoted(name)} t USING (row_id) WHERE {there}"
        )[0][0]
        if count:
            fix = "Give one of them another name where it is made"
            raise DataError(
                f"join: {column!r} of {name} differs from that of rows in {count:,} of {views[name].count:,} rows. {fix}"
            )


def _keys(rows: Rows) -> str:
    return ", ".join(artifact.key for artifact in rows.artifacts)
