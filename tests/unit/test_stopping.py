"""`stop:` ends a run early: what is planned, what stands in the stopped rounds, and what `finish` gets."""

import json
import shutil

import pytest

from lineal.data.store import Rows, open_artifact
from lineal.errors import ArtifactError, DeclarationError
from lineal.plan import make_plan
from lineal.recipe.project import open_project
from lineal.step.runlog import read_log
from lineal.step.runner import open_inputs, run_step
from lineal.step.status import State, status_of
from tests.e2e.toy_project import PARAMS, TOY, edit, make_project, plan_of
from tests.unit.lab import Lab

STOP = "stop: {use: plateau, metric: evaluation.accuracy, min_gain: 0.0}\n"
FINISH = """\
finish:
  pool: {use: select, rows: history.filtered, sql: keep_all}
  last: {use: accuracy, model: previous.checkpoint, prompts: tasks.test, max_tokens: 16}
"""
ROUNDS = PARAMS.replace("rounds: 2", "rounds: 4").replace("seed: 0", "seed: 2")


@pytest.fixture(scope="module")
def made_once(tmp_path_factory):
    """With this seed round 2 is worse than round 1: it is the last that runs, and round 1 is the best."""
    root = make_project(tmp_path_factory.mktemp("stopped") / "project", TOY + STOP + FINISH, ROUNDS)
    plan = plan_of(root)
    for key in plan.steps:
        run_step(plan, key)
    return root


@pytest.fixture
def made(made_once, tmp_path):
    root = tmp_path / "project"
    shutil.copytree(made_once, root, symlinks=True)
    return root


def artifact(root, key):
    return open_artifact(key, root / "artifacts" / key)


def decision(root, number):
    return json.loads((root / f"artifacts/toy/round_{number:02d}/stop/settings.json").read_text())


# -- the plan -----------------------------------------------------------------------------------------------------------


def test_steps_from_round_two_on_wait_for_the_decision_before(made_once):
    plan = plan_of(made_once)
    for step in plan.steps.values():
        waits = step.round > 1 and step.group.startswith("round_") and step.label != "stop"
        expected = (
            f"toy/round_{step.round - 1:02d}/stop"
            if waits
            else "toy/round_04/stop"
            if step.group == "best"
            else None
        )
        assert step.stopped_by == expected, step.key
        assert expected is None or expected in step.all_inputs()


def test_decision_sees_every_artifact_of_its_round_and_the_decision_before(made_once):
    plan = plan_of(made_once)
    stop = plan.step("toy/round_02/stop")
    of_round = {
        key
        for step in plan.steps.values()
        if step.group == "round_02"
        for key in step.artifact_keys().values()
    }
    assert set(stop.inputs["nodes"]) == of_round - {"toy/round_02/stop"} and stop.inputs["before"] == (
        "toy/round_01/stop",
    )
    assert stop.settings_from == {"metric": ("toy/round_02/evaluation", "accuracy")}


def test_finish_reads_the_best_round(made_once):
    plan = plan_of(made_once)
    assert plan.step("toy/finish/last").inputs["model"] == ("toy/best/checkpoint",)
    assert {step.label for step in plan.steps.values() if step.group == "best"} == {
        "generated",
        "verified",
        "filtered",
        "checkpoint",
        "evaluation",
    }


def test_pipeline_without_stop_waits_for_nothing_new(tmp_path):
    plan = plan_of(make_project(tmp_path / "project"))
    assert all(step.stopped_by is None for step in plan.steps.values())
    assert not [key for key in plan.steps if "/best/" in key or key.endswith("/stop")]


def test_profile_takes_the_stop_away_or_makes_it_more_patient(tmp_path):
    root = make_project(
        tmp_path / "project", TOY + STOP + "profiles: {long: {stop: null}, patient: {stop: {patience: 3}}}\n"
    )
    edit(root / "params.yaml", "active", "profile: long\nactive")
    assert "toy/round_01/stop" not in plan_of(root).steps
    edit(root / "params.yaml", "profile: long", "profile: patient")
    assert plan_of(root).step("toy/round_01/stop").component.patience == 3


