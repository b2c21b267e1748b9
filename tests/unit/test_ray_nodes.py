"""What steps ask for against the nodes of a Ray cluster, as its dashboard tells of them."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import dagster as dg
import pytest

from lineal.errors import MachineError
from tests.e2e.toy_project import make_project, plan_of

from .test_resources import PARAMS, under

pytest.importorskip("dagster_ray", reason="needs dagster-ray: pip install 'lineal[ray]'")

from lineal.orchestrate.ray_nodes import require_nodes  # noqa: E402 - after the skip

MODEL, ROWS = "toy/round_01/checkpoint", "toy/round_01/verified"
WITH_GPUS = {"CPU": 8, "GPU": 4, "memory": 16e9}
WITH_MEMORY = {"CPU": 64, "memory": 256e9}
ON_RAY = {"engine": "fake", "executor": "ray", "device": "cuda"}


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    return plan_of(make_project(tmp_path_factory.mktemp("nodes") / "project", params=PARAMS))


@pytest.fixture
def dashboard(monkeypatch):
    """A server that answers as the dashboard does; gives the function that says what."""
    answers = {"/api/version": {"version": "4", "ray_version": "2.60.0"}}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            body = json.dumps(answers.get(self.path.split("?")[0])).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments):
            pass

    def tell(*nodes, kinds=None):
        rows = [{"state": state, "resources_total": resources} for state, resources in nodes]
        answers["/api/v0/nodes"] = {"data": {"result": {"result": rows}}}
        names = {str(place): f"node_{place}" for place in range(len(nodes))} if kinds is None else kinds
        answers["/api/cluster_status"] = {
            "data": {"clusterStatus": {"autoscalerReport": {"nodeTypeMapping": names}}}
        }

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setenv("RAY_ADDRESS", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
        yield tell
        server.shutdown()
        thread.join()


def require(plan, key, request, **compute):
    asking = under(plan, **{**ON_RAY, "requests": {key: request}, **compute})
    with dg.DagsterInstance.ephemeral() as instance:
        require_nodes(asking, [asking.step(key)], instance)


def test_require_nodes_takes_what_one_living_node_has(plan, dashboard, capsys):
    dashboard(("ALIVE", WITH_GPUS), ("ALIVE", WITH_MEMORY))
    require(plan, MODEL, {"gpus": 4, "memory": "16GB"})
    require(plan, ROWS, {"memory": "256GB"})
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "nodes", [[("ALIVE", WITH_GPUS), ("ALIVE", WITH_MEMORY)], [("DEAD", {**WITH_MEMORY, "GPU": 1})]]
)
def test_require_nodes_refuses_what_no_single_living_node_has(plan, dashboard, nodes):
    dashboard(*nodes)
    with pytest.raises(
        MachineError, match=rf"^{MODEL} asks for a core and 1 GPU and 60.0 GB of memory, and no node"
    ):
        require(plan, MODEL, {"memory": "60GB"})


@pytest.mark.parametrize("kinds", [{}, {"0": "ray.head.default"}])
def test_require_nodes_of_a_cluster_that_may_grow_says_what_is_waited_for(plan, dashboard, capsys, kinds):
    dashboard(("ALIVE", WITH_MEMORY), kinds=kinds)
    require(plan, MODEL, {"gpus": 1})
    assert "asks for a core and 1 GPU, and no node" in capsys.readouterr().err


def test_require_nodes_of_another_program_says_so(plan, dashboard):
    with pytest.raises(MachineError, match="answers, but not as Ray's dashboard"):
        require(plan, MODEL, {"gpus": 1})


def test_require_nodes_with_another_executor_asks_nobody(plan, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "http://127.0.0.1:1")
    require(plan, MODEL, {"gpus": 64}, executor="multiprocess")
