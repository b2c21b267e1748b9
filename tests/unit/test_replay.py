"""`lineal show KEY --replay`: stored episodes played again, and the first turn that is answered differently."""

from __future__ import annotations

import json
import shutil

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from lineal.cli.look import show
from lineal.environments.registry import BUILT_IN
from lineal.errors import CheckFailure, UsageError
from tests.unit.audit_project import run_all
from tests.unit.lab import ROOT

PIPELINE = """
method: Played
summary: Walks and takes stones.
tasks:
  base:  {use: environment_tasks, environment: grid_maze, level: [3, 5], size: 6, split: train}
  nim:   {use: environment_tasks, environment: nim, level: [4, 9], size: 3, split: train}
start:
  shown:      {use: demonstrations, prompts: tasks.base, max_turns: 9, template: "{observation}", history: 1}
  checkpoint: {use: pretrain, rows: shown, target: completion, steps: 1}
round:
  onward:  {use: rollout, model: start.checkpoint, prompts: start.shown, episodes: 2, max_turns: 7, max_tokens: 1}
  against: {use: rollout, model: start.checkpoint, opponent: start.checkpoint, prompts: tasks.nim, max_turns: 4, max_tokens: 2}
  kept:    {use: select, rows: onward.episodes, sql: successful_episodes}
  moves:   {use: select, rows: onward, episodes: kept, sql: turns_of_episodes}
"""


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    root = tmp_path_factory.mktemp("replay")
    shutil.copytree(ROOT / "pipelines" / "selectors", root / "pipelines" / "selectors")
    (root / "pipelines" / "played.yaml").write_text(PIPELINE)
    (root / "params.yaml").write_text("rounds: 1\nactive: [played]\ncompute: {engine: fake, workers: 1}\n")
    return run_all(root)


def replay(plan, key, *arguments):
    return CliRunner().invoke(show, [key, "--replay", *arguments], obj=plan.project.root)


def rows_of(plan, key):
    return pq.read_table(plan.project.directory(f"played/{key}") / "part-00000.parquet").to_pylist()


def test_every_artifact_of_a_round_that_played_is_played_again(plan):
    found = json.loads(replay(plan, "played/round_01", "--json").stdout)
    turns, two = rows_of(plan, "round_01/onward"), rows_of(plan, "round_01/against")
    assert [one["key"] for one in found] == ["played/round_01/against", "played/round_01/onward"]
    assert [one["turns"] for one in found] == [len(two), len(turns)]
    assert [one["games"] for one in found] == [3, len({row["episode_id"] for row in turns})]
    assert not any(one["differences"] for one in found)
    said = replay(plan, "played/start/shown")
    assert said.exit_code == 0 and said.stdout.startswith("played/start/shown: 6 games with ")
    assert replay(plan, "played/round_01/moves").exit_code == 0, "turns that were chosen hold their episode's past"


def test_environment_of_another_version_is_told_with_the_first_turn_that_differs(plan, monkeypatch):
    monkeypatch.setitem(BUILT_IN, "grid_maze", "tests.unit.environments_of_ours:ShortSighted")
    result = replay(plan, "played/start/shown")
    assert isinstance(result.exception, CheckFailure)
    rows = rows_of(plan, "start/shown")
    second = next(row for row in sorted(rows, key=lambda row: (row["prompt_id"], row["turn"])) if row["turn"] == 2)
    told = str(result.exception)
    assert told.startswith("played/start/shown: 6 of 6 games play differently; the first: episode ")
    assert f"{second['episode_id']}, turn 2: stored observation {second['observation']!r}, now '?'" in told
    assert "6 differ" in result.stdout


def test_artifact_without_turns_and_round_without_games_are_wrong_use(plan):
    for key, why in {"played/tasks/base": "has no turns of episodes", "played/tasks": "played no episodes"}.items():
        result = replay(plan, key)
        assert isinstance(result.exception, UsageError) and why in str(result.exception)
    assert "leave out --where" in replay(plan, "played/round_01", "--where", "true").output