MISTAKES = [
    (
        "use: plateau, metric: evaluation.accuracy",
        "use: accuracy",
        r"toy\.yaml:\d+: stop\.use: 'accuracy' is an evaluator, but",
    ),
    (
        "evaluation.accuracy",
        "evaluation.acuracy",
        r"toy\.yaml:\d+: stop\.metric: 'evaluation' gives no value 'acuracy'\. Did you mean 'accuracy'",
    ),
    (
        "evaluation.accuracy",
        "evaluatoin.accuracy",
        r"toy\.yaml:\d+: stop\.metric: got 'evaluatoin\.accuracy', which is no number, and no value of a node that is declared",
    ),
    (
        "min_gain",
        "min_gian",
        r"toy\.yaml:\d+: stop\.min_gian: unknown key 'min_gian'\. Did you mean 'min_gain'",
    ),
    (
        "  filtered:",
        "  stop:",
        r"toy\.yaml:\d+: round\.stop: a node's name is a lower-case word that is not before, best, ",
    ),
]


@pytest.mark.parametrize(("old", "new", "message"), MISTAKES)
def test_stop_that_cannot_be_is_named_with_its_line(tmp_path, old, new, message):
    root = make_project(tmp_path / "project")
    (root / "pipelines" / "toy.yaml").write_text((TOY + STOP).replace(old, new))
    with pytest.raises(DeclarationError, match=message):
        make_plan(open_project(root))


# -- the run ------------------------------------------------------------------------------------------------------------


def test_stopped_rounds_are_the_best_round_and_say_so(made_once):
    assert [decision(made_once, number)["stopped"] for number in (1, 2, 3, 4)] == [False, True, True, True]
    assert {decision(made_once, number)["best_round"] for number in (1, 2, 3, 4)} == {1}
    plan = plan_of(made_once)
    for step in plan.steps.values():
        if step.group in ("round_03", "round_04", "best") and step.label != "stop":
            for key in step.artifact_keys().values():
                original = key.replace(step.group, "round_01")
                assert artifact(made_once, key).manifest == artifact(made_once, original).manifest
            log = read_log(plan.project, step.key)
            assert (
                log["status"] == "reused"
                and "stopped after round 2: no gain for a round" in log["facts"]["stopped"]
            )
            assert log["reused_from"] == f"toy/round_01/{step.label}"


def test_pool_over_a_stopped_run_counts_every_row_once(made_once):
    plan = plan_of(made_once)
    rows = Rows(open_inputs(plan, plan.step("toy/finish/pool"), verify=False)["rows"])
    own = [artifact(made_once, f"toy/round_{number:02d}/filtered") for number in (1, 2)]
    assert [a.key for a in rows.artifacts] == [a.key for a in own] and rows.count == Rows(tuple(own)).count


def test_status_of_a_stopped_run_is_done_throughout(made_once):
    assert {(entry.state, entry.reasons) for entry in status_of(plan_of(made_once))} == {(State.DONE, ())}


def test_more_patience_lets_the_stopped_rounds_run(made):
    before = artifact(made, "toy/round_02/checkpoint").digest
    edit(made / "pipelines" / "toy.yaml", "min_gain: 0.0", "patience: 3")
    plan = plan_of(made)
    stale = {entry.key for entry in status_of(plan) if entry.state is not State.DONE}
    assert (
        "toy/round_01/stop" in stale
        and "toy/round_03/generated" in stale
        and "toy/round_01/checkpoint" not in stale
    )
    for key in plan.steps:
        run_step(plan, key)
    assert artifact(made, "toy/round_03/generated").manifest.step == "round_03/generated"
    assert artifact(made, "toy/round_02/checkpoint").digest == before
    assert not decision(made, 3)["stopped"] and decision(made, 2)["best_round"] == 1


def test_stand_in_refuses_an_artifact_that_the_decision_did_not_choose(made):
    plan = plan_of(made)
    shutil.rmtree(made / "artifacts/toy/round_01/generated")
    shutil.copytree(made / "artifacts/toy/round_02/generated", made / "artifacts/toy/round_01/generated")
    with pytest.raises(
        ArtifactError,
        match=r"toy/round_03/generated: toy/round_01/generated is not what toy/round_02/stop chose",
    ):
        run_step(plan, "toy/round_03/generated")


