from __future__ import annotations

import os
import signal
import subprocess

import dagster as dg
import pytest

from lineal.errors import StepFailure
from lineal.orchestrate.dagster_definitions import definitions
from lineal.orchestrate.dagster_keys import asset_key
from lineal.orchestrate.dagster_run import _message
from lineal.orchestrate.dagster_sync import known_tags, outside_events, sync
from lineal.orchestrate.dvc_lock import recorded_digests
from lineal.orchestrate.dvc_yaml import write_dvc_yaml
from lineal.orchestrate.preflight import asked_for, require_ready_run

from .toy_project import BIN, UP_TO_DATE, command, edit, make_steps, plan_of, run_logs, to_make


def data_versions(plan):
    with dg.DagsterInstance.get() as instance:
        return {key: tags["dagster/data_version"] for key, tags in known_tags(plan, instance).items()}


def latest(key):
    with dg.DagsterInstance.get() as instance:
        return instance.get_latest_materialization_event(asset_key(key))


def metadata(key):
    return latest(key).asset_materialization.metadata


def checks_of_last_run():
    with dg.DagsterInstance.get() as instance:
        run = instance.get_runs(limit=1)[0]
        events = [entry.dagster_event for entry in instance.all_logs(run.run_id)]
    evaluations = [event for event in events if event and event.event_type_value == "ASSET_CHECK_EVALUATION"]
    found = [event.asset_check_evaluation_data for event in evaluations]
    return {(data.asset_key.path[-1], data.check_name): data for data in found}


def test_materialize_leaves_dvc_nothing_to_do(finished):
    plan = plan_of(finished)
    assert to_make(plan) == []
    assert UP_TO_DATE in command(finished, "dvc", "status")
    before = run_logs(finished)
    assert UP_TO_DATE in command(finished, "dvc", "repro")
    assert run_logs(finished) == before


def test_error_that_no_component_words_is_told_with_its_type_and_the_steps_key(finished):
    @dg.op
    def broken():
        raise TypeError("a date is no text")

    done = dg.GraphDefinition("graph", node_defs=[broken]).to_job().execute_in_process(raise_on_error=False)
    (event,) = (event for event in done.all_events if event.is_step_failure)
    assert (
        _message(plan_of(finished).step("toy/tasks/train"), event)
        == "toy/tasks/train: TypeError: a date is no text"
    )


def test_materialize_records_dvcs_md5_as_data_version(finished):
    plan = plan_of(finished)
    assert data_versions(plan) == recorded_digests(plan) and len(recorded_digests(plan)) == len(plan.makers)
    assert sync(plan) == []


def test_sync_after_dvc_made_everything_reports_it_once(fresh):
    """Also after a kill between the reports of a step's outputs."""
    plan = plan_of(fresh)
    command(fresh, "dvc", "repro")
    known = "toy/round_01/filtered"
    assert set(plan.step(known).artifact_keys().values()) == {known, f"{known}.dropped"}
    with dg.DagsterInstance.get() as instance:
        instance.report_runless_asset_event(
            next(event for event in outside_events(plan, instance) if event.asset_key == asset_key(known))
        )
    assert set(sync(plan)) == set(plan.makers) - {known}
    assert data_versions(plan) == recorded_digests(plan)
    assert sync(plan) == []


def test_sync_that_was_killed_before_the_checks_reports_them_next_time(fresh):
    plan = plan_of(fresh)
    command(fresh, "dvc", "repro", "-s", "toy-tasks-train")
    with dg.DagsterInstance.get() as instance:
        (made, *checks) = outside_events(plan, instance)
        instance.report_runless_asset_event(made)
        left = list(outside_events(plan, instance))
    assert [(event.asset_key, event.check_name) for event in left] == [
        (check.asset_key, check.check_name) for check in checks
    ]
    assert left and sync(plan) == []
    with dg.DagsterInstance.get() as instance:
        assert list(outside_events(plan, instance)) == []


