"""`judge`: any checkpoint judges rows (arXiv:2306.05685; as its own judge, arXiv:2401.10020, section 2).

A rubric, a checklist, a comparison of two answers, a judgment of judgments, a critique with a verdict in it and a revision
that leaves the answer as it was differ in template, reading and threshold alone (docs/roles.md).
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import fsum, isfinite
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

import pydantic
from annotated_types import Len

from lineal.components.base import MAIN, Columns, Output, Workspace, merged
from lineal.components.generators.asking import Asker, asked_columns
from lineal.components.generators.drawing import require_distinct, sampled_columns
from lineal.components.selectors.query import BATCH_ROWS, with_columns
from lineal.components.verifiers.base import ERROR, FAIL, PASS, VERDICT, Pattern, Verifier, extracted
from lineal.data.schema import arrow_type, row_key
from lineal.data.store import slices_of
from lineal.engines.factory import open_sampler
from lineal.engines.sampling.saved_completions import SavedSampler
from lineal.errors import DataError
from lineal.recipe.references import ArtifactKind

if TYPE_CHECKING:
    import pyarrow as pa

    from lineal.data.progress import Progress

JUDGMENTS = "judgments"
_AS_DRAWN = "drawn"
"""The judgments before they are read; not published. They are what the saved work holds, so that another `extract` reads it."""
MOST_LETTERS = 200
"""Characters of a judgment in a message."""
LEFT_OUT = ("answer", "entry")
"""Columns of a judged row that its judgments don't have: they belong to the row's prompt, not to the judge's."""


