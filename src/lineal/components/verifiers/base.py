"""The common part of verifiers: verdict, score and detail on every row, and a limit on errors."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import pydantic
from annotated_types import Ge, Le

from lineal.components.base import MAIN, Columns, Component, Output, Role, RowsRef, Workspace, merged
from lineal.components.selectors.query import with_columns
from lineal.components.verifiers.columns import typed_columns, undeclared
from lineal.data.schema import arrow_types, types_of
from lineal.data.sql import literal, small_cursor
from lineal.errors import CheckFailure, DataError
from lineal.recipe.references import NAME, ArtifactKind

if TYPE_CHECKING:
    import pyarrow as pa

    from lineal.data.progress import Progress

VERDICT: Columns = ("verdict", "score", "detail")
PASS, FAIL, ERROR = "pass", "fail", "error"
TRUNCATED = "truncated at the token limit"
NO_ANSWER = "no answer found in the completion"
NO_COMPLETION = "the row has no completion"

Share = Annotated[float, Ge(0.0), Le(1.0), pydantic.Strict(False)]
_GROUP = re.compile(r"(?<!\\)\((?!\?(?!P<|<))")
_PLAIN = re.compile(r"(?:\\[dDsSwWbB.()\[\]{}*+?^$|/\\-]|[^\\{}(*+?]|\((?!\?)|\(\?:|[*+?](?!\+))+", re.DOTALL)
"""No braces of repetition, no extensions but `(?:`, no possessive repeats, and only these escapes."""


@cache
def _with_group(value: str) -> str:
    """Checks that an `extract` setting is an expression with a group.

    Raises:
        ValueError: it has no group, or RE2 does not take it.
    """
    if not _GROUP.search(value):
        raise ValueError("needs a group in parentheses around the answer, such as '#### *(.+)'")
    if not _is_plain(value):
        _require_re2(value)
    return value


def _is_plain(value: str) -> bool:
    """Tells whether Python and RE2 read an expression alike, so that the plan need not load DuckDB for it."""
    try:
        re.compile(value)
    except re.error:
        return False
    return bool(_PLAIN.fullmatch(value))


def _require_re2(value: str) -> None:
    import duckdb
    import pyarrow as pa

    try:
        extracted(pa.chunked_array([pa.array(["x"])]), value)
    except duckdb.Error as error:
        problem = str(error).strip().splitlines()[0]
        raise ValueError(
            f"{value!r} is no RE2 expression ({problem}). RE2 has no look-around and no back-references"
        ) from error


Pattern = Annotated[str, pydantic.AfterValidator(_with_group)]
"""A regular expression (RE2) with a group around the answer."""


@dataclass(frozen=True)
class Judged:
    """Verdicts, scores (null for errors) and details of some rows, in order, and what else the verifier adds."""

    verdict: pa.Array
    score: pa.Array
    detail: pa.Array
    further: Mapping[str, pa.Array] = field(default_factory=dict)


class AddsColumns(Component):
    """Base of components that judge every row and add columns to it.

    Class attributes:
        added: the columns that it adds, each with its type ('string', 'double', 'int64', 'bool', ...; `data.schema.TYPES`).
        reads: the columns that must be there.

    Attributes:
        rows: what to judge.
        name: put before the added columns' names, for rows that have a verdict already.
    """

    role: ClassVar[Role] = Role.VERIFIER
    added: ClassVar[Mapping[str, str]]
    reads: ClassVar[Columns] = ("completion",)

    rows: RowsRef
    name: str = ""

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Refuses a class whose `added` has no types, or other ones than lineal's own columns have."""
        super().__pydantic_init_subclass__(**kwargs)
        problem = undeclared(getattr(cls, "added", {}))
        if problem:
            raise TypeError(f"{cls.__qualname__}.added {problem}")

    @pydantic.field_validator("name")
    @classmethod
    def _is_name(cls, value: Any) -> Any:
        if isinstance(value, str) and value and not NAME.match(value):
            raise ValueError("must be a lower-case word")
        return value

    def column(self, name: str) -> str:
        """Returns an added column under this verifier's name."""
        return f"{self.name}_{name}" if self.name else name

    @classmethod
    def judges_tables(cls) -> bool:
        """Tells whether it can judge rows that another component has made, and not only those of a node."""
        return cls.judge is not AddsColumns.judge

    @contextmanager
    def ready(self, workspace: Workspace) -> Iterator[None]:
        """Opens what `judge` needs while rows are judged: processes, a model. This one needs nothing."""
        yield

    def judge(self, table: pa.Table, progress: Progress) -> pa.Table:
        """Returns the added columns of some rows, in their order, inside `ready`; all samples of a prompt are in one table."""
        raise NotImplementedError

    def judged(self, table: pa.Table, progress: Progress) -> pa.Table:
        """Returns the result of `judge`, with the types that `added` declares.

        Raises:
            DataError: it is not what `added` declares, or a verdict is none.
        """
        import pyarrow as pa

        given = self.judge(table, progress)
        added = {self.column(name): kind for name, kind in self.added.items()}
        with self._naming("judge"):
            if not isinstance(given, pa.Table):
                raise ValueError(f"gave {given!r:.60} (a {type(given).__name__}); expected a pyarrow table")
            columns = typed_columns(
                dict(zip(given.column_names, given.columns, strict=True)), added, table.num_rows
            )
            if "verdict" in self.added:
                _require_verdicts(columns[self.column("verdict")])
        return pa.table(columns)

    @contextmanager
    def _naming(self, method: str) -> Iterator[None]:
        """Names the class's method in errors about its result."""
        try:
            yield
        except ValueError as error:
            where = f"{type(self).__module__}.{type(self).__qualname__}.{method}"
            raise DataError(
                f"verifier {self.use!r}: {where} {error}. Correct the class, and raise its version"
            ) from error

    def needs(self) -> dict[str, Columns]:
        """Returns the columns that it reads."""
        return {"rows": self.reads}

    def outputs(self, inputs: Mapping[str, Columns]) -> dict[str, Output]:
        """Returns the rows with the added columns.

        Raises:
            ValueError: the rows have such a column already.
        """
        added = tuple(self.column(name) for name in self.added)
        for name in added:
            if name in inputs["rows"]:
                fix = f"Set name: WORD to write WORD_{name.removeprefix(self.name + '_')} beside it"
                raise ValueError(
                    f"{self.use}: the rows have a column {name!r} already, from another verifier. {fix}"
                )
        return {MAIN: Output(ArtifactKind.ROWS, merged(inputs["rows"], added))}


