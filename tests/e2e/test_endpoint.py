"""Runs whose judge, or whose sampler, is a server: killed and gone on with, and against `transformers serve`."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.instance.ref import InstanceRef

from lineal.data.store import Rows, open_artifact
from lineal.errors import CheckFailure
from lineal.step.runlog import read_log
from lineal.step.runner import run_step
from tests.unit.endpoint_server import endpoint_server

from .toy_project import command, edit, make_project, plan_of

LINEAL = Path(sys.executable).with_name("lineal")
KEY = "sk-do-not-tell-me-1234567890"
JUDGE = """\
  judged:     {use: judge, model: start.judge, rows: verified, name: judge, template: "Score {prompt}:",
               extract: "Score: *([0-5])", threshold: 3, max_tokens: 32, samples: 2, max_error_rate: 1.0}
"""
PIPELINE = (
    """\
method: Judged by a server
summary: One round whose judge exists only behind an endpoint.
tasks:
  base:  {use: letter_sort, length: [2, 4], size: 256, split: train}
  train: {use: letter_sort, length: [3, 4], size: 24}
start:
  judge: {use: served_model, name: judge, revision: "2026-11"}
  checkpoint: {use: pretrain, rows: tasks.base, steps: 60, batch_size: 16, hidden_size: 64}
round:
  generated:  {use: sample, model: previous.checkpoint, prompts: tasks.train, temperature: 0.0, max_tokens: 8}
  verified:   {use: exact_match, rows: generated}
"""
    + JUDGE
    + """\
  filtered:   {use: select, rows: judged, sql: keep_all}
  checkpoint: {use: sft, init: previous.checkpoint, rows: filtered, steps: 2}
"""
)


def params(engine, **endpoints):
    compute = {"engine": engine, "workers": 1, "endpoints": endpoints}
    return json.dumps({"seed": 0, "rounds": 1, "active": ["toy"], "compute": compute}) + "\n"


def rows(plan, key):
    return Rows((open_artifact(key, plan.project.directory(key)),)).read().to_pylist()


def wait_for(condition, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


# -- killed -------------------------------------------------------------------------------------------------------------


def start(root):
    return subprocess.Popen(
        [LINEAL, "run"],
        cwd=root,
        env={**os.environ, "DAGSTER_HOME": "", "JUDGE_KEY": KEY},
        text=True,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def test_run_killed_while_it_judges_asks_for_nothing_twice_and_writes_the_key_nowhere(tmp_path):
    with endpoint_server() as server:
        price = {"prompt": 1.0, "completion": 4.0}
        endpoint = {"url": server.url, "key_variable": "JUDGE_KEY", "concurrency": 8, "price": price}
        root = make_project(tmp_path / "project", PIPELINE, params("fake", judge=endpoint))
        server.stall_after = 20
        saved = root / "artifacts/toy/round_01/.judged.partial/unsaved/model.jsonl"
        first = start(root)
        wait_for(lambda: saved.exists() and saved.read_bytes().count(b"\n") == 20)
        os.killpg(first.pid, signal.SIGKILL)
        output = first.communicate()[0]
        before, server.stall_after = [json.dumps(body) for body in server.answered], None
        asked_before = len(server.asked)
        second = start(root)
        output += second.communicate(timeout=240)[0]
        assert second.returncode == 0, output
    assert len(before) == 20 and len(server.answered) == 48
    again = [
        json.dumps({name: value for name, value in body.items() if name != "path"})
        for body in server.asked[asked_before:]
    ]
    assert len(again) == 28 and not set(again) & set(before)
    facts = read_log(plan_of(root).project, "toy/round_01/judged")["facts"]
    assert facts["resumed_completions"] == 20 and facts["endpoint_requests"] == 48
    assert facts["prompt_tokens"] + facts["completion_tokens"] == server.tokens
    with dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(root / ".dagster"))) as instance:
        event = instance.get_latest_materialization_event(dg.AssetKey(["toy", "round_01", "judged"]))
        assert event.asset_materialization.metadata["cost"].value == pytest.approx(facts["cost"])
    assert all(headers["Authorization"] == f"Bearer {KEY}" for headers in server.headers)
    assert KEY not in output
    assert not [path for path in root.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]


# -- read again ---------------------------------------------------------------------------------------------------------

SERVED = """\
method: Sampled and judged by servers
summary: One round of answers that only a server gives, and judgments of them.
tasks:
  train: {use: letter_sort, length: [3, 4], size: 6}
start:
  judge: {use: served_model, name: judge, revision: "2026-11"}
round:
  generated:  {use: sample, model: start.judge, prompts: tasks.train, max_tokens: 8}
  judged:     {use: judge, model: start.judge, rows: generated, template: "Score {prompt} ({answer}):", threshold: 3,
               extract: "Score: *([0-5])", max_tokens: 32, samples: 2, max_error_rate: 0.0}
