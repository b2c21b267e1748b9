"""The content of the report, collected from a plan's artifacts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lineal.audit.catalog import Catalog, read_catalog
from lineal.audit.query import connection
from lineal.audit.report.across import Flips, turns_of, with_seen_before
from lineal.audit.report.ancestry import Ancestry, ancestry_of
from lineal.audit.report.charts import Chart
from lineal.audit.report.differences import Differences, differences_of
from lineal.audit.report.difficulty import Grid, grids_of
from lineal.audit.report.episodes import PlayedEpisodes, played_in
from lineal.audit.report.figures import charts_of
from lineal.audit.report.measures import Measurer
from lineal.audit.report.samples import SampleRow, round_samples
from lineal.audit.report.standing import Standing, standing_of
from lineal.audit.report.thumbnails import Thumbnail, thumbnails_of
from lineal.audit.report.trees import PromptTree, trees_of
from lineal.audit.summary import PipelineSummary, Summary, summarise
from lineal.audit.verify import damage_of
from lineal.components.base import Role
from lineal.errors import ArtifactError, DataError
from lineal.plan import Plan

if TYPE_CHECKING:
    import duckdb

MOST_ROWS, MOST_PER_VERDICT = 900, 6
"""Sample rows of the whole page, about, and of each verdict of each verifier: the page stays a few megabytes."""
VERDICTS = 3


@dataclass(frozen=True)
class RoundSamples:
    """A round's sample rows."""

    number: int
    rows: tuple[SampleRow, ...]


@dataclass(frozen=True)
class PipelineSamples:
    """A pipeline's sample rows, and where they came from; by digest, thumbnails of the pictures that they show."""

    rounds: tuple[RoundSamples, ...]
    ancestry: Ancestry
    thumbnails: Mapping[str, Thumbnail] = field(default_factory=dict)


@dataclass(frozen=True)
class ReportPage:
    """Everything that the page says, but for the run facts.

    Attributes:
        summary: the numbers.
        charts: what to draw, by theme.
        grids: values by difficulty.
        differences: evaluations against the round before, round 0 and the first pipeline.
        turns: prompts that went from right to wrong or back.
        per_verdict: how many sample rows of every verdict in every round there are at most.
        samples: by pipeline, its rounds' sample rows.
        twins: by key, an earlier key whose artifact has the same bytes.
        troubles: what could not be read.
        absent: artifacts that are known by their records alone.
        standing: what the numbers stand on; None where that could not be read.
        made_up: artifacts that the fake engine made up.
        trees: by pipeline, a few trees of its searches.
        episodes: by pipeline, a few episodes of what it plays.
    """

    summary: Summary
    charts: Mapping[str, list[Chart]]
    grids: tuple[Grid, ...]
    differences: tuple[Differences, ...]
    turns: tuple[Flips, ...]
    per_verdict: int
    samples: Mapping[str, PipelineSamples]
    twins: Mapping[str, str]
    troubles: tuple[str, ...]
    standing: Standing | None = None
    made_up: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    trees: Mapping[str, list[PromptTree]] = field(default_factory=dict)
    episodes: Mapping[str, list[PlayedEpisodes]] = field(default_factory=dict)


def gather(plan: Plan) -> ReportPage:
    """Collects what the page says from the artifacts that are there; what cannot be read is among the troubles."""
    troubles: dict[str, None] = {}
    turns: list[Flips] = []
    with connection(plan.project.params.compute) as opened:
        measurer = Measurer(plan, opened)
        pipelines = [measurer.pipeline(one) for one in summarise(plan).pipelines]
        for place, pipeline in enumerate(pipelines):
            with _noting(troubles):
                turns += turns_of(plan, pipeline, opened)
            with _noting(troubles):
                pipelines[place] = with_seen_before(plan, pipeline, opened)
        summary = Summary(tuple(pipelines))
        catalog = read_catalog(plan.project)
        damage = damage_of(plan.project, catalog.artifacts.values()).wrong
        troubles |= dict.fromkeys(f"{key}: {'; '.join(problems)}" for key, problems in damage.items())
        standing = None
        with _noting(troubles):
            standing = standing_of(plan, damage)
        nodes = [node for pipeline in pipelines for node in pipeline.nodes]
        verifiers = sum(node.role is Role.VERIFIER for node in nodes)
        count = max(1, min(MOST_PER_VERDICT, MOST_ROWS // max(1, VERDICTS * verifiers)))
        samples = {one.name: _samples(plan, one, count, catalog, opened, troubles) for one in pipelines}
        trees: dict[str, list[PromptTree]] = {}
        episodes: dict[str, list[PlayedEpisodes]] = {}
        for one in pipelines:
            with _noting(troubles):
                trees[one.name] = trees_of(plan, one.name, opened)
            with _noting(troubles):
                episodes[one.name] = played_in(plan, one.name, opened)
    differences: list[Differences] = []
    with _noting(troubles):
        differences = differences_of(plan, summary)
    planned = {key: catalog.artifacts[key] for key in plan.makers if key in catalog.artifacts}
    told = dict.fromkeys(node.trouble for node in nodes if node.trouble)
    return ReportPage(
        summary,
        charts_of(summary),
        tuple(grids_of(summary)),
        tuple(differences),
        _by_label(summary, turns),
        count,
        samples,
        _twins(summary),
        tuple(told | troubles),
        standing,
        tuple(key for key, artifact in planned.items() if artifact.manifest.made_up),
        tuple(key for key, artifact in planned.items() if not artifact.here),
        trees,
        episodes,
    )


def _by_label(summary: Summary, turns: list[Flips]) -> tuple[Flips, ...]:
    """Puts the same evaluation of all pipelines side by side."""
    labels = summary.labels(Role.EVALUATOR)
    return tuple(sorted(turns, key=lambda one: labels.index(one.label)))


@contextmanager
def _noting(troubles: dict[str, None]) -> Iterator[None]:
    """Notes what cannot be read, so that the rest is reported all the same."""
    try:
        yield
    except (ArtifactError, DataError) as error:
        troubles[str(error)] = None


def _samples(
    plan: Plan,
    pipeline: PipelineSummary,
    per_verdict: int,
    catalog: Catalog,
    opened: duckdb.DuckDBPyConnection,
    troubles: dict[str, None],
) -> PipelineSamples:
    """Returns a pipeline's sample rows with their ancestry."""
    found: list[RoundSamples] = []
    begun: dict[str, set[str]] = {}
    for number in range(1, pipeline.rounds + 1):
        with _noting(troubles):
            rows = round_samples(plan, pipeline.name, number, per_verdict, opened)
            found.append(RoundSamples(number, tuple(rows)))
            for key, row_id in ((key, row.sample_id) for row in rows for key in row.held_in):
                begun.setdefault(key, set()).add(row_id)
    ancestry = Ancestry()
    with _noting(troubles):
        ancestry = ancestry_of(catalog, opened, begun)
    rows = [row for one in found for row in one.rows if row.images]
    shown = {
        key: [digest for row in rows if key in row.held_in for digest in row.images or ()]
        for row in rows
        for key in row.held_in
    }
    return PipelineSamples(tuple(found), ancestry, thumbnails_of(catalog, shown.items()))


def _twins(summary: Summary) -> dict[str, str]:
    first: dict[str, str] = {}
    found: dict[str, str] = {}
    for pipeline in summary.pipelines:
        for node in pipeline.nodes:
            if node.digest is not None and first.setdefault(node.digest, node.key) != node.key:
                found[node.key] = first[node.digest]
    return found