class Verifier(AddsColumns):
    """Adds a verdict to every row: pass, fail, or error when the verifier itself could not say.

    Attributes:
        max_error_rate: the share of errors above which the step fails.
    """

    added: ClassVar[Mapping[str, str]] = types_of(*VERDICT)

    max_error_rate: Share = 0.05

    def finish(self, workspace: Workspace) -> None:
        """Counts the written verdicts.

        Raises:
            CheckFailure: too many of them are errors.
        """
        import pyarrow.compute as pc

        table = written(workspace, [self.column(name) for name in ("verdict", "detail")])
        verdicts = table[self.column("verdict")]
        workspace.counts.update(
            {verdict: pc.sum(pc.equal(verdicts, verdict)).as_py() or 0 for verdict in (PASS, FAIL, ERROR)}
        )
        workspace.counts.update({"in": workspace.rows("rows").count, "out": table.num_rows})
        errors = workspace.counts[ERROR]
        if errors > self.max_error_rate * table.num_rows:
            details = (
                table[self.column("detail")].filter(pc.equal(verdicts, ERROR)).value_counts().to_pylist()
            )
            most = min(details, key=lambda entry: (-entry["counts"], str(entry["values"])))
            raise CheckFailure(
                "verifier_errors",
                f"{workspace.step}: {errors:,} of {table.num_rows:,} verdicts are errors, above max_error_rate "
                f"{self.max_error_rate:g}; the commonest, {most['counts']:,} times: {self.explained(workspace, most['values'])}",
            )

    def explained(self, workspace: Workspace, detail: str) -> str:
        """Explains errors for a message, with their detail, and where to look or what to do."""
        return f"{detail or 'without a reason'}. Look at: lineal show {workspace.inputs['rows'][0].key} --limit 20"


