"""`lineal show KEY --replay`: plays stored episodes again, and names the first turn that an environment answers differently."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from lineal.audit.catalog import Catalog
from lineal.audit.keys import find_artifact, require_here
from lineal.audit.query import Row, connection, fetched, plain
from lineal.audit.show.rounds import is_round
from lineal.components.generators.drawing import carried
from lineal.components.playing.replay import STORED, ReplayDifference, game_key, replayed
from lineal.data.conversations import MESSAGE_COLUMNS
from lineal.data.sql import parquet, quoted
from lineal.data.store import Artifact
from lineal.environments.registry import PACKAGE
from lineal.errors import CheckFailure, UsageError
from lineal.recipe.compute import Compute
from lineal.recipe.project import Project

if TYPE_CHECKING:
    import duckdb

ALSO = ("player", "seat", PACKAGE)
"""Columns that are read beside `STORED` and what the environment's `reset` takes."""
SECONDS = 10.0
"""Processor time for one answer, where the artifact's settings do not say it: the default of `timeout`."""


@dataclass(frozen=True)
class Replayed:
    """The replay of one artifact.

    Attributes:
        key: the artifact.
        games: how many were played again.
        turns: how many turns are stored of them.
        differences: the first one of every game that has one.
    """

    key: str
    games: int
    turns: int
    differences: tuple[ReplayDifference, ...]


def replay(project: Project, catalog: Catalog, key: str) -> list[Replayed]:
    """Plays the stored episodes of an artifact, or of all that a round played, again.

    Raises:
        UsageError: there are none.
        ArtifactError: they are not here, or cannot be read.
        DataError: an environment is not known here, or of a game of two one side is missing.
    """
    return [
        _replay(require_here(artifact), project.params.compute)
        for artifact in _chosen(project, catalog, key.strip("/"))
    ]


def require_same(found: Sequence[Replayed]) -> None:
    """Refuses episodes that do not play as they are stored.

    Raises:
        CheckFailure: names the first turn that differs.
    """
    differing = [one for one in found if one.differences]
    if differing:
        first, count = differing[0], sum(len(one.differences) for one in differing)
        fix = "Either the environment is not deterministic, or it is another version than the one that they were played with"
        raise CheckFailure(
            "episodes_replayed",
            f"{first.key}: {count:,} of {sum(one.games for one in found):,} games play differently; the first: "
            f"{first.differences[0]}. {fix}",
        )


def as_text(found: Sequence[Replayed]) -> str:
    """Writes what was replayed, a line for each artifact."""
    return "\n".join(
        f"{one.key}: {one.games:,} games with {one.turns:,} turns played again, "
        + (f"{len(one.differences):,} differ" if one.differences else "all as stored")
        for one in found
    )


def as_json(found: Sequence[Replayed]) -> list[dict[str, Any]]:
    """Returns everything, for programs."""
    return [
        {**vars(one), "differences": [vars(difference) for difference in one.differences]} for one in found
    ]


def _chosen(project: Project, catalog: Catalog, key: str) -> list[Artifact]:
    if not is_round(catalog, key):
        artifact = find_artifact(project, catalog, key)
        lacking = [name for name in STORED if name not in artifact.manifest.columns]
        if lacking:
            raise UsageError(
                f"{artifact.key} has no turns of episodes: --replay needs {', '.join(lacking)}. Give what rollout or "
                "demonstrations wrote, the rollouts of grpo with environment, or a round"
            )
        return [artifact]
    found = [
        one for name, one in catalog.artifacts.items() if name.startswith(f"{key}/") and _was_played(one)
    ]
    if not found:
        raise UsageError(f"{key} played no episodes, so there is nothing to replay")
    return found


def _was_played(artifact: Artifact) -> bool:
    """Tells whether turns were played in an artifact, and not selected from another one."""
    columns = artifact.manifest.columns
    return columns.keys() >= set(STORED) and "decision" not in columns


def _replay(artifact: Artifact, compute: Compute) -> Replayed:
    turns = 0

    def games() -> Iterator[list[Row]]:
        nonlocal turns
        for _, rows in groupby(_rows(artifact, opened), game_key):
            game = list(rows)
            turns += len(game)
            yield game

    with connection(compute) as opened:
        source = parquet(artifact.parquet_files())
        tasks = [
            task for (task,) in fetched(opened, f"SELECT DISTINCT task FROM {source} ORDER BY 1", artifact)
        ]
        found = list(replayed(games(), tasks, compute.worker_count, _seconds(artifact)))
    return Replayed(artifact.key, len(found), turns, tuple(one for one in found if one is not None))


def _rows(artifact: Artifact, opened: duckdb.DuckDBPyConnection) -> Iterator[Row]:
    """Yields the turns, those of one game together and each side's in order."""
    columns = artifact.manifest.columns
    kept = [
        name
        for name in columns
        if name in (*STORED, *ALSO) or (carried(name) and name not in MESSAGE_COLUMNS)
    ]
    seat = "CASE WHEN seat IS NULL THEN episode_id END" if "seat" in columns else "episode_id"
    order = f"prompt_id, sample_index, round, {seat}, turn"
    result = opened.execute(
        f"SELECT {', '.join(map(quoted, kept))} FROM {parquet(artifact.parquet_files())} ORDER BY {order}"
    )
    while block := result.fetchmany(1024):
        for values in block:
            yield {name: plain(value) for name, value in zip(kept, values, strict=True)}


def _seconds(artifact: Artifact) -> float:
    settings = artifact.manifest.settings
    return float((settings.get("environment") or settings).get("timeout", SECONDS))
