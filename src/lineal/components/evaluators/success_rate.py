"""`success_rate`: how often a checkpoint reaches the goal, by level, in how many turns, and with how many invalid moves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from math import fsum
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from lineal.components.base import MAIN, Columns, Output, Workspace
from lineal.components.evaluators.base import PromptEvaluator
from lineal.components.evaluators.metrics import Asked, Numbers, write_evaluation
from lineal.components.generators.temperatures import Temperature
from lineal.components.playing.matches import MODEL
from lineal.components.playing.model import ModelPlays
from lineal.components.playing.rows import episodes_in
from lineal.components.playing.settings import broken_in
from lineal.components.verifiers.base import ERROR, PASS, written
from lineal.data.estimates import Figure, ratio
from lineal.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

READ = ("prompt_id", "verdict", "return", "turns", "invalid_actions")


class Played(NamedTuple):
    """The episodes of a task that could be played: how many, those that reached the goal, and sums over all."""

    episodes: int
    won: int
    returns: float
    turns: int
    invalid: int


class SuccessRate(PromptEvaluator, ModelPlays):
    """The share of episodes that reach the goal, played greedily unless there is a temperature; the artifact has the episodes.

    Writes `success_rate`, the mean `return` and `turns`, `invalid` (the share of turns without an action that could be read),
    `count` (tasks), by difficulty too; and `errors`, episodes with a broken environment, which count nowhere else.

    Attributes:
        model, opponent, episodes, temperature, top_p, top_k, max_tokens, stop, token_ids: see `ModelPlays`.
        prompts, max_turns, history, template, system, chat, format, unparsable, timeout, max_error_rate: see `Plays`.
        held_out: see `PromptEvaluator`.
    """

    headline: ClassVar[str] = "success_rate"
    version: ClassVar[int] = 1

    temperature: Temperature = 0.0

    def outputs(self, inputs: Mapping[str, Columns]) -> dict[str, Output]:
        columns = self.played_columns(inputs["prompts"], self.keeps_ids, self.of_two)[1]
        return {
            MAIN: self.metrics(
                self.headline, "return", "turns", "invalid", "count", "errors", columns=columns
            )
        }

    def run(self, workspace: Workspace) -> None:
        """Plays, and writes episodes and metrics."""
        errors, tasks = Counter[str](), workspace.rows("prompts").count

        def episodes() -> Iterator[pa.Table]:
            for table in self.play_with_model(workspace):
                own = of_model(table)
                errors.update(broken_in(own))
                yield episodes_in(own)

        out = workspace.write_rows(episodes())
        workspace.counts.update({"in": tasks, "expected": tasks * self.episodes, "out": out})
        self.refuse_errors(workspace, out, errors)
        with_difficulty = "difficulty" in workspace.rows("prompts").columns
        found = by_task(written(workspace, [*READ, *(["difficulty"] if with_difficulty else [])]))
        write_evaluation(workspace, self.headline, found, numbers_of, errors=sum(errors.values()))


def of_model(episodes: pa.Table) -> pa.Table:
    """Selects in games of two the side of the measured model."""
    import pyarrow.compute as pc

    return episodes.filter(pc.equal(episodes["seat"], MODEL)) if "seat" in episodes.column_names else episodes


def by_task(episodes: pa.Table) -> list[Asked[Played]]:
    """Returns the results of each task; episodes with a broken environment are left out.

    Raises:
        DataError: there are no others.
    """
    tasks: dict[str, list[Mapping[str, object]]] = {}
    for row in episodes.to_pylist():
        if row["verdict"] != ERROR:
            tasks.setdefault(row["prompt_id"], []).append(row)
    if not tasks:
        raise DataError(
            f"no success rate: none of {episodes.num_rows:,} episodes could be played. Mend the environment"
        )
    return [Asked(task, rows[0].get("difficulty"), _played(rows)) for task, rows in tasks.items()]  # type: ignore[arg-type]


def _played(rows: list[Mapping[str, object]]) -> Played:
    names = ("return", "turns", "invalid_actions")
    returns, turns, invalid = (fsum(row[name] for row in rows) for name in names)  # type: ignore[misc]
    return Played(len(rows), sum(row["verdict"] == PASS for row in rows), returns, int(turns), int(invalid))


def numbers_of(tasks: list[Played]) -> Numbers:
    """Returns the numbers of some tasks."""
    episodes, turns = [float(task.episodes) for task in tasks], [float(task.turns) for task in tasks]
    return {
        "success_rate": ratio([task.won for task in tasks], episodes),
        "return": _mean([task.returns for task in tasks], episodes),
        "turns": _mean(turns, episodes),
        "invalid": ratio([task.invalid for task in tasks], turns) if sum(turns) else 0.0,
        "count": len(tasks),
    }


def _mean(sums: list[float], episodes: list[float]) -> Figure:
    return replace(ratio(sums, episodes), is_share=False)
