"""majority@k: how often the answer that leads among k samples is right (self-consistency, arXiv:2203.11171)."""

from __future__ import annotations

from collections.abc import Mapping
from math import fsum
from typing import Any

from lineal.components.base import Workspace
from lineal.components.evaluators.base import SampleEvaluator, grouped, require_samples
from lineal.components.evaluators.metrics import write_metrics
from lineal.components.selectors.query import Session, open_session
from lineal.components.verifiers.base import Pattern, answer_in

Vote = tuple[float | None, tuple[float, float]]
"""Difficulty; value of a vote; weight of the votes like it, where all votes of one prompt weigh 1 together."""


class MajorityAtK(SampleEvaluator):
    """Writes `majority_at_4` ..., over all prompts and by difficulty.

    A prompt's samples are taken k by k in the order of their sample index; its value is the mean over these votes, and
    a remainder smaller than k is not used. Where answers share the lead, the value is the share of them that are right.

    Attributes:
        extract: RE2 regular expression; its first group is the answer inside the completion. None takes all of it.
    """

    extract: Pattern | None = None

    def run(self, step: Workspace) -> None:
        """Lets the samples vote."""
        with open_session(step, {"rows": step.rows("rows")}, ("difficulty", "finish_reason", "sample_index")) as session:
            require_samples(step, session, max(self.k))
            session.create("answers", _answers(self.extract))
            difficulties = [row[0] for row in session.fetch("SELECT min(difficulty) FROM rows GROUP BY prompt_id")]
            votes = {k: _votes(session, k) for k in self.k}
        groups = grouped((difficulty, difficulty) for difficulty in difficulties)
        by_difficulty = {label: self._metrics(votes, len(entries), label) for label, entries in groups.items()}
        write_metrics(step, {**self._metrics(votes, len(difficulties)), "by_difficulty": by_difficulty})

    def _metrics(self, votes: Mapping[int, list[Vote]], prompts: int, label: str | None = None) -> dict[str, Any]:
        metrics: dict[str, Any] = {"prompts": prompts}
        for k, found in votes.items():
            chosen = grouped(found)[label] if label else [entry for _, entry in found]
            metrics[f"majority_at_{k}"] = fsum(value * weight for value, weight in chosen) / prompts
        return metrics


def _answers(pattern: str | None) -> str:
    answer = answer_in("completion", pattern)
    return (
        f"SELECT prompt_id, difficulty, verdict, CASE WHEN coalesce(finish_reason, '') <> 'length' THEN {answer} END AS voted, "
        "row_number() OVER (PARTITION BY prompt_id ORDER BY sample_index, position) - 1 AS number, "
        "count(*) OVER (PARTITION BY prompt_id) AS samples FROM rows"
    )


def _votes(session: Session, k: int) -> list[Vote]:
    """How every vote of k samples went."""
    found = session.fetch(
        f"""
        WITH tallies AS (
            SELECT prompt_id, number // {k} AS vote, voted, count(*) AS votes FROM answers
            WHERE number < samples // {k} * {k} AND voted IS NOT NULL GROUP BY ALL
        ), leaders AS (
            SELECT * FROM tallies QUALIFY votes = max(votes) OVER (PARTITION BY prompt_id, vote)
        ), right_answers AS (
            SELECT DISTINCT prompt_id, voted FROM answers WHERE verdict = 'pass' AND voted IS NOT NULL
        ), values_ AS (
            SELECT prompt_id, vote, count(r.voted) AS correct, count(*) AS tied
            FROM leaders LEFT JOIN right_answers r USING (prompt_id, voted) GROUP BY prompt_id, vote
        ), prompts AS (
            SELECT prompt_id, min(difficulty) AS difficulty, min(samples) // {k} AS votes FROM answers GROUP BY prompt_id
        )
        SELECT difficulty, votes, coalesce(correct, 0), coalesce(tied, 1), count(*)
        FROM prompts, range(votes) held(vote) LEFT JOIN values_ v ON v.prompt_id = prompts.prompt_id AND v.vote = held.vote
        GROUP BY ALL ORDER BY ALL
        """
    )
    return [(difficulty, (correct / tied, count / votes)) for difficulty, votes, correct, tied, count in found]
