"""What steps ask of a machine: from the component, overridden by `compute.requests`, held against what is there."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from lineal.errors import DeclarationError, MachineError
from lineal.recipe.compute import Compute
from lineal.step.gpus import release_gpus
from lineal.step.resources import StepResources, require_machine, resources_of, take_gpus
from lineal.step.runlog import read_log
from lineal.step.runner import run_step
from tests.e2e.toy_project import make_project, plan_of

PARAMS = "seed: 0\nrounds: 1\nactive: [toy]\ncompute:\n  engine: fake\n  workers: 1\n"
MODEL, ROWS = "toy/round_01/checkpoint", "toy/round_01/verified"


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return make_project(tmp_path_factory.mktemp("requests") / "project", params=PARAMS)


@pytest.fixture(autouse=True)
def _no_gpu(tmp_path, monkeypatch):
    """A machine without a GPU, whatever this one has, and locks of its own."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))  # there is no nvidia-smi
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    yield
    release_gpus()


def with_compute(project, *lines):
    (project / "params.yaml").write_text(PARAMS + "".join(f"  {line}\n" for line in lines))
    return plan_of(project)


def under(plan, **compute):
    """The same plan with other execution settings."""
    params = plan.project.params.model_copy(update={"compute": Compute(**compute)})
    return replace(plan, project=replace(plan.project, params=params))


@pytest.mark.parametrize(
    ("compute", "step", "expected"),
    [
        ({}, MODEL, StepResources(1, True, None)),
        ({}, ROWS, StepResources(0, True, None)),
        ({"device": "cuda"}, MODEL, StepResources(1, False, None)),
        ({"device": "cuda"}, ROWS, StepResources(0, False, None)),
        ({"device": "cpu"}, MODEL, StepResources(0, False, None)),
        (
            {"requests": {"*/checkpoint": {"gpus": 4, "memory": "60GB"}}},
            MODEL,
            StepResources(4, False, 60_000_000_000),
        ),
        ({"requests": {"*/checkpoint": {"memory": "1GiB"}}}, MODEL, StepResources(1, True, 2**30)),
        (
            {"requests": {"*": {"gpus": 2}, "toy/*/checkpoint": {"gpus": 0}}},
            MODEL,
            StepResources(0, False, None),
        ),
        ({"requests": {"*/checkpoint": {"gpus": 4}}}, ROWS, StepResources(0, True, None)),
    ],
)
def test_asked_by_follows_component_device_and_the_last_matching_request(project, compute, step, expected):
    plan = under(with_compute(project), **compute)
    assert resources_of(plan, plan.step(step)) == expected


JUDGED = """\
method: Judged
summary: A checkpoint samples, a model on a server judges, a second checkpoint scores.
tasks:
  train: {use: letter_sort, length: [4, 6], size: 24}
start:
  checkpoint: {use: model, path: models/base}
  judge: {use: served_model, name: judge, revision: "1"}
round:
  generated: {use: sample, model: start.checkpoint, prompts: tasks.train}
  judged: {use: judge, model: start.judge, rows: generated, name: judge, template: additive_5, extract: "([0-5])", threshold: 3}
  likely: {use: likelihood, scorer: start.checkpoint, rows: judged, name: likely}
"""


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    return plan_of(make_project(tmp_path_factory.mktemp("requests") / "judged", JUDGED, PARAMS))


@pytest.mark.parametrize(
    ("compute", "expected"),
    [
        ({}, {"generated": 1, "judged": 0, "likely": 1}),
        ({"engine": "openai"}, {"generated": 0, "judged": 0, "likely": 1}),
        ({"engine": "vllm", "vllm": {"tensor_parallel": 4}}, {"generated": 4, "judged": 0, "likely": 1}),
        ({"replicas": 2}, {"generated": 0, "judged": 0, "likely": 1}),
    ],
)
def test_asked_by_counts_only_models_that_the_steps_machine_loads(judged, compute, expected):
    """A server and replicas have GPUs of their own; what scores given rows stays in the step whatever samples."""
    plan = under(judged, **compute)
    assert {name: resources_of(plan, plan.step(f"toy/round_01/{name}")).gpus for name in expected} == expected


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            ["device: cuda"],
            r"toy/start/checkpoint asks for 1 GPU, and there is none here .*compute.device: auto or cpu",
        ),
        (["gpus: [0]"], r"compute.gpus \(params.yaml\) names GPU 0, and this machine has none"),
        (["device: cuda", "gpus: []"], r"asks for 1 GPU, and compute.gpus is empty. List some there"),
        (
            ["device: cpu", "gpus: [a, b]", "requests: {'*/checkpoint': {gpus: 3}}"],
            r"toy/start/checkpoint asks for 3 GPUs, and there are 2 to share \(a, b\). Lower gpus in compute.requests",
        ),
        (
            ["requests: {'*/verified': {memory: 900TB}}"],
            r"verified asks for 900000.0 GB of memory, and this machine has",
        ),
    ],
)
def test_require_machine_names_the_setting_that_asks_too_much(project, lines, message):
    plan = with_compute(project, *lines)
    with pytest.raises(MachineError, match=message):
        require_machine(plan, plan.steps.values())


