"""What makes each method of roles what it is, asserted on the artifacts of two tiny rounds."""

from __future__ import annotations

import json
from itertools import product
from typing import Any

import pytest

from lineal.data.store import Rows, open_artifact
from lineal.plan import Plan

from .pipelines_project import check_two_rounds, made

pytestmark = pytest.mark.model
ROLES = (
    "self_rewarding",
    "meta_rewarding",
    "self",
    "stasc",
    "refinecoder",
    "multiagent",
    "crest",
    "self_correction",
    "evolve",
    "i_sheep",
    "tailored",
    "dataenvgym",
    "critique_in_the_loop",
    "self_taught_evaluator",
    "math_tutor",
    "self_lengthen",
    "tapir",
    "amplification",
    "iga",
    "self_evolution",
    "star_gate",
    "citing",
    "seal",
)

Table = list[dict[str, Any]]


def rows(plan: Plan, key: str) -> Table:
    return Rows((open_artifact(key, plan.project.directory(key)),)).read().to_pylist()


def by_id(table: Table) -> dict[str, dict[str, Any]]:
    return {row["sample_id"]: row for row in table}


def by_id_of_prompt(table: Table) -> dict[str, dict[str, Any]]:
    return {row["prompt_id"]: row for row in table}


def model_of(plan: Plan, key: str, field: str = "model") -> tuple[str, ...]:
    return plan.step(key).inputs[field]


@pytest.mark.parametrize("name", ROLES)
def test_pipeline_runs_two_rounds(tiny_pipelines, name):
    check_two_rounds(made(tiny_pipelines, name))


def test_stasc_learns_corrections_of_the_first_answers_in_their_prompts(tiny_pipelines):
    plan = made(tiny_pipelines, "stasc")
    first = by_id(rows(plan, "stasc/round_01/judged"))
    learned = rows(plan, "stasc/round_01/filtered")
    assert learned
    for row in learned:
        (parent,) = row["parents"]
        assert row["verdict"] == "pass" and first[parent]["verdict"] == "fail"
        assert (
            row["prompt"] == f"+{first[parent]['prompt']}{first[parent]['completion']}:"
            and row["completion"] == row["answer"]
        )
    assert (
        model_of(plan, "stasc/round_02/second")
        == model_of(plan, "stasc/round_02/first")
        == ("stasc/round_01/checkpoint",)
    )


def test_stasc_measures_what_each_round_did(tiny_pipelines):
    plan = made(tiny_pipelines, "stasc")
    for name in ("refinement", "coverage", "texts", "progress", "gain", "lifelong"):
        step = plan.step(f"stasc/round_02/{name}")
        numbers = json.loads((plan.project.directory(step.key) / "metrics.json").read_text())
        assert step.component.headline in numbers or name == "gain"  # a gain from 0 to 0 has no rate
    told = rows(plan, "stasc/round_02/corrected")
    before = by_id(rows(plan, "stasc/round_02/judged"))
    mended = [row["verdict"] == "pass" for row in told if before[row["parents"][0]]["verdict"] == "fail"]
    shown = json.loads((plan.project.directory("stasc/round_02/refinement") / "metrics.json").read_text())
    assert 0 <= shown.get("mended", 0) <= 1 and bool(mended) == ("mended" in shown)


def metrics(plan: Plan, key: str) -> dict[str, float]:
    return json.loads((plan.project.directory(key) / "metrics.json").read_text())


def test_judges_are_held_against_the_vote_the_truth_and_each_other(tiny_pipelines):
    plan = made(tiny_pipelines, "meta_rewarding")
    for number in (1, 2):
        truth = rows(plan, f"meta_rewarding/round_{number:02d}/truth")
        accepted = [row["truth_verdict"] for row in truth if row["verdict"] == "pass"]
        card = metrics(plan, f"meta_rewarding/round_{number:02d}/card")
        assert 0 <= card["judge_right"] <= 1 and (not accepted or 0 <= card["precision"] <= 1)
        assert 0 <= metrics(plan, f"meta_rewarding/round_{number:02d}/calibration")["calibration_error"] <= 1
    plan = made(tiny_pipelines, "self")
    first, other = (by_id(rows(plan, f"self/round_01/{node}")) for node in ("feedback", "reworded"))
    same = [
        first[name]["verdict"] == row["verdict"]
        for name, row in other.items()
        if "error" not in (row["verdict"], first[name]["verdict"])
    ]
    assert same and 0 <= metrics(plan, "self/round_01/two_judges")["same"] <= 1


