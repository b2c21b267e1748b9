"""Which evaluations are said to owe their numbers to an oracle, and which not."""

import shutil

import pytest

from lineal.audit.summary import accuracy_table, render_accuracy_table, summarise
from lineal.orchestrate.dagster_assets import step_assets
from lineal.plan import make_plan
from lineal.recipe.project import open_project
from tests.unit.lab import ROOT

PIPELINE = """\
method: Refined
summary: Answers are refined, with or without the truth.
tasks:
  base: {use: letter_sort, length: [2, 4], size: 24, split: train}
  test: {use: letter_sort, length: [8, 9], size: 4}
start:
  checkpoint: {use: pretrain, rows: tasks.base, steps: 1}
round:
  generated: {use: sample, model: start.checkpoint, prompts: tasks.test, samples: 2}
  verified:  {use: exact_match, rows: generated}
  judged: {use: judge, rows: verified, name: own, model: start.checkpoint, template: "{prompt}", repeats: prompt, threshold: 1}
  CHOSEN
  refined:   {use: ask, model: start.checkpoint, rows: chosen, template: "TEMPLATE", row_prompt: own}
  again:     {use: exact_match, rows: refined}
  trained:   {use: select, rows: again, sql: keep_correct}
  checkpoint: {use: sft, init: start.checkpoint, rows: trained, steps: 1}
  at_k:      {use: pass_at_k, rows: again, k: [1]}
  first:     {use: pass_at_k, rows: verified, k: [1]}
  change:    {use: transitions, before: verified, after: again}
  shares:    {use: measure, sql: refined, rows: again, before: verified}
  lasting:   {use: measure, sql: lifelong, rows: verified, trained: trained}
  mixed:     {use: select, rows: generated, sql: with_replay, replay: refined}
  remixed:   {use: exact_match, rows: mixed}
  mixed_at_k: {use: pass_at_k, rows: remixed, k: [1]}
  like_it:   {use: select, rows: judged, sql: of_prompts, others: chosen}
  third:     {use: ask, model: start.checkpoint, rows: like_it, template: "{prompt}{completion}"}
  tried:     {use: exact_match, rows: third}
  third_at_k: {use: pass_at_k, rows: tried, k: [1]}
  evaluation: {use: accuracy, model: checkpoint, prompts: tasks.test}
"""
ALL = "chosen: {use: select, rows: judged, sql: keep_all}"
WRONG = "chosen: {use: select, rows: judged, sql: by_verdict, passed: false, failed: true}"


def plan_of(root, chosen, template):
    for folder in ("selectors", "measures"):
        shutil.copytree(ROOT / "pipelines" / folder, root / "pipelines" / folder, dirs_exist_ok=True)
    (root / "pipelines" / "mine.yaml").write_text(
        PIPELINE.replace("CHOSEN", chosen).replace("TEMPLATE", template)
    )
    (root / "params.yaml").write_text("rounds: 1\nactive: [mine]\ncompute: {engine: fake, workers: 1}\n")
    return make_plan(open_project(root))


@pytest.mark.parametrize(
    ("chosen", "template", "why"),
    [
        (ALL, "{prompt}{completion}", None),
        (WRONG, "{prompt}{completion}", "mine/round_01/chosen reads 'verdict' of mine/round_01/judged"),
        (ALL, "{prompt}{completion}{own_detail}", None),
        (ALL, "{prompt}{completion}{detail}", "mine/round_01/refined reads 'detail' of mine/round_01/chosen"),
        (ALL, "{prompt}{answer}", "mine/round_01/refined reads 'answer' of mine/round_01/chosen"),
    ],
)
def test_refinement_that_used_the_truth_is_marked_where_it_is_measured(tmp_path, chosen, template, why):
    plan = plan_of(tmp_path, chosen, template)
    marked = (
        ["at_k", "change", "shares", "mixed_at_k", *(["third_at_k"] if chosen == WRONG else [])]
        if why
        else []
    )
    assert plan.oracles == dict.fromkeys((f"mine/round_01/{label}" for label in marked), why)
    labels = {column.label for column in accuracy_table(summarise(plan))}
    assert {f"at_k{' (oracle)' if why else ''}", "first", "lasting", "evaluation"} <= labels
    assert ("(oracle)" in render_accuracy_table(summarise(plan))) is bool(why)


def test_oracle_is_told_by_dagster(tmp_path):
    plan = plan_of(tmp_path, WRONG, "{prompt}{completion}")
    (asset,) = step_assets(plan, [plan.step("mine/round_01/at_k")])
    (told,) = asset.descriptions_by_key.values()
    assert told.startswith(
        "Measures rows that were written with the truth in sight: mine/round_01/chosen reads 'verdict'"
    )


def test_shipped_pipelines_with_an_oracle_are_known():
    project = open_project(ROOT)
    plan = make_plan(project, project.pipeline_names())
    assert {"/".join(key.split("/")[::2]) for key in plan.oracles} == {
        "critique_in_the_loop/head_tail",
        "star_gate/evaluation",
        "start/evaluation",
    }
