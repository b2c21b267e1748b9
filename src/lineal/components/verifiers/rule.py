"""`rule`: a score by a formula over a row's columns: a format, a length, a distance, a count."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import pydantic

from lineal.components.base import Columns, merged
from lineal.components.selectors.guard import FORMULA, columns_of_formula
from lineal.components.selectors.header import Selector
from lineal.components.verifiers.base import ERROR, FAIL, PASS, Judged, RowVerifier
from lineal.data.sql import quoted, small_cursor, small_database
from lineal.errors import DeclarationError

if TYPE_CHECKING:
    import pyarrow as pa

    from lineal.data.progress import Progress

NO_VALUE = "the formula has no value here: it fails, or a column that it names is null"


@cache
def formula_columns(formula: str) -> Columns:
    """Returns the columns that a formula names.

    Raises:
        DeclarationError: it is no SQL expression over one row, or gives another result each time.
    """
    import duckdb

    selector = Selector("rule", Path(), FORMULA, f"SELECT ({formula}\n) FROM rows", "")
    with small_database() as connection:
        columns = columns_of_formula(connection, selector)
        nothing = ", ".join(f"NULL AS {quoted(name)}" for name in (*columns, "lineal_place"))
        try:
            connection.execute(f"SELECT ({formula}\n) FROM (SELECT {nothing}) rows LIMIT 0")
        except duckdb.Error as error:
            raise DeclarationError(f"formula: {str(error).strip().splitlines()[0]}") from error
    return columns


def _checked(formula: str) -> str:
    problem = _problem(formula)
    if problem:  # raised out here, for an error that holds the database's objects has DuckDB print about leaks at the end
        raise ValueError(problem)
    return formula


def _problem(formula: str) -> str:
    try:
        formula_columns(formula)
    except DeclarationError as error:
        return str(error)
    return ""


class Rule(RowVerifier):
    """Scores a row by an SQL expression over its own columns, and passes it from `threshold` on.

    True counts as 1 and false as 0. A row whose formula fails, or is null, is an error: write `coalesce` or `try_cast` where
    that means something.

    Attributes:
        formula: `regexp_matches(completion, '^<think>.*</think>')`, `1 - length(completion) / 2000`,
            `abs(try_cast(completion AS DOUBLE) - try_cast(answer AS DOUBLE)) < 0.5`.
        threshold: the least score that is a pass.
    """

    reads: ClassVar[Columns] = ("completion",)

    formula: Annotated[str, pydantic.AfterValidator(_checked)]
    threshold: Annotated[float, pydantic.Strict(False), pydantic.AllowInfNan(False)] = 1.0

    def needs(self) -> dict[str, Columns]:
        """Returns the completion, and the columns that the formula names."""
        return {"rows": merged(self.reads, formula_columns(self.formula))}

    def score(self, table: pa.Table, progress: Progress) -> Judged:
        """Computes the formula for all rows at once."""
        import pyarrow as pa
        import pyarrow.compute as pc

        with small_cursor() as connection:
            connection.register("rows", table.append_column("lineal_place", pa.array(range(table.num_rows))))
            value = f"TRY(CAST((\n{self.formula}\n) AS DOUBLE))"
            query = f"SELECT {value} AS score FROM rows ORDER BY {quoted('lineal_place')}"
            found = connection.sql(query).to_arrow_table()["score"].combine_chunks()
        progress.advance(table.num_rows)
        score = pc.if_else(pc.fill_null(pc.is_finite(found), False), found, pa.scalar(None, pa.float64()))
        verdict = pc.if_else(pc.greater_equal(score, self.threshold), PASS, FAIL)
        detail = pc.if_else(pc.is_null(score), NO_VALUE, pa.scalar(None, pa.string()))
        return Judged(pc.fill_null(verdict, ERROR), score, detail)