def test_sync_leaves_no_asset_stale_in_dagster(finished):
    """Also where a step was made again from other inputs with the same bytes."""
    from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
    from dagster._core.loader import LoadingContextForTest

    edit(finished / "pipelines" / "toy.yaml", "max_per_prompt: 1", "max_per_prompt: 2")
    command(finished, "dvc", "repro")
    sync(plan_of(finished))
    graph = definitions(finished).get_repository_def().asset_graph
    with dg.DagsterInstance.get() as instance:
        resolver = CachingStaleStatusResolver(instance, graph, LoadingContextForTest(instance))
        statuses = {resolver.get_status(key) for key in graph.materializable_asset_keys}
    assert statuses == {StaleStatus.FRESH}


def test_sensor_reports_what_dvc_made_outside(fresh):
    command(fresh, "dvc", "repro", "-s", "toy-tasks-train")
    (sensor,) = definitions(fresh).sensors
    with dg.DagsterInstance.get() as instance:
        result = sensor.evaluate_tick(dg.build_sensor_context(instance))
    reported = [
        event.asset_key for event in result.asset_events if isinstance(event, dg.AssetMaterialization)
    ]
    assert reported == [asset_key("toy/tasks/train")]


def test_materialize_after_a_selector_setting_changed_never_samples_in_that_round(finished):
    edit(finished / "pipelines" / "toy.yaml", "max_per_prompt: 1", "max_per_prompt: 2")
    plan, before = plan_of(finished), run_logs(finished)
    chosen = [plan.step("toy/round_01/evaluation")]
    make_steps(plan, to_make(plan, *chosen))
    after = run_logs(finished)
    assert {key for key in after if after[key] != before[key]} == {
        f"toy/round_01/{name}" for name in ("filtered", "checkpoint", "evaluation")
    }


def test_asset_metadata_has_counts_columns_a_sample_and_the_rounds_numbers(finished):
    filtered = metadata("toy/round_01/filtered")
    assert filtered["rows/in"].value == filtered["rows/kept"].value + filtered["rows/dropped"].value
    assert (
        0 < filtered["kept_share"].value < 1
        and filtered["dagster/row_count"].value == filtered["rows/kept"].value
    )
    assert "decision" in {column.name for column in filtered["dagster/column_schema"].schema.columns}
    assert filtered["sample"].records[0].data["decision"] == "kept"
    assert 0 < metadata("toy/round_01/verified")["pass_share"].value < 1
    evaluation = metadata("toy/round_02/evaluation")
    assert isinstance(evaluation["accuracy"].value, float) and evaluation["seconds"].value > 0


def test_asset_page_shows_owner_code_version_kinds_and_group(finished):
    graph = definitions(finished).get_repository_def().asset_graph
    node = graph.get(asset_key("toy/round_01/filtered"))
    assert node.group_name == "toy_round_01" and node.code_version.startswith("select@")
    assert node.owners == ["team:lineal"] and node.kinds == {"sql", "parquet"}


def test_dropped_rows_alone_can_be_selected(finished):
    key = asset_key("toy/round_01/filtered.dropped")
    job = definitions(finished).get_repository_def().get_implicit_global_asset_job_def()
    with dg.DagsterInstance.get() as instance:
        result = job.execute_in_process(instance=instance, asset_selection=[key])
    assert result.success and latest("toy/round_01/filtered").run_id == result.run_id


def test_blocking_check_that_fails_stops_what_follows_and_shows_in_dagster(fresh):
    edit(fresh / "pipelines" / "toy.yaml", "prompts: tasks.test", "prompts: tasks.train")
    plan = plan_of(fresh)
    write_dvc_yaml(plan)
    with pytest.raises(
        StepFailure, match=r"toy/round_01/filtered: \d+ rows with a prompt of an evaluation set"
    ):
        make_steps(plan, plan.steps.values())
    failed = checks_of_last_run()["filtered", "no_test_prompt_in_training"]
    assert not failed.passed and failed.blocking and "evaluation set" in failed.description
    assert not (fresh / "artifacts/toy/round_01/filtered").exists()
    assert not (fresh / "artifacts/toy/round_01/checkpoint").exists()
    assert (fresh / "artifacts/toy/round_01/verified/manifest.json").exists()


