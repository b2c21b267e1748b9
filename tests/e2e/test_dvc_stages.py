from __future__ import annotations

import json
import os
import shutil
import subprocess

import pytest
import yaml
from dvc.lock import Lock
from dvc.utils.serialize import dumps_yaml, loads_yaml

from lineal.data.digests import Digests
from lineal.errors import ProjectError, StepBusy, StepFailure
from lineal.orchestrate import dvc_repo
from lineal.orchestrate.decision import decide
from lineal.orchestrate.dvc_lock import recorded_digests
from lineal.orchestrate.dvc_record import directory_md5
from lineal.orchestrate.dvc_repo import DvcProject, StageOutcome
from lineal.orchestrate.dvc_yaml import check_dvc_yaml, write_dvc_yaml
from lineal.step.status import Act

from .toy_project import TOY, UP_TO_DATE, command, edit, make_project, make_steps, plan_of, run_logs, to_make


def test_reproduce_of_a_finished_stage_runs_nothing(finished):
    plan = plan_of(finished)
    before = run_logs(finished)
    made = DvcProject(finished).reproduce(plan, plan.step("toy/round_01/filtered"))
    assert made.outcome is StageOutcome.UP_TO_DATE and run_logs(finished) == before
    recorded = recorded_digests(plan)
    assert made.digests == {
        "": recorded["toy/round_01/filtered"],
        "dropped": recorded["toy/round_01/filtered.dropped"],
    }


def test_reproduce_writes_dvc_lock_as_dvc_does(finished):
    text = (finished / "dvc.lock").read_text()
    assert text == dumps_yaml(loads_yaml(text))


def test_reproduce_after_dvc_lost_a_stages_entry_adds_it_again(finished):
    lock = finished / "dvc.lock"
    content = yaml.safe_load(lock.read_text())
    whole = dict(content["stages"])
    del content["stages"]["toy-round_02-evaluation"]
    lock.write_text(dumps_yaml(content))
    plan = plan_of(finished)
    left = finished / "artifacts/toy/round_02/.evaluation.partial/out"
    left.mkdir(parents=True)  # as a kill leaves it that comes between the artifact and its record
    made = DvcProject(finished).reproduce(plan, plan.step("toy/round_02/evaluation"))
    assert made.outcome is StageOutcome.RECORDED and not left.parent.exists()
    assert yaml.safe_load(lock.read_text())["stages"] == whole
    assert UP_TO_DATE in command(finished, "dvc", "status")


@pytest.mark.parametrize("words", ["samples: 2", "samples: 2, temperature: 1.0"])
def test_work_whose_input_is_only_recorded_is_recorded_again_once(finished, words):
    shutil.rmtree(finished / ".dvc/cache")
    shutil.rmtree(finished / "artifacts/toy/tasks/train")
    edit(finished / "pipelines/toy.yaml", "samples: 2", words)
    before = yaml.safe_load((finished / "dvc.lock").read_text())["stages"]["toy-round_01-generated"]
    assert "recorded again, not rerun: 13 finished steps" in command(finished, "lineal", "run")
    assert {entry.act for entry in decide(plan_of(finished)).values()} == {Act.NONE}
    assert "nothing to do" in command(finished, "lineal", "run")
    after = yaml.safe_load((finished / "dvc.lock").read_text())["stages"]["toy-round_01-generated"]
    assert (after["deps"], after["outs"]) == (before["deps"], before["outs"])
    assert ("temperature" in str(after["params"])) == ("temperature" in words)


def test_decisions_hold_all_that_dvc_calls_stale_after_edits(finished):
    edit(finished / "pipelines" / "toy.yaml", "samples: 2", "samples: 3")
    (finished / "artifacts/toy/round_02/checkpoint/config.json").unlink()
    decided = decide(plan_of(finished))
    theirs = yaml.safe_load(command(finished, "dvc", "status", "--json"))
    assert set(theirs) < {key.replace("/", "-") for key, entry in decided.items() if entry.act is Act.MAKE}
    assert decided["toy/round_01/generated"].reasons == ("samples 2 -> 3",)


def test_stale_after_a_selector_setting_changed_holds_selection_and_what_follows(finished):
    edit(finished / "pipelines" / "toy.yaml", "max_per_prompt: 1", "max_per_prompt: 2")
    plan = plan_of(finished)
    stale = [step.name for step in to_make(plan)]
    following = ["filtered", "checkpoint", "evaluation"]
    expected = [f"round_01/{name}" for name in following] + [
        f"round_02/{name}" for name in ("generated", "verified", *following)
    ]
    assert stale == expected


def test_stale_of_a_chosen_step_leaves_out_what_does_not_feed_it(finished):
    edit(finished / "pipelines" / "toy.yaml", "max_per_prompt: 1", "max_per_prompt: 2")
    plan = plan_of(finished)
    stale = to_make(plan, plan.step("toy/round_01/checkpoint"))
    assert [step.name for step in stale] == ["round_01/filtered", "round_01/checkpoint"]