def test_round_zero_wins_where_no_round_beats_it(tmp_path):
    start = "  checkpoint: {use: pretrain, rows: tasks.base, steps: 2}\n"
    evaluated = (
        start + "  evaluation: {use: accuracy, model: checkpoint, prompts: tasks.test, max_tokens: 16}\n"
    )
    root = make_project(tmp_path / "project", TOY.replace(start, evaluated) + STOP)
    plan = plan_of(root)
    for key in plan.steps:
        run_step(plan, key)
    assert (decision(root, 1)["stopped"], decision(root, 1)["best_round"]) == (True, 0)
    for label, group in (("checkpoint", "start"), ("evaluation", "start"), ("filtered", "round_01")):
        assert artifact(root, f"toy/best/{label}").digest == artifact(root, f"toy/{group}/{label}").digest


# -- the decision -------------------------------------------------------------------------------------------------------


def decided(path, metrics, **settings):
    """The decisions after rounds with these metrics; the first is round 0's, or None."""
    lab, before, found = Lab(path), (), []
    for number, metric in enumerate(metrics[1:], start=1):
        group = f"round_{number:02d}"
        inputs = {"nodes": (lab.put(f"{group}/filtered", [{"prompt_id": group}]),), "before": before}
        component = lab.parse(
            "plateau", metric=metric, **({"mark": metrics[0]} if number == 1 else {}), **settings
        )
        workspace = lab._workspace(f"{group}/stop", inputs, number)
        component.run(workspace)
        before = (lab._publish(workspace, "", component.outputs({})[""].kind),)
        found.append(json.loads((before[0].directory / "settings.json").read_text()))
    return found


DECISIONS = [
    ([0.1, 0.2, 0.3, 0.4], {}, 3, None),
    ([0.1, 0.3, 0.2, 0.9], {}, 1, 2),
    ([0.1, 0.3, 0.2, 0.9], {"patience": 2}, 3, None),
    ([0.1, 0.3, 0.2, 0.2, 0.9], {"patience": 2}, 1, 3),
    ([0.5, 0.3, 0.9], {}, 0, 1),
    ([None, 0.3, 0.3], {}, 1, 2),
    ([0.1, 0.25, 0.3], {"min_gain": 0.1}, 2, 2),
    ([0.1, 0.19, 0.28, 0.3], {"min_gain": 0.1, "patience": 2}, 3, None),
    ([0.1, 0.19, 0.15, 0.3], {"min_gain": 0.1, "patience": 2}, 1, 2),
]


@pytest.mark.parametrize(("metrics", "settings", "best", "stopped"), DECISIONS)
def test_plateau_stops_after_its_patience_and_names_the_best(tmp_path, metrics, settings, best, stopped):
    found = decided(tmp_path, metrics, **settings)
    assert found[-1]["best_round"] == best
    assert next((number for number, state in enumerate(found, start=1) if state["stopped"]), None) == stopped
    assert found[-1]["artifacts"]["filtered"]["step"] == f"round_{max(best, 1):02d}/filtered"


def test_labels_of_stopped_rounds_are_stood_in_for_when_their_file_is_empty(tmp_path):
    labelled = (
        '  labelled: {use: labels, rows: verified, path: "labels/{round}.csv", columns: {note: note}}\n'
    )
    root = make_project(tmp_path / "project", TOY + labelled + STOP, ROUNDS)
    (root / "labels").mkdir()
    plan = plan_of(root)
    for key, step in plan.steps.items():
        if step.label == "labelled" and step.round <= 2:
            ids = Rows((artifact(root, step.inputs["rows"][0]),)).read(["sample_id"])["sample_id"].to_pylist()
            lines = "".join(f"{name},{number}\n" for number, name in enumerate(ids))
            (root / f"labels/{step.round:02d}.csv").write_text(f"sample_id,note\n{lines}")
        elif step.label == "labelled":
            (root / f"labels/{step.round:02d}.csv").touch()
        run_step(plan, key)
    assert decision(root, 2)["stopped"]
    assert {state.state for state in status_of(plan)} == {State.DONE}
    assert artifact(root, "toy/round_03/labelled").digest == artifact(root, "toy/round_01/labelled").digest