def test_amplification_tells_wrong_combinations_of_right_parts(tiny_pipelines):
    plan = made(tiny_pipelines, "amplification")
    wholes, judged = (rows(plan, f"amplification/round_01/{node}") for node in ("wholes", "judged"))
    assert wholes and {row["whole"] for row in wholes} >= {row["prompt_id"] for row in judged}
    assert 0 <= metrics(plan, "amplification/round_01/composition")["whole_right"] <= 1


def test_tapir_counts_the_types_that_new_prompts_are_of(tiny_pipelines):
    plan = made(tiny_pipelines, "tapir")
    kinds, posed = (
        {row["task"] for row in rows(plan, f"tapir/{node}")} for node in ("start/kinds", "round_01/typed")
    )
    assert metrics(plan, "tapir/round_01/topics")["covered"] == pytest.approx(len(kinds & posed) / len(kinds))


def test_self_rewarding_policy_judge_and_reference_are_one_checkpoint(tiny_pipelines):
    plan = made(tiny_pipelines, "self_rewarding")
    for number, before in ((1, "start"), (2, "round_01")):
        one = (f"self_rewarding/{before}/checkpoint",)
        round_ = f"self_rewarding/round_{number:02d}"
        assert model_of(plan, f"{round_}/responses") == model_of(plan, f"{round_}/judged") == one
        assert (
            model_of(plan, f"{round_}/checkpoint", "init")
            == model_of(plan, f"{round_}/checkpoint", "reference")
            == one
        )
    judged = by_id(rows(plan, "self_rewarding/round_02/judged"))
    corrections = rows(plan, "self_rewarding/round_02/judged.judgments")
    for number, row in enumerate(judged.values()):
        own = corrections[5 * number : 5 * number + 5]
        assert {row["sample_id"]} == {one["parents"][0] for one in own}
        assert row["score"] == sum(one["completion"].strip() == row["completion"].strip() for one in own) / 5
    for pair in rows(plan, "self_rewarding/round_02/pairs"):
        chosen, rejected = (judged[parent] for parent in pair["parents"])
        assert (
            chosen["score"] > rejected["score"]
            and chosen["prompt_id"] == rejected["prompt_id"] == pair["prompt_id"]
        )
    posed = {row["prompt"] for row in rows(plan, "self_rewarding/round_02/prompts")}
    known = {row["prompt"] for row in rows(plan, "self_rewarding/tasks/instructions")}
    assert posed and not posed & known


def test_meta_rewarding_judgments_are_rows_with_pairs_of_their_own(tiny_pipelines):
    plan = made(tiny_pipelines, "meta_rewarding")
    round_ = "meta_rewarding/round_01"
    judged, judgments = by_id(rows(plan, f"{round_}/judged")), by_id(rows(plan, f"{round_}/judged.judgments"))
    assert len(judgments) == 5 * len(judged)
    pairs = rows(plan, f"{round_}/judge_pairs")
    assert pairs
    for pair in pairs:
        better, worse = (judgments[parent] for parent in pair["parents"])
        assert (pair["chosen"], pair["rejected"]) == (better["completion"], worse["completion"])
        assert pair["prompt"] == better["prompt"] == worse["prompt"] and better["parents"] == worse["parents"]
        assert better["parents"][0] in judged
    duels = {tuple(row["parents"]) for row in rows(plan, f"{round_}/metajudged")}
    asked = {row["prompt"] for row in rows(plan, f"{round_}/metajudged.judgments")}
    assert asked <= {row["prompt"] for row in judgments.values()}  # a judgment is judged by judging again
    assert duels and {(second, first) for first, second in duels} == duels
    assert plan.step(f"{round_}/checkpoint").inputs["rows"] == (
        f"{round_}/actor_pairs",
        f"{round_}/judge_pairs",
    )


