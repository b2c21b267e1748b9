"""A run that is killed, interrupted or started twice goes on without losing, doubling or changing a row."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import dagster as dg
import psutil
import pytest
from dagster._core.instance.ref import InstanceRef

from lineal.orchestrate.dvc_lock import recorded_digests
from lineal.step.runlog import read_log

from .toy_project import UP_TO_DATE, command, make_project, plan_of

LINEAL = Path(sys.executable).with_name("lineal")
KILLS = 10
ONE_ROUND = "seed: 0\nrounds: 1\nactive: [toy]\ncompute: {compute}\n"
WORKERS = "{engine: fake, workers: 1, processes: fork, executor: multiprocess}"


def make_one_round(root, compute="{engine: fake, workers: 1}"):
    return make_project(root, params=ONE_ROUND.replace("{compute}", compute))


def assert_same_bytes(root, finished):
    """What one round made here has the digests of the first round of the project that was never disturbed."""
    made, expected = recorded_digests(plan_of(root)), recorded_digests(plan_of(finished))
    assert made == {key: digest for key, digest in expected.items() if not key.startswith("toy/round_02/")}


def start(root, *arguments):
    environment = {**os.environ, "DAGSTER_HOME": "", "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        [LINEAL, *arguments],
        cwd=root,
        env=environment,
        text=True,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def run_states(root):
    with dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(root / ".dagster"))) as instance:
        return [run.status.value for run in instance.get_runs()]


def test_run_killed_at_random_moments_gives_the_undisturbed_bytes(finished, tmp_path):
    expected = recorded_digests(plan_of(finished))
    root = make_project(tmp_path / "killed")
    moments = random.Random(2026)
    for _ in range(KILLS):
        run = start(root, "run")
        try:
            run.wait(moments.uniform(0.5, 6.0))
        except subprocess.TimeoutExpired:
            os.kill(run.pid, signal.SIGKILL)
            run.wait()
        finally:
            run.stdout.close()
    last = start(root, "run")
    output = last.communicate(timeout=300)[0]
    assert last.returncode == 0, output
    assert recorded_digests(plan_of(root)) == expected
    assert UP_TO_DATE in command(root, "dvc", "status")
    assert not list((root / "artifacts").rglob(".*.partial"))


def test_run_started_twice_at_once_is_made_by_one_and_refused_to_the_other(finished, tmp_path):
    fresh = make_one_round(tmp_path / "twice")
    first, second = start(fresh, "run"), start(fresh, "run")
    outputs = [run.communicate(timeout=300)[0] for run in (first, second)]
    ends = sorted(zip((first.returncode, second.returncode), outputs, strict=True))
    assert ends[0][0] == 0, ends
    assert ends[1][0] == 0 or re.fullmatch(
        r"error: toy is being made by process \d+ right now.*\n", ends[1][1]
    ), ends
    again = start(fresh, "run")
    output = again.communicate(timeout=300)[0]
    assert again.returncode == 0, output
    assert_same_bytes(fresh, finished)


def wait_for_artifacts(root):
    deadline = time.monotonic() + 240
    while not list((root / "artifacts").rglob("manifest.json")) and time.monotonic() < deadline:
        time.sleep(0.05)


def test_run_killed_with_workers_takes_them_along_and_goes_on(finished, tmp_path):
    root = make_one_round(tmp_path / "killed", WORKERS)
    run = start(root, "run")
    wait_for_artifacts(root)
    family = psutil.Process(run.pid).children(recursive=True)
    assert len(family) >= 4, "its servers, and workers with their steps"
    run.kill()
    run.communicate()
    assert psutil.wait_procs(family, timeout=60)[1] == []
    again = start(root, "run")
    output = again.communicate(timeout=300)[0]
    assert again.returncode == 0, output
    assert_same_bytes(root, finished)


@pytest.mark.parametrize(
    "compute", ["{engine: fake, workers: 1}", WORKERS], ids=["in_process", "multiprocess"]
)
def test_run_interrupted_says_so_and_goes_on(finished, tmp_path, compute):
    fresh = make_one_round(tmp_path / "interrupted", compute)
    run = start(fresh, "run")
    wait_for_artifacts(fresh)
    os.killpg(run.pid, signal.SIGINT)
    output = run.communicate(timeout=300)[0]
    assert run.returncode != 0
    assert "Traceback" not in output
    assert output.count("interrupted") == 1
    assert run_states(fresh) == ["CANCELED"]
    again = start(fresh, "run")
    output = again.communicate(timeout=300)[0]
    assert again.returncode == 0, output
    assert_same_bytes(fresh, finished)


@pytest.mark.parametrize(
    "compute",
    [
        "{engine: fake, workers: 1, shard_rows: 1}",
        "{engine: fake, processes: spawn, workers: 4, shard_rows: 7, batch_size: 3, memory_limit: 1GB}",
        "{engine: fake, processes: fork, workers: 2, executor: multiprocess, device: cpu, gpus: [toy-a, toy-b], "
        "requests: {'*': {gpus: 1}}}",
    ],
)
def test_run_bytes_do_not_depend_on_execution_settings(finished, tmp_path, compute):
    root = make_one_round(tmp_path / "other", compute)
    run = start(root, "run")
    output = run.communicate(timeout=300)[0]
    assert run.returncode == 0, output
    assert_same_bytes(root, finished)
    logs = [read_log(plan_of(root).project, key) for key in plan_of(root).steps]
    assert all(
        (log["facts"].get("gpus", []) in (["toy-a"], ["toy-b"])) == ("toy-a" in compute) for log in logs
    )
