"""Executors that other machines' schedulers run: a real local Ray cluster, and what Kubernetes would be asked for."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from importlib.util import find_spec

import pytest

from lineal.errors import MachineError
from lineal.orchestrate.dagster_definitions import definitions
from lineal.step.runner import run_step

from .toy_project import BIN, command, make_project, plan_of
from .toy_project import PARAMS as TOY_PARAMS

PARAMS = (
    TOY_PARAMS
    + """\
  executor: {}
  device: {}
  requests: {{"*/checkpoint": {{gpus: {}, memory: 1MB}}}}
"""
)
ray = pytest.mark.skipif(
    find_spec("dagster_ray") is None, reason="needs dagster-ray: pip install 'lineal[ray]'"
)
k8s = pytest.mark.skipif(
    find_spec("dagster_k8s") is None, reason="needs dagster-k8s: pip install 'lineal[k8s]'"
)


def project_on(root, executor, device="cuda", gpus=4):
    return make_project(root, params=PARAMS.format(executor, device, gpus))


def op_of(root, key):
    return definitions(root).resolve_job_def("toy").graph.node_named(key.replace("/", "__")).definition


STARTS = 3
"""Between looking for free ports and starting the head, another program may take one of them."""


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


@pytest.fixture(scope="module")
def cluster(tmp_path_factory, ray_alone):
    """A local Ray cluster of two cores that wants a token; `ray stop` would end every other one on the machine as well."""
    environment = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    log = tmp_path_factory.mktemp("head") / "ray.log"
    short = tempfile.mkdtemp(
        prefix="ray"
    )  # a socket's path has 107 characters at most, and Ray's names are long
    for _ in range(STARTS):
        port, dashboard, *others = free_ports(5)
        head = start_head(short, (port, dashboard, *others), os.environ | environment, log)
        address = f"http://127.0.0.1:{dashboard}"
        try:
            if _is_up(f"{address}/api/cluster_status", head, environment["RAY_AUTH_TOKEN"]):
                yield environment | {"RAY_ADDRESS": address}, f"127.0.0.1:{port}"
                return
        finally:
            end(head)
    pytest.fail(f"no Ray cluster: {head.returncode}\n{log.read_text()}")


def start_head(directory, ports, environment, log):
    port, dashboard, agent, grpc, client = ports
    command = [
        BIN / "ray",
        "start",
        "--head",
        "--block",
        "--num-cpus=2",
        "--num-gpus=0",
        "--object-store-memory=100000000",
        "--disable-usage-stats",
        "--node-ip-address=127.0.0.1",
        f"--port={port}",
        f"--dashboard-port={dashboard}",
        f"--dashboard-agent-listen-port={agent}",
        f"--dashboard-agent-grpc-port={grpc}",
        f"--ray-client-server-port={client}",
        f"--temp-dir={directory}",
    ]
    with log.open("a") as stream:
        return subprocess.Popen(
            command, start_new_session=True, stdout=stream, stderr=stream, env=environment
        )


def end(head):
    head.terminate()
    try:
        head.wait(timeout=60)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(head.pid, signal.SIGKILL)


@pytest.fixture
def joined(cluster, monkeypatch):
    """The environment in which the cluster can be used; its head's address."""
    environment, head = cluster
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return head


def _is_up(url, head, token):
    """Waits until the cluster has told what kinds of nodes it has; false when its head has ended."""
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and head.poll() is None:
        try:
            request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
            with urllib.request.urlopen(request, timeout=5) as answer:
                if b"nodeTypeMapping" in answer.read():
                    return True
        except OSError:
            pass
        time.sleep(0.5)
    return False


@ray
def test_run_on_a_ray_cluster_makes_the_bytes_of_one_process(tmp_path, joined):
    root, alone = project_on(tmp_path / "project", "ray", "cpu", 0), make_project(tmp_path / "alone")
    said = command(root, "lineal", "run", "toy/tasks/*")
    assert "[3/3]" in said
    for key in ("toy/tasks/base", "toy/tasks/train", "toy/tasks/test"):
        run_step(plan_of(alone), key)
        made, expected = (project / "artifacts" / key / "manifest.json" for project in (root, alone))
        assert made.read_bytes() == expected.read_bytes()


@ray
@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (
            "{gpus: 3}",
            r"asks for a core and 3 GPUs, and no node .* has that \(0 GPUs, [\d.]+ GB of memory, 2 cores\)",
        ),
        (
            "{memory: 500TB}",
            r"asks for a core and 500000.0 GB of memory, and no node .* Lower gpus or memory in compute.requests",
        ),
    ],
)
def test_run_on_a_ray_cluster_without_such_a_node_is_refused_before_any_step(
    tmp_path, joined, request_, message
):
    params = TOY_PARAMS + f"  executor: ray\n  device: cpu\n  requests: {{'*/train': {request_}}}\n"
    root = make_project(tmp_path / "project", params=params)
    said = command(root, "lineal", "run", "toy/tasks/train", status=1)
    assert re.search(f"^error: toy/tasks/train {message}", said, re.MULTILINE), said
    assert not (root / "artifacts").exists()


