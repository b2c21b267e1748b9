"""`head_tail`: prompts that are solved mostly, seldom or never; in tail narrowing the middle goes away (arXiv:2411.00750)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from lineal.components.base import MAIN, Columns, Output, RowsRef, Workspace
from lineal.components.evaluators.base import Evaluator, by_prompt, require_samples
from lineal.components.evaluators.metrics import Numbers, write_evaluation
from lineal.components.selectors.query import open_session
from lineal.components.verifiers.base import Share
from lineal.data.estimates import mean, ratio

_COUNTS = """
    SELECT prompt_id, min(difficulty), count(*) FILTER (verdict = 'pass'), count(*)
    FROM rows WHERE hinted IS NOT TRUE AND verdict IN ('pass', 'fail') GROUP BY prompt_id
"""

Counts = tuple[int, int]
"""A prompt's right samples, and all of them."""


class HeadTail(Evaluator):
    """Writes `head_share`, `tail_share` and `unsolved_share` of the prompts, and of the right samples `tail_of_right`.

    A prompt belongs to the head from a pass rate of `head_from`, to the tail below it, and is unsolved without a pass.
    Samples that had a hint, and errors, are left out.

    Attributes:
        rows: several samples of each prompt, with verdicts.
        head_from: the pass rate from which a prompt belongs to the head.
    """

    headline: ClassVar[str] = "tail_of_right"

    rows: RowsRef
    head_from: Share = 0.5

    def needs(self) -> dict[str, Columns]:
        return {"rows": ("prompt_id", "verdict")}

    def outputs(self, inputs: Mapping[str, Columns]) -> dict[str, Output]:
        return {MAIN: self.metrics("prompts", "head_share", "tail_share", "unsolved_share", "tail_of_right")}

    def run(self, workspace: Workspace) -> None:
        """Rates each prompt."""
        with open_session(workspace, {"rows": workspace.rows("rows")}, ("difficulty", "hinted")) as session:
            require_samples(workspace, session, 1)
            found = by_prompt(session, _COUNTS)
        write_evaluation(workspace, self.headline, found, self._metrics)

    def _metrics(self, counts: list[Counts]) -> Numbers:
        if not counts:
            return {
                "prompts": 0,
                "head_share": 0.0,
                "tail_share": 0.0,
                "unsolved_share": 0.0,
                "tail_of_right": 0.0,
            }
        head = [float(passed > 0 and passed >= self.head_from * samples) for passed, samples in counts]
        tail = [float(passed > 0 and not is_head) for (passed, _), is_head in zip(counts, head, strict=True)]
        right = [passed for passed, _ in counts]
        return {
            "prompts": len(counts),
            "head_share": mean(head),
            "tail_share": mean(tail),
            "unsolved_share": mean([float(not passed) for passed in right]),
            "tail_of_right": ratio([a * b for a, b in zip(right, tail, strict=True)], right)
            if any(right)
            else 0.0,
        }
