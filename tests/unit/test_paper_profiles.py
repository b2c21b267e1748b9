"""What `paper` profiles take from their sources: rounds, what moves with them, and where each step gets its rows from."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from lineal.plan import Plan
from lineal.step.contamination import evaluation_sets

from .test_pipelines_plan import planned

ROUNDS = {
    "alphallm": 2,
    "b_star": 9,
    "codeit": 99,
    "crest": 1,
    "east": 1,
    "irpo": 4,
    "lmsi": 1,
    "meta_rewarding": 4,
    "rlhf_workflow": 3,
    "scpo": 2,
    "sector": 22,
    "self_improving_transformers": 59,
    "self_rewarding": 2,
    "socratic": 3,
    "spin": 4,
    "star": 46,
    "stasc": 10,
    "v_star": 3,
}


def paper(root: Path, name: str) -> Plan:
    return planned(root / "project", name, "paper", rounds=None)


def settings(plan: Plan, step: str, *names: str) -> tuple[Any, ...]:
    return tuple(getattr(plan.step(step).component, name) for name in names)


@pytest.mark.parametrize("name", sorted(ROUNDS))
def test_method_has_the_rounds_of_its_paper_and_its_laptop_profile_those_of_the_project(
    tmp_path: Path, name: str
):
    assert max(step.round for step in paper(tmp_path, name).steps.values()) == ROUNDS[name]
    laptop = planned(tmp_path / "laptop", name, "laptop", rounds=None)
    assert max(step.round for step in laptop.steps.values()) == laptop.project.params.rounds


def test_irpo_samples_hotter_in_its_last_two_rounds(tmp_path: Path):
    plan = paper(tmp_path, "irpo")
    assert [settings(plan, f"irpo/round_0{number}/generated", "temperature") for number in (1, 2, 3, 4)] == [
        (0.8,),
        (0.8,),
        (1.3,),
        (1.3,),
    ]


def test_irpo_pairs_the_datas_own_solutions_too(tmp_path: Path):
    rows = paper(tmp_path, "irpo").step("irpo/round_02/pairs").inputs["rows"]
    assert rows == ("irpo/round_02/verified", "irpo/start/solutions")


def test_spin_learns_slower_in_its_last_two_rounds_and_nearer_to_the_opponent_in_the_last(tmp_path: Path):
    plan = paper(tmp_path, "spin")
    assert [
        settings(plan, f"spin/round_0{number}/checkpoint", "beta", "learning_rate") for number in (1, 2, 3, 4)
    ] == [
        (0.1, 5e-7),
        (0.1, 5e-7),
        (0.1, 1e-7),
        (5.0, 1e-7),
    ]


def test_values_that_official_code_sets_are_set(tmp_path: Path):
    kto, online = paper(tmp_path / "kto", "kto"), paper(tmp_path / "adarft", "adarft")
    agents = paper(tmp_path / "multiagent", "multiagent")
    assert settings(kto, "kto/round_01/checkpoint", "warmup", "weight_decay") == (0.1, 0.01)
    assert settings(online, "adarft/round_01/checkpoint", "beta") == (0.0,)
    for node in ("first", "last", "tried", "settled"):
        assert settings(agents, f"multiagent/round_01/{node}/a", "temperature", "top_p") == (1.0, 0.9)
    for node in ("generator", "critic"):
        assert settings(agents, f"multiagent/round_01/{node}/a", "batch_size", "warmup", "weight_decay") == (
            192,
            0.03,
            0.0,
        )


def test_scpo_takes_new_problems_and_a_higher_threshold_from_its_second_round_on_and_rejects_from_a_hotter_draw(
    tmp_path: Path,
):
    plan = paper(tmp_path, "scpo")
    first, second = (plan.step(f"scpo/round_0{number}/generated").inputs["prompts"] for number in (1, 2))
    assert (first, second) == (("scpo/tasks/train",), ("scpo/tasks/train", "scpo/start/problems"))
    assert plan.step("scpo/start/posed").inputs["model"] == ("scpo/start/poser",)
    for number, share in ((1, 0.5), (2, 0.7)):
        group = f"scpo/round_0{number}"
        assert settings(plan, f"{group}/hotter", "samples", "temperature") == (8, 1.2)
        assert (
            plan.step(f"{group}/hotter").inputs["prompts"]
            == plan.step(f"{group}/generated").inputs["prompts"]
        )
        assert plan.step(f"{group}/pairs").inputs["others"] == (f"{group}/scattered",)
        assert plan.step(f"{group}/scattered").inputs["rows"] == (f"{group}/hotter",)
        assert plan.step(f"{group}/pairs").component.model_extra["min_share"] == share


def test_crest_mixes_pairs_by_lambda_and_renews_the_reference_with_each_of_four_passes(tmp_path: Path):
    plan, group = paper(tmp_path, "crest"), "crest/round_01"
    assert settings(plan, f"{group}/generated", "temperature", "top_p") == (0.8, 0.95)
    drawn = [
        plan.step(f"{group}/{node}").component.model_extra["count"]
        for node in ("answer_pairs", "consistency_pairs")
    ]
    assert drawn == [9600, 14400] and drawn[1] / sum(drawn) == 0.6 and sum(drawn) == 3000 * 8
    before = f"{group}/tuned"
    for turn in (1, 2, 3, 4):
        step = plan.step(f"{group}/checkpoint/turn_{turn}")
        assert step.inputs["init"] == step.inputs["reference"] == (before,)
        before = step.key


def test_b_star_chooses_among_right_answers_and_its_lists_hold_the_datas_own_solutions(tmp_path: Path):
    plan = paper(tmp_path, "b_star")
    for group in ("b_star/start", "b_star/round_01"):
        tuned = plan.step(f"{group}/tuned")
        assert tuned.inputs["solutions"] == ("b_star/start/probe_solutions",)
        (weights,) = settings(plan, f"{group}/probe_rewarded", "weights")
        lowest, highest = weights["score"], weights["score"] + weights["process_score"]
        assert any(lowest < threshold < highest for threshold in tuned.component.thresholds)
        assert len(tuned.component.thresholds) == 21
    assert plan.step("b_star/round_02/filtered").inputs["rows"] == (
        "b_star/round_02/rewarded",
        "b_star/start/solutions",
    )
    assert plan.step("b_star/round_02/filtered").component.model_extra["enough"] == 67500
    (middle,) = settings(plan, "b_star/start/solutions", "weights")
    assert middle["score"] == (lowest + highest) / 2


def test_v_star_pools_begin_with_the_datas_own_solutions_and_it_trains_adapters(tmp_path: Path):
    plan = paper(tmp_path, "v_star")
    assert plan.step("v_star/start/verified").inputs["rows"] == ("v_star/tasks/train",)
    for pool in ("solutions", "pairs"):
        rows = plan.step(f"v_star/round_02/{pool}").inputs["rows"]
        assert rows == ("v_star/start/verified", "v_star/round_01/verified", "v_star/round_02/verified")
    for trained in ("start/generator", "round_01/generator", "round_01/verifier"):
        assert plan.step(f"v_star/{trained}").component.lora is not None


def test_self_rewarding_shows_two_of_its_own_prompts_and_filters_as_self_instruct_does(tmp_path: Path):
    plan = paper(tmp_path, "self_rewarding")
    shown = plan.step("self_rewarding/round_02/demonstrations")
    assert shown.inputs["rows"] == ("self_rewarding/tasks/instructions", "self_rewarding/round_01/prompts")
    assert (shown.component.model_extra["shots"], shown.component.model_extra["posed"]) == (8, 2)
    screened = plan.step("self_rewarding/round_02/prompts")
    assert screened.inputs["known"] == (
        "self_rewarding/tasks/instructions",
        "self_rewarding/round_01/prompts",
    )
    assert [screened.component.model_extra[name] for name in ("max_likeness", "min_words", "max_words")] == [
        0.7,
        4,
        150,
    ]
    assert plan.step("self_rewarding/round_02/responses").inputs["prompts"] == (screened.key,)
    unwanted = screened.component.model_extra["unwanted"]
    for text in (
        "Draw a cat on a mat",
        "Sum up the file",
        "Write a program for it",
        "- one of two",
        "\u00dcber alles",
    ):
        assert re.search(unwanted.replace("[:punct:]", "!-/"), text), text
    assert not re.search(unwanted.replace("[:punct:]", "!-/"), "Explain how a drawer of maples is profiled")


def test_refinecoder_compares_its_answers_with_the_datas_and_learns_to_refine_by_a_critique(tmp_path: Path):
    plan, group = paper(tmp_path, "refinecoder"), "refinecoder/round_01"
    for compared in ("duels", "scored", "redrawn"):
        assert "refinecoder/tasks/train" in plan.step(f"{group}/{compared}").inputs["rows"]
    assert plan.step(f"{group}/critiqued").inputs["rows"] == (f"{group}/good.dropped",)
    assert plan.step(f"{group}/checkpoint").inputs["rows"] == tuple(
        f"{group}/{node}" for node in ("strong", "better", "taught")
    )
    assert plan.step(f"{group}/taught").component.model_extra["prompt"] == "{asked}"


def test_codeit_is_measured_on_the_tasks_that_it_learns(tmp_path: Path):
    plan = paper(tmp_path, "codeit")
    assert plan.step("codeit/round_01/evaluation").inputs["prompts"] == ("codeit/tasks/train",)
    assert not list(evaluation_sets(plan, "codeit"))
