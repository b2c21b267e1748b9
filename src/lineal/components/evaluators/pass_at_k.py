"""pass@k: how often at least one of k samples is right, by the unbiased estimator of arXiv:2107.03374, section 2.1."""

from __future__ import annotations

from math import comb

from lineal.components.base import Columns, Workspace
from lineal.components.evaluators.base import SampleEvaluator, by_prompt, require_samples
from lineal.components.evaluators.metrics import Numbers, write_evaluation
from lineal.components.selectors.query import open_session
from lineal.data.estimates import Figure, ratio
from lineal.errors import DataError

Counts = tuple[int, int]
"""A prompt's samples, and the right ones among them."""

_COUNTS = """
    SELECT prompt_id, min(difficulty), count(*) FILTER (verdict IN ('pass', 'fail')), count(*) FILTER (verdict = 'pass')
    FROM rows GROUP BY prompt_id
"""


class PassAtK(SampleEvaluator):
    """Writes `pass_at_1`, `pass_at_8` ..., over all prompts and by difficulty.

    Samples whose verdict is an error are no samples. A prompt with fewer than k others is left out of that k, and
    counted in `left_out_at_k`.
    """

    def numbers(self) -> Columns:
        return ("errors", *(f"{name}_at_{k}" for k in self.k for name in ("pass", "left_out")))

    def run(self, workspace: Workspace) -> None:
        """Counts samples and passes of each prompt."""
        with open_session(workspace, {"rows": workspace.rows("rows")}, ("difficulty",)) as session:
            require_samples(workspace, session, max(self.k))
            found = by_prompt(session, _COUNTS)
            errors = session.fetch(
                "SELECT count(*) FROM rows WHERE verdict IS NULL OR verdict NOT IN ('pass', 'fail')"
            )[0][0]
        for k in self.k:
            if all(samples < k for samples, _ in (one.counts for one in found)):
                raise DataError(
                    f"{workspace.step}: no prompt has {k} samples without a verifier error. Lower k, or fix the verifier"
                )
        write_evaluation(workspace, self.headline, found, self._metrics, errors=errors)

    def _metrics(self, counts: list[Counts]) -> Numbers:
        metrics: dict[str, int | float | Figure] = {"prompts": len(counts)}
        for k in self.k:
            left_out = sum(samples < k for samples, _ in counts)
            if left_out < len(counts):
                metrics[f"pass_at_{k}"] = pass_at_k(counts, k)
            if left_out:
                metrics[f"left_out_at_{k}"] = left_out
        return metrics


def pass_at_k(counts: list[Counts], k: int) -> Figure:
    """Computes the mean over prompts of 1 - C(n - c, k) / C(n, k), where c of a prompt's n samples are right.

    Prompts with fewer than k samples are left out. So many samples hold n / k independent draws of k.
    """
    values = [1.0 - comb(n - c, k) / comb(n, k) if n >= k else 0.0 for n, c in counts]
    return ratio(values, [float(n >= k) for n, _ in counts], samples=sum(n / k for n, _ in counts if n >= k))
