"""How `paper` profiles let rows flow, as their sources do, and the numbers that decide it."""

from __future__ import annotations

from pathlib import Path

import pytest

from .test_paper_profiles import ROUNDS, paper, settings
from .test_pipelines_plan import ROOT


def test_auto_cei_samples_from_the_iteration_before_and_trains_the_base(tmp_path: Path):
    plan = paper(tmp_path, "auto_cei")
    samplers = [plan.step(f"auto_cei/round_02/generated/turn_{turn}").inputs["model"] for turn in (1, 2, 3)]
    assert samplers == [
        ("auto_cei/round_01/policy",),
        ("auto_cei/round_02/trained/turn_1",),
        ("auto_cei/round_02/trained/turn_2",),
    ]
    kept = plan.step("auto_cei/round_02/policy")
    assert kept.inputs["models"] == tuple(f"auto_cei/round_02/trained/turn_{turn}" for turn in (1, 2, 3))
    assert kept.settings_from["number"] == ("auto_cei/round_02/highest", "number")
    assert plan.step("auto_cei/round_02/boundary").settings_from["score"] == (
        "auto_cei/round_02/highest",
        "score",
    )
    assert plan.step("auto_cei/round_02/evaluation").inputs["model_base"] == ("auto_cei/start/checkpoint",)
    assert plan.step("auto_cei/start/tried").inputs["model"] == ("auto_cei/start/solver",)
    for turn in (1, 2, 3):
        assert plan.step(f"auto_cei/round_02/trained/turn_{turn}").inputs["init"] == (
            "auto_cei/start/checkpoint",
        )
        assert settings(plan, f"auto_cei/round_02/generated/turn_{turn}", "samples", "temperature") == (
            16,
            1.0,
        )
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
        assert settings(plan, f"{round_}/tasks/train", "digits", "size") == (
            (10 + number, 10 + number),
            50_000,
        )
        assert settings(plan, f"{round_}/tasks/ahead", "digits") == ((1 + number, 20 + number),)
        assert plan.step(f"{round_}/mixed").component.model_extra == {
            "base": "tasks.base",
            "count": 3_072_000,
            "newest": 0.5,
            "base_parts": 10,
        }
    assert not [step for step in plan.steps.values() if step.component.use == "majority_vote"]


def test_star_hints_at_the_worked_solution_and_trains_longer_each_round(tmp_path: Path):
    plan = paper(tmp_path, "star")
    hinted = plan.step("star/round_01/rationalized")
    assert hinted.component.hint == "{prompt} ({solution})"
    assert "solution" in plan.step(hinted.inputs["prompts"][0]).outputs[""].columns
    steps = [settings(plan, f"star/round_{number:02d}/checkpoint", "steps")[0] for number in range(1, 47)]
    assert steps == [int(40 * 1.2 ** min(number, 29)) for number in range(46)]


def test_lmsi_learns_each_path_in_four_formats_of_which_two_have_the_bare_answer(tmp_path: Path):
    plan = paper(tmp_path, "lmsi")
    formats = [
        plan.step(key).component.model_extra for key in plan.step("lmsi/round_01/checkpoint").inputs["rows"]
    ]
    assert [texts["completion"] for texts in formats] == [
        "{completion}",
        " The answer is {voted}.",
        "{completion}",
        " The answer is {voted}.",
    ]
    assert [texts["prompt"] for texts in formats] == [
        "{asked}",
        "answer_after_examples",
        "Q: {prompt}\nA: Let's think step by step.",
        "Q: {prompt}\nA:",
    ]


def test_stasc_looks_for_the_reference_inside_answers_that_are_asked_for_step_by_step(tmp_path: Path):
    plan = paper(tmp_path, "stasc")
    for step in ("round_01/judged", "round_01/corrected", "start/verified", "round_10/verified"):
        assert settings(plan, f"stasc/{step}", "contained", "ignore_case") == (True, True)
    asked = [settings(plan, f"stasc/round_01/{node}", "template", "top_p") for node in ("first", "second")]
    assert asked == [("answer_step_by_step", 0.9), ("correct_step_by_step", 0.9)]
    for template in ("answer_step_by_step", "correct_step_by_step"):
        assert "Final Answer:" in (ROOT / "pipelines" / "templates" / f"{template}.txt").read_text()


@pytest.mark.parametrize(
    ("name", "sampler", "count"),
    [("meta_rewarding", "responses", 5_000), ("rlhf_workflow", "generated", 20_000)],
)
def test_prompts_are_fresh_each_round(tmp_path: Path, name: str, sampler: str, count: int):
    plan = paper(tmp_path, name)
    for number in range(1, ROUNDS[name] + 1):
        assert plan.step(f"{name}/round_{number:02d}/{sampler}").inputs["prompts"] == (
            f"{name}/round_{number:02d}/fresh",
        )
        assert plan.step(f"{name}/round_{number:02d}/fresh").component.model_extra == {
            "count": count,
            "part": number,
        }


def test_meta_rewarding_moves_its_length_control_epochs_and_pairs(tmp_path: Path):
    plan = paper(tmp_path, "meta_rewarding")
    moved = [
        (
            plan.step(f"meta_rewarding/round_0{number}/actor_pairs").component.model_extra["length_control"],
            *settings(plan, f"meta_rewarding/round_0{number}/checkpoint", "epochs"),
            len(plan.step(f"meta_rewarding/round_0{number}/checkpoint").inputs["rows"]),
        )
        for number in (1, 2, 3, 4)
    ]
    assert moved == [(0.0, 6, 2), (0.32, 4, 2), (0.32, 2, 1), (0.4, 2, 1)]