def test_self_learns_refined_answers_that_its_own_feedback_accepts(tiny_pipelines):
    plan = made(tiny_pipelines, "self")
    round_ = "self/round_01"
    feedback, refined = by_id(rows(plan, f"{round_}/feedback")), by_id(rows(plan, f"{round_}/refined"))
    learned = rows(plan, f"{round_}/filtered")
    prompts = {row["prompt"] for row in rows(plan, "self/tasks/train")}
    assert learned
    for row in learned:
        (parent,) = refined[row["sample_id"]]["parents"]
        assert (
            feedback[parent]["prompt_id"] == row["prompt_id"]
            and row["verdict"] == "pass"
            and row["prompt"] in prompts
        )
        assert row["asked"].startswith(f"+{row['prompt']}{feedback[parent]['completion']}")
    assert (
        model_of(plan, f"{round_}/feedback")
        == model_of(plan, f"{round_}/checked")
        == ("self/start/checkpoint",)
    )


def test_refinecoder_criticizes_weak_answers_alone(tiny_pipelines):
    plan = made(tiny_pipelines, "refinecoder")
    round_ = "refinecoder/round_01"
    judged, compared = by_id(rows(plan, f"{round_}/judged")), rows(plan, f"{round_}/compared")
    assert {row["parents"][0] for row in compared} == {row["parents"][1] for row in compared} == judged.keys()
    critiqued = by_id(rows(plan, f"{round_}/critiqued"))
    assert critiqued.keys() == {name for name, row in judged.items() if row["score"] < 0.5} and critiqued
    strong = rows(plan, f"{round_}/strong")
    assert (
        len({row["prompt_id"] for row in strong}) == len(strong)
        and min(row["score"] for row in strong) >= 0.5
    )
    better = by_id(rows(plan, f"{round_}/better"))
    for row in better.values():
        assert (
            row["parents"][0] in critiqued
            and row["score"] >= 0.5
            and row["prompt"] == judged[row["parents"][0]]["prompt"]
        )
    taught = [(row["prompt"], row["completion"]) for row in rows(plan, f"{round_}/taught")]
    assert taught == [(row["asked"], row["completion"]) for row in better.values()]


def test_multiagent_trains_every_agent_on_what_it_said_itself(tiny_pipelines):
    plan = made(tiny_pipelines, "multiagent")
    round_, digests = "multiagent/round_02", {}
    winners = {
        row["prompt_id"]: row["voted"] for row in rows(plan, f"{round_}/voted") if row["verdict"] == "pass"
    }
    for agent in ("a", "b", "c"):
        said = by_id(rows(plan, f"{round_}/first/{agent}"))
        own = rows(plan, f"{round_}/own/{agent}")
        assert own and all(
            row["sample_id"] in said and winners[row["prompt_id"]] == row["completion"] for row in own
        )
        heard = by_id(rows(plan, f"{round_}/heard/{agent}"))
        for row in rows(plan, f"{round_}/last/{agent}"):
            mine, *others = heard[row["parents"][0]]["parents"]
            assert mine in said and len(others) == 2 and not set(others) & said.keys()
            assert row["asked"] != row["prompt"]
        for role in ("generator", "critic"):
            key = f"{round_}/{role}/{agent}"
            digests[key] = open_artifact(key, plan.project.directory(key)).digest
        assert model_of(plan, f"{round_}/first/{agent}") == (f"multiagent/round_01/generator/{agent}",)
        assert model_of(plan, f"{round_}/last/{agent}") == (f"multiagent/round_01/critic/{agent}",)
    assert len(set(digests.values())) == 6


def test_crest_consistency_decides_what_is_learned_and_preferred(tiny_pipelines):
    plan = made(tiny_pipelines, "crest")
    round_ = "crest/round_01"
    judged, asked = by_id(rows(plan, f"{round_}/judged")), rows(plan, f"{round_}/asked")
    assert {row["parents"][0] for row in asked} == judged.keys()
    questions = {row["sample_id"]: row["parents"][0] for row in asked}
    right: dict[str, int] = {}
    for row in rows(plan, f"{round_}/checked"):
        about = questions[row["parents"][0]]
        right[about] = right.get(about, 0) + (row["verdict"] == "pass")
    for row in rows(plan, f"{round_}/filtered"):
        assert row["verdict"] == "pass" and row["score"] == right[row["sample_id"]] / 3
    for pair in rows(plan, f"{round_}/consistency_pairs"):
        chosen, rejected = pair["parents"]
        assert (
            judged[chosen]["verdict"] == judged[rejected]["verdict"] == "pass"
            and right[chosen] > right[rejected]
        )
    every = {
        (better["sample_id"], worse["sample_id"])
        for better, worse in product(judged.values(), repeat=2)
        if better["prompt_id"] == worse["prompt_id"]
        and (better["verdict"], worse["verdict"]) == ("pass", "fail")
    }
    assert {tuple(row["parents"]) for row in rows(plan, f"{round_}/answer_pairs")} == every
    assert model_of(plan, f"{round_}/checkpoint/turn_2", "reference") == (f"{round_}/checkpoint/turn_1",)


