"""`refusals`: the precision of the answers that a model gives, and how often it refuses (Auto-CEI, arXiv:2410.07627)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

import pydantic

from lineal.components.base import MAIN, Columns, Output, RowsRef, Workspace
from lineal.components.evaluators.base import CLUSTER, Evaluator, by_prompt
from lineal.components.evaluators.metrics import Numbers, write_evaluation
from lineal.components.selectors.query import open_session
from lineal.components.verifiers.base import Share
from lineal.data.estimates import ratio
from lineal.data.sql import literal
from lineal.errors import DataError

Counts = tuple[int, int, int]
"""A prompt's right rows, refusing ones, and all of them."""


class Refusals(Evaluator):
    """Writes, over all rows and by difficulty:

    - `precision`: right answers among the answers that were given (0 where none was);
    - `refusal_rate`: the share of rows that refuse;
    - `objective`: (1 - `laziness`) * precision + `laziness` * (1 - refusal_rate), what Auto-CEI climbs.

    Attributes:
        rows: judged rows; a refusal is one that failed and whose completion ends in `refusal`.
        refusal: the text of a refusal.
        laziness: how much a refusal costs (lambda in the paper).
    """

    headline: ClassVar[str] = "objective"

    rows: RowsRef
    refusal: Annotated[str, pydantic.Field(min_length=1)]
    laziness: Share = 0.2

    def needs(self) -> dict[str, Columns]:
        return {"rows": ("completion", "verdict")}

    def outputs(self, inputs: Mapping[str, Columns]) -> dict[str, Output]:
        return {MAIN: self.metrics("count", "precision", "refusal_rate", "objective")}

    def run(self, workspace: Workspace) -> None:
        """Counts answers and refusals."""
        refuses = f"verdict = 'fail' AND coalesce(ends_with(completion, {literal(self.refusal)}), false)"
        with open_session(
            workspace, {"rows": workspace.rows("rows")}, ("prompt_id", "difficulty")
        ) as session:
            found = by_prompt(
                session,
                f"SELECT {CLUSTER}, min(difficulty), count(*) FILTER (verdict = 'pass'), count(*) FILTER ({refuses}), count(*) "
                "FROM rows WHERE verdict IN ('pass', 'fail') GROUP BY 1",
            )
        if not found:
            raise DataError(
                f"{workspace.step}: no row of {workspace.inputs['rows'][0].key} has verdict pass or fail"
            )
        write_evaluation(workspace, self.headline, found, self._metrics)

    def _metrics(self, counts: list[Counts]) -> Numbers:
        right, refused, rows = (list(column) for column in zip(*counts, strict=True))
        refusal_rate = ratio(refused, rows)
        given = [all_rows - refusing for all_rows, refusing in zip(rows, refused, strict=True)]
        kept = refusal_rate.times(-self.laziness, plus=self.laziness)
        if not any(given):
            return {"count": sum(rows), "precision": 0.0, "refusal_rate": refusal_rate, "objective": kept}
        precision = ratio(right, given)
        objective = precision.times(1 - self.laziness) + kept
        return {
            "count": sum(rows),
            "precision": precision,
            "refusal_rate": refusal_rate,
            "objective": objective,
        }