class Judge(Asker, Verifier):
    """Has a checkpoint judge every row `samples` times; the score is the mean of what could be read.

    The judged rows get verdict, score and, as detail, the text of the first judgment that could be read; a row of whose
    judgments none could be is an error, and its detail the first of them. Output `judgments`: every judgment as a row of
    its own, with the judge's prompt, its text, its score (null if it could not be read) and the judged row as parent.

    Attributes:
        threshold: the least score that is a pass.
        extract: RE2 regular expression; its first group is the score inside a judgment. None takes all of it.
        words: what a word in that place is worth; without it, there must be a number.
        repeats: a column of the judged rows, in place of `words`: a judgment that repeats its text, but for whitespace around
            it, is worth 1, any other that can be read 0. For a checkpoint that answers again or corrects.
    """

    rereads: ClassVar[frozenset[str]] = frozenset(
        {"extract", "words", "repeats", "threshold", "max_error_rate", "name"}
    )

    threshold: float
    extract: Pattern | None = None
    words: dict[str, float] | None = None
    repeats: Annotated[str, Len(1)] | None = None
    _asks: tuple[Workspace, SavedSampler] = pydantic.PrivateAttr()

    @pydantic.field_validator("words")
    @classmethod
    def _has_words(cls, words: dict[str, float] | None) -> dict[str, float] | None:
        if words is not None and (not words or not all(isfinite(worth) for worth in words.values())):
            raise ValueError("must give a number for each word, such as {yes: 1, no: 0}")
        return words

    @pydantic.model_validator(mode="after")
    def _has_one_reading(self) -> Self:
        if self.words is not None and self.repeats is not None:
            raise ValueError("words and repeats: a judgment is read in one way; leave one of them out")
        return self

    def needs(self) -> dict[str, Columns]:
        """Returns the columns that the template fills in, and the one to repeat."""
        columns = super().needs()["rows"]
        return {"rows": columns if self.repeats is None else merged(columns, (self.repeats,))}

    def outputs(self, inputs: Mapping[str, Columns]) -> dict[str, Output]:
        sampled = sampled_columns(asked_columns(inputs["rows"]), self._adds)
        columns = tuple(name for name in sampled if name not in LEFT_OUT)
        return {
            **Verifier.outputs(self, inputs),
            JUDGMENTS: Output(ArtifactKind.ROWS, (*columns, "score")),
        }

    @contextmanager
    def ready(self, workspace: Workspace) -> Iterator[None]:
        """Opens the checkpoint of the judge."""
        self._asks = workspace, open_sampler(workspace, "model")
        yield

    def judge(self, table: pa.Table, progress: Progress) -> pa.Table:
        """Returns the checkpoint's judgement of some rows. They are no rows of their own; one of each row is its detail."""
        step, sampler = self._asks
        judgments = self.ask(step, sampler, table, lambda completions: None)
        progress.advance(table.num_rows)
        return self._columns(
            self._told_of(self._scores(table, judgments["completion"]), judgments["completion"])
        )

    def run(self, workspace: Workspace) -> None:
        """Writes the judgments shard by shard, then the verdicts from them."""
        rows = workspace.rows("rows")
        require_distinct(rows, row_key(rows.columns), workspace.step)
        sampler = open_sampler(workspace, "model")

        def transform(table: pa.Table, progress: Progress) -> pa.Table:
            judgments = self.ask(workspace, sampler, table, progress.advance)
            return judgments.drop_columns([name for name in LEFT_OUT if name in judgments.column_names])

        workspace.map_rows(rows, transform, self.samples, JUDGMENTS, _AS_DRAWN)
        workspace.counts["unreadable"] = 0
        written = workspace.write_outputs(self._judged(workspace), [MAIN, JUDGMENTS])
        workspace.counts[JUDGMENTS] = written[JUDGMENTS]
        self.finish(workspace)

    def _scores(self, rows: pa.Table, texts: pa.ChunkedArray) -> pa.Array:
        """Returns the score in each judgment of some rows, null where that cannot be read."""
        import pyarrow as pa

        places = (texts if self.extract is None else extracted(texts, self.extract)).to_pylist()
        if self.repeats is None:
            scores = [self._score(text) for text in places]
        else:
            given = [text for text in self._repeatable(rows) for _ in range(self.samples)]
            scores = [
                None if text is None else float(text.strip() == one)
                for text, one in zip(places, given, strict=True)
            ]
        return pa.array(scores, arrow_type("score"))

    def _repeatable(self, rows: pa.Table) -> list[str]:
        """Returns by row the text that a judgment may repeat."""
        texts = rows[self.repeats].to_pylist()
        for place, text in enumerate(texts):
            if not isinstance(text, str):
                which = rows[row_key(rows.column_names)][place]
                raise DataError(
                    f"row {which} has no text in {self.repeats!r} that a judgment could repeat, but {text!r}. "
                    "Name a column of texts, or leave such rows out with a selector"
                )
        return [text.strip() for text in texts]

    def _score(self, text: str | None) -> float | None:
        word = (text or "").strip()
        if self.words is not None:
            return self.words.get(word)
        try:
            score = float(word)
        except ValueError:
            return None
        return score if isfinite(score) else None

    def _judged(self, workspace: Workspace) -> Iterator[dict[str, pa.Table]]:
        """Yields the rows and their judgments with scores, slice by slice; the drawn judgments are in the rows' order."""
        rows, files = workspace.rows("rows"), sorted(workspace.directory(_AS_DRAWN).glob("*.parquet"))
        size = max(1, BATCH_ROWS // self.samples)
        slices = zip(rows.slices(size), slices_of(files, size * self.samples), strict=True)
        for (_, _, table), (_, _, judgments) in slices:
            scores = self._scores(table, judgments["completion"])
            workspace.counts["unreadable"] += scores.null_count
            told = self._columns(self._told_of(scores, judgments["completion"]))
            yield {MAIN: with_columns(table, told), JUDGMENTS: judgments.append_column("score", scores)}

    def _told_of(self, scores: pa.Array, texts: pa.ChunkedArray) -> list[tuple[str, float | None, str]]:
        """Returns verdict, score and detail of each row, of whose judgments `samples` are adjacent."""
        worth, words = scores.to_pylist(), texts.to_pylist()
        starts = range(0, len(worth), self.samples)
        return [self._told(worth[at : at + self.samples], words[at : at + self.samples]) for at in starts]

    def _told(self, scores: list[float | None], texts: list[str]) -> tuple[str, float | None, str]:
        """Returns verdict, score and detail of one row."""
        readable = [(score, text) for score, text in zip(scores, texts, strict=True) if score is not None]
        if not readable:
            return ERROR, None, texts[0]
        score = fsum(score for score, _ in readable) / len(readable)
        return (PASS if score >= self.threshold else FAIL), score, readable[0][1]

    def explained(self, workspace: Workspace, detail: str) -> str:
        """Explains a judgment that could not be read, and what happens to the saved ones."""
        text = (
            repr(detail[:MOST_LETTERS]) + (" ..." if len(detail) > MOST_LETTERS else "")
            if detail.strip()
            else "an empty text"
        )
        sought = "no number" if self.words is None else f"none of {', '.join(self.words)}"
        if self.repeats is not None:
            sought = "nothing"
        found = (
            f"in which extract {self.extract!r} finds {sought}"
            if self.extract
            else f"which without extract is {sought}"
        )
        fix = "Correct extract or the template, or raise max_tokens, in which a reasoning model may not come to its answer"
        if workspace.equal_bytes is None:
            return f"{text}, {found}. {fix}"
        folder = shlex.quote(str(workspace.partial.relative_to(workspace.project)))
        return f"{text}, {found}. {fix}. The answers are saved, and the next run reads these; to ask again: rm -r {folder}"

    def _columns(self, told: list[tuple[str, float | None, str]]) -> pa.Table:
        import pyarrow as pa

        columns: dict[str, Any] = {}
        for index, name in enumerate(VERDICT):
            columns[self.column(name)] = pa.array([entry[index] for entry in told], arrow_type(name))
        return pa.table(columns)
