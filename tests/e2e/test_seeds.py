"""Several seeds of a pipeline: what no seed decides is made once, and every command knows the others' keys."""

import json
import re

import pytest

from lineal.audit.summary import render_accuracy_table, summarise
from lineal.errors import DeclarationError, ProjectError
from lineal.orchestrate.dvc_yaml import dvc_yaml_text
from lineal.plan import plan_what_can_be
from lineal.recipe.project import open_project
from lineal.step.runlog import read_log
from tests.e2e.toy_project import PARAMS, command, make_project, plan_of

THREE = PARAMS.replace("seed: 0", "seeds: [0, 1, 2]")


def stages(text):
    return dict(re.findall(r"^  (\S+):\n((?:    .*\n)+)", text, re.MULTILINE))


def test_first_seed_keeps_the_keys_and_stages_of_a_single_one(tmp_path):
    one, three = (
        plan_of(make_project(tmp_path / name, params=params))
        for name, params in (("one", PARAMS), ("three", THREE))
    )
    names = {"toy", "toy__seed_1", "toy__seed_2"}
    assert {step.pipeline for step in three.steps.values()} == names and len(three.steps) == 3 * len(
        one.steps
    )
    before, after = stages(dvc_yaml_text(one)), stages(dvc_yaml_text(three))
    assert {
        name: text.replace("- seed\n", "- seeds.0\n") for name, text in before.items()
    }.items() <= after.items()
    assert (
        "seeds" not in after["toy__seed_1-round_01-generated"]
        and "- seeds.0\n" in after["toy__seed_1-tasks-train"]
    )


def test_tasks_and_given_models_have_the_first_seed(tmp_path):
    plan = plan_of(make_project(tmp_path / "p", params=THREE))
    seeds = {step.name: plan.seed_of(step) for step in plan.steps.values() if step.pipeline == "toy__seed_2"}
    assert {name for name, seed in seeds.items() if seed == 0} == {"tasks/base", "tasks/train", "tasks/test"}
    assert seeds["start/checkpoint"] == seeds["round_01/evaluation"] == 2


@pytest.mark.parametrize(
    ("params", "said"),
    [
        (PARAMS + "seeds: [0, 1]\n", "seed and seeds are both set"),
        (PARAMS.replace("seed: 0", "seeds: [1, 1]"), "seeds must differ"),
        (PARAMS.replace("seed: 0", "seeds: []"), "seeds"),
        (PARAMS + "pipelines: {toy: {seed: 1, seeds: [2]}}\n", "seed and seeds are both set"),
    ],
)
def test_seeds_that_make_no_sense_are_refused(tmp_path, params, said):
    with pytest.raises(DeclarationError, match=said):
        open_project(make_project(tmp_path / "p", params=params))


def test_a_file_that_reads_like_a_further_seed_is_refused(tmp_path):
    root = make_project(tmp_path / "p", params=PARAMS)
    (root / "pipelines" / "toy__seed_1.yaml").write_text((root / "pipelines" / "toy.yaml").read_text())
    with pytest.raises(ProjectError, match="'toy__seed_1' reads like a variant of 'toy'; rename the file"):
        open_project(root)


def test_seeds_of_one_pipeline_win_over_the_projects(tmp_path):
    project = open_project(make_project(tmp_path / "p", params=THREE + "pipelines: {toy: {seed: 7}}\n"))
    assert project.active == ["toy"] and project.seed_of("toy") == 7


def test_plan_to_look_at_holds_every_seed_and_names_a_wrong_pipeline_once(tmp_path):
    project = open_project(make_project(tmp_path / "p", params=THREE))
    plan, refused = plan_what_can_be(project)
    assert list(plan.pipelines) == project.active and not refused
    path = project.root / "pipelines" / "toy.yaml"
    path.write_text(path.read_text() + "typo: 1\n")
    plan, refused = plan_what_can_be(project)
    assert not plan.pipelines and list(refused) == ["toy"]


def test_three_seeds_run_once_and_are_known_to_every_command(tmp_path):
    root = make_project(
        tmp_path / "p", params=THREE.replace("[0, 1, 2]", "[0, 1]").replace("rounds: 2", "rounds: 1")
    )
    said = command(root, "lineal", "run")
    plan = plan_of(root)
    logs = {key: read_log(plan.project, key)["status"] for key in plan.steps}
    reused = sorted(key.partition("/")[2] for key, status in logs.items() if status == "reused")
    assert reused == ["tasks/base", "tasks/test", "tasks/train"]
    assert "toy (2 seeds)" in render_accuracy_table(summarise(plan)) and "toy (2 seeds)" in said + command(
        root, "lineal", "run"
    )
    assert json.loads(command(root, "lineal", "status", "--json"))
    command(root, "lineal", "plan", "--check")
    assert "evaluation" in command(root, "lineal", "diff", "toy/round_01", "toy__seed_1/round_01")
    assert "toy__seed_1/start/checkpoint" in command(
        root, "lineal", "trace", "toy__seed_1/round_01/checkpoint"
    )
    assert "seed        0, 1" not in command(root, "lineal", "round", "toy__seed_1/round_01", "--verify")
    assert command(root, "lineal", "run", "*__seed_1/round_01/*", "--dry-run").startswith(
        "0 steps would run, to bring 5"
    )
    command(root, "lineal", "report", "-o", "report.html")
    assert "toy (2 seeds)" in (root / "report.html").read_text()
    command(root, "dvc", "plots", "show", "-o", "plots")
