"""A completion is right when it is the reference answer, letter for letter, but for whitespace around it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from lineal.components.base import Columns
from lineal.components.verifiers.base import ERROR, FAIL, PASS, Judged, RowVerifier

if TYPE_CHECKING:
    import pyarrow as pa

    from lineal.data.progress import Progress

DIFFERS = "differs from the answer"
LACKS = "does not contain the answer"
EMPTY = "the completion is empty, and so is the answer"
EVERYWHERE = "the answer is empty, and every completion contains nothing"


class ExactMatch(RowVerifier):
    """Compares completion and answer. Nothing written is never right, also where the answer is empty.

    Attributes:
        ignore_case: whether upper and lower case are the same.
        contained: whether it is enough that the answer stands somewhere in the completion.
    """

    version: ClassVar[int] = 2
    reads: ClassVar[Columns] = ("completion", "answer")

    ignore_case: bool = False
    contained: Annotated[bool, Field(exclude_if=lambda value: not value)] = False

    def score(self, table: pa.Table, progress: Progress) -> Judged:
        """Compares whole columns at once."""
        import pyarrow as pa
        import pyarrow.compute as pc

        texts = self._plain(table["completion"]), self._plain(table["answer"])
        right = _contains(*texts) if self.contained else pc.equal(*texts)
        progress.advance(table.num_rows)
        return Judged(
            verdict=pc.if_else(right, PASS, FAIL),
            score=right.cast(pa.float64()),
            detail=pc.if_else(right, pa.scalar(None, pa.string()), LACKS if self.contained else DIFFERS),
        )

    def _prejudged(self, table: pa.Table) -> tuple[Any, Any]:
        """Decides as every row verifier; also a fail for two empty texts, an error where an empty answer would be contained."""
        import pyarrow.compute as pc

        verdict, detail = super()._prejudged(table)
        completion, answer = (pc.equal(self._plain(table[name]), "") for name in self.reads)
        blank = answer if self.contained else pc.and_(completion, answer)
        unjudged = pc.and_(pc.is_null(verdict), pc.fill_null(blank, False))
        found = (ERROR, EVERYWHERE) if self.contained else (FAIL, EMPTY)
        return pc.if_else(unjudged, found[0], verdict), pc.if_else(unjudged, found[1], detail)

    def _plain(self, texts: pa.ChunkedArray) -> pa.ChunkedArray:
        import pyarrow.compute as pc

        trimmed = pc.utf8_trim_whitespace(texts)
        return pc.utf8_lower(trimmed) if self.ignore_case else trimmed


def _contains(completions: pa.ChunkedArray, answers: pa.ChunkedArray) -> pa.Array:
    import pyarrow as pa

    pairs = zip(completions.to_pylist(), answers.to_pylist(), strict=True)
    return pa.array(
        [
            completion is not None and answer is not None and answer in completion
            for completion, answer in pairs
        ]
    )
