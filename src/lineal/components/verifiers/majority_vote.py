"""The answer that most samples of a prompt agree on replaces the reference (arXiv:2203.11171; as filter, 2210.11610)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from lineal.components.base import Columns, Workspace
from lineal.components.selectors.query import Session, beside, open_session, table_session, with_columns
from lineal.components.verifiers.base import (
    ERROR,
    FAIL,
    NO_ANSWER,
    NO_COMPLETION,
    PASS,
    TRUNCATED,
    VERDICT,
    Pattern,
    Share,
    Verifier,
    answer_in,
)
from lineal.data.schema import arrow_type, types_of
from lineal.data.sql import literal
from lineal.data.store import Rows

if TYPE_CHECKING:
    import pyarrow as pa

    from lineal.data.progress import Progress

VOTE: Columns = ("voted", "votes", "vote_share", "vote_margin")
_CASES = (
    ("completion IS NULL", ERROR, NO_COMPLETION),
    ("prompt_id IS NULL", ERROR, "the row has no prompt_id"),
    ("truncated", FAIL, TRUNCATED),
    ("voted IS NULL", FAIL, NO_ANSWER),
    ("votes < most", FAIL, "not the leading answer"),
    ("leaders > 1", FAIL, "the lead is shared"),
    ("vote_share < {agreement!r}", FAIL, "vote_share below agreement"),
)
"""The rules for a row, in this order; a row that none fits passes."""


class MajorityVote(Verifier):
    """Passes the samples whose answer alone leads the vote of their prompt's samples. Needs no reference answer.

    Truncated samples and samples without an answer count among the samples, but cannot win.

    Attributes:
        agreement: the least share of the samples that the leading answer must have.
        extract: RE2 regular expression; its first group is the answer inside the completion. None takes all of it.
        score: its answer's 'share' of the votes, 1 and 0 by the 'verdict' (SRT's reward, arXiv:2505.21444), or the 'margin': the
            votes of its answer less those of the strongest other one, as a share of the samples, from -1 to 1.
    """

    added: ClassVar[Mapping[str, str]] = types_of(*VOTE, *VERDICT)
    reads: ClassVar[Columns] = ("prompt_id", "completion")

    agreement: Share = 0.0
    extract: Pattern | None = None
    score: Annotated[
        Literal["share", "verdict", "margin"], Field(exclude_if=lambda value: value == "share")
    ] = "share"

    def judge(self, table: pa.Table, progress: Progress) -> pa.Table:
        """Counts over the samples in one table."""
        import pyarrow as pa

        with table_session(table, (*self.reads, "finish_reason")) as session:
            self._vote(session)
            votes = session.connection.sql(self._wanted()).to_arrow_table()
        progress.advance(table.num_rows)
        return pa.table(
            {self.column(name): votes[name].cast(arrow_type(name)) for name in votes.column_names}
        )

    def run(self, workspace: Workspace) -> None:
        """Counts over the whole input, out of core."""
        rows = workspace.rows("rows")
        with (
            workspace.timed("verify"),
            open_session(workspace, {"rows": rows}, ("finish_reason",)) as session,
        ):
            self._vote(session)
            with workspace.progress(rows.count, "rows") as progress:
                workspace.write_rows(self._voted(session, rows, progress))
        self.finish(workspace)

    def _voted(self, session: Session, rows: Rows, progress: Progress) -> Iterator[pa.Table]:
        for table, votes in beside(session, rows, self._wanted()):
            progress.advance(table.num_rows)
            yield with_columns(
                table, votes.rename_columns([self.column(name) for name in votes.column_names])
            )

    def _vote(self, session: Session) -> None:
        for name, query in self._tables().items():
            session.create(name, query)

    def _wanted(self) -> str:
        return f"SELECT {', '.join(self.added)} FROM judged ORDER BY position"

    def _tables(self) -> Mapping[str, str]:
        return {
            "answers": "SELECT position, prompt_id, completion, coalesce(finish_reason = 'length', false) AS truncated, "
            f"CASE WHEN NOT truncated THEN {answer_in('completion', self.extract)} END AS voted FROM rows",
            "tallies": "SELECT prompt_id, voted, count(*) AS votes FROM answers WHERE voted IS NOT NULL GROUP BY ALL",
            "ranked": "SELECT *, row_number() OVER (PARTITION BY prompt_id ORDER BY votes DESC, voted) AS place, "
            "max(votes) OVER (PARTITION BY prompt_id) AS top FROM tallies",
            "leads": "SELECT prompt_id, max(votes) AS most, count(*) FILTER (votes = top) AS leaders, "
            "coalesce(max(votes) FILTER (place = 2), 0) AS second FROM ranked GROUP BY prompt_id",
            "samples": "SELECT prompt_id, count(*) AS samples FROM answers WHERE completion IS NOT NULL GROUP BY prompt_id",
            "judged": self._judged(),
        }

    def _judged(self) -> str:
        score = {"share": "vote_share", "verdict": f"(verdict = {literal(PASS)})::DOUBLE", "margin": "ahead"}[
            self.score
        ]
        return f"""
            SELECT position, voted, votes, vote_share, vote_margin, {self._case(1, literal(PASS))} AS verdict,
                CASE WHEN completion IS NOT NULL AND prompt_id IS NOT NULL THEN {score} END AS score,
                {self._case(2, "NULL")} AS detail
            FROM (SELECT position, a.prompt_id, completion, truncated, a.voted, coalesce(t.votes, 0) AS votes, most, leaders,
                    coalesce(t.votes, 0) / samples AS vote_share, coalesce(most - second, 0) / samples AS vote_margin,
                    coalesce(coalesce(t.votes, 0) - if(t.votes = most, second, most), 0) / samples AS ahead
                FROM answers a LEFT JOIN tallies t ON a.prompt_id = t.prompt_id AND a.voted = t.voted
                LEFT JOIN leads l ON a.prompt_id = l.prompt_id LEFT JOIN samples s ON a.prompt_id = s.prompt_id)
        """

    def _case(self, column: int, otherwise: str) -> str:
        parts = " ".join(
            f"WHEN {case[0].format(agreement=self.agreement)} THEN {literal(case[column])}" for case in _CASES
        )
        return f"CASE {parts} ELSE {otherwise} END"