def test_changing_a_size_makes_the_rows_anew_instead_of_restoring_the_old_ones(finished):
    """DVC's run cache overlooks settings that are called `size`."""
    edit(finished / "pipelines" / "toy.yaml", "size: 24", "size: 25")
    command(finished, "dvc", "repro", "-s", "toy-tasks-train")
    assert (
        yaml.safe_load((finished / "artifacts/toy/tasks/train/manifest.json").read_text())["settings"]["size"]
        == 25
    )


def test_params_without_a_seed_run_with_seed_zero(fresh):
    edit(fresh / "params.yaml", "seed: 0\n", "")
    write_dvc_yaml(plan_of(fresh))
    command(fresh, "dvc", "repro", "-s", "toy-tasks-train")
    assert yaml.safe_load((fresh / "artifacts/toy/tasks/train/manifest.json").read_text())["seed"] == 0


def test_settings_that_a_pipeline_writes_once_for_two_places_leave_a_lock_that_can_be_read(fresh):
    shared = "warnings: {accuracy: &low {below: 0.5}, errors: *low}"
    edit(fresh / "pipelines/toy.yaml", "prompts: tasks.test, max", f"prompts: tasks.test, {shared}, max")
    plan = plan_of(fresh)
    write_dvc_yaml(plan)
    make_steps(plan, plan.steps.values())
    evaluations = [f"toy-round_{number:02d}-evaluation" for number in (1, 2)]
    recorded = yaml.safe_load((fresh / "dvc.lock").read_text())["stages"]
    assert all(shared[:8] in str(recorded[name]["params"]) for name in evaluations)
    assert UP_TO_DATE in command(fresh, "dvc", "status")


def test_corrupted_cache_object_is_not_restored_but_made_again(finished):
    plan = plan_of(finished)
    step = plan.step("toy/round_01/verified")
    recorded = recorded_digests(plan)[step.key]
    part = finished / "artifacts" / step.key / "part-00000.parquet"
    whole = part.read_bytes()
    damaged = [
        path
        for path in (finished / ".dvc/cache/files/md5").rglob("*")
        if path.is_file() and path.read_bytes() == whole
    ]
    for path in {part, *damaged}:
        os.chmod(path, 0o644)
        os.truncate(path, 100)
        os.chmod(path, 0o444)
    project = DvcProject(finished)
    assert step in to_make(plan)
    made = project.reproduce(plan, step)
    assert made.outcome is StageOutcome.DONE and made.digests[""] == recorded and part.read_bytes() == whole
    assert damaged and all(path.read_bytes() == whole for path in damaged)
    assert UP_TO_DATE in command(finished, "dvc", "status")


@pytest.mark.parametrize("left", ["", '{"write": {"/somewhere'])
def test_file_of_paths_in_use_that_a_kill_left_half_written_stops_nobody(finished, left):
    (finished / ".dvc" / "tmp" / "rwlock").write_text(left)
    edit(finished / "pipelines" / "toy.yaml", "size: 24", "size: 25")
    plan = plan_of(finished)
    assert DvcProject(finished).reproduce(plan, plan.step("toy/tasks/train")).outcome is StageOutcome.DONE


def test_path_in_use_by_a_living_process_is_a_busy_step(finished):
    used = {str(finished / "artifacts/toy/tasks/train"): {"pid": os.getppid(), "cmd": "dvc repro"}}
    (finished / ".dvc" / "tmp" / "rwlock").write_text(json.dumps({"write": used}))
    edit(finished / "pipelines" / "toy.yaml", "size: 24", "size: 25")
    plan = plan_of(finished)
    with pytest.raises(StepBusy, match="toy/tasks/train: another lineal or dvc process is at work"):
        DvcProject(finished).reproduce(plan, plan.step("toy/tasks/train"))


@pytest.mark.parametrize("waited", [True, False])
def test_paths_in_use_by_dead_processes_are_forgotten(finished, waited):
    with subprocess.Popen(["true"]) as dead:
        _require_forgotten(finished, dead, waited)


def _require_forgotten(finished, dead, waited):
    os.waitid(
        os.P_PID, dead.pid, os.WEXITED | os.WNOWAIT
    )  # it has ended, and stays until its parent waits for it
    if waited:
        dead.wait()
    entry, living = {"pid": dead.pid, "cmd": "dvc repro"}, {"pid": os.getppid(), "cmd": "dvc repro"}
    rwlock = finished / ".dvc" / "tmp" / "rwlock"
    rwlock.write_text(
        json.dumps(
            {"write": {"/elsewhere": entry}, "read": {"/elsewhere": [entry, living], "/there": [entry]}}
        )
    )
    plan = plan_of(finished)
    DvcProject(finished).reproduce(plan, plan.step("toy/tasks/train"))
    assert {mode: paths for mode, paths in json.loads(rwlock.read_text()).items() if paths} == {
        "read": {"/elsewhere": [living]}
    }


