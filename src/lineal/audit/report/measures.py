"""Numbers from the rows of one artifact: how samples are, how verifiers judged them. One pass over the rows each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from lineal.audit.query import fetched
from lineal.audit.summary import NodeSummary, PipelineSummary
from lineal.components.base import Role
from lineal.components.evaluators.metrics import difficulty_label
from lineal.components.evaluators.reading import BY_DIFFICULTY, Breakdown
from lineal.components.verifiers.base import Verifier
from lineal.data.records import open_known
from lineal.data.sql import parquet, quoted
from lineal.data.store import Artifact
from lineal.errors import ArtifactError
from lineal.plan import Plan, Step

if TYPE_CHECKING:
    import duckdb

WORDS = 3
"""Words of an n-gram. A completion with fewer counts as one n-gram."""
NGRAM_ROWS, NGRAM_WORDS = 4096, 200
"""What n-grams are counted in: the rows with the lowest ids, and their first words. Their share falls with the amount of text."""
MILLIONTHS = 1_000_000
"""Shares are added as whole numbers, so that the order in which threads add cannot show."""


@dataclass(frozen=True)
class Measured:
    """The measurements of one artifact's rows."""

    values: Mapping[str, float]
    breakdown: Breakdown = field(default_factory=dict)


@dataclass
class Measurer:
    """Measures artifacts, each content once, wherever it lies."""

    plan: Plan
    opened: duckdb.DuckDBPyConnection
    _known: dict[tuple[str, str], Measured] = field(default_factory=dict)

    def pipeline(self, pipeline: PipelineSummary) -> PipelineSummary:
        """Adds to the pipeline the numbers of its rows; rows that cannot be read are their node's trouble."""
        return replace(pipeline, nodes=tuple(self._node(node) for node in pipeline.nodes))

    def _node(self, node: NodeSummary) -> NodeSummary:
        if node.digest is None:
            return node
        step = self.plan.steps[node.key]
        try:
            artifact = open_known(self.plan.project, node.key)
            if not artifact.here:
                return node
            place = (artifact.digest, f"{step.component.use} {_verdict_column(step)}")
            if place not in self._known:
                self._known[place] = _measured(step, artifact, self.opened)
        except ArtifactError as error:
            return replace(node, trouble=str(error))
        found = self._known[place]
        return replace(
            node,
            values={**(node.values or {}), **found.values},
            breakdown={**(node.breakdown or {}), **found.breakdown},
        )


def _verdict_column(step: Step) -> str:
    return step.component.column("verdict") if isinstance(step.component, Verifier) else ""


def _measured(step: Step, artifact: Artifact, opened: duckdb.DuckDBPyConnection) -> Measured:
    columns, counts = artifact.manifest.columns, artifact.manifest.counts
    if step.component.role is Role.GENERATOR and {"prompt_id", "completion"} <= columns.keys():
        return Measured(_generation(artifact, opened) | _ngrams(artifact, opened))
    if isinstance(step.component, Verifier) and {"prompt_id", _verdict_column(step)} <= columns.keys():
        return _verdicts(step.component, artifact, opened)
    if step.component.role is Role.EVALUATOR and counts.get("error") and counts.get("out"):
        return Measured({"error_share": counts["error"] / counts["out"]})
    return Measured({})


def _generation(artifact: Artifact, opened: duckdb.DuckDBPyConnection) -> dict[str, float]:
    has = artifact.manifest.columns
    ((rows, prompts, distinct, tokens, cut),) = fetched(
        opened,
        f"""SELECT count(*), count(DISTINCT prompt_id), count(DISTINCT hash(prompt_id, completion)),
            {"coalesce(sum(tokens), 0)::BIGINT" if "tokens" in has else "NULL"},
            {"count(*) FILTER (finish_reason = 'length')" if "finish_reason" in has else "NULL"}
        FROM {parquet(artifact.parquet_files())}""",
        artifact,
    )
    if not rows:
        return {}
    found = {"distinct_per_prompt": distinct / max(1, prompts)}
    means = {"tokens_mean": tokens, "truncated_share": cut}
    return found | {name: total / rows for name, total in means.items() if total is not None}


def _ngrams(artifact: Artifact, opened: duckdb.DuckDBPyConnection) -> dict[str, float]:
    """Computes distinct-n (arXiv:1510.03055, section 5.2): different n-grams divided by all, here over a fixed number of rows."""
    row_id = "sample_id" if "sample_id" in artifact.manifest.columns else "prompt_id"
    ((distinct, total),) = fetched(
        opened,
        f"""WITH chosen AS (SELECT completion FROM {parquet(artifact.parquet_files())} WHERE completion IS NOT NULL
                ORDER BY {row_id}, completion LIMIT {NGRAM_ROWS}),
            split AS (SELECT regexp_split_to_array(trim(completion), '\\s+')[:{NGRAM_WORDS}] AS words FROM chosen),
            found AS (SELECT unnest(CASE WHEN len(words) < {WORDS} THEN [words]
                ELSE [words[place : place + {WORDS - 1}] FOR place IN range(1, len(words) - {WORDS - 2})] END) AS gram FROM split)
        SELECT count(DISTINCT gram), count(*) FROM found""",
        artifact,
    )
    return {"distinct_ngrams": distinct / total} if total else {}


def _verdicts(verifier: Verifier, artifact: Artifact, opened: duckdb.DuckDBPyConnection) -> Measured:
    """Counts verdicts and votes of all rows, and the prompts with a sample that passes, by difficulty."""
    has = artifact.manifest.columns
    margin, voted = (
        quoted(name) if (name := verifier.column(wanted)) in has else "NULL"
        for wanted in ("vote_margin", "voted")
    )
    verdict = quoted(verifier.column("verdict"))
    parts = fetched(
        opened,
        f"""WITH prompts AS (
            SELECT {"min(difficulty)" if "difficulty" in has else "NULL"} AS difficulty, count(*) AS rows,
                count(*) FILTER ({verdict} = 'pass') AS passed, count(*) FILTER ({verdict} = 'fail') AS failed,
                count(*) FILTER ({verdict} = 'error') AS errors,
                max(round({margin} * {MILLIONTHS})::BIGINT) AS margin, count(DISTINCT {voted}) AS answers
            FROM {parquet(artifact.parquet_files())} GROUP BY prompt_id)
        SELECT difficulty, count(*), count(*) FILTER (passed > 0), sum(rows)::BIGINT, sum(passed)::BIGINT, sum(failed)::BIGINT,
            sum(errors)::BIGINT, sum(margin)::BIGINT, sum(answers)::BIGINT
        FROM prompts GROUP BY ALL ORDER BY ALL""",
        artifact,
    )
    if not parts:
        return Measured({})
    prompts, solved, rows, passed, failed, errors = (
        sum(part[place] for part in parts) for place in range(1, 7)
    )
    shares = {"pass_share": passed, "fail_share": failed, "error_share": errors}
    values = {name: count / rows for name, count in shares.items()} | {"solved_share": solved / prompts}
    if margin != "NULL":
        values["vote_margin"] = sum(part[7] or 0 for part in parts) / MILLIONTHS / prompts
        values["answers_per_prompt"] = sum(part[8] for part in parts) / prompts
    return Measured(values, {BY_DIFFICULTY: _by_difficulty(parts)})


def _by_difficulty(parts: list[tuple[Any, ...]]) -> dict[str, dict[str, float]]:
    return {
        difficulty_label(part[0]): {"solved": part[2] / part[1], "prompts": part[1]}
        for part in parts
        if part[0] is not None
    }
