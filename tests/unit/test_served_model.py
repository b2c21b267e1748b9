"""A model that only a server has: declared, planned, judged with, traced, and never trained."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lineal.audit.backward import trace_back
from lineal.audit.catalog import read_catalog
from lineal.audit.show import as_text, look_at
from lineal.audit.target import Target, TargetKind
from lineal.data.store import Rows, open_artifact
from lineal.engines.endpoints.served import Served, read_served
from lineal.errors import DeclarationError, EngineError
from lineal.plan import Plan, make_plan
from lineal.recipe.compute import Compute
from lineal.recipe.project import open_project
from lineal.recipe.references import ArtifactKind
from lineal.step.runlog import read_log
from lineal.step.runner import run_step
from tests.e2e.toy_project import TOY, make_project
from tests.unit.endpoint_server import endpoint_server
from tests.unit.lab import Lab

JUDGED = TOY.replace("start:\n", 'start:\n  judge: {use: served_model, name: judge, revision: "2026-11"}\n').replace(
    "  filtered:   {use: select, rows: verified,",
    "  judged:     {use: judge, model: start.judge, rows: verified, name: judge, template: additive_5,\n"
    '               extract: "Score: *([0-5])", threshold: 3, max_tokens: 32, chat: true, samples: 2}\n'
    "  filtered:   {use: select, rows: judged,",
)
KEY = "sk-do-not-tell-me-1234567890"


def params(url, **settings):
    compute = {"engine": "fake", "workers": 1, "processes": "spawn", "endpoints": {"judge": {"url": url, **settings}}}
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


@pytest.mark.parametrize(("old", "new", "field"), [
    ("init: previous.checkpoint", "init: start.judge", "round.checkpoint.init"),
    ("samples: 2, max_tokens: 16}", SAME, "round.same.model"),
])  # fmt: skip
def test_served_model_is_refused_where_weights_are_needed(tmp_path, old, new, field):
    with pytest.raises(DeclarationError, match=rf"{field}: 'start.judge' is a served artifact, but \w+ takes model$"):
        planned(tmp_path, JUDGED.replace(old, new))


def test_rows_are_refused_where_a_sampler_is_needed(tmp_path):
    with pytest.raises(DeclarationError, match="is a rows artifact, but model takes model or served"):
        planned(tmp_path, JUDGED.replace("model: start.judge", "model: generated"))


def test_served_model_leaves_the_steps_settings_alone(tmp_path):
    with pytest.raises(DeclarationError, match="'temperature' is said by the step that asks; set it there"):
        planned(tmp_path, JUDGED.replace('revision: "2026-11"', 'revision: "1", parameters: {temperature: 0}'))


@pytest.mark.parametrize(("endpoint", "words"), [
    ({"url": "localhost:8000"}, r"compute.endpoints.judge.url: must be like http://localhost:8000/v1"),
    ({"url": f"https://me:{KEY}@host/v1"}, r"endpoints.judge.url: must be like"),
    ({"url": "http://h/v1", "key_variable": KEY}, r"key_variable: must be an environment variable's name in capitals"),
    ({"url": "http://h/v1", "key": KEY}, r"compute.endpoints.judge.key: unknown key 'key'"),
    ({"url": "http://h/v1", "concurrency": 0}, r"compute.endpoints.judge.concurrency: Input should be greater"),
])  # fmt: skip
def test_wrong_endpoint_setting_names_its_key_and_never_shows_a_secret(tmp_path, endpoint, words):
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "params.yaml").write_text(json.dumps({"active": [], "compute": {"endpoints": {"judge": endpoint}}}))
    with pytest.raises(DeclarationError, match=words) as caught:
        open_project(tmp_path)
    assert KEY not in str(caught.value)


# -- the artifact -------------------------------------------------------------------------------------------------------


def lab(path: Path, url: str, **settings) -> Lab:
    endpoint = {"url": url, "backoff_seconds": 0.001, **settings}
    return Lab(path, Compute.model_validate({"workers": 1, "endpoints": {"default": endpoint}}))


def test_served_model_is_its_name_and_settings_wherever_it_is(server, tmp_path):
    settings = {"name": "judge", "revision": "1", "system": "Be just.", "parameters": {"reasoning_effort": "low"}}
    one = lab(tmp_path / "a", server.url).run("served_model", "start/judge", **settings)[""]
    other = lab(tmp_path / "b", server.url, concurrency=2, timeout_seconds=5).run("served_model", "start/judge", **settings)[""]
    third = lab(tmp_path / "c", server.url).run("served_model", "start/judge", **{**settings, "revision": "2"})[""]
    assert one.digest == other.digest != third.digest and one.manifest.kind is ArtifactKind.SERVED
    assert read_served(one.directory) == Served(**settings)


def test_served_model_whose_server_is_down_stops_the_run_before_anything_is_trained(server, tmp_path):
    root = make_project(tmp_path / "project", JUDGED, params("http://127.0.0.1:9/v1"))
    plan = make_plan(open_project(root))
    with pytest.raises(EngineError, match="127.0.0.1:9/v1 cannot be reached"):
        run_step(plan, "toy/start/judge")
    assert not plan.project.directory("toy/start/judge").exists()


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
    assert {row["checkpoint"] for row in judgments} == {judge.digest} and {row["logprob"] for row in judgments} == {None}
    assert all("You review an answer" in row["prompt"] for row in judgments)


def test_manifest_names_the_engine_of_each_step_and_that_a_server_promises_no_bytes(made):
    manifests = {
        name: open_artifact(f"toy/round_01/{name}", made.project.directory(f"toy/round_01/{name}")).manifest
        for name in ("generated", "judged", "checkpoint", "filtered")
    }
    assert {name: one.made_with for name, one in manifests.items()} == {
        "generated": "fake", "judged": "openai", "checkpoint": "fake", "filtered": None
    }  # fmt: skip
    assert [name for name, one in manifests.items() if one.equal_bytes is False] == ["judged"]


def test_run_log_tells_what_judging_cost(made):
    facts = read_log(made.project, "toy/round_01/judged")["facts"]
    judgments = judged_rows(made, ".judgments")
    assert facts["endpoint_requests"] == 96 and facts["endpoint_retries"] == 0
    assert facts["completion_tokens"] == facts["tokens"] == sum(row["tokens"] for row in judgments)
    assert facts["cost"] == pytest.approx((facts["prompt_tokens"] + 4 * facts["completion_tokens"]) / 1e6)


def test_trace_of_a_judged_row_ends_at_the_served_model(made):
    row = judged_rows(made, ".judgments")[0]
    graph = trace_back(read_catalog(made.project), Target(TargetKind.ROW, row["sample_id"]), Compute(workers=1))
    assert graph.nodes["toy/start/judge"].kind == "served"


def test_show_names_the_served_model(made):
    catalog = read_catalog(made.project)
    told = as_text(look_at(catalog, catalog.artifacts["toy/start/judge"], None, 0, Compute(workers=1)), 100)
    assert "toy/start/judge  served" in told and "2026-11" in told
