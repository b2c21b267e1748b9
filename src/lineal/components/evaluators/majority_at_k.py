"""majority@k: how often the answer that leads among k samples is right (self-consistency, arXiv:2203.11171)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lineal.components.base import Columns, Workspace
from lineal.components.evaluators.base import SampleEvaluator, by_prompt, require_samples
from lineal.components.evaluators.metrics import Asked, Numbers, write_evaluation
from lineal.components.selectors.query import open_session
from lineal.components.verifiers.base import Pattern, answer_in
from lineal.data.estimates import mean

Votes = Mapping[int, tuple[float, int]]
"""By k, the mean value of a prompt's votes, and how many votes there are."""


class MajorityAtK(SampleEvaluator):
    """Writes `majority_at_4` ..., over all prompts and by difficulty.

    A prompt's samples are taken k by k in the order of their sample index; its value is the mean over these votes, and
    a remainder smaller than k is not used. Where answers share the lead, the value is the share of them that are right.

    Attributes:
        extract: RE2 regular expression; its first group is the answer inside the completion. None takes all of it.
    """

    extract: Pattern | None = None

    def numbers(self) -> Columns:
        return tuple(f"majority_at_{k}" for k in self.k)

    def run(self, workspace: Workspace) -> None:
        """Lets the samples vote."""
        with open_session(
            workspace, {"rows": workspace.rows("rows")}, ("difficulty", "finish_reason", "sample_index")
        ) as session:
            require_samples(workspace, session, max(self.k))
            session.create("answers", _answers(self.extract))
            votes = {k: by_prompt(session, _votes(k)) for k in self.k}
        write_evaluation(workspace, self.headline, _together(votes), self._metrics)

    def _metrics(self, votes: list[Votes]) -> Numbers:
        figures = {
            f"majority_at_{k}": mean([one[k][0] for one in votes], samples=sum(one[k][1] for one in votes))
            for k in self.k
        }
        return {"prompts": len(votes), **figures}


def _together(votes: Mapping[int, Sequence[Asked[tuple[float, int]]]]) -> list[Asked[Votes]]:
    """Returns the votes of every k by prompt; all ks have the same prompts in the same order."""
    return [
        Asked(same[0].prompt, same[0].difficulty, dict(zip(votes, (one.counts for one in same), strict=True)))
        for same in zip(*votes.values(), strict=True)
    ]


def _answers(pattern: str | None) -> str:
    answer = answer_in("completion", pattern)
    return (
        f"SELECT prompt_id, difficulty, verdict, CASE WHEN coalesce(finish_reason, '') <> 'length' THEN {answer} END AS voted, "
        "row_number() OVER (PARTITION BY prompt_id ORDER BY sample_index, position) - 1 AS number, "
        "count(*) OVER (PARTITION BY prompt_id) AS samples FROM rows"
    )


def _votes(k: int) -> str:
    """Writes a query for the results of votes of k samples: prompt, difficulty, mean value, votes."""
    return f"""
        WITH tallies AS (
            SELECT prompt_id, number // {k} AS vote, voted, count(*) AS votes FROM answers
            WHERE number < samples // {k} * {k} AND voted IS NOT NULL GROUP BY ALL
        ), leaders AS (
            SELECT * FROM tallies QUALIFY votes = max(votes) OVER (PARTITION BY prompt_id, vote)
        ), right_answers AS (
            SELECT DISTINCT prompt_id, voted FROM answers WHERE verdict = 'pass' AND voted IS NOT NULL
        ), values_ AS (
            SELECT prompt_id, vote, count(r.voted) / count(*) AS value
            FROM leaders LEFT JOIN right_answers r USING (prompt_id, voted) GROUP BY prompt_id, vote
        ), prompts AS (
            SELECT prompt_id, min(difficulty) AS difficulty, min(samples) // {k} AS votes FROM answers GROUP BY prompt_id
        )
        SELECT prompt_id, any_value(difficulty), coalesce(list_sum(list(value ORDER BY vote)), 0) / any_value(votes),
            any_value(votes)
        FROM prompts LEFT JOIN values_ USING (prompt_id) GROUP BY prompt_id
        """
