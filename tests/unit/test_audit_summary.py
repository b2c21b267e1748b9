"""The numbers per round, and the table that the demo prints."""

import json
import shutil
from dataclasses import replace
from itertools import pairwise

import pytest

from lineal.audit.report.charts import Chart, Line, draw
from lineal.audit.report.figures import charts_of
from lineal.audit.summary import accuracy_table, render_accuracy_table, summarise
from lineal.components.base import Role
from lineal.plan import make_plan
from lineal.recipe.project import open_project
from tests.unit.audit_project import made_project, write_project


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    return made_project(tmp_path_factory.mktemp("summary"))


def metric(plan, key):
    return json.loads((plan.project.directory(key) / "metrics.json").read_text())["accuracy"]


def test_accuracy_table_holds_every_evaluation_and_marks_controls(plan):
    method, control = accuracy_table(summarise(plan))
    assert (method.pipeline, method.label, method.is_control) == ("tiny", "evaluation", False)
    assert (control.pipeline, control.is_control) == ("control", True)
    groups = ("start", "round_01", "round_02")
    assert method.values == tuple(metric(plan, f"tiny/{group}/evaluation") for group in groups)
    assert method.best == max(method.values)


def test_rendered_table_has_a_line_per_round_and_percentages(plan):
    lines = render_accuracy_table(summarise(plan)).splitlines()
    assert lines[0].split() == ["tiny", "|", "control"]
    assert lines[1].split() == ["round", "evaluation", "|", "evaluation"]
    assert [line.split()[0] for line in lines[2:]] == ["0", "1", "2"]
    assert lines[2].split()[1] == f"{100 * metric(plan, 'tiny/start/evaluation'):.1f}%"
    assert len({line.index("|") for line in lines}) == 1


def test_missing_steps_leave_gaps(tmp_path):
    summary = summarise(make_plan(open_project(write_project(tmp_path))))
    assert accuracy_table(summary)[0].values == (None, None, None)
    assert render_accuracy_table(summary).splitlines()[2].split() == ["0", "-", "|", "-"]
    assert charts_of(summary) == {}


def test_unreadable_artifact_is_reported_beside_the_others(plan, tmp_path):
    root = shutil.copytree(plan.project.root, tmp_path / "copy")
    (root / "artifacts/tiny/round_01/evaluation/metrics.json").write_text("{")
    tiny = summarise(make_plan(open_project(root))).pipelines[0]
    node = tiny.node(1, "evaluation")
    assert "metrics.json cannot be read" in node.trouble
    assert tiny.series("evaluation")[1] is None
    assert tiny.series("evaluation")[2] is not None


def test_summary_counts_what_the_manifests_say(plan):
    tiny = summarise(plan).pipelines[0]
    filtered = tiny.node(1, "filtered")
    assert filtered.value("kept_share") == filtered.counts["kept"] / 60
    assert tiny.node(1, "mixed").value("kept_share") is None


def test_metrics_are_read_by_difficulty_in_order(plan):
    node = summarise(plan).pipelines[0].node(1, "evaluation")
    parts = node.breakdown["by_difficulty"]
    assert list(parts) == sorted(parts, key=float)
    assert sum(part["count"] for part in parts.values()) == 10


def test_scores_are_told_k_by_k_and_counts_are_none(plan):
    values = {"errors": 0.0, "pass_at_16": 0.9, "pass_at_4": 0.5, "prompts": 10.0, "left_out_at_4": 1.0}
    node = replace(summarise(plan).pipelines[0].node(1, "evaluation"), values=values)
    assert node.scores == ["pass_at_4", "pass_at_16"] and node.headline == "accuracy"


def test_labels_are_the_roles_nodes_in_declared_order(plan):
    tiny = summarise(plan).pipelines[0]
    assert tiny.labels(Role.SELECTOR) == ["filtered", "mixed"]
    assert tiny.labels(Role.EVALUATOR) == ["evaluation"]


def test_chart_breaks_its_line_at_a_gap_and_keeps_labels_apart():
    lines = tuple(Line(f"p{slot}", (0.5, None, 0.6, 0.98), slot, False) for slot in range(4))
    picture = draw(Chart("T", "n", lines), 360, 240, named=True)
    assert picture.count("<polyline") == 8
    heights = [float(part.partition('y="')[2].partition('"')[0]) for part in picture.split('class="end')[1:]]
    assert all(later - earlier >= 14.9 for earlier, later in pairwise(heights))
    assert max(heights) < 240


def test_chart_escapes_names():
    picture = draw(Chart('a"<b', "n", (Line('<i>&"', (0.1,), 0, False),)), 360, 240, named=True)
    assert "<i>" not in picture
    assert "&lt;i&gt;&amp;" in picture


def test_chart_of_counts_has_a_round_axis_above_its_largest_value():
    picture = draw(
        Chart("T", "n", (Line("p", (3.0, 17.2), 0, False),), is_share=False), 360, 240, named=False
    )
    assert ">20</text>" in picture
    assert ">17.2<" in picture


def test_chart_of_zeros_is_drawn():
    assert ">0.00<" in draw(
        Chart("T", "n", (Line("p", (0.0, 0.0), 0, False),), is_share=False), 360, 240, named=False
    )
