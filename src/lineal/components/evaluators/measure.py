"""`measure`: an evaluation whose numbers an SQL file computes, from rows of this round and of others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any, ClassVar, Self

from pydantic import PrivateAttr

from lineal.components.base import MAIN, Columns, Output, Surroundings, Workspace
from lineal.components.evaluators.base import Evaluator
from lineal.components.evaluators.metrics import Numbers, difficulty_label, write_metrics
from lineal.components.evaluators.watch import Watch, parse_watch
from lineal.components.selectors.binding import BESIDE_NUMBERS
from lineal.components.selectors.decide import input_views
from lineal.components.selectors.header import Selector
from lineal.components.selectors.query import Session, open_session
from lineal.components.selectors.sql_file import SqlFile
from lineal.data.estimates import Figure, mean
from lineal.data.sql import quoted
from lineal.errors import DataError, DeclarationError, did_you_mean

MEASURED = "lineal_measured"
PROMPT, DIFFICULTY, TASK, PROMPTS = "prompt_id", "difficulty", "task", "prompts"
_NUMBER = ("BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "FLOAT", "DOUBLE", "DECIMAL")


class Measure(Evaluator, SqlFile):
    """Runs `pipelines/measures/SQL.sql`, whose header names the numbers that it `gives`; the first is the headline.

    A query that gives `prompt_id` has one row for each prompt: each number is the mean over the prompts that have a value, with
    its 95% interval, and by `difficulty` and `task` where the query gives them too. Any other query gives one row: the numbers,
    as they are. A number that is null is left out, for all prompts too; where the headline is, the manifest counts them as
    `without NAME`.

    Attributes:
        rows: what it reads.
        sql: the file's name, without `.sql`.

    The file's own settings and further inputs stand beside these:
    `{use: measure, rows: evaluation, sql: gained, before: start.evaluation}`. A file may have warnings of its own; `warnings:`
    overrides them.
    """

    folder: ClassVar[str] = "measures"
    what: ClassVar[str] = "measure"
    version: ClassVar[int] = 1

    _own: dict[str, Watch] = PrivateAttr(default_factory=dict)

    @classmethod
    def parse(cls, settings: Mapping[str, Any], surroundings: Surroundings) -> Self:
        """Makes the component, its settings checked against the file's header.

        Raises:
            pydantic.ValidationError: a setting is unknown, missing or of the wrong type.
            DeclarationError: the file's header is wrong, or names no number.
        """
        component = super().parse(settings, surroundings)
        selector = component._selector
        if not selector.gives:
            raise DeclarationError(
                f"{selector.shown}:1: the header has no '-- gives: NAME, ...' line; name the numbers"
            )
        component._own = _watches(selector)
        return component

    def watched(self) -> dict[str, Watch]:
        return {name: watch for name, watch in {**self._own, **self.warnings}.items() if watch is not None}

    @property
    def headline(self) -> str:
        return self._selector.gives[0]

    @property
    def higher_is_better(self) -> bool | None:
        return {"higher": True, "lower": False}.get(self._selector.better)

    def outputs(self, inputs: Mapping[str, Columns]) -> dict[str, Output]:
        return {MAIN: self.metrics(*self._selector.gives, PROMPTS)}

    def run(self, workspace: Workspace) -> None:
        """Runs the query, and writes its numbers."""
        arguments = {**self._selector.arguments(self._extra), "seed": workspace.seed}
        with open_session(
            workspace, input_views(workspace, self._selector), self._selector.optional, self._selector
        ) as session:
            session.run(MEASURED, self._selector, arguments)
            columns = self._checked(session)
            order = f" ORDER BY {PROMPT}" if PROMPT in columns else ""
            listed = ", ".join(map(quoted, columns))
            rows = [
                dict(zip(columns, row, strict=True))
                for row in session.fetch(f"SELECT {listed} FROM {MEASURED}{order}")
            ]
        self._require_finite(workspace, rows)
        if PROMPT in columns:
            self._write_means(workspace, rows)
        elif len(rows) == 1:
            numbers = {
                name: _number(rows[0][name]) for name in self._selector.gives if rows[0][name] is not None
            }
            write_metrics(workspace, self.headline, numbers, {}, {})
        else:
            fix = "Aggregate all rows into one, or give prompt_id for a value of each prompt"
            raise DataError(
                f"{workspace.step}: {self._selector.shown} gave {len(rows):,} rows without prompt_id, expected one. {fix}"
            )

    def _checked(self, session: Session) -> list[str]:
        """Returns the query's columns: the numbers that the header names, and the columns that identify prompts."""
        given, selector = session.columns(MEASURED), self._selector
        for name in selector.gives:
            if name not in given or not given[name].startswith(_NUMBER):
                got = given.get(name, f"no such column, only {', '.join(given)}")
                raise DeclarationError(f"{selector.shown}: {name!r} must be a number, got {got}")
        other = [name for name in given if name not in (*selector.gives, *BESIDE_NUMBERS)]
        if other:
            raise DeclarationError(
                f"{selector.shown}: the query gives a column {other[0]!r} that '-- gives' doesn't name"
            )
        return list(given)

    def _require_finite(self, workspace: Workspace, rows: list[dict[str, Any]]) -> None:
        for row in rows:
            for name in self._selector.gives:
                if row[name] is not None and not isfinite(row[name]):
                    where = f" of prompt {row[PROMPT]}" if PROMPT in row else ""
                    raise DataError(
                        f"{workspace.step}: {self._selector.shown} gave {row[name]} as {name!r}{where}, expected a number"
                    )

    def _write_means(self, workspace: Workspace, rows: list[dict[str, Any]]) -> None:
        if len({row[PROMPT] for row in rows}) < len(rows) or any(row[PROMPT] is None for row in rows):
            raise DataError(
                f"{workspace.step}: {self._selector.shown} gave two rows of one prompt, or one without prompt_id"
            )
        if not rows:
            raise DataError(
                f"{workspace.step}: {self._selector.shown} gave no row, so there is nothing to evaluate; see its WHERE"
            )
        found = {
            str(row[PROMPT]): float(row[self.headline]) for row in rows if row[self.headline] is not None
        }
        workspace.counts.update({} if found else {f"without {self.headline}": len(rows)})
        split = self._split(rows, DIFFICULTY, difficulty_label), self._split(rows, TASK, str)
        write_metrics(workspace, self.headline, self._means(rows), found, *split)

    def _split(
        self, rows: list[dict[str, Any]], column: str, named: Callable[[Any], str]
    ) -> dict[str, dict[str, float]]:
        """Computes the numbers of the rows with the same value in a column; nothing where the query doesn't give it."""
        groups: dict[str, list[dict[str, Any]]] = {}
        for row in rows:
            if row.get(column) is not None:
                groups.setdefault(named(row[column]), []).append(row)
        return {
            label: {name: _plain(value) for name, value in self._means(part).items()}
            for label, part in groups.items()
        }

    def _means(self, rows: list[dict[str, Any]]) -> Numbers:
        values = {
            name: [float(row[name]) for row in rows if row[name] is not None] for name in self._selector.gives
        }
        shares = {name: all(0 <= value <= 1 for value in found) for name, found in values.items()}
        return {
            PROMPTS: len(rows),
            **{name: mean(found, is_share=shares[name]) for name, found in values.items() if found},
        }


def _watches(selector: Selector) -> dict[str, Watch]:
    """Returns the warnings that the file's header declares for its numbers.

    Raises:
        DeclarationError: a line is about no number of the file, or says something else.
    """
    found = {}
    for name, text in selector.warns.items():
        if name not in selector.gives:
            raise DeclarationError(
                f"{selector.shown}: '-- warns {name}:' {did_you_mean(name, selector.gives)}"
            )
        try:
            found[name] = parse_watch(text)
        except ValueError as error:
            raise DeclarationError(f"{selector.shown}: '-- warns {name}:' {error}") from error
    return found


def _number(value: Any) -> int | float:
    """Converts DuckDB's booleans and decimals to JSON's numbers."""
    return value if type(value) in (int, float) else int(value) if isinstance(value, bool) else float(value)


def _plain(value: Any) -> float:
    return value.value if isinstance(value, Figure) else value
