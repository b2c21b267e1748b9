"""Steps that fan out over the workers of a real Ray cluster give the bytes of one process, also when a worker is killed."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lineal.components.isolated.pool import WorkerPool
from lineal.components.isolated.replicated import replicated
from lineal.components.verifiers.scored import scoring_work
from lineal.engines.fake import FakeSampler
from lineal.engines.ray import cluster as ray_cluster
from lineal.engines.ray.fan_out import fan_out
from lineal.engines.ray.replicas import RaySampler, described, opened, sampling_work
from lineal.engines.sampling.sampler import Request, SamplingSettings
from lineal.engines.sampling.saved_completions import SavedSampler
from lineal.errors import DataError, EngineError
from lineal.plan import make_plan
from lineal.recipe.compute import Compute, RayCompute
from lineal.recipe.project import open_project
from lineal.recipe.references import ArtifactKind
from lineal.step.runner import run_step
from tests.unit.lab import Lab, rows_of

from .pipelines_project import make_pipelines_project
from .toy_project import ROOT

needs_ray = pytest.mark.skipif(
    subprocess.run([sys.executable, "-c", "import ray.data"], capture_output=True).returncode != 0,
    reason="Ray is not installed: pip install 'lineal[ray]'",
)
# Ray warns of what it reads itself while it is imported.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.data.context")
SETTINGS = SamplingSettings(max_tokens=8)
AT_ONCE = 24
"""Rows of `double` that are answered without waiting."""


def compute(replicas, **ray):
    return Compute(workers=1, engine="fake", replicas=replicas, ray=RayCompute(**{"block_rows": 4, **ray}))


@pytest.fixture(scope="module")
def cluster(ray_alone):
    """A local cluster that all tests of this file share: steps find that their process has joined it."""
    ray = ray_cluster._load()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(
            "PYTHONPATH", os.pathsep.join([str(ROOT), str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
        )
        ray_cluster._start(ray, compute(4))
        yield ray
        ray.shutdown()


def double(directory):
    """Work of a replica: answers with twice the row and its own process; writes down that it started.

    Rows from AT_ONCE on wait for the file `go`. Ray may hand a block over only when the next is finished, so several go at once.
    """
    deadline = time.monotonic() + 120
    with (Path(directory) / "started").open("a") as stream:
        stream.write(f"{os.getpid()}\n")

    def work(rows):
        if "bad" in rows:
            raise DataError("a bad row")
        if "fatal" in rows:
            os.kill(os.getpid(), signal.SIGKILL)
        while max(rows) >= AT_ONCE and not (Path(directory) / "go").exists():
            if time.monotonic() > deadline:
                raise TimeoutError("nobody said go")
            time.sleep(0.01)
        return [[row * 2, os.getpid()] for row in rows]

    return work


def processes(directory):
    return list(map(int, (directory / "started").read_text().split()))


def is_running(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@needs_ray
def test_fan_out_with_a_killed_worker_answers_every_row_once(cluster, tmp_path):
    stream = fan_out(compute(3), double, {"directory": str(tmp_path)}, range(60))
    answers = [next(stream)]
    victim = answers[0][1][1]
    os.kill(victim, signal.SIGKILL)
    (tmp_path / "go").touch()
    answers += stream
    assert sorted((place, answer) for place, (answer, _) in answers) == [(row, 2 * row) for row in range(60)]
    later = {process for place, (_, process) in answers if place >= AT_ONCE}
    assert later <= set(processes(tmp_path)) - {victim}


def dying_once(directory):
    """Work of a replica: the first process that gets a row from 8 on dies of it."""

    def work(rows):
        died = Path(directory) / "died"
        if max(rows) >= 8 and not died.exists():
            died.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return rows

    return work


@needs_ray
def test_fan_out_says_in_one_line_that_a_worker_died_and_ray_says_nothing(cluster, tmp_path, capfd):
    arguments = {"directory": str(tmp_path)}
    assert sorted(fan_out(compute(1), dying_once, arguments, range(24), log=tmp_path / "log")) == [
        (n, n) for n in range(24)
    ]
    said = "a replica died (killed, or out of memory): it was started again, and its block given out again"
    assert (tmp_path / "log").read_text() == f"{said}\n"
    assert capfd.readouterr() == ("", f"  {said}\n")


@needs_ray
def test_fan_out_over_a_block_that_kills_its_worker_names_it_and_answers_the_rest(cluster, tmp_path):
    (tmp_path / "go").touch()
    rows = [*range(12), "fatal", *range(13, 24)]
    answered = []
    with pytest.raises(
        EngineError, match=r'4 of 24 rows .* rows 12 to 15 .* died, 2 times in turn .*"fatal"'
    ):
        for place, _ in fan_out(compute(2, retries=1), double, {"directory": str(tmp_path)}, rows):
            answered.append(place)
    assert sorted(answered) == [place for place in range(24) if not 12 <= place < 16]


@needs_ray
def test_fan_out_over_a_row_that_raises_gives_the_same_error(cluster, tmp_path):
    (tmp_path / "go").touch()
    with pytest.raises(DataError, match=r"^a bad row$"):
        list(fan_out(compute(1), double, {"directory": str(tmp_path)}, [0, 1, 2, 3, "bad"]))


def lab_step(path, compute):
    """A step whose model is a stand-in."""
    lab = Lab(path, compute)
    workspace = lab._workspace("start/checkpoint", {})
    (workspace.directory() / "config.json").write_text("{}")
    model = lab._publish(workspace, "", ArtifactKind.MODEL)
    return lab._workspace("round_01/generated", {"model": (model,)})


def test_replica_computes_with_the_kernels_of_the_steps_process(tmp_path, monkeypatch):
    monkeypatch.setenv("MKL_CBWR", "COMPATIBLE")
    told = described(lab_step(tmp_path, compute(2)), "model")
    monkeypatch.setenv("MKL_CBWR", "AVX2")
    sampling_work(told, "model", SETTINGS.__dict__)
    assert os.environ["MKL_CBWR"] == "COMPATIBLE"


@needs_ray
def test_sampling_again_after_a_stop_asks_only_for_what_was_missing(cluster, tmp_path):
    step, facts = lab_step(tmp_path, compute(2)), {}
    requests = [
        Request(f"{letters}=", seed) for letters in ("cab", "zyx", "bd") for seed in (0, 2**64 - 1, 7, 8)
    ]
    path = tmp_path / "model.jsonl"
    with pytest.raises(KeyboardInterrupt):
        SavedSampler(RaySampler(step, "model"), path, {}).sample(requests, SETTINGS, interrupt)
    kept = len(path.read_text().splitlines())
    again = SavedSampler(RaySampler(step, "model"), path, facts).sample(requests, SETTINGS)
    assert again == [completion for _, completion in FakeSampler().stream(requests, SETTINGS)]
    assert 0 < kept == facts["resumed_completions"] < len(requests)
    assert len(path.read_text().splitlines()) == len(requests)


def interrupt(rows):
    raise KeyboardInterrupt


@needs_ray
@pytest.mark.model
def test_demo_pipeline_on_1_and_3_workers_has_the_bytes_of_one_process(cluster, tmp_path):
    root = make_pipelines_project(tmp_path / "project")
    params = (root / "params.yaml").read_text().replace("rounds: 2", "rounds: 1")
    (root / "params.yaml").write_text(params)
    plan = make_plan(open_project(root), ["rest_em"])
    for key in (
        "rest_em/tasks/base",
        "rest_em/tasks/train",
        "rest_em/start/checkpoint",
        "rest_em/round_01/generated",
    ):
        run_step(plan, key)
    directory = plan.project.directory("rest_em/round_01/generated")
    reference = files_of(directory)
    for replicas in (1, 3):
        (root / "params.yaml").write_text(
            f"{params}compute: {{replicas: {replicas}, ray: {{block_rows: 12}}}}\n"
        )
        shutil.rmtree(directory)
        assert run_step(make_plan(open_project(root), ["rest_em"]), "rest_em/round_01/generated") == "done"
        assert files_of(directory) == reference


def files_of(directory):
    """By name, the digests of an artifact's files, manifest included."""
    return {path.name: hashlib.md5(path.read_bytes()).hexdigest() for path in directory.iterdir()}


