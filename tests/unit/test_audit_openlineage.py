"""OpenLineage events: to a file and to an endpoint, true to manifests."""

import json
import shutil
import threading
from datetime import datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.util import find_spec

import pytest
from click.testing import CliRunner

from lineal.audit.catalog import read_catalog
from lineal.cli.sharing import openlineage
from lineal.errors import ProjectError
from tests.unit.audit_project import made_project

needs_client = pytest.mark.skipif(find_spec("openlineage") is None, reason="needs the extra openlineage")


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    return made_project(tmp_path_factory.mktemp("events"))


def run(root, *arguments):
    return CliRunner().invoke(openlineage, arguments, obj=root, catch_exceptions=False)


@pytest.fixture(scope="module")
def events(plan, tmp_path_factory):
    path = tmp_path_factory.mktemp("out") / "events.jsonl"
    run(plan.project.root, "-o", str(path))
    return list(map(json.loads, path.read_text().splitlines()))


@pytest.fixture(scope="module")
def completed(events):
    return {event["job"]["name"]: event for event in events if event["eventType"] == "COMPLETE"}


@needs_client
def test_every_run_starts_once_and_ends_once_in_order(plan, events):
    assert len(events) == 2 * len(plan.steps)
    for start, end in zip(events[::2], events[1::2], strict=True):
        assert (start["eventType"], end["eventType"]) == ("START", "COMPLETE")
        assert (start["run"]["runId"], start["job"]) == (end["run"]["runId"], end["job"])
        log = json.loads((plan.project.runs / f"{end['job']['name']}.json").read_text())
        took = datetime.fromisoformat(end["eventTime"]) - datetime.fromisoformat(start["eventTime"])
        assert start["eventTime"] == log["started"]
        assert took.total_seconds() == pytest.approx(log["seconds"])


@needs_client
def test_failed_and_interrupted_runs_end_so(plan, tmp_path):
    root = shutil.copytree(plan.project.root, tmp_path / "copy")
    for key, status in (("tiny/round_02/verified", "failed"), ("tiny/round_02/filtered", "interrupted")):
        shutil.rmtree(root / "artifacts" / key)
        log = root / "runs" / f"{key}.json"
        log.write_text(
            json.dumps(
                {"step": key, "status": status, "started": "2026-01-02T03:04:05+00:00", "seconds": 2.5}
                | ({"error": "it broke"} if status == "failed" else {})
            )
        )
    run(root, "-o", str(tmp_path / "events"))
    told = [json.loads(line) for line in (tmp_path / "events").read_text().splitlines()]
    assert [event["eventType"] for event in told[-4:]] == ["START", "ABORT", "START", "FAIL"]
    assert told[-1]["job"]["name"] == "tiny/round_02/verified"
    assert told[-1]["run"]["facets"]["errorMessage"]["message"] == "it broke"
    assert told[-1]["eventTime"] == "2026-01-02T03:04:07.500000+00:00"
    assert "tiny/round_02/verified" not in {
        event["job"]["name"] for event in told if event["eventType"] == "COMPLETE"
    }


@needs_client
def test_every_step_has_its_inputs_and_outputs(plan, completed):
    assert set(completed) == set(plan.steps)
    artifacts = read_catalog(plan.project).artifacts
    for key, event in completed.items():
        assert {one["name"] for one in event["inputs"]} == set(plan.step(key).all_inputs())
        assert {one["name"] for one in event["outputs"]} == set(plan.step(key).artifact_keys().values())
        for one in (*event["inputs"], *event["outputs"]):
            assert one["facets"]["version"]["datasetVersion"] == artifacts[one["name"]].digest
    assert len({event["run"]["runId"] for event in completed.values()}) == len(completed)


@needs_client
def test_verifier_carries_columns_and_adds_its_own(completed):
    (output,) = completed["tiny/round_01/verified"]["outputs"]
    lineage = output["facets"]["columnLineage"]["fields"]
    (source,) = lineage["completion"]["inputFields"]
    assert (source["name"], source["field"]) == ("tiny/round_01/generated", "completion")
    assert source["transformations"][0]["subtype"] == "IDENTITY"
    assert "verdict" not in lineage
    assert output["outputFacets"]["outputStatistics"]["rowCount"] == 60


@needs_client
def test_columns_are_transformed_by_sql_that_makes_rows_alone(completed):
    for name, how in (("generated", "IDENTITY"), ("filtered", "IDENTITY"), ("mixed", "TRANSFORMATION")):
        lineage = completed[f"tiny/round_01/{name}"]["outputs"][0]["facets"]["columnLineage"]["fields"]
        assert lineage["prompt"]["inputFields"][0]["transformations"][0]["subtype"] == how


@needs_client
def test_endpoint_gets_the_same_events(plan, events):
    got = []

    class Endpoint(BaseHTTPRequestHandler):
        def do_POST(self):
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(201)
            self.end_headers()

        def log_message(self, *arguments):
            pass

    with HTTPServer(("127.0.0.1", 0), Endpoint) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            run(plan.project.root, "--url", f"http://127.0.0.1:{server.server_port}")
        finally:
            server.shutdown()
            thread.join()
    assert got == events


@needs_client
def test_file_that_is_there_and_no_target_are_refused(plan, tmp_path):
    (tmp_path / "old").write_text("old")
    for arguments in ([], ["-o", str(tmp_path / "old")], ["-o", str(tmp_path / "new"), "--url", "http://x"]):
        assert CliRunner().invoke(openlineage, arguments, obj=plan.project.root).exit_code == 2
    assert (tmp_path / "old").read_text() == "old"


@pytest.mark.skipif(find_spec("openlineage") is not None, reason="the extra openlineage is installed")
def test_without_the_client_the_error_names_the_extra(plan, tmp_path):
    with pytest.raises(ProjectError, match=r"lineal\[openlineage\]"):
        run(plan.project.root, "-o", str(tmp_path / "events"))