def test_require_machine_with_a_request_for_no_step_names_the_line(project):
    plan = with_compute(project, "requests:", "  '*/chekpoint': {gpus: 1}")
    with pytest.raises(
        DeclarationError,
        match=r"params.yaml:8: compute.requests.\*/chekpoint: no step .* Did you mean '.*checkp",
    ):
        require_machine(plan, [])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("device: cuda:1", r"params.yaml:7: compute.device: .*write device: cuda and gpus: \[1\]"),
        ("gpus: 2", r"params.yaml:7: compute.gpus: expected 'auto', or a list .* got 2"),
        ("gpus: [0, 0]", r"each once; got \[0, 0\]"),
        ("gpus: ['../x']", r"got \['../x'\]"),
        (
            "requests: {'*': {gpus: -1}}",
            r"compute.requests.\*.gpus: got .*, expected at least 0",
        ),
        (
            "requests: {'*': {memory: 60}}",
            r"compute.requests.\*.memory: expected a size such as '60GB' or '512MiB', got 60",
        ),
        ("requests: {'*': {gpu: 1}}", "unknown key 'gpu'. Did you mean 'gpus'?"),
        (
            "requests: {'*': {memory: 0GB}}",
            "compute.requests.*.memory: expected more than nothing, got '0GB'",
        ),
        ("device: gpu", "params.yaml:7: compute.device: expected one of auto, cpu, cuda, got 'gpu'"),
        ("ray: {adress: auto}", "compute.ray.adress: unknown key 'adress'. Did you mean 'address'?"),
        ("executer: ray", "compute.executer: unknown key 'executer'. Did you mean 'executor'?"),
        (
            "accelerate: 0",
            "params.yaml:7: compute.accelerate: got 0, expected at least 1",
        ),
        ("executor: ray", "compute: executor: ray must know what to ask its cluster for: write device: cuda"),
        (
            "{executor: k8s, device: cuda, gpus: [0]}",
            "executor: k8s hands out its cluster's GPUs itself: remove gpus",
        ),
    ],
)
def test_compute_with_a_setting_that_cannot_be_names_file_line_and_key(project, line, message):
    with pytest.raises(DeclarationError, match=message):
        if line.startswith("{"):
            (project / "params.yaml").write_text(f"active: [toy]\ncompute: {line}\n")
            plan_of(project)
        with_compute(project, line)


def test_take_machine_shows_a_step_only_what_it_asked_for(project):
    plan = with_compute(project)
    named = {"device": "cpu", "gpus": ["a", "b", "c"], "requests": {"*/checkpoint": {"gpus": 2}}}
    assert take_gpus(under(plan, **named), plan.step(MODEL), pytest.fail) == ["a", "b"]
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "a,b"
    for hidden in ({"requests": {"*": {"gpus": 0}}}, {"gpus": []}):
        assert take_gpus(under(plan, **hidden), plan.step(MODEL), pytest.fail) == []
        assert os.environ["CUDA_VISIBLE_DEVICES"] == ""
    assert take_gpus(under(plan), plan.step(MODEL), pytest.fail) == []
    assert "CUDA_VISIBLE_DEVICES" not in os.environ


def test_run_step_records_its_gpus_outside_the_artifact(project):
    key = "toy/tasks/train"
    plain = with_compute(project)
    run_step(plain, key)
    manifest = project / "artifacts" / key / "manifest.json"
    before = manifest.read_bytes()
    manifest.unlink()
    asking = with_compute(
        project, "device: cpu", "gpus: [a]", "requests: {'*/train': {gpus: 1, memory: 1MB}}"
    )
    run_step(asking, key)
    assert read_log(asking.project, key)["facts"]["gpus"] == ["a"]
    assert manifest.read_bytes() == before


def test_run_step_that_asks_too_much_stops_before_its_work(project):
    plan = with_compute(project, "device: cpu", "gpus: []", "requests: {'*/test': {gpus: 1}}")
    with pytest.raises(MachineError, match="toy/tasks/test asks for 1 GPU, and compute.gpus is empty"):
        run_step(plan, "toy/tasks/test")
    assert not (project / "artifacts/toy/tasks/test").exists()
    assert read_log(plan.project, "toy/tasks/test")["status"] == "failed"
