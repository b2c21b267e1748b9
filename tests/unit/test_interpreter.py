"""The interpreter of `engine: vllm` is looked for before any step runs."""

from __future__ import annotations

import sys

import pytest

from lineal.errors import EngineError
from lineal.step.preflight import require_interpreter
from tests.e2e.toy_project import command, make_project, plan_of

from .test_resources import JUDGED, PARAMS, under


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    return plan_of(make_project(tmp_path_factory.mktemp("interpreter") / "judged", JUDGED, PARAMS))


@pytest.mark.parametrize("python", ["no/python", "no_such_python", "params.yaml", None])
def test_require_interpreter_of_a_step_that_samples_with_vllm_finds_it_missing(judged, python):
    plan = under(judged, engine="vllm", vllm={"python": python})
    with pytest.raises(EngineError, match=r"compute.vllm.python.*docs/engines.md" if python else "has no vLLM"):
        require_interpreter(plan, plan.steps.values())


def test_require_interpreter_leaves_what_does_not_sample_here_alone(judged):
    plan = under(judged, engine="vllm", vllm={"python": "no/python"})
    require_interpreter(plan, [plan.step(f"toy/{key}") for key in ("start/checkpoint", "round_01/judged", "round_01/likely")])
    require_interpreter(under(judged, vllm={"python": "no/python"}), plan.steps.values())
    elsewhere = {"engine": "vllm", "executor": "k8s", "device": "cuda", "vllm": {"python": "no/python"}}
    require_interpreter(under(judged, **elsewhere), plan.steps.values())
    require_interpreter(under(judged, engine="vllm", vllm={"python": sys.executable}), plan.steps.values())


def test_run_with_a_missing_interpreter_ends_before_its_first_step(tmp_path):
    params = f"{PARAMS}  device: cpu\n  vllm: {{python: no/python}}\n".replace("engine: fake", "engine: vllm")
    root = make_project(tmp_path / "project", params=params)
    said = command(root, "lineal", "run", status=1)
    assert "error: compute.vllm.python: got 'no/python', expected an interpreter" in said
    assert not (root / "artifacts").exists()