def test_self_correction_trains_the_corrector_alone_on_what_it_improved_in_a_growing_pool(tiny_pipelines):
    plan = made(tiny_pipelines, "self_correction")
    generator = open_artifact("x", plan.project.directory("self_correction/start/generator")).digest
    assert {row["checkpoint"] for row in rows(plan, "self_correction/start/drafts")} == {generator}
    for number, before in ((1, "start"), (2, "round_01")):
        round_, one = f"self_correction/round_{number:02d}", (f"self_correction/{before}/corrector",)
        assert model_of(plan, f"{round_}/explored") == model_of(plan, f"{round_}/tried") == one
        assert model_of(plan, f"{round_}/corrector", "init") == one
        pool, tried = by_id(rows(plan, f"{round_}/valued")), by_id(rows(plan, f"{round_}/checked"))
        drafts, explored = rows(plan, "self_correction/start/drafts"), rows(plan, f"{round_}/explored")
        assert pool.keys() == {row["sample_id"] for row in (*drafts, *explored)} and len(pool) == len(
            drafts
        ) + len(explored)
        for row in rows(plan, f"{round_}/improved"):
            (parent,) = row["parents"]
            assert tried[row["sample_id"]]["score"] > pool[parent]["score"]
            assert row["prompt"] == f"+{pool[parent]['prompt']}{pool[parent]['completion']}:"
    assert set(plan.step("self_correction/round_02/mixed").inputs["rows"]) == {
        "self_correction/round_01/improved",
        "self_correction/round_02/improved",
    }


def test_evolve_learns_to_answer_and_to_refine_from_chains_of_its_own_refinements(tiny_pipelines):
    plan = made(tiny_pipelines, "evolve")
    round_ = "evolve/round_01"
    first, second, third = (by_id(rows(plan, f"{round_}/{name}")) for name in ("first", "second", "third"))
    assert all(row["parents"][0] in first for row in second.values()) and all(
        row["parents"][0] in second for row in third.values()
    )
    answers, refinements = by_id(rows(plan, f"{round_}/answers")), by_id(rows(plan, f"{round_}/refinements"))
    prompts = {row["prompt"] for row in rows(plan, "evolve/tasks/train")}
    direct, refining = rows(plan, f"{round_}/answer_pairs"), rows(plan, f"{round_}/refine_pairs")
    assert direct and refining
    for pairs, judged in ((direct, answers), (refining, refinements)):
        for pair in pairs:
            better, worse = (judged[parent] for parent in pair["parents"])
            assert better["score"] > worse["score"] and pair["chosen"] == better["completion"]
    assert {row["prompt"] for row in direct} <= prompts
    drafts = {f"+{row['prompt']}{row['completion']}:" for row in first.values()}
    assert {row["prompt"] for row in refining} <= drafts
    assert plan.step(f"{round_}/checkpoint").inputs["rows"] == (
        f"{round_}/answer_pairs",
        f"{round_}/refine_pairs",
    )


def test_i_sheep_learns_answers_to_its_own_prompts_that_it_accepts_itself(tiny_pipelines):
    plan = made(tiny_pipelines, "i_sheep")
    for number, before in ((1, "start"), (2, "round_01")):
        round_, one = f"i_sheep/round_{number:02d}", (f"i_sheep/{before}/checkpoint",)
        assert {model_of(plan, f"{round_}/{name}") for name in ("posed", "answered", "assessed")} == {one}
        posed = {row["completion"] for row in rows(plan, f"{round_}/posed")}
        known = {row["prompt"] for name in ("seed", "test") for row in rows(plan, f"i_sheep/tasks/{name}")}
        assessed, learned = by_id(rows(plan, f"{round_}/assessed")), rows(plan, f"{round_}/filtered")
        assert learned
        for row in learned:
            assert row["prompt"] in posed and row["prompt"] not in known
            assert row.get("answer") is None and assessed[row["sample_id"]]["score"] >= 0.6


