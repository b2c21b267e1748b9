"""`balance_exploration`: the temperature and the reward threshold with the best expected balance (B-STaR, arXiv:2412.17256)."""

from __future__ import annotations

from collections.abc import Mapping
from math import fsum
from typing import Annotated, Any, ClassVar

import pydantic

from lineal.components.base import MAIN, Columns, Component, Output, Role, RowsRef, Workspace
from lineal.components.controllers.values import write_settings
from lineal.components.selectors.query import open_session
from lineal.data.ids import canonical_json
from lineal.errors import DataError
from lineal.recipe.compute import Positive
from lineal.recipe.references import ArtifactKind

GRID_FILE = "grid.json"
"""What every pair of settings would have scored."""
DECIMALS = 10
_CANDIDATE: Columns = ("prompt_id", "completion", "verdict", "score")


class BalanceExploration(Component):
    """Writes `temperature`, `threshold` and the `balance_score` that they reach on a probe.

    With n distinct completions of a prompt at or above the threshold, n' of them right, the prompt's score is
    min(n' / enough, 1) * n' / n: enough right ones, and few wrong ones among them. A prompt of which nothing
    is selected counts 0. The mean over prompts decides; where it ties, the lower temperature, then the lower threshold.

    Attributes:
        rows: samples of some prompts at several temperatures, judged and scored.
        solutions: the data's own solutions of these prompts, judged and scored; they are candidates at every temperature.
        enough: how many different right completions of a prompt are enough (n* in the paper).
        thresholds: the thresholds to choose from.
    """

    role: ClassVar[Role] = Role.CONTROLLER

    rows: RowsRef
    enough: Positive
    thresholds: Annotated[list[float], pydantic.Field(min_length=1)]
    solutions: RowsRef | None = None

    def needs(self) -> dict[str, Columns]:
        further = {"solutions": _CANDIDATE} if self.solutions else {}
        return {"rows": (*_CANDIDATE, "temperature"), **further}

    def outputs(self, inputs: Mapping[str, Columns]) -> dict[str, Output]:
        return {MAIN: Output(ArtifactKind.SETTINGS, values=("temperature", "threshold", "balance_score"))}

    def run(self, workspace: Workspace) -> None:
        """Scores every pair of settings and writes the best, and the grid beside it."""
        views = {name: workspace.rows(name) for name in self.needs()}
        with open_session(workspace, views) as session:
            candidates = _WITH_SOLUTIONS if self.solutions else "rows"
            found = session.fetch(
                _COUNTS.format(thresholds=sorted(set(self.thresholds)), candidates=candidates)
            )
        if not found:
            raise DataError(
                f"{workspace.step}: no samples to choose settings by; look at {workspace.inputs['rows'][0].key}"
            )
        grid = self._grid(found)
        best = max(
            grid, key=lambda point: (point["balance_score"], -point["temperature"], -point["threshold"])
        )
        write_settings(workspace, best)
        (workspace.directory() / GRID_FILE).write_text(canonical_json(grid) + "\n", encoding="utf-8")
        workspace.counts.update({"in": workspace.rows("rows").count})

    def _grid(self, found: list[tuple[float, float, int, int, int]]) -> list[dict[str, Any]]:
        points: dict[tuple[float, float], list[tuple[float, int]]] = {}
        for temperature, threshold, selected, right, prompts in found:
            score = min(right / self.enough, 1.0) * right / selected if selected else 0.0
            points.setdefault((temperature, threshold), []).append((score, prompts))
        return [
            {
                "temperature": temperature,
                "threshold": threshold,
                "balance_score": round(_mean(parts), DECIMALS),
            }
            for (temperature, threshold), parts in points.items()
        ]


def _mean(parts: list[tuple[float, int]]) -> float:
    return fsum(value * count for value, count in parts) / sum(count for _, count in parts)


_COUNTS = """
    WITH thresholds AS (SELECT unnest({thresholds}::DOUBLE[]) AS threshold), per_prompt AS (
        SELECT temperature, threshold, prompt_id, count(DISTINCT completion) FILTER (score >= threshold) AS selected,
            count(DISTINCT completion) FILTER (score >= threshold AND verdict = 'pass') AS correct
        FROM {candidates}, thresholds GROUP BY ALL
    )
    SELECT temperature, threshold, selected, correct, count(*) FROM per_prompt GROUP BY ALL ORDER BY ALL
"""
"""Prompts by temperature, threshold, selected and right completions."""
_WITH_SOLUTIONS = f"""(
    SELECT temperature, {", ".join(_CANDIDATE)} FROM rows
    UNION ALL SELECT temperature, {", ".join(_CANDIDATE)} FROM solutions, (SELECT DISTINCT temperature FROM rows)
)"""
