"""`agreement`: how far one verifier's verdicts agree with those of another that is taken as ground truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from pydantic import model_validator

from lineal.components.base import MAIN, Columns, Output, RowsRef, Workspace
from lineal.components.evaluators.base import CLUSTER, Evaluator, by_prompt
from lineal.components.evaluators.metrics import Asked, Numbers, write_evaluation
from lineal.components.selectors.query import open_session
from lineal.data.estimates import Estimate, Figure, ratio
from lineal.data.sql import quoted
from lineal.errors import DataError

Counts = tuple[int, int, int, int]
"""A prompt's rows that both pass, that the truth alone passes, that the judge alone passes, and that both fail."""


class Agreement(Evaluator):
    """Compares two verifiers' verdicts on the same rows; rows that either calls an error are counted apart.

    Writes `agreement` (share of equal verdicts), `passed` and `right` (what each passes), `errors`; where the judge passes any,
    `precision` (share of right rows among them) and `gap` (what that is above the share of right rows: the
    generation-verification gap of arXiv:2412.02674); where there are right and wrong rows, `sensitivity` and `specificity`
    (agreement on each), `balanced` (their mean: 0.5 is chance) and `auc` (how often the judge's score puts a right row above
    a wrong one, ties half).

    Attributes:
        rows: rows with both verdicts.
        judge: the name of the verifier that is measured; empty: the one without a name.
        truth: the name of the verifier that is right.
    """

    headline: ClassVar[str] = "agreement"

    rows: RowsRef
    judge: str = ""
    truth: str = ""

    @model_validator(mode="after")
    def _differ(self) -> Agreement:
        if self.judge == self.truth:
            raise ValueError("judge and truth must be two verifiers; set the name of one of them")
        return self

    def needs(self) -> dict[str, Columns]:
        judge = (_column(self.judge, "verdict"), _column(self.judge, "score"))
        return {"rows": (*judge, _column(self.truth, "verdict"))}

    def outputs(self, inputs: Mapping[str, Columns]) -> dict[str, Output]:
        return {MAIN: self.metrics(*NUMBERS)}

    def run(self, workspace: Workspace) -> None:
        """Counts, over all rows and by difficulty."""
        with open_session(
            workspace, {"rows": workspace.rows("rows")}, ("prompt_id", "difficulty")
        ) as session:
            session.create("judged", self._judged())
            found = by_prompt(session, _CELLS)
            total = workspace.rows("rows").count
            above = by_prompt(session, _ABOVE)
        if not found:
            raise DataError(
                f"{workspace.step}: none of {total:,} rows has both verdicts; look at the errors of the two verifiers"
            )
        errors = total - sum(sum(one.counts) for one in found)
        write_evaluation(workspace, self.headline, found, _metrics, **_auc(found, above), errors=errors)

    def _judged(self) -> str:
        judge, truth = quoted(_column(self.judge, "verdict")), quoted(_column(self.truth, "verdict"))
        return (
            f"SELECT {CLUSTER} AS prompt, difficulty, {judge} = 'pass' AS passed, {truth} = 'pass' AS right_, "
            f"{quoted(_column(self.judge, 'score'))} AS score "
            f"FROM rows WHERE {judge} IN ('pass', 'fail') AND {truth} IN ('pass', 'fail')"
        )


NUMBERS = (
    "agreement",
    "passed",
    "right",
    "count",
    "errors",
    "auc",
    "precision",
    "gap",
    "sensitivity",
    "specificity",
    "balanced",
)
_CELLS = """
    SELECT prompt, min(difficulty), count(*) FILTER (passed AND right_), count(*) FILTER (NOT passed AND right_),
        count(*) FILTER (passed AND NOT right_), count(*) FILTER (NOT passed AND NOT right_) FROM judged GROUP BY prompt
"""
_ABOVE = """
    WITH scores AS (
        SELECT score, count(*) FILTER (right_) AS rights, count(*) FILTER (NOT right_) AS wrongs FROM judged GROUP BY score
    ), places AS (
        SELECT score, 2 * coalesce(sum(wrongs) OVER below, 0) + wrongs AS beaten,
            2 * (sum(rights) OVER () - coalesce(sum(rights) OVER below, 0)) - rights AS beaten_by
        FROM scores WINDOW below AS (ORDER BY score ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
    )
    SELECT prompt, NULL, coalesce(sum(beaten) FILTER (right_), 0)::BIGINT, coalesce(sum(beaten_by) FILTER (NOT right_), 0)::BIGINT
    FROM judged JOIN places ON judged.score IS NOT DISTINCT FROM places.score GROUP BY prompt
"""
"""By prompt, twice the wrong rows of all prompts below its right rows, and twice the right rows above its wrong; ties once."""


def _auc(found: Sequence[Asked[Counts]], above: Sequence[Asked[tuple[int, int]]]) -> dict[str, Estimate]:
    """Computes the area under the curve with DeLong's variance over prompts; nothing where all rows are right or all wrong."""
    rights = [both + missed for both, missed, _, _ in (one.counts for one in found)]
    wrongs = [fooled + neither for _, _, fooled, neither in (one.counts for one in found)]
    right, wrong = sum(rights), sum(wrongs)
    if not right or not wrong:
        return {}
    value = sum(one.counts[0] for one in above) / (2 * right * wrong)
    moves = tuple(
        (one.counts[0] / (2 * wrong) - value * own_right) / right
        + (one.counts[1] / (2 * right) - value * own_wrong) / wrong
        for one, own_right, own_wrong in zip(above, rights, wrongs, strict=True)
    )
    return {"auc": Figure(value, moves, min(right, wrong)).estimate}


def _column(name: str, suffix: str) -> str:
    return f"{name}_{suffix}" if name else suffix


def _metrics(counts: list[Counts]) -> Numbers:
    both, missed, fooled, neither = (list(column) for column in zip(*counts, strict=True))
    rows, rights, wrongs, passes = (
        list(map(sum, counts)),
        _sums(both, missed),
        _sums(fooled, neither),
        _sums(both, fooled),
    )
    right = ratio(rights, rows)
    metrics: dict[str, int | float | Figure | Estimate] = {
        "agreement": ratio(_sums(both, neither), rows),
        "passed": ratio(passes, rows),
        "right": right,
        "count": sum(rows),
    }
    if any(passes):
        precision = ratio(both, passes)
        metrics |= {"precision": precision, "gap": precision - right}
    if any(rights) and any(wrongs):
        sensitivity, specificity = ratio(both, rights), ratio(neither, wrongs)
        balanced = sensitivity.times(0.5) + specificity.times(0.5)
        metrics |= {"sensitivity": sensitivity, "specificity": specificity, "balanced": balanced}
    return metrics


def _sums(first: Sequence[int], second: Sequence[int]) -> list[int]:
    return [one + other for one, other in zip(first, second, strict=True)]