def test_tailored_lessons_are_about_the_student_s_own_mistakes(tiny_pipelines):
    plan = made(tiny_pipelines, "tailored")
    teacher = open_artifact("x", plan.project.directory("tailored/start/teacher")).digest
    for number in (1, 2):
        round_ = f"tailored/round_{number:02d}"
        verified, lessons = by_id(rows(plan, f"{round_}/verified")), by_id(rows(plan, f"{round_}/lessons"))
        mistakes = by_id(rows(plan, f"{round_}/mistakes"))
        assert lessons and {verified[sample]["verdict"] for sample in mistakes} == {"fail"}
        for row in lessons.values():
            mistake = mistakes[row["parents"][0]]
            assert (
                row["checkpoint"] == teacher
                and row["verdict"] == "pass"
                and row["prompt"] == mistake["prompt"]
            )
            assert row["asked"] == f"+{mistake['prompt']}{mistake['completion']}:"
        for pair in rows(plan, f"{round_}/contrast"):
            own, lesson = pair["parents"]
            assert (pair["chosen"], pair["rejected"]) == (
                lessons[lesson]["completion"],
                mistakes[own]["completion"],
            )
    assert plan.step("tailored/round_02/checkpoint").inputs["init"] == ("tailored/round_02/tuned",)


def test_dataenvgym_teacher_makes_new_data_where_the_last_student_failed(tiny_pipelines):
    plan = made(tiny_pipelines, "dataenvgym")
    teacher = open_artifact("x", plan.project.directory("dataenvgym/start/teacher")).digest
    for number, before in ((1, "start"), (2, "round_01")):
        round_ = f"dataenvgym/round_{number:02d}"
        failed = {
            row["prompt"] for row in rows(plan, f"dataenvgym/{before}/feedback") if row["verdict"] == "fail"
        }
        errors = by_id_of_prompt(rows(plan, f"{round_}/errors"))
        assert {row["prompt"] for row in errors.values()} == failed
        posed, prompts = by_id(rows(plan, f"{round_}/posed")), rows(plan, f"{round_}/prompts")
        assert prompts and {row["checkpoint"] for row in posed.values()} == {teacher}
        for row in prompts:
            assert {posed[parent]["parents"][0] for parent in row["parents"]} <= errors.keys()
        known = {row["prompt"] for name in ("dev", "test") for row in rows(plan, f"dataenvgym/tasks/{name}")}
        learned = rows(plan, f"{round_}/generated")
        assert learned and {row["prompt"] for row in learned} <= {row["prompt"] for row in prompts} - known
        assert {row["checkpoint"] for row in learned} == {teacher}


def test_critique_in_the_loop_refines_failed_answers_with_a_critic_that_stays(tiny_pipelines):
    plan = made(tiny_pipelines, "critique_in_the_loop")
    for number in (1, 2):
        round_ = f"critique_in_the_loop/round_{number:02d}"
        verified, criticized = (
            by_id(rows(plan, f"{round_}/verified")),
            by_id(rows(plan, f"{round_}/criticized")),
        )
        assert criticized and {verified[sample]["verdict"] for sample in criticized} == {"fail"}
        assert model_of(plan, f"{round_}/criticized") == ("critique_in_the_loop/start/critic",)
        checked = by_id(rows(plan, f"{round_}/checked"))
        for row in checked.values():
            failed = criticized[row["parents"][0]]
            assert row["asked"] == f"+{failed['prompt']}{failed['completion']}|{failed['critique_detail']}:"
        kept = rows(plan, f"{round_}/kept")
        assert kept and {row["verdict"] for row in kept} == {"pass"}
        assert all(row["sample_id"] in verified or row["sample_id"] in checked for row in kept)