def score(row):
    """A scorer with every way to go wrong."""
    if row["completion"] == "hang":
        while True:
            pass
    if row["completion"] == "die":
        os.abort()
    if row["completion"] == "raise":
        raise ValueError("no such thing")
    return len(row["completion"]), row["completion"]


@needs_ray
def test_scoring_on_replicas_answers_as_one_process_does(cluster, tmp_path):
    pool = {"function": f"{__name__}:score", "workers": 1, "seconds": 0.2}
    rows = [
        {"completion": text} for text in ("a", "hang", "bb", "raise", "\ud800", "die", *map(str, range(7)))
    ]
    with WorkerPool(**pool) as local:
        fanned = replicated(lab_step(tmp_path, compute(2)), local, scoring_work, pool, dict)
        assert fanned is not local
        assert list(fanned.map(rows)) == list(local.map(rows))


PROGRAMS = {
    "right": "def double(x):\n    return 2 * x\n",
    "wrong": "def double(x):\n    return x\n",
    "endless": "while True:\n    pass\n",
    "odd": "def double(x):\n    return '\\ud800\\xff'\n",
    "broken": "def double(x) return x\n",
}


@needs_ray
@pytest.mark.skipif(
    shutil.which("bwrap") is None, reason="bubblewrap is not installed: apt install bubblewrap"
)
def test_unit_tests_on_replicas_judge_as_one_process_does(cluster, tmp_path):
    rows = [
        {
            "sample_id": name,
            "prompt_id": "p",
            "prompt": "double",
            "completion": text,
            "tests": "assert double(2) == 4",
        }
        for name, text in PROGRAMS.items()
    ]
    judged = []
    for replicas in (0, 2):
        lab = Lab(tmp_path, compute(replicas, block_rows=2))
        made = lab.run(
            "unit_tests", "round_01/verified", {"rows": lab.put("round_01/generated", rows)}, timeout=1
        )[""]
        judged.append(rows_of(made))
    assert judged[0] == judged[1]
    assert [row["verdict"] for row in judged[0]] == ["pass", "fail", "fail", "fail", "fail"]