@ray
def test_run_on_a_ray_cluster_without_its_token_names_the_variables(tmp_path, joined, monkeypatch):
    monkeypatch.delenv("RAY_AUTH_MODE")
    said = command(
        project_on(tmp_path / "project", "ray", "cpu", 0), "lineal", "run", "toy/tasks/train", status=1
    )
    (error,) = said.splitlines()[-1:]
    assert (
        error.startswith("error: compute.executor: ray: the cluster at http://127.0.0.1:")
        and "Traceback" not in said
    )
    assert "RAY_AUTH_MODE=token" in error and "RAY_AUTH_TOKEN" in error


@ray
def test_run_on_a_ray_cluster_that_is_not_there_names_its_address(tmp_path, monkeypatch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        monkeypatch.setenv("RAY_ADDRESS", f"http://127.0.0.1:{taken.getsockname()[1]}")
        said = command(
            project_on(tmp_path / "project", "ray", "cpu", 0), "lineal", "run", "toy/tasks/train", status=1
        )
    assert f"error: compute.executor: ray: no Ray cluster answers at {os.environ['RAY_ADDRESS']}: " in said
    assert "Traceback" not in said


@ray
def test_joining_a_ray_cluster_without_its_token_names_the_variables(joined, monkeypatch):
    monkeypatch.delenv("RAY_AUTH_MODE")
    code = (
        "from lineal.engines.ray.cluster import join\nfrom lineal.recipe.compute import Compute, RayCompute\n"
        f"join(Compute(replicas=1, ray=RayCompute(address={joined!r})), 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert re.search(
        r"EngineError: compute.ray.address: .* cannot be joined: .*RAY_AUTH_MODE=token.*RAY_AUTH_TOKEN",
        done.stderr,
    )


@ray
def test_definitions_for_ray_carry_each_steps_request(tmp_path):
    from dagster_ray.configs import RayExecutionConfig

    root = project_on(tmp_path / "project", "ray")
    asked = RayExecutionConfig.from_tags(op_of(root, "toy/round_01/checkpoint").tags)
    assert (asked.num_cpus, asked.num_gpus, asked.memory) == (1, 4, 1_000_000)
    asked = RayExecutionConfig.from_tags(op_of(root, "toy/round_01/generated").tags)
    assert (asked.num_cpus, asked.num_gpus, asked.memory) == (1, 1, None)
    asked = RayExecutionConfig.from_tags(op_of(root, "toy/round_01/verified").tags)
    assert (asked.num_cpus, asked.num_gpus, asked.memory) == (1, None, None)


@k8s
def test_definitions_for_kubernetes_give_pods_each_steps_request(tmp_path):
    root = project_on(tmp_path / "project", "k8s")
    assert _container(op_of(root, "toy/round_01/checkpoint")) == {
        "limits": {"nvidia.com/gpu": "4", "memory": "1000000"},
        "requests": {"memory": "1000000"},
    }
    assert _container(op_of(root, "toy/round_01/generated")) == {"limits": {"nvidia.com/gpu": "1"}}
    assert _container(op_of(root, "toy/round_01/verified")) is None


def _container(op):
    """The resources of the pod that would run an op, as dagster-k8s builds it."""
    from dagster_k8s.job import DagsterK8sJobConfig, construct_dagster_k8s_job, get_user_defined_k8s_config

    config = DagsterK8sJobConfig(job_image="lineal", dagster_home="/project/.dagster")
    job = construct_dagster_k8s_job(config, ["dagster"], "step", get_user_defined_k8s_config(op.tags))
    (container,) = job.to_dict()["spec"]["template"]["spec"]["containers"]
    found = container["resources"] or {}
    return {name: values for name, values in found.items() if values} or None


@k8s
def test_run_on_kubernetes_from_outside_names_what_dagster_lacks(tmp_path):
    root = project_on(tmp_path / "project", "k8s")
    said = command(root, "lineal", "run", "toy/tasks/train", status=1)
    assert "error: compute.executor: k8s" in said and "K8sRunLauncher" in said and "Traceback" not in said


@pytest.mark.parametrize("executor", ["ray", "k8s"])
def test_definitions_without_the_executors_package_name_the_extra(tmp_path, executor):
    if find_spec(f"dagster_{executor}") is not None:
        pytest.skip(f"dagster-{executor} is installed")
    with pytest.raises(
        MachineError, match=rf"compute.executor: {executor} .* pip install 'lineal\[{executor}\]'"
    ):
        definitions(project_on(tmp_path / "project", executor))