class RowVerifier(Verifier):
    """A verifier that judges each row by itself.

    Attributes:
        extract: RE2 regular expression; its first group is the answer inside the completion. None takes all of it.
    """

    extract: Pattern | None = None

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Refuses a class that does not read completions."""
        super().__pydantic_init_subclass__(**kwargs)
        if isinstance(cls.reads, tuple) and "completion" not in cls.reads:
            raise TypeError(
                f"{cls.__qualname__}.reads is {cls.reads!r}, expected 'completion' too: a RowVerifier judges completions"
            )

    def score(self, table: pa.Table, progress: Progress) -> Judged:
        """Judges rows that have a completion (already extracted) and a reference; advances the progress by each."""
        raise NotImplementedError

    def judge(self, table: pa.Table, progress: Progress) -> pa.Table:
        """Returns the rows with verdict columns; only rows that can be judged reach `score`."""
        import pyarrow as pa
        import pyarrow.compute as pc

        table = table.combine_chunks()
        verdict, detail = self._prejudged(table)
        table, judgeable = self._extracted(table), pc.is_null(verdict)
        missed = pc.and_(judgeable, pc.is_null(table["completion"]))
        verdict, detail = pc.if_else(missed, FAIL, verdict), pc.if_else(missed, NO_ANSWER, detail)
        score = pc.if_else(pc.equal(verdict, FAIL), 0.0, pa.scalar(None, pa.float64()))
        types = arrow_types()
        further = {
            name: pa.nulls(table.num_rows, types[kind])
            for name, kind in self.added.items()
            if name not in VERDICT
        }
        judgeable = pc.is_null(verdict)
        asked = table.filter(judgeable)
        progress.advance(table.num_rows - asked.num_rows)
        if asked.num_rows:
            judged = self._columns_of(self.score(asked, progress), asked.num_rows)
            verdict, score, detail = (
                _filled(before, judgeable, judged[name])
                for name, before in zip(VERDICT, (verdict, score, detail), strict=True)
            )
            further = {name: _filled(nulls, judgeable, judged[name]) for name, nulls in further.items()}
        columns = {"verdict": verdict, "score": score, "detail": detail, **further}
        return pa.table({self.column(name): values for name, values in columns.items()})

    def _columns_of(self, judged: Judged, count: int) -> dict[str, Any]:
        """Converts the result of `score` to the columns' types.

        Raises:
            DataError: it is not what `added` declares, or a verdict is none.
        """
        with self._naming("score"):
            if not isinstance(judged, Judged):
                raise ValueError(f"gave {judged!r:.60} (a {type(judged).__name__}); expected a Judged")
            given = {name: getattr(judged, name) for name in VERDICT} | dict(judged.further)
            columns = typed_columns(given, self.added, count)
            _require_verdicts(columns["verdict"])
        return columns

    def _prejudged(self, table: pa.Table) -> tuple[Any, Any]:
        """Returns verdict and detail of rows that are decided without the answer; null for the others."""
        import pyarrow as pa
        import pyarrow.compute as pc

        null = pa.scalar(None, pa.string())
        verdict, detail = pa.nulls(table.num_rows, pa.string()), pa.nulls(table.num_rows, pa.string())
        if "finish_reason" in table.column_names:
            cut = pc.fill_null(pc.equal(table["finish_reason"], "length"), False)
            verdict, detail = pc.if_else(cut, FAIL, null), pc.if_else(cut, TRUNCATED, null)
        for column in self.reads:
            missing = pc.is_null(table[column])
            message = NO_COMPLETION if column == "completion" else f"the row has no {column}"
            verdict, detail = pc.if_else(missing, ERROR, verdict), pc.if_else(missing, message, detail)
        return verdict, detail

    def _extracted(self, table: pa.Table) -> pa.Table:
        if self.extract is None:
            return table
        answers = extracted(table["completion"], self.extract)
        return table.set_column(table.column_names.index("completion"), "completion", answers)

    def run(self, workspace: Workspace) -> None:
        """Judges all rows, slice by slice."""

        def transform(table: pa.Table, progress: Progress) -> pa.Table:
            return with_columns(table, self.judged(table, progress))

        with self.ready(workspace), workspace.timed("verify"):
            workspace.map_rows(workspace.rows("rows"), transform)
        self.finish(workspace)


def _require_verdicts(verdicts: Any) -> None:
    import pyarrow.compute as pc

    for verdict in pc.unique(verdicts).to_pylist():
        if verdict not in (PASS, FAIL, ERROR):
            raise ValueError(f"gave the verdict {verdict!r}; expected {PASS!r}, {FAIL!r} or {ERROR!r}")


def _filled(values: Any, mask: Any, replacements: Any) -> Any:
    """Replaces `values` by `replacements`, in order, where `mask` is true."""
    import pyarrow as pa
    import pyarrow.compute as pc

    def flat(array: Any) -> Any:
        return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array

    return pc.replace_with_mask(flat(values), flat(mask), flat(replacements))


def extracted(texts: pa.ChunkedArray, pattern: str) -> pa.ChunkedArray:
    """Extracts the first group in each text, null where the expression doesn't match; linear in the text's length (RE2)."""
    import pyarrow as pa

    with small_cursor() as connection:
        connection.register("texts", pa.table({"text": texts}))
        found: pa.Table = connection.sql(
            f"SELECT {extraction('text', pattern)} AS answer FROM texts"
        ).to_arrow_table()
        return found["answer"].cast(pa.string())


def extraction(column: str, pattern: str | None) -> str:
    """Writes SQL for the answer inside a column's text: the expression's first group, null where it doesn't match."""
    if pattern is None:
        return column
    return f"CASE WHEN regexp_matches({column}, {literal(pattern)}) THEN regexp_extract({column}, {literal(pattern)}, 1) END"


_SPACE = r"[\s\x0b\x1c-\x1f\x{85}\p{Z}]+"


def answer_in(column: str, pattern: str | None) -> str:
    """Writes SQL for the answer inside a column's text, whitespace around it removed; null where there is none."""
    return f"nullif(regexp_replace({extraction(column, pattern)}, {literal(f'^{_SPACE}|{_SPACE}$')}, '', 'g'), '')"


def written(workspace: Workspace, columns: list[str], output: str = MAIN) -> pa.Table:
    """Reads some columns of an output that was just written."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    files = sorted(workspace.directory(output).glob("*.parquet"))
    return pa.concat_tables([pq.ParquetFile(path).read(columns=columns) for path in files])