def test_self_taught_evaluator_learns_judgments_that_prefer_the_answer_known_to_be_better(tiny_pipelines):
    plan = made(tiny_pipelines, "self_taught_evaluator")
    start = "self_taught_evaluator/start"
    better, worse = by_id(rows(plan, f"{start}/better")), by_id(rows(plan, f"{start}/worse"))
    for number, before in ((1, "start"), (2, "round_01")):
        round_, one = f"self_taught_evaluator/round_{number:02d}", (f"self_taught_evaluator/{before}/judge",)
        assert model_of(plan, f"{round_}/told") == model_of(plan, f"{round_}/retold") == one
        judgments = {
            row["sample_id"]: row
            for name in ("told", "retold")
            for row in rows(plan, f"{round_}/{name}.judgments")
        }
        pairs = by_id([*rows(plan, f"{start}/first"), *rows(plan, f"{start}/second")])
        kept = rows(plan, f"{round_}/kept")
        assert kept
        for row in kept:
            one_of_two, other = pairs[judgments[row["sample_id"]]["parents"][0]]["parents"]
            good, bad = (one_of_two, other) if one_of_two in better else (other, one_of_two)
            assert row["completion"].strip() == better[good]["completion"].strip() and bad in worse
    policy = open_artifact("x", plan.project.directory(f"{start}/policy")).digest
    assert {row["checkpoint"] for row in (*better.values(), *worse.values())} == {policy}


def test_math_tutor_writes_exercises_like_those_of_its_exam_that_the_last_student_failed(tiny_pipelines):
    plan = made(tiny_pipelines, "math_tutor")
    tutor = open_artifact("x", plan.project.directory("math_tutor/start/tutor")).digest
    exam = by_id_of_prompt(rows(plan, "math_tutor/start/exam"))
    agreed = by_id(rows(plan, "math_tutor/start/agreed"))
    assert exam and all(row["answer"] == agreed[row["parents"][0]]["voted"] for row in exam.values())
    for number, before in ((1, "start"), (2, "round_01")):
        round_ = f"math_tutor/round_{number:02d}"
        failed = {
            row["prompt_id"]
            for row in rows(plan, f"math_tutor/{before}/assessed")
            if row["verdict"] == "fail"
        }
        tailored, taught = by_id(rows(plan, f"{round_}/tailored")), rows(plan, f"{round_}/taught")
        assert taught and failed <= exam.keys()
        for row in rows(plan, f"{round_}/exercises"):
            assert {tailored[parent]["parents"][0] for parent in row["parents"]} <= failed
        asked = {row["prompt"] for row in exam.values()}
        assert not {row["prompt"] for row in taught} & asked and {row["checkpoint"] for row in taught} == {
            tutor
        }


def test_self_lengthen_teaches_both_roles_what_the_extender_made_longer(tiny_pipelines):
    plan = made(tiny_pipelines, "self_lengthen")
    for number, before in ((1, "start"), (2, "round_01")):
        round_ = f"self_lengthen/round_{number:02d}"
        assert model_of(plan, f"{round_}/drafts") == (f"self_lengthen/{before}/generator",)
        assert model_of(plan, f"{round_}/extended") == (f"self_lengthen/{before}/extender",)
        drafts, kept = by_id(rows(plan, f"{round_}/drafts")), by_id(rows(plan, f"{round_}/kept"))
        assert kept
        for row in kept.values():
            draft = drafts[row["parents"][0]]
            assert len(row["completion"]) > len(draft["completion"]) and row["prompt"] == draft["prompt"]
            assert len(set(row["completion"])) == len(row["completion"])
        lessons = {
            (row["parents"][0], row["prompt"], row["completion"]) for row in rows(plan, f"{round_}/lessons")
        }
        assert lessons == {(name, row["asked"], row["completion"]) for name, row in kept.items()}


def test_tapir_expands_what_is_hard_for_the_student_in_equal_shares_of_the_types(tiny_pipelines):
    plan = made(tiny_pipelines, "tapir")
    teacher = open_artifact("x", plan.project.directory("tapir/start/teacher")).digest
    for number in (1, 2):
        round_ = f"tapir/round_{number:02d}"
        judged, hard = by_id(rows(plan, f"{round_}/judged")), by_id(rows(plan, f"{round_}/hard"))
        assert hard.keys() == {name for name, row in judged.items() if row["verdict"] == "fail"}
        expanded, fresh = by_id(rows(plan, f"{round_}/expanded")), rows(plan, f"{round_}/fresh")
        assert all(expanded[parent]["parents"][0] in hard for row in fresh for parent in row["parents"])
        counts: dict[str, int] = {}
        for row in rows(plan, f"{round_}/balanced"):
            assert row["checkpoint"] == teacher and row["task"] == str(row["difficulty"])
            counts[row["task"]] = counts.get(row["task"], 0) + 1
        assert counts and max(counts.values()) <= 12


