"""Stored episodes: `lineal show KEY --replay` plays them again, and the report shows them turn by turn."""

from __future__ import annotations

import json
import shutil

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from lineal.audit.report import episodes
from lineal.audit.report.page import gather
from lineal.cli.look import show
from lineal.environments.registry import BUILT_IN
from lineal.errors import CheckFailure, UsageError
from tests.unit.audit_project import run_all
from tests.unit.lab import ROOT
from tests.unit.test_audit_report import Reader, page_of

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


def made_project(root):
    """A project that plays, with every artifact made."""
    shutil.copytree(ROOT / "pipelines" / "selectors", root / "pipelines" / "selectors")
    (root / "pipelines" / "played.yaml").write_text(PIPELINE)
    (root / "params.yaml").write_text("rounds: 1\nactive: [played]\ncompute: {engine: fake, workers: 1}\n")
    return run_all(root)


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    return made_project(tmp_path_factory.mktemp("episodes"))


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
    assert replay(plan, "played/round_01/moves").exit_code == 0, (
        "turns that were chosen hold their episode's past"
    )


def test_environment_of_another_version_is_told_with_the_first_turn_that_differs(plan, monkeypatch):
    monkeypatch.setitem(BUILT_IN, "grid_maze", "tests.unit.environments_of_ours:ShortSighted")
    result = replay(plan, "played/start/shown")
    assert isinstance(result.exception, CheckFailure)
    rows = rows_of(plan, "start/shown")
    second = next(
        row for row in sorted(rows, key=lambda row: (row["prompt_id"], row["turn"])) if row["turn"] == 2
    )
    told = str(result.exception)
    assert told.startswith("played/start/shown: 6 of 6 games play differently; the first: episode ")
    assert f"{second['episode_id']}, turn 2: stored observation {second['observation']!r}, now '?'" in told
    assert "6 differ" in result.stdout


def test_artifact_without_turns_and_round_without_games_are_wrong_use(plan):
    for key, why in {
        "played/tasks/base": "has no turns of episodes",
        "played/tasks": "played no episodes",
    }.items():
        result = replay(plan, key)
        assert isinstance(result.exception, UsageError) and why in str(result.exception)
    assert "leave out --where" in replay(plan, "played/round_01", "--where", "true").output


def test_report_shows_episodes_of_each_verdict_and_those_of_training_examples(plan):
    shown, onward, against = gather(plan).episodes["played"]
    assert [one.key for one in (shown, onward, against)] == [
        f"played/{key}" for key in ("start/shown", "round_01/onward", "round_01/against")
    ]
    rows = rows_of(plan, "start/shown")
    by_id = {row["sample_id"]: row for row in rows}
    lowest = sorted(by_id)[: episodes.MOST_EXAMPLES]
    assert [one.row_id for one in shown.examples] == lowest, "its rows trained the first checkpoint"
    assert all(dict(one.turns) == {one.row_id: by_id[one.row_id]["turn"]} for one in shown.examples)
    assert {one.facts["sample_id"] for one in shown.episodes} >= {
        by_id[row_id]["episode_id"] for row_id in lowest
    }
    for played, key in ((shown, "start/shown"), (onward, "round_01/onward"), (against, "round_01/against")):
        rows, whole = rows_of(plan, key), rows_of(plan, f"{key}.episodes")
        assert played.count == len(whole)
        for verdict in {row["verdict"] for row in whole}:
            few = sorted(row["sample_id"] for row in whole if row["verdict"] == verdict)[
                : episodes.MOST_PER_VERDICT
            ]
            assert set(few) <= {one.facts["sample_id"] for one in played.episodes}
        for episode in played.episodes:
            own = sorted(
                (row for row in rows if row["episode_id"] == episode.facts["sample_id"]),
                key=lambda row: row["turn"],
            )
            assert [turn.row_id for turn in episode.turns] == [row["sample_id"] for row in own]
            assert episode.before == episode.facts["turns"] - len(own)
            for place, turn in enumerate(episode.turns):
                earlier = [
                    row["turn"] for row in own[:place] if row["observation"] == own[place]["observation"]
                ]
                assert turn.same_as == (earlier[0] if earlier else None)
                assert turn.learnt == (("played/start/shown",) if played is shown else ())
    assert any(turn.same_as for one in onward.episodes for turn in one.turns) and any(
        one.before for one in onward.episodes
    )


def test_report_links_training_examples_to_turns_and_says_what_is_left_out(plan, tmp_path, monkeypatch):
    page = page_of(plan.project.root, tmp_path / "whole.html")
    reader = Reader(page)
    turns = [value for value in reader.values("id") if value.startswith("turn/")]
    links = [value[1:] for value in reader.values("href") if value.startswith("#turn/")]
    assert len(links) == episodes.MOST_EXAMPLES and set(links) <= set(turns) and len(set(turns)) == len(turns)
    assert '<a href="#episodes">' in page and "is none of the moves" in page
    monkeypatch.setattr(episodes, "MOST_TURNS", 2)
    assert "more turns: <code>lineal show played/start/shown --where" in page_of(
        plan.project.root, tmp_path / "short.html"
    )
