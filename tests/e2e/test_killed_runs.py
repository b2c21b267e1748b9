"""Runs that Dagster would show as open for ever, since the process that should close them was killed."""

from __future__ import annotations

import json
import os
import platform
import socket
import subprocess

import dagster as dg
import pytest
from dagster._core.events import EngineEventData
from dagster._core.storage.tags import GRPC_INFO_TAG
from psutil import Process

from lineal.orchestrate.dagster_killed import HOST, PID, close_killed_runs, owner_tags
from lineal.orchestrate.instance import use_project_instance


@pytest.fixture(scope="module")
def instance(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("DAGSTER_HOME", raising=False)
        use_project_instance(tmp_path_factory.mktemp("project"))
        with dg.DagsterInstance.get() as opened:
            yield opened


@dg.op
def work():
    pass


JOB = dg.GraphDefinition("job", node_defs=[work]).to_job()


def open_run(instance, tags, status=dg.DagsterRunStatus.NOT_STARTED):
    return instance.create_run_for_job(JOB, tags=tags, status=status).run_id


def status_of(instance, run_id):
    return instance.get_run_by_id(run_id).status.value


def dead_process():
    process = subprocess.Popen(["true"])
    process.wait()
    return str(process.pid)


@pytest.mark.parametrize("status", ["NOT_STARTED", "STARTING", "STARTED", "CANCELING"])
def test_run_of_a_killed_lineal_is_closed_whatever_it_had_come_to(instance, status):
    tags = {PID: dead_process(), HOST: platform.node()}
    run = open_run(instance, tags, dg.DagsterRunStatus(status))
    assert close_killed_runs(instance) == [run]
    assert status_of(instance, run) == ("CANCELED" if status == "CANCELING" else "FAILURE")


def test_run_whose_process_id_belongs_to_a_later_process_is_closed(instance, monkeypatch):
    run = open_run(instance, {})
    created = instance.get_run_record_by_id(run).create_timestamp.timestamp()
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as later:
        monkeypatch.setattr(
            "lineal.orchestrate.dagster_killed._CLOCK_SECONDS",
            Process(later.pid).create_time() - created - 0.5,
        )
        instance.add_run_tags(run, {PID: str(later.pid), HOST: platform.node()})
        assert close_killed_runs(instance) == [run]


@pytest.mark.parametrize("tags", [owner_tags(), {PID: "1", HOST: "elsewhere"}], ids=["ours", "another_host"])
def test_run_whose_process_may_be_alive_stays_open(instance, tags):
    run = open_run(instance, tags)
    assert close_killed_runs(instance, abandoned_seconds=0) == []
    instance.delete_run(run)


def test_launched_run_is_closed_once_its_code_server_is_gone(instance, tmp_path):
    address = str(tmp_path / "server")
    run = open_run(instance, {GRPC_INFO_TAG: json.dumps({"host": "localhost", "socket": address})})
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(address)
        server.listen()
        assert close_killed_runs(instance) == []
    assert close_killed_runs(instance) == [run]


@pytest.mark.parametrize("alive", [True, False])
def test_launched_run_belongs_to_the_process_that_reported_to_work_on_it(instance, tmp_path, alive):
    tags = {GRPC_INFO_TAG: json.dumps({"host": "localhost", "socket": str(tmp_path / "gone")})}
    run = open_run(instance, tags, dg.DagsterRunStatus.STARTED)
    process = os.getpid() if alive else int(dead_process())
    instance.report_engine_event(
        "Started process for run", instance.get_run_by_id(run), EngineEventData.in_process(process)
    )
    assert close_killed_runs(instance) == ([] if alive else [run])
    instance.delete_run(run)


def test_run_that_nobody_started_is_closed_after_a_while(instance):
    run = open_run(instance, {})
    assert close_killed_runs(instance) == []
    assert close_killed_runs(instance, abandoned_seconds=0) == [run]