def test_amplification_learns_what_the_expert_makes_of_the_learner_s_answers_to_parts(tiny_pipelines):
    plan = made(tiny_pipelines, "amplification")
    expert = open_artifact("x", plan.project.directory("amplification/start/expert")).digest
    for number, before in ((1, "start"), (2, "round_01")):
        round_ = f"amplification/round_{number:02d}"
        assert model_of(plan, f"{round_}/answered") == (f"amplification/{before}/checkpoint",)
        answered, parts = by_id_of_prompt(rows(plan, f"{round_}/answered")), rows(plan, f"{round_}/parts")
        gathered, amplified = by_id(rows(plan, f"{round_}/gathered")), rows(plan, f"{round_}/amplified")
        assert amplified and {row["checkpoint"] for row in amplified} == {expert}
        for row in amplified:
            whole = gathered[row["parents"][0]]
            own = sorted(
                (part for part in parts if part["parents"] == whole["parents"]), key=lambda part: part["part"]
            )
            assert whole["gathered"] == "|".join(answered[part["prompt_id"]]["completion"] for part in own)
            assert row["asked"] == f"*{whole['gathered']}:" and row["prompt"] == whole["prompt"]


def test_iga_helpers_answer_where_the_student_does_not_come_to_the_teacher_s_reference(tiny_pipelines):
    plan = made(tiny_pipelines, "iga")
    references = {row["prompt_id"]: row["answer"] for row in rows(plan, "iga/start/references")}
    graphs, answers = by_id(rows(plan, "iga/start/graphs")), by_id(rows(plan, "iga/start/answers"))
    for row in answers.values():
        assert row["asked"] == f"/{row['prompt']}{graphs[row['parents'][0]]['completion']}"
        assert references[row["prompt_id"]] == row["completion"]
    for number in (1, 2):
        round_ = f"iga/round_{number:02d}"
        passes: dict[str, int] = {}
        for row in rows(plan, f"{round_}/aligned"):
            passes[row["prompt_id"]] = passes.get(row["prompt_id"], 0) + (row["verdict"] == "pass")
        gaps, tried = by_id_of_prompt(rows(plan, f"{round_}/gaps")), by_id(rows(plan, f"{round_}/tried"))
        assert gaps.keys() == {prompt for prompt, passed in passes.items() if passed < 2}
        for row in rows(plan, f"{round_}/diverse"):
            assert row["completion"].strip() == references[row["prompt_id"]].strip()
            assert row["sample_id"] in tried or row["prompt_id"] in gaps


def test_self_evolution_learns_what_it_read_in_documents_and_could_not_foresee(tiny_pipelines):
    plan = made(tiny_pipelines, "self_evolution")
    texts = by_id(rows(plan, "self_evolution/start/texts"))
    for number, before in ((1, "start"), (2, "round_01")):
        round_, one = f"self_evolution/round_{number:02d}", (f"self_evolution/{before}/checkpoint",)
        assert {model_of(plan, f"{round_}/{name}") for name in ("asked", "read")} == {one}
        assert {model_of(plan, f"{round_}/{name}", "scorer") for name in ("scored", "scored_alone")} == {one}
        asked, questions = by_id(rows(plan, f"{round_}/asked")), by_id(rows(plan, f"{round_}/questions"))
        read, scored = by_id(rows(plan, f"{round_}/read")), by_id(rows(plan, f"{round_}/scored"))
        alone = {row["parents"][0]: row["score"] for row in rows(plan, f"{round_}/scored_alone")}
        kept, dropped = rows(plan, f"{round_}/valuable"), rows(plan, f"{round_}/valuable.dropped")
        assert kept
        for row in kept:
            answer = read[row["parents"][0]]
            question = questions[answer["parents"][0]]
            document = texts[asked[question["parents"][0]]["parents"][0]]["prompt"]
            assert (
                answer["asked"] == f"${document}|{row['prompt']}:"
                and row["completion"] == answer["completion"]
            )
            assert row["ifd"] == pytest.approx(scored[row["sample_id"]]["score"] / alone[row["sample_id"]])
        others = [row["ifd"] for row in dropped if row["ifd"] is not None and row["ifd"] < 1]
        assert not others or min(row["ifd"] for row in kept) >= max(others)


