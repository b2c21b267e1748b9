"""The engine that steps sample with is looked for before any step runs: vLLM's interpreter, a package's class."""

from __future__ import annotations

import importlib.metadata
import sys

import pytest

from lineal.errors import EngineError
from lineal.recipe import plugins
from lineal.step.preflight import require_engine
from tests.e2e.toy_project import command, make_project, plan_of

from .test_resources import JUDGED, PARAMS, under


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    return plan_of(make_project(tmp_path_factory.mktemp("interpreter") / "judged", JUDGED, PARAMS))


@pytest.mark.parametrize("python", ["no/python", "no_such_python", "params.yaml", None])
def test_require_engine_of_a_step_that_samples_with_vllm_finds_it_missing(judged, python):
    plan = under(judged, engine="vllm", vllm={"python": python})
    with pytest.raises(
        EngineError, match=r"compute.vllm.python.*docs/engines.md" if python else "has no vLLM"
    ):
        require_engine(plan, plan.steps.values())


def test_require_engine_leaves_what_does_not_sample_here_alone(judged):
    plan = under(judged, engine="vllm", vllm={"python": "no/python"})
    require_engine(
        plan, [plan.step(f"toy/{key}") for key in ("start/checkpoint", "round_01/judged", "round_01/likely")]
    )
    require_engine(under(judged, vllm={"python": "no/python"}), plan.steps.values())
    elsewhere = {"engine": "vllm", "executor": "k8s", "device": "cuda", "vllm": {"python": "no/python"}}
    require_engine(under(judged, **elsewhere), plan.steps.values())
    require_engine(under(judged, engine="vllm", vllm={"python": sys.executable}), plan.steps.values())


def test_run_with_a_missing_interpreter_ends_before_its_first_step(tmp_path):
    params = f"{PARAMS}  device: cpu\n  vllm: {{python: no/python}}\n".replace("engine: fake", "engine: vllm")
    root = make_project(tmp_path / "project", params=params)
    said = command(root, "lineal", "run", status=1)
    assert "error: compute.vllm.python: got 'no/python', expected an interpreter" in said
    assert not (root / "artifacts").exists()


def test_require_engine_of_a_package_loads_it_and_compares_its_options(judged, monkeypatch):
    point = importlib.metadata.EntryPoint("odd", "tests.unit.test_token_engine:Greedy", "lineal.engines")
    monkeypatch.setattr(plugins, "outside", lambda group: (point,))
    plan = under(judged, engine="odd", engine_options={})
    require_engine(plan, plan.steps.values())
    wrong = under(judged, engine="odd", engine_options={"speed": 2})
    with pytest.raises(EngineError, match="as Greedy.load takes them"):
        require_engine(wrong, wrong.steps.values())
    require_engine(wrong, [wrong.step("toy/start/checkpoint")])
    nothing = importlib.metadata.EntryPoint("odd", "json:nothing", "lineal.engines")
    monkeypatch.setattr(plugins, "outside", lambda group: (nothing,))
    with pytest.raises(EngineError, match="engine 'odd' cannot be loaded"):
        require_engine(plan, plan.steps.values())
