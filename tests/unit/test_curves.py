"""A training's steps where people look: the run log, the report, Dagster."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest

from lineal.audit.report.write import write_report
from lineal.data.curves import MOST_STEPS, curve_of, thinned
from lineal.data.store import open_artifact
from lineal.orchestrate.dagster_metadata import TRAINING_ROWS, artifact_metadata
from lineal.step.runlog import log_path
from tests.unit.audit_project import made_project

KEY = "tiny/round_01/checkpoint"
CURVE = thinned(
    {
        "loss": [4.0 / step for step in range(1, 41)],
        "grad_norm": [1.0] * 40,
        "learning_rate": [1e-3] * 40,
        "tokens": [64] * 40,
    }
)


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    return made_project(tmp_path_factory.mktemp("curves"))


def test_long_curve_is_thinned_evenly_to_its_end():
    made = thinned({"loss": [1 / 3] * 1201, "tokens": list(range(1201))})
    assert made["step"][0] == 1 and made["step"][-1] == 1201 and len(made["step"]) <= MOST_STEPS
    assert {after - before for before, after in pairwise(made["step"])} == {3}
    assert made["loss"][0] == 0.333333 and made["tokens"][-1] == 1200
    assert thinned({"loss": [0.5]}) == {"step": [1], "loss": [0.5]}


@pytest.mark.parametrize(
    "curve", [None, [], {}, {"loss": [1.0]}, {"step": [1], "loss": []}, {"step": ["<b>"]}, {"step": []}]
)
def test_what_is_no_curve_is_shown_as_none(curve):
    assert curve_of({"curve": curve}) == {}
    assert curve_of({"curve": CURVE}) == CURVE


def test_report_draws_a_training_and_says_its_ends(plan, tmp_path):
    path = log_path(plan.project, KEY)
    log = json.loads(path.read_text())
    write_report(plan, tmp_path / "before.html")
    assert "Trainings: loss" not in (tmp_path / "before.html").read_text()
    path.write_text(json.dumps({**log, "facts": {**log["facts"], "curve": CURVE}}))
    write_report(plan, tmp_path / "after.html")
    page = (tmp_path / "after.html").read_text()
    assert page.count('<svg class="spark') == 4
    assert 'aria-label="loss from 4 to 0.1, between 0.1 and 4"' in page and "4 to 0.1</td>" in page


def test_dagster_shows_a_trainings_steps_as_a_table(plan):
    artifact = open_artifact(KEY, plan.project.directory(KEY))
    shown = artifact_metadata(plan.step(KEY), artifact, {"facts": {"curve": CURVE}}, "made")["training"]
    assert [column.name for column in shown.schema.columns] == [
        "step",
        "loss",
        "grad_norm",
        "learning_rate",
        "tokens",
    ]
    steps = [record.data["step"] for record in shown.records]
    assert len(steps) <= TRAINING_ROWS and (steps[0], steps[-1]) == (1, 40)
    assert shown.records[-1].data["loss"] == 0.1
    assert "training" not in artifact_metadata(plan.step(KEY), artifact, {}, "made")