LOSING = """
import os, psutil, sys
from lineal.engines.ray import cluster as ray_cluster, fan_out as ray_fan_out
from lineal.errors import EngineError
from tests.e2e.test_ray import compute, double

if __name__ == "__main__":
    ray_cluster.LOST_SECONDS = ray_fan_out.WATCH_SECONDS = 1.0
    stream = ray_fan_out.fan_out(compute(2), double, {"directory": sys.argv[1]}, range(40))
    next(stream)
    (head,) = [child for child in psutil.Process().children() if child.name() == "gcs_server"]
    head.kill()
    try:
        list(stream)
    except EngineError as error:
        sys.exit(str(error))
"""


@needs_ray
def test_fan_out_on_a_cluster_that_disappears_ends_with_an_error_and_leaves_nothing_running(tmp_path):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")])}
    done = subprocess.run(
        [sys.executable, "-c", LOSING, tmp_path], env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 1
    assert done.stderr.startswith("the Ray cluster is gone: its head at ")
    assert len(done.stderr.splitlines()) == 1
    assert processes(tmp_path)
    assert not any(map(is_running, processes(tmp_path)))


WAITING = """
import sys
from lineal.engines.ray.fan_out import fan_out
from tests.e2e.test_ray import compute, double

if __name__ == "__main__":
    list(fan_out(compute(2, address=sys.argv[2] or None), double, {"directory": sys.argv[1]}, range(24, 40)))
"""


@needs_ray
@pytest.mark.parametrize("joins", [False, True], ids=["own cluster", "given cluster"])
def test_replicas_end_with_a_step_that_is_killed(cluster, tmp_path, joins):
    address = cluster.get_runtime_context().gcs_address if joins else ""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")])}
    step = subprocess.Popen(
        [sys.executable, "-c", WAITING, tmp_path, address], env=environment, stderr=subprocess.DEVNULL
    )
    wait_until(lambda: (tmp_path / "started").exists() and len(processes(tmp_path)) == 2)
    assert all(map(is_running, processes(tmp_path)))
    step.kill()
    step.wait()
    wait_until(lambda: not any(map(is_running, processes(tmp_path))), 60)


def wait_until(condition, seconds=100):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{condition} does not come true"
        time.sleep(0.2)


@needs_ray
def test_replicas_that_the_cluster_has_no_room_for_are_refused_before_any_work(cluster, tmp_path):
    step = lab_step(tmp_path, compute(3, cpus_per_replica=2))
    with pytest.raises(
        EngineError, match=r"replicas: 3 with compute.ray.cpus_per_replica: 2 ask for 6 CPUs, .* has 4"
    ):
        RaySampler(step, "model")
    step = lab_step(tmp_path, compute(1, gpus_per_replica=1))
    with pytest.raises(EngineError, match=r"gpus_per_replica: 1 ask for 1 GPUs, the Ray cluster has 0"):
        RaySampler(step, "model")


@needs_ray
def test_cluster_that_does_not_answer_is_an_error(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        code = (
            "from lineal.engines.ray.cluster import join\nfrom lineal.recipe.compute import Compute, RayCompute\n"
            f"join(Compute(replicas=1, ray=RayCompute(address={address!r})), 0)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert f"EngineError: compute.ray.address: nothing answers at {address}." in done.stderr


def test_replicas_without_ray_are_refused_with_the_fix(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray.data", None)
    with pytest.raises(EngineError, match=r"compute.replicas needs Ray .*pip install 'lineal\[ray\]'"):
        RaySampler(lab_step(tmp_path, compute(2)), "model")


def test_replicas_on_a_device_that_they_do_not_reserve_are_refused(tmp_path):
    step = lab_step(tmp_path, compute(2).model_copy(update={"device": "cuda"}))
    with pytest.raises(
        EngineError, match=r"device: cuda with compute.ray.gpus_per_replica: 0 .* Set gpus_per_replica: 1"
    ):
        RaySampler(step, "model")


def test_replica_that_cannot_see_the_model_says_what_to_share(tmp_path):
    step = lab_step(tmp_path, compute(2))
    seen = described(step, "model")
    assert opened(seen).model("model").digest == step.model("model").digest
    assert opened(seen).compute.device == "cpu"
    shutil.rmtree(step.model("model").directory)
    with pytest.raises(
        EngineError, match=r"cannot read the model p/start/checkpoint at .* that all nodes .* share"
    ):
        opened(seen)


@pytest.mark.parametrize("address", ["ray://head:10001", "head", "http://head:8265", ":6379"])
def test_cluster_address_of_another_form_is_refused(address):
    with pytest.raises(ValueError, match=rf"expected auto or HOST:PORT .*, got '{address}'"):
        RayCompute(address=address)
