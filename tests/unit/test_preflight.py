"""What is looked at before a run: packages of extras and models that pipelines name."""

from __future__ import annotations

import sys

import pytest

from lineal.errors import MachineError
from lineal.plan import make_plan
from lineal.recipe.project import open_project
from lineal.step.preflight import require_parts

PIPELINE = """\
method: Needy
summary: Needs packages of several extras.
tasks:
  train: {use: reasoning_gym, task: basic_arithmetic, size: 4}
  test:  {use: reasoning_gym, task: basic_arithmetic, size: 4}
start:
  checkpoint: {use: model, path: models/mien}
  packed:     {use: gguf_model, path: models/mine.gguf}
round:
  generated:  {use: sample, model: previous.checkpoint, prompts: tasks.train, samples: 1, max_tokens: 4}
  scored:     {use: task_score, rows: generated}
  kept:       {use: select, rows: scored, sql: keep_all}
  checkpoint: {use: sft, init: start.checkpoint, rows: kept, steps: 1, lora: {rank: 1, alpha: 1, quantize: 4bit}}
  evaluation: {use: accuracy, model: checkpoint, prompts: tasks.test, verifier: math, max_tokens: 4}
"""
PACKAGES = {
    "reasoning_gym": "n/tasks/train (and 2 more steps) needs the package reasoning-gym, which is not installed. "
    "Run: pip install 'lineal[reasoning-gym]'",
    "peft": "n/round_01/checkpoint needs the package peft, which is not installed. Run: pip install 'lineal[lora]'",
    "bitsandbytes": "n/round_01/checkpoint needs the package bitsandbytes, which is not installed. "
    "Run: pip install 'lineal[qlora]'",
    "math_verify": "n/round_01/evaluation needs the package math-verify, which is not installed. Run: pip install 'lineal[math]'",
    "gguf": "n/start/packed needs the package gguf, which is not installed. Run: pip install 'lineal[gguf]'",
}


@pytest.fixture
def plan(tmp_path, monkeypatch):
    (tmp_path / "pipelines" / "selectors").mkdir(parents=True)
    (tmp_path / "pipelines" / "selectors" / "keep_all.sql").write_text(
        "-- summary: All.\nSELECT row_id, 'kept' AS decision, '' AS reason FROM rows"
    )
    (tmp_path / "pipelines" / "n.yaml").write_text(PIPELINE)
    (tmp_path / "params.yaml").write_text("rounds: 1\nactive: [n]\ncompute: {device: cpu}\n")
    for name in PACKAGES:
        monkeypatch.setitem(sys.modules, name, None)  # as if it were not installed
    return make_plan(open_project(tmp_path))


def test_every_missing_package_and_model_is_named_with_its_steps_before_a_run(plan):
    with pytest.raises(MachineError) as caught:
        require_parts(plan, plan.steps.values())
    lines = str(caught.value).splitlines()
    assert {line for line in lines if "needs the package" in line} == set(PACKAGES.values())
    model, packed = (line for line in lines if "cannot take path" in line)
    assert model.startswith("n/start/checkpoint cannot take path: models/mien: ") and "no directory" in model
    assert packed.startswith("n/start/packed cannot take path: models/mine.gguf: no such file at ")


def test_steps_that_are_not_to_run_are_not_asked(plan):
    require_parts(plan, [plan.step("n/round_01/generated"), plan.step("n/round_01/kept")])


def test_lm_eval_names_its_extra(plan, monkeypatch):
    from lineal.components.registry import Registry

    monkeypatch.setitem(sys.modules, "lm_eval", None)
    component = (
        Registry()
        .find("lm_eval")
        .model_validate({"use": "lm_eval", "model": "checkpoint", "tasks": ["arc_easy"]})
    )
    assert component.lacks() == [
        "needs the package lm-eval, which is not installed. Run: pip install 'lineal[lm-eval]'"
    ]