def test_dagster_and_dvc_refuse_before_the_first_step_what_lineal_run_refuses(fresh):
    edit(fresh / "params.yaml", "engine: fake", "engine: vllm\n  vllm: {python: nowhere/python}")
    refused = "nowhere/python"
    assert refused in command(fresh, "dvc", "repro", status=255)
    job = definitions(fresh).get_repository_def().get_implicit_global_asset_job_def()
    with dg.DagsterInstance.get() as instance:
        done = job.execute_in_process(instance=instance, raise_on_error=False)
    failures = [
        event.step_failure_data.user_failure_data for event in done.all_events if event.is_step_failure
    ]
    assert failures and all(refused in failure.description for failure in failures)
    assert not list(fresh.glob("artifacts/toy/*/*/manifest.json"))
    tasks = asked_for(plan_of(fresh), ["repro", "-f", "dvc.yaml:toy-tasks-test", "toy-start-*"])
    assert {step.key for step in tasks} == {"toy/tasks/test", "toy/tasks/base", "toy/start/checkpoint"}
    assert [step.key for step in asked_for(plan_of(fresh), ["repro", "-s", "toy-start-checkpoint"])] == [
        "toy/start/checkpoint"
    ]
    require_ready_run(plan_of(fresh), tasks)  # samples nothing


def test_step_that_fails_lets_independent_ones_finish(fresh):
    edit(fresh / "pipelines" / "toy.yaml", "[2, 3], size: 16", "[1, 1], size: 26")
    plan = plan_of(fresh)
    write_dvc_yaml(plan)
    with pytest.raises(StepFailure, match="tasks/base: found .* but size is 26"):
        make_steps(plan, plan.steps.values())
    assert (fresh / "artifacts/toy/tasks/train/manifest.json").exists()


def test_instance_is_shared_by_lineal_dagster_and_dg(finished):
    key = "toy/tasks/train"
    command(finished, "dg", "launch", "--assets", f'key:"{key}"')
    by_dg = latest(key).run_id
    command(finished, "dagster", "asset", "materialize", "-m", "assets.definitions", "--select", key)
    by_dagster = latest(key).run_id
    with dg.DagsterInstance.get() as instance:
        assert {by_dg, by_dagster} <= {run.run_id for run in instance.get_runs()}
    assert by_dg != by_dagster


def test_dg_lists_every_asset(finished):
    listed = command(finished, "dg", "list", "defs", "--json")
    assert all(f'"{asset_key(key).to_user_string()}"' in listed for key in plan_of(finished).makers)


def test_run_that_was_killed_is_closed_by_the_next_one(fresh):
    with subprocess.Popen([BIN / "lineal", "run", "toy/tasks"], cwd=fresh, start_new_session=True) as running:
        while not (fresh / "artifacts/toy/tasks").exists():
            assert running.poll() is None
        os.killpg(running.pid, signal.SIGKILL)
    plan = plan_of(fresh)
    make_steps(plan, plan.select(["toy/tasks"]))
    with dg.DagsterInstance.get() as instance:
        assert [run.status.value for run in instance.get_runs()] == ["SUCCESS", "FAILURE"]
    assert to_make(plan, *plan.select(["toy/tasks"])) == []


def test_run_that_is_interrupted_stops_its_step_and_goes_on_later(fresh):
    with subprocess.Popen([BIN / "lineal", "run"], cwd=fresh, stderr=subprocess.PIPE, text=True) as running:
        while not (fresh / "artifacts/toy/tasks").exists():
            assert running.poll() is None
        running.send_signal(signal.SIGINT)
        said = running.communicate()[1]
    assert running.returncode == 130, said
    command(fresh, "lineal", "run")
    assert to_make(plan_of(fresh)) == []
    assert UP_TO_DATE in command(fresh, "dvc", "status")