def test_star_gate_learns_the_questions_after_whose_replies_the_oracles_answer_is_likeliest(tiny_pipelines):
    plan = made(tiny_pipelines, "star_gate")
    for number, before, half in ((1, "start", "first"), (2, "round_01", "second")):
        group = f"star_gate/round_0{number}"
        assert model_of(plan, f"{group}/asked/turn_1") == (f"star_gate/{before}/checkpoint",)
        assert model_of(plan, f"{group}/replied/turn_1") == ("star_gate/start/role",)
        assert model_of(plan, f"{group}/liked", "scorer") == ("star_gate/start/checkpoint",)
        assert model_of(plan, f"{group}/checkpoint", "init") == ("star_gate/start/checkpoint",)
        answers = {row["prompt"]: row["answer"] for row in rows(plan, f"star_gate/tasks/{half}")}
        liked = rows(plan, f"{group}/liked")
        assert liked and {row["completion"] for row in liked} <= set(answers.values())
        told = by_id(rows(plan, f"{group}/told/turn_1"))
        best: dict[str, float] = {}
        for row in liked:
            own = told[row["parents"][0]]
            assert (
                row["completion"] == own["answer"] == answers[own["prompt"]]
                and row["prompt"] == own["dialogue"]
            )
            best[own["prompt"]] = max(row["score"], best.get(own["prompt"], row["score"]))
        chosen = rows(plan, f"{group}/chosen")
        assert {row["prompt"]: row["score"] for row in chosen} == best and len(chosen) == len(best) == len(
            answers
        )
        asked = by_id(rows(plan, f"{group}/asked/turn_1"))
        learned = rows(plan, f"{group}/questions")
        assert len(learned) == len(chosen)
        for row in learned:
            (parent,) = row["parents"]
            assert (
                row["prompt"] == f";{asked[parent]['prompt']}:"
                and row["completion"] == asked[parent]["completion"]
            )
        assert {row["prompt"] for row in rows(plan, f"{group}/responses")} == {
            row["dialogue"] for row in chosen
        }


def test_citing_learns_the_teachers_revisions_by_the_rubric_of_each_kind(tiny_pipelines):
    plan = made(tiny_pipelines, "citing")
    kinds: dict[str, str] = {}
    for row in rows(plan, "citing/start/rubrics"):
        kinds.setdefault(row["task"], row["completion"])
    assert len(kinds) == 3
    for number, before in ((1, "start"), (2, "round_01")):
        group = f"citing/round_0{number}"
        assert model_of(plan, f"{group}/answers") == (f"citing/{before}/checkpoint",)
        assert model_of(plan, f"{group}/revised") == ("citing/start/teacher",)
        ruled, revised = by_id(rows(plan, f"{group}/ruled")), rows(plan, f"{group}/revised")
        assert len(revised) == len(ruled) > 0 and len({row["other"] for row in ruled.values()}) > 1
        for row in revised:
            answer = ruled[row["parents"][0]]
            assert answer["other"] == kinds[answer["task"]]
            assert row["prompt"] == f"+{answer['prompt']}{answer['completion']}|{answer['other']}:"
        assert model_of(plan, f"{group}/corrected") == (f"{group}/checkpoint",)


def test_seal_learns_the_edit_of_each_passage_whose_training_taught_the_most(tiny_pipelines):
    plan = made(tiny_pipelines, "seal")
    for number, before in ((1, "start"), (2, "round_01")):
        round_ = f"seal/round_{number:02d}"
        tried, lessons, kept = (rows(plan, f"{round_}/{name}") for name in ("tried", "lessons", "kept"))
        writer = model_of(plan, f"{round_}/edits")
        assert model_of(plan, f"{round_}/tried", "train.init") == writer == (f"seal/{before}/checkpoint",)
        edits = by_id(tried)
        assert {row["score"] for row in tried} <= {0.0, 0.25, 0.5, 0.75, 1.0}
        assert len(kept) == len({row["prompt_id"] for row in tried})
        for row in lessons:
            assert row["prompt"] == "" and row["completion"] in edits[row["parents"][0]]["completion"].split(
                ";"
            )
        for row in kept:
            assert row["score"] == max(one["score"] for one in tried if one["prompt_id"] == row["prompt_id"])
    adapted = json.loads((plan.project.directory("seal/round_02/evaluation") / "metrics.json").read_text())
    scores = [row["score"] for row in rows(plan, "seal/round_02/adapted")]
    assert adapted["adapted"] == sum(scores) / len(scores)
