"""Numbers that compare a pipeline's rounds: samples that came before, prompts that an evaluation lost or gained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lineal.audit.query import fetched
from lineal.audit.summary import PipelineSummary
from lineal.components.base import Role
from lineal.data.records import open_known
from lineal.data.sql import parquet
from lineal.data.store import Artifact
from lineal.plan import Plan

if TYPE_CHECKING:
    import duckdb


@dataclass(frozen=True)
class Flip:
    """The prompts that an evaluation solved in one round and not in the round before, or the other way round.

    Attributes:
        round: the later round.
        compared: prompts that both have.
        lost: those that went from right to wrong.
        gained: those that went from wrong to right.
    """

    round: int
    compared: int
    lost: int
    gained: int


@dataclass(frozen=True)
class Flips:
    """One evaluation's turns in one pipeline, by round."""

    pipeline: PipelineSummary
    label: str
    rounds: tuple[Flip, ...]

    @property
    def scale(self) -> float:
        """The number of prompts of a full bar: the most that turned one way at once, but at least a tenth of all."""
        turned = [count for turn in self.rounds for count in (turn.lost, turn.gained)]
        return max(*turned, *(turn.compared / 10 for turn in self.rounds))


def with_seen_before(
    plan: Plan, pipeline: PipelineSummary, opened: duckdb.DuckDBPyConnection
) -> PipelineSummary:
    """Adds `seen_before_share` to the pipeline's samplers: the share of completions that their prompt had in an earlier round.

    Raises:
        ArtifactError: rows cannot be read.
    """
    found: dict[str, float] = {}
    for _, rounds in _sides(plan, pipeline, Role.GENERATOR, {"prompt_id", "completion"}):
        shares = _seen_before(rounds, opened)
        found |= {artifact.key: shares[number] for number, artifact in rounds.items() if number in shares}
    nodes = (
        replace(node, values={**(node.values or {}), "seen_before_share": found[node.key]})
        if node.key in found
        else node
        for node in pipeline.nodes
    )
    return replace(pipeline, nodes=tuple(nodes))


def turns_of(plan: Plan, pipeline: PipelineSummary, opened: duckdb.DuckDBPyConnection) -> list[Flips]:
    """Returns the turns of every evaluation of a pipeline that has judged rows in two consecutive rounds.

    Raises:
        ArtifactError: rows cannot be read.
    """
    sides = _sides(plan, pipeline, Role.EVALUATOR, {"prompt_id", "verdict"})
    found = [Flips(pipeline, label, _turns(rounds, opened)) for label, rounds in sides]
    return [turns for turns in found if turns.rounds]


def _sides(
    plan: Plan, pipeline: PipelineSummary, role: Role, columns: set[str]
) -> Iterator[tuple[str, dict[int, Artifact]]]:
    """Yields by label the existing artifacts of the rounds that have these columns, where there are two."""
    for label in pipeline.labels(role):
        nodes = [
            node
            for number in range(pipeline.rounds + 1)
            if (node := pipeline.node(number, label)) is not None
        ]
        made = [node for node in nodes if node.digest is not None and node.trouble is None]
        opened = {
            node.round: artifact for node in made if (artifact := open_known(plan.project, node.key)).here
        }
        rounds = {number: one for number, one in opened.items() if columns <= one.manifest.columns.keys()}
        if len(rounds) > 1:
            yield label, rounds


def _numbered(rounds: Mapping[int, Artifact], columns: str) -> str:
    """Writes a query for (number, columns) of the rows of several rounds."""
    return " UNION ALL ".join(
        f"SELECT {number}::SMALLINT AS number, {columns} FROM {parquet(artifact.parquet_files())}"
        for number, artifact in rounds.items()
    )


def _seen_before(rounds: Mapping[int, Artifact], opened: duckdb.DuckDBPyConnection) -> dict[int, float]:
    """Returns by round the share of completions that are not new; the first round has none to compare with."""
    sql = f"""
        WITH texts AS (SELECT number, text, count(*) AS rows FROM ({_numbered(rounds, "hash(prompt_id, completion) AS text")})
            GROUP BY ALL),
        fresh AS (SELECT min(number) AS number, arg_min(rows, number) AS rows FROM texts GROUP BY text),
        news AS (SELECT number, sum(rows)::BIGINT AS rows FROM fresh GROUP BY number)
        SELECT texts.number, sum(texts.rows)::BIGINT, coalesce(any_value(news.rows), 0)
        FROM texts LEFT JOIN news USING (number) GROUP BY texts.number"""
    found = fetched(opened, sql, list(rounds.values()))
    return {number: 1 - news / rows for number, rows, news in found if number != min(rounds)}


def _turns(rounds: Mapping[int, Artifact], opened: duckdb.DuckDBPyConnection) -> tuple[Flip, ...]:
    sql = f"""
        WITH states AS (SELECT number, prompt_id, bool_or(verdict = 'pass') AS solved
            FROM ({_numbered(rounds, "prompt_id, verdict")}) GROUP BY ALL)
        SELECT now.number, count(*), count(*) FILTER (before.solved AND NOT now.solved),
            count(*) FILTER (now.solved AND NOT before.solved)
        FROM states AS now JOIN states AS before ON before.prompt_id = now.prompt_id AND before.number = now.number - 1
        GROUP BY now.number ORDER BY now.number"""
    return tuple(Flip(*row) for row in fetched(opened, sql, list(rounds.values())))
