"""A completion is right when it is the reference answer, letter for letter, but for whitespace around it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from lineal.components.base import Columns
from lineal.components.verifiers.base import FAIL, PASS, Judged, RowVerifier

if TYPE_CHECKING:
    import pyarrow as pa

    from lineal.data.progress import Progress

DIFFERS = "differs from the answer"
EMPTY = "the completion is empty, and so is the answer"


class ExactMatch(RowVerifier):
    """Compares completion and answer. Nothing written is never right, also where the answer is empty.

    Attributes:
        ignore_case: whether upper and lower case are the same.
    """

    version: ClassVar[int] = 2
    reads: ClassVar[Columns] = ("completion", "answer")

    ignore_case: bool = False

    def score(self, table: pa.Table, progress: Progress) -> Judged:
        """Compares whole columns at once."""
        import pyarrow as pa
        import pyarrow.compute as pc

        equal = pc.equal(self._plain(table["completion"]), self._plain(table["answer"]))
        progress.advance(table.num_rows)
        return Judged(
            verdict=pc.if_else(equal, PASS, FAIL),
            score=equal.cast(pa.float64()),
            detail=pc.if_else(equal, pa.scalar(None, pa.string()), DIFFERS),
        )

    def _prejudged(self, table: pa.Table) -> tuple[Any, Any]:
        """As for every row verifier, and a fail where both texts are empty."""
        import pyarrow.compute as pc

        verdict, detail = super()._prejudged(table)
        blank = pc.and_(*(pc.equal(self._plain(table[name]), "") for name in self.reads))
        unjudged = pc.and_(pc.is_null(verdict), pc.fill_null(blank, False))
        return pc.if_else(unjudged, FAIL, verdict), pc.if_else(unjudged, EMPTY, detail)

    def _plain(self, texts: pa.ChunkedArray) -> pa.ChunkedArray:
        import pyarrow.compute as pc

        trimmed = pc.utf8_trim_whitespace(texts)
        return pc.utf8_lower(trimmed) if self.ignore_case else trimmed
