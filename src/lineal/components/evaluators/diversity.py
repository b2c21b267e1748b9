"""`diversity`: how much a prompt's samples differ, and how much their answers agree."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from lineal.components.base import MAIN, Columns, Output, RowsRef, Workspace
from lineal.components.evaluators.base import Evaluator, by_prompt, require_samples
from lineal.components.evaluators.metrics import Numbers, write_evaluation
from lineal.components.selectors.query import open_session
from lineal.data.estimates import mean, ratio

_COUNTS = """
    WITH answers AS (SELECT prompt_id, completion, count(*) AS votes FROM rows GROUP BY ALL), tallies AS (
        SELECT prompt_id, count(*) AS answers, max(votes) AS most FROM answers GROUP BY prompt_id
    ), prompts AS (
        SELECT prompt_id, min(difficulty) AS difficulty, count(*) AS samples,
            count(DISTINCT completion) FILTER (verdict = 'pass') AS correct FROM rows GROUP BY prompt_id
    )
    SELECT prompt_id, difficulty, samples, answers, most, correct FROM prompts JOIN tallies USING (prompt_id)
"""

Counts = tuple[int, int, int, int]
"""A prompt's samples, different ones, the commonest one's count, different right ones."""


class Diversity(Evaluator):
    """Writes, over all prompts and by difficulty:

    - `distinct_share`: different completions of a prompt, per sample;
    - `distinct_right`: different right completions of a prompt;
    - `vote_agreement`: the share of a prompt's samples that say the commonest completion.

    Attributes:
        rows: several samples of each prompt, with verdicts.
    """

    headline: ClassVar[str] = "distinct_share"

    rows: RowsRef

    def needs(self) -> dict[str, Columns]:
        return {"rows": ("prompt_id", "completion", "verdict")}

    def outputs(self, inputs: Mapping[str, Columns]) -> dict[str, Output]:
        return {MAIN: self.metrics("prompts", "distinct_share", "distinct_right", "vote_agreement")}

    def run(self, workspace: Workspace) -> None:
        """Counts each prompt's completions."""
        with open_session(workspace, {"rows": workspace.rows("rows")}, ("difficulty",)) as session:
            require_samples(workspace, session, 1)
            found = by_prompt(session, _COUNTS)
        write_evaluation(workspace, self.headline, found, _metrics)


def _metrics(counts: list[Counts]) -> Numbers:
    samples = [number for number, *_ in counts]
    return {
        "prompts": len(counts),
        "distinct_share": ratio([different for _, different, _, _ in counts], samples),
        "distinct_right": mean([right for *_, right in counts], is_share=False),
        "vote_agreement": mean([most / number for number, _, most, _ in counts], samples=sum(samples)),
    }
