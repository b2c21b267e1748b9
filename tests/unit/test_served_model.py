"""A model that only a server has: declared, planned, judged with, traced, and never trained."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import pytest

from lineal.audit.catalog import read_catalog
from lineal.audit.show.artifact import as_text, look_at
from lineal.audit.trace.backward import trace_back
from lineal.audit.trace.target import Target, TargetKind
from lineal.data.store import Rows, open_artifact
from lineal.engines.endpoints.served import Served, read_served
from lineal.errors import CheckFailure, DeclarationError, EngineError
from lineal.plan import Plan, make_plan
from lineal.recipe.compute import Compute
from lineal.recipe.project import open_project
from lineal.recipe.references import ArtifactKind
from lineal.step.endpoint_check import require_servers
from lineal.step.runlog import read_log
from lineal.step.runner import run_step
from tests.e2e.toy_project import TOY, make_project
from tests.unit.endpoint_server import endpoint_server
from tests.unit.lab import Lab

JUDGED = TOY.replace(
    "start:\n", 'start:\n  judge: {use: served_model, name: judge, revision: "2026-11"}\n'
).replace(
    "  filtered:   {use: select, rows: verified,",
    "  judged:     {use: judge, model: start.judge, rows: verified, name: judge, template: additive_5,\n"
    '               extract: "Score: *([0-5])", threshold: 3, max_tokens: 32, chat: true, samples: 2}\n'
    "  filtered:   {use: select, rows: judged,",
)
KEY = "sk-do-not-tell-me-1234567890"


def params(url, **settings):
    compute = {
        "engine": "fake",
        "workers": 1,
        "processes": "spawn",
        "endpoints": {"judge": {"url": url, **settings}},
    }
    return json.dumps({"seed": 0, "rounds": 1, "active": ["toy"], "compute": compute}) + "\n"


@pytest.fixture
def server():
    with endpoint_server() as running:
        yield running


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Plan:
    root = tmp_path_factory.mktemp("served") / "project"
    with endpoint_server() as server:
        price = {"prompt": 1.0, "completion": 4.0}
        make_project(root, JUDGED, params(server.url, price=price))
        plan = make_plan(open_project(root))
        for key in plan.steps:
            run_step(plan, key)
    return plan


def planned(tmp_path: Path, pipeline: str) -> Plan:
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "pipelines" / "toy.yaml").write_text(pipeline)
    (tmp_path / "params.yaml").write_text("rounds: 1\nactive: [toy]\n")
    for name in ("selectors", "templates"):
        (tmp_path / "pipelines" / name).symlink_to(Path(__file__).parents[2] / "pipelines" / name)
    return make_plan(open_project(tmp_path))


# -- declarations -------------------------------------------------------------------------------------------------------


def test_pipeline_with_a_served_judge_plans_without_any_endpoint(tmp_path):
    step = planned(tmp_path, JUDGED).step("toy/round_01/judged")
    assert step.inputs["model"] == ("toy/start/judge",)


SAME = "samples: 2, max_tokens: 16}\n  same: {use: same_model, model: start.judge}"


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ("init: previous.checkpoint", "init: start.judge", "round.checkpoint.init"),
        ("samples: 2, max_tokens: 16}", SAME, "round.same.model"),
    ],
)
def test_served_model_is_refused_where_weights_are_needed(tmp_path, old, new, field):
    with pytest.raises(
        DeclarationError, match=rf"{field}: 'start.judge' names a served model, but \w+ takes a model$"
    ):
        planned(tmp_path, JUDGED.replace(old, new))


def test_rows_are_refused_where_a_sampler_is_needed(tmp_path):
    with pytest.raises(DeclarationError, match="names rows, but model takes a model or a served model"):
        planned(tmp_path, JUDGED.replace("model: start.judge", "model: generated"))


def test_served_model_leaves_the_steps_settings_alone(tmp_path):
    with pytest.raises(DeclarationError, match="'temperature' is said by the step that asks; set it there"):
        planned(
            tmp_path, JUDGED.replace('revision: "2026-11"', 'revision: "1", parameters: {temperature: 0}')
        )


@pytest.mark.parametrize(
    ("endpoint", "words"),
    [
        ({"url": "localhost:8000"}, r"compute.endpoints.judge.url: must be like http://localhost:8000/v1"),
        ({"url": f"https://me:{KEY}@host/v1"}, r"endpoints.judge.url: must be like"),
        (
            {"url": "http://h/v1", "key_variable": KEY},
            r"key_variable: must be an environment variable's name in capitals",
        ),
        (
            {"url": "http://h/v1", "key": KEY},
            r"compute.endpoints.judge.key: unknown key 'key'. A key does not .*key_variable: NAME",
        ),
        (
            {"url": "http://h/v1", "api_key": KEY},
            r"judge.api_key: unknown key 'api_key'. A key does not belong in a file",
        ),
        (
            {"url": "http://h/v1", "max_token": 1},
            r"judge.max_token: unknown key 'max_token'. Did you mean 'max_tokens_name'",
        ),
        (
            {"url": "http://h/v1", "concurrency": 0},
            r"compute.endpoints.judge.concurrency: got 0, expected at least 1",
        ),
    ],
)
def test_wrong_endpoint_setting_names_its_key_and_never_shows_a_secret(tmp_path, endpoint, words):
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "params.yaml").write_text(
        json.dumps({"active": [], "compute": {"endpoints": {"judge": endpoint}}})
    )
    with pytest.raises(DeclarationError, match=words) as caught:
        open_project(tmp_path)
    assert KEY not in str(caught.value)


# -- the artifact -------------------------------------------------------------------------------------------------------


def lab(path: Path, url: str, **settings) -> Lab:
    endpoint = {"url": url, "backoff_seconds": 0.001, **settings}
    return Lab(path, Compute.model_validate({"workers": 1, "endpoints": {"default": endpoint}}))


def test_served_model_is_its_name_and_settings_wherever_it_is(server, tmp_path):
    settings = {
        "name": "judge",
        "revision": "1",
        "system": "Be just.",
        "parameters": {"reasoning_effort": "low"},
    }
    one = lab(tmp_path / "a", server.url).run("served_model", "start/judge", **settings)[""]
    other = lab(tmp_path / "b", server.url, concurrency=2, timeout_seconds=5).run(
        "served_model", "start/judge", **settings
    )[""]
    third = lab(tmp_path / "c", server.url).run(
        "served_model", "start/judge", **{**settings, "revision": "2"}
    )[""]
    assert one.digest == other.digest != third.digest and one.manifest.kind is ArtifactKind.SERVED
    assert read_served(one.directory) == Served(**settings)


def test_served_model_whose_server_is_down_is_not_written(tmp_path):
    root = make_project(tmp_path / "project", JUDGED, params("http://127.0.0.1:9/v1"))
    plan = make_plan(open_project(root))
    with pytest.raises(EngineError, match="127.0.0.1:9/v1 cannot be reached"):
        run_step(plan, "toy/start/judge")
    assert not plan.project.directory("toy/start/judge").exists()


@pytest.mark.parametrize(("content", "shown"), [("I cannot say", "'I cannot say'"), (None, "an empty text")])
def test_judge_whose_saved_answers_cannot_be_read_says_so_and_how_to_ask_anew(
    server, tmp_path, content, shown
):
    root = make_project(tmp_path / "project", JUDGED, params(server.url))
    plan = make_plan(open_project(root))
    before = (
        "tasks/base",
        "tasks/train",
        "start/judge",
        "start/checkpoint",
        "round_01/generated",
        "round_01/verified",
    )
    for key in before:
        run_step(plan, f"toy/{key}")
    server.faults += [{"choices": [{"message": {"content": content}, "finish_reason": "stop"}]}] * 96
    words = (
        rf"48 of 48 verdicts are errors, .* 48 times: {shown}, in which extract 'Score: \*\(\[0-5\]\)' finds no number\. "
        r"Correct .*\. The answers are saved, and the next run reads these; to ask again: rm -r (\S+)$"
    )
    for _ in range(2):
        with pytest.raises(CheckFailure, match=words) as caught:
            run_step(plan, "toy/round_01/judged")
        assert len(server.asked) == 96
    shutil.rmtree(root / re.search(words, str(caught.value))[1])
    run_step(plan, "toy/round_01/judged")
    assert len(server.asked) == 192


# -- before anything runs ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    return make_project(tmp_path_factory.mktemp("asked") / "project", JUDGED, params("http://127.0.0.1:9/v1"))


def under(project: Path, engine="fake", executor="in_process", **endpoints) -> Plan:
    compute = {"engine": engine, "executor": executor, "device": "cpu", "endpoints": endpoints}
    (project / "params.yaml").write_text(json.dumps({"rounds": 2, "active": ["toy"], "compute": compute}))
    return make_plan(open_project(project))


def steps_of(plan: Plan, *keys: str):
    return [plan.step(f"toy/{key}") for key in keys]


@pytest.mark.parametrize(
    "keys", [("start/judge",), ("round_01/judged", "round_02/judged"), ("start/judge", "round_02/judged")]
)
def test_every_server_that_steps_will_ask_is_asked_once(server, project, keys):
    plan = under(project, judge={"url": server.url})
    require_servers(plan, steps_of(plan, *keys))
    assert len(server.headers) == 1
    server.models = ["other"]
    with pytest.raises(EngineError, match=r"has no model 'judge'. Known: other. .*endpoints.judge.model"):
        require_servers(plan, steps_of(plan, *keys))


def test_dead_server_is_an_error_at_once_where_a_step_will_ask_it(project):
    plan = under(project, judge={"url": "http://127.0.0.1:9/v1"})
    started = time.monotonic()
    with pytest.raises(EngineError, match="127.0.0.1:9/v1 cannot be reached .*Start the server"):
        require_servers(plan, plan.steps.values())
    assert time.monotonic() - started < 3
    require_servers(plan, steps_of(plan, "round_01/generated", "round_01/verified", "round_01/checkpoint"))


def test_server_that_fails_is_asked_three_times_and_a_wrong_setting_is_named(server, project, capsys):
    plan = under(project, judge={"url": server.url, "backoff_seconds": 0.001})
    server.listing_faults += [(503, "loading")] * 3
    with pytest.raises(EngineError, match="answers 503: 'loading', 3 times in a row"):
        require_servers(plan, steps_of(plan, "round_01/judged"))
    assert "answers 503: 'loading'; it is asked again, 2 times at most" in capsys.readouterr().err
    plan = under(project)
    with pytest.raises(EngineError, match="compute.endpoints has no server for the served model 'judge'"):
        require_servers(plan, steps_of(plan, "round_01/judged"))


@pytest.mark.parametrize(
    ("keys", "asked"),
    [
        (
            ("round_01/generated", "round_01/evaluation"),
            1,
        ),  # generated draws from start.checkpoint, which is there
        (("start/checkpoint", "round_01/generated"), 0),  # which is made first, and then served
        (("round_01/verified", "round_01/checkpoint"), 0),
        (("round_01/generated", "round_01/judged"), 1),
    ],
)
def test_server_of_the_plans_own_checkpoints_is_asked_where_one_of_them_is_there(
    server, project, keys, asked
):
    server.models = ["judge", "lineal-0123456789ab"]
    plan = under(project, "openai", default={"url": server.url})
    require_servers(plan, steps_of(plan, *keys))
    assert len(server.headers) == asked
    dead = under(project, "openai", default={"url": "http://127.0.0.1:9/v1"}, judge={"url": server.url})
    with pytest.raises(EngineError, match="127.0.0.1:9/v1 cannot be reached") if asked else nullcontext():
        require_servers(dead, steps_of(dead, *keys))


def test_what_a_cluster_reaches_is_not_asked_from_here(project):
    plan = under(project, executor="ray", judge={"url": "http://judge.cluster.invalid/v1"})
    require_servers(plan, plan.steps.values())


def test_steps_without_a_server_load_no_client(project):
    under(project)
    code = (
        "import sys\nfrom pathlib import Path\nfrom lineal.plan import make_plan\n"
        "from lineal.recipe.project import open_project\nfrom lineal.step.endpoint_check import require_servers\n"
        "plan = make_plan(open_project(Path('.')))\n"
        "require_servers(plan, [plan.step('toy/round_01/generated')])\nassert 'aiohttp' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=project, check=True)


# -- judging with it ----------------------------------------------------------------------------------------------------


def judged_rows(plan: Plan, part=""):
    key = f"toy/round_01/judged{part}"
    return Rows((open_artifact(key, plan.project.directory(key)),)).read().to_pylist()


def test_judge_over_an_endpoint_scores_rows_by_the_rubric(made):
    rows, judgments = judged_rows(made), judged_rows(made, ".judgments")
    assert len(rows) == 48 and len(judgments) == 96
    assert all(row["judge_detail"].startswith("It sorts. Score: ") for row in rows)
    for row in rows:
        assert row["judge_verdict"] == ("pass" if row["judge_score"] >= 3 else "fail")
    judge = open_artifact("toy/start/judge", made.project.directory("toy/start/judge"))
    assert {row["checkpoint"] for row in judgments} == {judge.digest} and {
        row["logprob"] for row in judgments
    } == {None}
    assert all("You review an answer" in row["prompt"] for row in judgments)


def test_manifest_names_the_engine_of_each_step_and_that_a_server_promises_no_bytes(made):
    manifests = {
        name: open_artifact(f"toy/round_01/{name}", made.project.directory(f"toy/round_01/{name}")).manifest
        for name in ("generated", "judged", "checkpoint", "filtered")
    }
    assert {name: one.made_with for name, one in manifests.items()} == {
        "generated": "fake",
        "judged": "openai",
        "checkpoint": "fake",
        "filtered": None,
    }
    assert [name for name, one in manifests.items() if one.equal_bytes is False] == ["judged"]


def test_run_log_tells_what_judging_cost(made):
    facts = read_log(made.project, "toy/round_01/judged")["facts"]
    judgments = judged_rows(made, ".judgments")
    assert facts["endpoint_requests"] == 96 and facts["endpoint_retries"] == 0
    assert facts["completion_tokens"] == facts["tokens"] == sum(row["tokens"] for row in judgments)
    assert facts["cost"] == pytest.approx((facts["prompt_tokens"] + 4 * facts["completion_tokens"]) / 1e6)


def test_trace_of_a_judged_row_ends_at_the_served_model(made):
    row = judged_rows(made, ".judgments")[0]
    graph = trace_back(
        read_catalog(made.project), Target(TargetKind.ROW, row["sample_id"]), Compute(workers=1)
    )
    assert graph.nodes["toy/start/judge"].kind == "served"


def test_show_names_the_served_model(made):
    catalog = read_catalog(made.project)
    told = as_text(look_at(catalog, catalog.artifacts["toy/start/judge"], None, 0, Compute(workers=1)), 100)
    assert "toy/start/judge  served" in told and "2026-11" in told
