"""How `paper` profiles let rows flow, as their sources do, and the numbers that decide it."""

from __future__ import annotations

from pathlib import Path

import pytest

from .test_paper_profiles import paper, settings
from .test_pipelines_plan import planned

ROUNDS = {"codeit": 99, "self_improving_transformers": 59, "socratic": 3}


@pytest.mark.parametrize("name", sorted(ROUNDS))
def test_method_has_the_rounds_of_its_source_and_its_laptop_profile_those_of_the_project(tmp_path: Path, name: str):
    assert max(step.round for step in paper(tmp_path, name).steps.values()) == ROUNDS[name]
    laptop = planned(tmp_path / "laptop", name, "laptop", rounds=None)
    assert max(step.round for step in laptop.steps.values()) == laptop.project.params.rounds


def test_auto_cei_samples_from_the_iteration_before_and_trains_the_base(tmp_path: Path):
    plan = paper(tmp_path, "auto_cei")
    samplers = [plan.step(f"auto_cei/round_02/generated/turn_{turn}").inputs["model"] for turn in (1, 2, 3)]
    assert samplers == [
        ("auto_cei/round_01/policy/turn_3",), ("auto_cei/round_02/policy/turn_1",), ("auto_cei/round_02/policy/turn_2",),
    ]  # fmt: skip
    assert plan.step("auto_cei/start/tried").inputs["model"] == ("auto_cei/start/solver",)
    for turn in (1, 2, 3):
        assert plan.step(f"auto_cei/round_02/policy/turn_{turn}").inputs["init"] == ("auto_cei/start/checkpoint",)
        assert settings(plan, f"auto_cei/round_02/generated/turn_{turn}", "samples", "temperature") == (16, 1.0)
        drawn = plan.step(f"auto_cei/round_02/drawn/turn_{turn}")
        assert drawn.settings_from["temperature"] == ("auto_cei/start/precision", "precision")
        assert drawn.component.model_extra["count"] == 16


def test_socratic_samples_from_the_tuned_model_and_trains_the_raw_one(tmp_path: Path):
    plan = paper(tmp_path, "socratic")
    assert plan.step("socratic/round_01/generated").inputs["model"] == ("socratic/start/checkpoint",)
    assert plan.step("socratic/start/checkpoint").inputs["rows"] == ("socratic/tasks/train",)
    for number in (1, 2, 3):
        assert plan.step(f"socratic/round_0{number}/checkpoint").inputs["init"] == ("socratic/start/base",)


def test_codeit_trains_on_mutated_tasks_before_it_samples(tmp_path: Path):
    plan = paper(tmp_path, "codeit")
    assert plan.step("codeit/start/checkpoint").inputs["rows"] == ("codeit/start/mutated",)
    assert plan.step("codeit/round_01/generated").inputs["model"] == ("codeit/start/checkpoint",)
    for group, draw in (("start", 0), ("round_01", 1), ("round_99", 99)):
        extra = plan.step(f"codeit/{group}/mutated").component.model_extra
        assert (extra["count"], extra["draw"]) == (10_000, draw)
    assert plan.step("codeit/round_50/replayed").component.model_extra == {"count": 90_000, "least": 1e-19}


def test_self_improving_transformers_learn_one_digit_more_each_round_from_one_model(tmp_path: Path):
    name = "self_improving_transformers"
    plan = paper(tmp_path, name)
    for number in (1, 2, 59):
        round_ = f"{name}/round_{number:02d}"
        assert settings(plan, f"{round_}/tasks/train", "digits", "size") == ((10 + number, 10 + number), 50_000)
        assert settings(plan, f"{round_}/tasks/ahead", "digits") == ((1 + number, 20 + number),)
        assert plan.step(f"{round_}/mixed").component.model_extra == {
            "base": "tasks.base", "count": 3_072_000, "newest": 0.5, "base_parts": 10,
        }  # fmt: skip
    assert not [step for step in plan.steps.values() if step.component.use == "majority_vote"]