def test_locked_repository_is_a_busy_step(finished, monkeypatch):
    monkeypatch.setattr(dvc_repo, "LOCK_SECONDS", 0.0)
    plan = plan_of(finished)
    other = Lock(str(finished / ".dvc" / "tmp" / "lock"))
    with other, pytest.raises(StepBusy, match="toy/tasks/test: another lineal or dvc process is at work"):
        DvcProject(finished).reproduce(plan, plan.step("toy/tasks/test"))


def test_step_that_fails_says_its_own_error(fresh):
    edit(fresh / "pipelines" / "toy.yaml", "[2, 3], size: 16", "[1, 1], size: 26")
    plan = plan_of(fresh)
    write_dvc_yaml(plan)
    with pytest.raises(StepFailure, match="tasks/base: found .* but size is 26"):
        DvcProject(fresh).reproduce(plan, plan.step("toy/tasks/base"))


def test_stage_that_is_not_what_the_plan_says_is_refused(finished):
    edit(finished / "dvc.yaml", "    - artifacts/toy/round_01/filtered\n", "")
    plan = plan_of(finished)
    with pytest.raises(ProjectError, match="its stage for toy/round_01/checkpoint is not what the plan says"):
        DvcProject(finished).reproduce(plan, plan.step("toy/round_01/checkpoint"))


def test_dvc_yaml_of_changed_rounds_is_stale_and_says_how(finished):
    edit(finished / "params.yaml", "rounds: 2", "rounds: 3")
    with pytest.raises(ProjectError, match=r"lineal plan --write\n.*\n.*\n.*\n(.*\n)*\+.*toy-round_03"):
        check_dvc_yaml(plan_of(finished))


def test_more_rounds_leave_the_earlier_ones_alone(finished):
    edit(finished / "params.yaml", "rounds: 2", "rounds: 3")
    plan = plan_of(finished)
    assert write_dvc_yaml(plan) and not write_dvc_yaml(plan)
    assert {step.group for step in to_make(plan)} == {"round_03"}


def test_metrics_and_plots_show_one_curve_per_evaluation(finished):
    shown = yaml.safe_load(command(finished, "dvc", "metrics", "show", "--json"))[""]["data"]
    assert list(shown) == [f"artifacts/toy/round_0{number}/evaluation/metrics.json" for number in (1, 2)]
    assert shown.popitem()[1]["data"].keys() == {"accuracy", "low", "high", "count", "errors"}
    assert max(map(len, command(finished, "dvc", "metrics", "show").splitlines())) < 100
    command(finished, "dvc", "plots", "show", "-o", "plots")
    page = (finished / "plots" / "index.html").read_text()
    assert page.count('"toy evaluation accuracy"') and '"round": 2' in page and '"low": ' in page


def test_plots_show_the_loss_of_each_rounds_training(finished):
    (plot,) = [
        one
        for one in yaml.safe_load((finished / "dvc.yaml").read_text())["plots"]
        if "toy checkpoint loss" in one
    ]
    places = plot["toy checkpoint loss"]["y"]
    assert "runs/toy/round_01/checkpoint.steps.csv" in places and set(places.values()) == {"loss"}
    for number, place in enumerate(places):  # the fake engine trains nothing
        (finished / place).write_text(f"step,loss\n1,{number}.5\n2,0.125\n")
    command(finished, "dvc", "plots", "show", "-o", "losses")
    page = (finished / "losses" / "index.html").read_text()
    assert all(f"{number}.5" in page for number in range(len(places)))
    for place in places:
        (finished / place).unlink()


def test_project_without_dvc_repository_says_how_to_make_one(tmp_path):
    root = make_project(tmp_path / "project", TOY)
    (root / ".dvc").rename(root / "elsewhere")
    with pytest.raises(ProjectError, match="dvc init"):
        DvcProject(root)


def test_round_is_verified_against_what_dvc_recorded(finished):
    plan = plan_of(finished)
    recorded = recorded_digests(plan)
    assert {key: directory_md5(plan.project.directory(key), Digests()) for key in recorded} == recorded
    assert "are what they say" in command(finished, "lineal", "round", "toy/round_02", "--verify")
    edit(finished / "dvc.lock", recorded["toy/round_02/filtered"], "0" * 32 + ".dir")
    said = command(finished, "lineal", "round", "toy/round_02", "--verify", status=1)
    assert (
        "WRONG toy/round_02/filtered: dvc.lock records another directory under this key, with MD5 000" in said
    )
