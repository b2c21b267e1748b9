"""A score's judge is known from lineage, and where scores of different judges are put together, something says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from lineal.audit.catalog import read_catalog
from lineal.audit.show.rounds import prove_round
from lineal.audit.show.rounds_text import as_json, as_text
from lineal.data.store import open_artifact
from lineal.plan import make_plan
from lineal.recipe.project import open_project
from lineal.step.checks import run_checks
from lineal.step.runner import run_step
from tests.unit.audit_project import SELECTORS

PIPELINE = """
method: Judged by what it became
summary: Every round's checkpoint judges; a selection reads all rounds.
tasks:
  base:  {{use: letter_sort, length: [2, 4], size: 30, split: train}}
  train: {{use: letter_sort, length: [5, 9], size: 6}}
start:
  checkpoint: {{use: pretrain, rows: tasks.base, steps: 1}}
round:
  generated:  {{use: sample, model: previous.checkpoint, prompts: tasks.train, samples: 2}}
  verified:   {{use: exact_match, rows: generated}}
  judged:     {{use: judge, model: {judge}, rows: verified, name: judge, template: "{{completion}}", extract: "^(.)",
               threshold: 0.5, repeats: completion, max_error_rate: 1.0}}
  filtered:   {{use: select, rows: history.judged, sql: everything}}
  checkpoint: {{use: sft, init: previous.checkpoint, rows: filtered, steps: 1}}
"""


def made(root: Path, judge: str):
    selectors = root / "pipelines" / "selectors"
    selectors.mkdir(parents=True)
    (selectors / "everything.sql").write_text(SELECTORS["everything"])
    (root / "pipelines" / "own.yaml").write_text(PIPELINE.format(judge=judge))
    (root / "params.yaml").write_text("rounds: 2\nactive: [own]\ncompute: {engine: fake, workers: 1}\n")
    plan = make_plan(open_project(root))
    for key in plan.steps:
        run_step(plan, key)
    return plan


def told(plan, key):
    artifact = open_artifact(key, plan.project.directory(key))
    return next(
        result for result in run_checks(plan, plan.step(key), {"": artifact}) if result.name == "one_judge"
    )


@pytest.fixture(scope="module")
def by_itself(tmp_path_factory):
    return made(tmp_path_factory.mktemp("itself"), "previous.checkpoint")


def test_scores_of_two_checkpoints_put_together_are_warned_of_with_both_digests(by_itself):
    result = told(by_itself, "own/round_02/filtered")
    assert (
        not result.passed
        and not result.blocking
        and "in rows, judge_scores of different judges: judge@1 (model @" in result.message
    )
    digests = [
        open_artifact(key, by_itself.project.directory(key)).digest[:12]
        for key in ("own/start/checkpoint", "own/round_01/checkpoint")
    ]
    assert sorted(result.values["judges"]) == sorted(f"judge@1 (model @{digest})" for digest in digests)


def test_round_page_warns_of_mixed_judges_and_names_the_column(by_itself):
    project = by_itself.project
    proof = prove_round(project, read_catalog(project), "own/round_02", verify=False, revision=None)
    assert [(one["key"], one["field"], one["column"]) for one in as_json(proof)["mixed_judges"]] == [
        ("own/round_02/filtered", "rows", "judge_score")
    ]
    assert "WARNING     own/round_02/filtered puts together" in as_text(proof, 400)
    first = prove_round(project, read_catalog(project), "own/round_01", verify=False, revision=None)
    assert as_json(first)["mixed_judges"] == [] and "WARNING" not in as_text(first, 400)


def test_scores_of_one_judge_in_all_rounds_are_not_warned_of(tmp_path):
    plan = made(tmp_path, "start.checkpoint")
    assert told(plan, "own/round_02/filtered").passed