"""


def test_correcting_extract_reads_the_saved_judgments_and_asks_a_paid_judge_for_nothing(tmp_path):
    with endpoint_server() as server:
        root = make_project(
            tmp_path / "project",
            SERVED.replace("Score: *", "Grade: *"),
            params("fake", judge={"url": server.url}),
        )
        for key in ("toy/tasks/train", "toy/start/judge", "toy/round_01/generated"):
            run_step(plan_of(root), key)
        judged, drawn = "toy/round_01/judged", len(server.answered)
        with pytest.raises(CheckFailure, match="The answers are saved"):
            run_step(plan_of(root), judged)
        asked = len(server.answered)
        assert asked == drawn + 12
        for old, new in (("Grade: *", "Score: *"), ("threshold: 3", "threshold: 6")):
            edit(root / "pipelines/toy.yaml", old, new)
            shutil.rmtree(
                root / "artifacts" / judged, ignore_errors=True
            )  # as DVC does before it runs a stage
            assert run_step(plan_of(root), judged) == "done"
            assert len(server.answered) == asked
        assert {row["verdict"] for row in rows(plan_of(root), judged)} == {"fail"}
        assert all("answer" not in row for row in rows(plan_of(root), f"{judged}.judgments"))
        edit(root / "pipelines/toy.yaml", "Score {prompt}", "Score once more {prompt}")
        run_step(plan_of(root), judged)
        assert len(server.answered) == asked + 12


# -- dead ---------------------------------------------------------------------------------------------------------------


def test_run_with_a_dead_judge_starts_nothing(tmp_path):
    root = make_project(
        tmp_path / "project", PIPELINE, params("fake", judge={"url": "http://127.0.0.1:9/v1"})
    )
    said = command(root, "lineal", "run", status=1)
    assert "compute.endpoints.judge: http://127.0.0.1:9/v1 cannot be reached" in said
    assert not [path for name in ("artifacts", "runs") for path in (root / name).rglob("*.json")]


# -- transformers serve -------------------------------------------------------------------------------------------------

SERVES = all(importlib.util.find_spec(name) for name in ("fastapi", "uvicorn", "openai"))


def offer(hub, name, checkpoint):
    """Puts a checkpoint where `transformers serve` finds it: under its name in a cache of the hub."""
    revision = "0" * 40
    repository = hub / f"models--{name}"
    for part in ("refs", "snapshots"):
        (repository / part).mkdir(parents=True)
    (repository / "refs" / "main").write_text(revision)
    (repository / "snapshots" / revision).symlink_to(checkpoint)


def serve(hub, port, log):
    """A server of all models in a cache; waits until it answers."""
    environment = {**os.environ, "HF_HUB_CACHE": str(hub), "HF_HUB_OFFLINE": "1"}
    arguments = ["serve", "--device", "cpu", "--port", str(port)]
    with log.open("w") as stream:
        server = subprocess.Popen(
            [sys.executable, "-m", "transformers.cli.transformers", *arguments],
            env=environment,
            stdout=stream,
            stderr=stream,
        )

    def up():
        assert server.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health") as answer:
                return answer.status == 200
        except urllib.error.URLError:
            return False

    wait_for(up, 300)
    return server


@pytest.mark.model
@pytest.mark.skipif(
    not SERVES,
    reason="transformers serve needs fastapi, uvicorn and openai: pip install 'transformers[serving]'",
)
def test_transformers_serve_samples_the_plans_checkpoint_and_judges_as_the_error_says(tmp_path):
    with endpoint_server() as before:  # it lists the judge alone
        root = make_project(
            tmp_path / "project",
            PIPELINE,
            params("transformers", default={"url": before.url, "concurrency": 4}),
        )
        plan = plan_of(root)
        for key in ("toy/tasks/base", "toy/tasks/train", "toy/start/checkpoint", "toy/round_01/generated"):
            run_step(plan, key)
        local = {row["prompt"]: row["completion"] for row in rows(plan, "toy/round_01/generated")}
        judge = shutil.copytree(root / "artifacts/toy/start/checkpoint", tmp_path / "judge")
        shutil.rmtree(root / "artifacts/toy/round_01")
        edit(root / "params.yaml", '"transformers"', '"openai"')
        refused = command(root, "lineal", "run", status=1)
    named = re.search(
        r"has no model '(lineal-[0-9a-f]{12})'.*vllm serve (\S+) --served-model-name \1 ", refused
    )
    assert named, refused
    hub = tmp_path / "hub"
    offer(hub, "judge", judge)
    offer(hub, named[1], named[2])
    server = serve(hub, before.server_address[1], tmp_path / "serve.log")
    try:
        command(root, "lineal", "run")
    finally:
        server.terminate()
        server.wait()

    plan = plan_of(root)
    served = {row["prompt"]: row["completion"] for row in rows(plan, "toy/round_01/generated")}
    same = sum(local[prompt] == text for prompt, text in served.items())
    assert len(set(local.values())) > 5 and served.keys() == local.keys() and same >= 0.9 * len(local), (
        local,
        served,
    )
    assert open_artifact("x", plan.project.directory("toy/round_01/generated")).manifest.made_with == "openai"
    assert len(rows(plan, "toy/round_01/judged.judgments")) == 2 * len(served)
