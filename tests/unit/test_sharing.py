"""What is asked of trainings is held against configuration and installation before any step runs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lineal.errors import DeclarationError, EngineError, ProjectError
from lineal.plan import Plan
from lineal.recipe.compute import Compute
from lineal.step.resources import resources_of
from lineal.step.sharing import require_trainings, sharing_of
from tests.e2e.toy_project import PARAMS, TOY, make_project, plan_of

CHECKPOINT = "toy/round_01/checkpoint"
TWO = "distributed_type: MULTI_GPU\nnum_processes: 2\n"


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    pipeline = TOY.replace("rows: filtered, steps: 2", "rows: filtered, steps: 2, batch_size: 6")
    return plan_of(make_project(tmp_path_factory.mktemp("sharing") / "project", pipeline, PARAMS))


def under(plan: Plan, **compute: object) -> Plan:
    params = plan.project.params.model_copy(update={"compute": Compute.model_validate(compute)})
    return replace(plan, project=replace(plan.project, params=params))


def configured(plan: Plan, text: str) -> Plan:
    (plan.project.root / "accelerate.yaml").write_text(text)
    return under(plan, accelerate="accelerate.yaml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1", r"accelerate.yaml:\d+: not valid YAML"),
        ("", r"accelerate.yaml:1: distributed_type: is missing"),
        ("- a\n", r"accelerate.yaml:1: distributed_type: is missing"),
        (
            "distributed_type: FSDP\n",
            r"accelerate.yaml:1: num_processes: got None, expected a whole number from 1",
        ),
        ("distributed_type: FSDP\nnum_processes: two\n", r"accelerate.yaml:2: num_processes: got 'two'"),
        (TWO + "num_machines: 0\n", r"accelerate.yaml:3: num_machines: got 0"),
        (
            "distributed_type: FSDP\nnum_machines: 2\nnum_processes: 3\n",
            r"num_processes: got 3 on 2 machines, expected the same",
        ),
        (
            "distributed_type: MULTI_CPU\nnum_processes: 2\n",
            r"got 'MULTI_CPU' for 2 processes, which starts one. .*accelerate: 2",
        ),
        (
            TWO + "mixed_precision: bf16\n",
            r"mixed_precision: got 'bf16' for toy/\S+, whose precision is fp32. .*'no'",
        ),
        ("distributed_type: FSDP\nnum_processes: 4\n", r"got 4 processes for 6 examples per step"),
    ],
)
def test_configuration_that_does_not_fit_is_refused_with_its_file_and_key(
    plan: Plan, text: str, message: str
) -> None:
    found = configured(plan, text)
    with pytest.raises((ProjectError, EngineError, DeclarationError), match=message):
        require_trainings(found, [found.step(CHECKPOINT)])


def test_configuration_that_is_not_there_names_the_setting(plan: Plan) -> None:
    found = under(plan, accelerate="nowhere.yaml")
    with pytest.raises(ProjectError, match=r"compute.accelerate: got 'nowhere.yaml', expected a file at"):
        require_trainings(found, [found.step(CHECKPOINT)])


def test_configuration_that_fits_says_how_many_processes_run_on_this_machine(plan: Plan) -> None:
    found = configured(
        plan, "distributed_type: FSDP\nnum_machines: 3\nnum_processes: 6\nmixed_precision: 'no'\n"
    )
    require_trainings(found, [found.step(CHECKPOINT)])
    sharing = sharing_of(found.project.root, found.project.params.compute)
    assert (sharing.processes, sharing.here) == (6, 2)
    assert resources_of(found, found.step(CHECKPOINT)).gpus == 2
    assert resources_of(under(plan, accelerate=3), plan.step(CHECKPOINT)).gpus == 3


def test_tracker_that_is_not_installed_is_refused_before_anything_runs(plan: Plan) -> None:
    found = under(plan, report_to=["trackio"])
    with pytest.raises(EngineError, match=r"compute.report_to: got trackio, .* pip install trackio"):
        require_trainings(found, found.steps.values())
    require_trainings(found, [found.step("toy/round_01/generated")])
