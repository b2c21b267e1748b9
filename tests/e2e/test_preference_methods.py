"""What makes each preference method what it is, asserted on the artifacts of two tiny rounds."""

from __future__ import annotations

import json

import pytest

from lineal.data.store import Rows, open_artifact
from lineal.plan import make_plan
from lineal.recipe.project import open_project
from lineal.step.runner import run_step

from .pipelines_project import check_two_rounds, made

pytestmark = pytest.mark.model
PREFERENCES = (
    "v_star",
    "irpo",
    "scpo",
    "spin",
    "kto",
    "rlhf_workflow",
    "dpo_vp",
    "qwen_math",
    "self_rationalization",
    "grath",
    "ilr_dpo",
    "mbr",
    "thinking",
    "matryoshka",
    "self_reinforcement",
    "reinforced_reranking",
    "preflexor",
    "matata",
    "start",
    "spc",
    "panel_of_peers",
    "process_self_rewarding",
)
ROUNDS = (1, 2)


def artifact(plan, key):
    return open_artifact(key, plan.project.directory(key))


def rows_of(plan, key):
    return Rows((artifact(plan, key),)).read().to_pylist()


def by_id(plan, key):
    return {row["sample_id"]: row for row in rows_of(plan, key)}


@pytest.mark.parametrize("name", PREFERENCES)
def test_pipeline_runs_two_rounds(tiny_pipelines, name):
    check_two_rounds(made(tiny_pipelines, name))


def test_spc_rewards_the_winner_of_every_judgment_and_both_sides_learn(tiny_pipelines):
    plan = made(tiny_pipelines, "spc")
    for number, before in ((1, "start"), (2, "round_01")):
        group = f"spc/round_{number:02d}"
        wrong, right = (by_id(plan, f"{group}/{name}") for name in ("wrong", "right"))
        assert {row["verdict"] for row in wrong.values()} == {"fail"} and {
            row["verdict"] for row in right.values()
        } == {"pass"}
        said = {row["sample_id"]: row for row in rows_of(plan, f"{group}/accused.judgments")}
        reply = {row["parents"][0]: row["completion"].strip() for row in said.values()}
        for row in rows_of(plan, f"{group}/played"):
            assert row["label"] == (reply[row["parents"][0]] == "y")
        for row in rows_of(plan, f"{group}/answered"):
            wins = "n" if row["parents"][0] in said else "y"
            assert row["label"] == (row["completion"].strip() == wins)
        for side in ("sneaky", "critic"):
            assert plan.step(f"{group}/{side}").inputs["init"] == (f"spc/{before}/{side}",)


def test_v_star_verifier_learns_from_wrong_samples_of_all_rounds_and_the_generator_from_the_base(
    tiny_pipelines,
):
    plan = made(tiny_pipelines, "v_star")
    judged = {row["sample_id"]: row["verdict"] for row in rows_of(plan, "v_star/start/verified")}
    known = set(judged)
    for number in ROUNDS:
        group = f"v_star/round_{number:02d}"
        judged |= {row["sample_id"]: row["verdict"] for row in rows_of(plan, f"{group}/verified")}
        pairs = rows_of(plan, f"{group}/pairs")
        assert {tuple(judged[parent] for parent in pair["parents"]) for pair in pairs} == {("pass", "fail")}
        assert all(judged[row["sample_id"]] == "pass" for row in rows_of(plan, f"{group}/solutions"))
        assert known & {row["sample_id"] for row in rows_of(plan, f"{group}/solutions")}
        assert plan.step(f"{group}/generator").inputs["init"] == ("v_star/start/checkpoint",)
        assert plan.step(f"{group}/verifier").inputs["init"] == ("v_star/start/generator",)
        metrics = json.loads((plan.project.directory(f"{group}/best_of_n") / "metrics.json").read_text())
        assert (
            metrics["best_of_8"] <= metrics["pass_at_8"]
            and {"majority_at_8", "pass_at_1", "ranked_right"} <= metrics.keys()
        )
    pooled = {parent for pair in rows_of(plan, "v_star/round_02/pairs") for parent in pair["parents"]}
    assert (
        pooled & by_id(plan, "v_star/round_01/verified").keys()
        and pooled & by_id(plan, "v_star/round_02/verified").keys()
    )


def test_irpo_pairs_right_with_wrong_and_its_nll_term_changes_the_checkpoint(tiny_pipelines):
    plan = made(tiny_pipelines, "irpo")
    for number in ROUNDS:
        samples = by_id(plan, f"irpo/round_{number:02d}/verified")
        for pair in rows_of(plan, f"irpo/round_{number:02d}/pairs"):
            won, lost = (samples[parent] for parent in pair["parents"])
            assert (won["verdict"], lost["verdict"]) == ("pass", "fail")
            assert (pair["chosen"], pair["rejected"]) == (won["completion"], lost["completion"])
    text = (tiny_pipelines / "pipelines" / "irpo.yaml").read_text()
    (tiny_pipelines / "pipelines" / "plain_dpo.yaml").write_text(
        text.replace("nll_weight: 1.0", "nll_weight: 0.0")
    )
    plain = make_plan(open_project(tiny_pipelines), ["plain_dpo"])
    for key in [
        key for key in plain.steps if "round_02" not in key and not key.endswith(("evaluation", "easy"))
    ]:
        run_step(plain, key)
    assert artifact(plain, "plain_dpo/round_01/pairs").digest == artifact(plan, "irpo/round_01/pairs").digest
    assert (
        artifact(plain, "plain_dpo/round_01/checkpoint").digest
        != artifact(plan, "irpo/round_01/checkpoint").digest
    )


def test_scpo_chooses_by_votes_alone_and_weighs_by_the_lead(tiny_pipelines):
    plan = made(tiny_pipelines, "scpo")
    for number in ROUNDS:
        group = f"scpo/round_{number:02d}"
        voted, scattered = by_id(plan, f"{group}/voted"), by_id(plan, f"{group}/scattered")
        assert not voted.keys() & scattered.keys()
        for pair in rows_of(plan, f"{group}/pairs"):
            won, lost = voted[pair["parents"][0]], scattered[pair["parents"][1]]
            assert won["voted"] != lost["voted"] and won["temperature"] < lost["temperature"]
            assert pair["weight"] == pytest.approx(won["vote_share"] - lost["vote_share"])
        assert artifact(plan, f"{group}/checkpoint").manifest.settings["weight"] == "weight"
    assert {row["verdict"] for row in rows_of(plan, "scpo/round_01/voted")} <= {"pass", "fail"}


def test_spin_rejects_what_the_previous_checkpoint_wrote(tiny_pipelines):
    plan = made(tiny_pipelines, "spin")
    answers = {row["prompt_id"]: row["answer"] for row in rows_of(plan, "spin/tasks/train")}
    for number, opponent in ((1, "start/checkpoint"), (2, "round_01/checkpoint")):
        samples = by_id(plan, f"spin/round_{number:02d}/generated")
        pairs = rows_of(plan, f"spin/round_{number:02d}/pairs")
        for pair in pairs:
            own = samples[pair["parents"][0]]
            assert own["checkpoint"] == artifact(plan, f"spin/{opponent}").digest
            assert (pair["chosen"], pair["rejected"]) == (answers[pair["prompt_id"]], own["completion"])
            assert pair["parents"][1] == pair["prompt_id"]
        assert pairs and plan.step(f"spin/round_{number:02d}/checkpoint").inputs["init"] == (
            f"spin/{opponent}",
        )


def test_kto_learns_from_every_verdict(tiny_pipelines):
    plan = made(tiny_pipelines, "kto")
    for number in ROUNDS:
        verdicts = {
            key: row["verdict"] for key, row in by_id(plan, f"kto/round_{number:02d}/verified").items()
        }
        labelled = by_id(plan, f"kto/round_{number:02d}/labelled")
        assert {key: row["label"] for key, row in labelled.items()} == {
            key: said == "pass" for key, said in verdicts.items()
        }
        assert {row["label"] for row in labelled.values()} == {True, False}


def test_rlhf_workflow_pairs_by_one_frozen_reward_model_against_the_first_policy(tiny_pipelines):
    plan = made(tiny_pipelines, "rlhf_workflow")
    for number in ROUNDS:
        group = f"rlhf_workflow/round_{number:02d}"
        rewarded = by_id(plan, f"{group}/rewarded")
        for pair in rows_of(plan, f"{group}/pairs"):
            scores = [row["score"] for row in rewarded.values() if row["prompt_id"] == pair["prompt_id"]]
            assert [rewarded[parent]["score"] for parent in pair["parents"]] == [max(scores), min(scores)]
        assert plan.step(f"{group}/rewarded").inputs["scorer"] == ("rlhf_workflow/start/reward_model",)
        assert plan.step(f"{group}/checkpoint").inputs["reference"] == ("rlhf_workflow/start/checkpoint",)


def test_dpo_vp_pairs_by_the_verdict_first_and_then_by_a_reward_model_that_learns_on(tiny_pipelines):
    plan = made(tiny_pipelines, "dpo_vp")
    for number, before in ((1, "start"), (2, "round_01")):
        group = f"dpo_vp/round_{number:02d}"
        rated = by_id(plan, f"{group}/rated")
        pairs = rows_of(plan, f"{group}/pairs")
        assert pairs
        for pair in pairs:
            won, lost = (rated[parent] for parent in pair["parents"])
            same = [row for row in rated.values() if row["prompt_id"] == pair["prompt_id"]]
            assert (won["verdict"], lost["verdict"]) == ("pass", "fail")
            assert won["rm_score"] == max(row["rm_score"] for row in same if row["verdict"] == "pass")
            assert lost["rm_score"] == min(row["rm_score"] for row in same if row["verdict"] == "fail")
        assert plan.step(f"{group}/reward_model").inputs["init"] == (f"dpo_vp/{before}/reward_model",)
        assert plan.step(f"{group}/checkpoint").inputs["init"] == (f"dpo_vp/{before}/checkpoint",)
    models = {
        artifact(plan, f"dpo_vp/{group}/reward_model").digest for group in ("start", "round_01", "round_02")
    }
    assert len(models) == 3


def test_qwen_math_reward_model_chooses_among_right_samples_and_without_answers_among_voted_ones(
    tiny_pipelines,
):
    plan = made(tiny_pipelines, "qwen_math")
    for number in ROUNDS:
        group = f"qwen_math/round_{number:02d}"
        rated, chosen = by_id(plan, f"{group}/rated"), rows_of(plan, f"{group}/chosen")
        best: dict[str, float] = {}
        for row in rated.values():
            assert row["verdict"] == "pass"
            best[row["prompt_id"]] = max(row["rm_score"], best.get(row["prompt_id"], row["rm_score"]))
        assert {row["prompt_id"]: row["rm_score"] for row in chosen} == best and len(chosen) == len(best)
        unlabelled = {row["prompt_id"] for row in rows_of(plan, "qwen_math/tasks/unlabelled")}
        voted = by_id(plan, f"{group}/voted")
        assert {row["sample_id"] in voted for row in chosen if row["prompt_id"] in unlabelled} == {True}
    assert plan.step("qwen_math/round_02/reward_model").inputs["rows"] == tuple(
        f"qwen_math/round_{number:02d}/pairs" for number in ROUNDS
    )


def test_self_rationalization_judge_prefers_its_own_right_judgments(tiny_pipelines):
    plan = made(tiny_pipelines, "self_rationalization")
    for number, before in ((1, "start"), (2, "round_01")):
        group = f"self_rationalization/round_{number:02d}"
        checked, pairs = by_id(plan, f"{group}/checked"), rows_of(plan, f"{group}/pairs")
        judge = artifact(plan, f"self_rationalization/{before}/checkpoint").digest
        assert pairs and {row["checkpoint"] for row in checked.values()} == {judge}
        for pair in pairs:
            right, wrong = (checked[parent] for parent in pair["parents"])
            assert (
                right["completion"] == right["answer"] != wrong["completion"]
                and right["prompt"] == wrong["prompt"]
            )
            assert pair["prompt"][0] == "!"


def test_grath_prefers_answers_made_anew_to_those_that_were_to_be_wrong(tiny_pipelines):
    plan = made(tiny_pipelines, "grath")
    wrong = by_id(plan, "grath/start/wrong")
    for number, before in ((1, "start"), (2, "round_01")):
        right, pairs = (
            by_id(plan, f"grath/round_{number:02d}/right"),
            rows_of(plan, f"grath/round_{number:02d}/pairs"),
        )
        assert pairs and {row["checkpoint"] for row in right.values()} == {
            artifact(plan, f"grath/{before}/checkpoint").digest
        }
        for pair in pairs:
            rejected, chosen = pair["parents"]
            assert (pair["chosen"], pair["rejected"]) == (
                right[chosen]["completion"],
                wrong[rejected]["completion"],
            )
            assert "verdict" not in right[chosen] and pair["prompt"] == wrong[rejected]["prompt"]


def test_ilr_dpo_takes_back_what_a_completion_gains_by_its_length(tiny_pipelines):
    plan = made(tiny_pipelines, "ilr_dpo")
    for number in ROUNDS:
        group = f"ilr_dpo/round_{number:02d}"
        rewarded, pairs = by_id(plan, f"{group}/rewarded"), by_id(plan, f"{group}/pairs")
        measured = by_id(plan, f"{group}/measured")
        assert measured.keys() == pairs.keys() and measured
        for pair in measured.values():
            won, lost = (rewarded[parent]["score"] for parent in pairs[pair["sample_id"]]["parents"])
            assert won > lost and pair["margin"] == pytest.approx(
                0.05 * (len(pair["rejected"]) - len(pair["chosen"]))
            )
        assert len({pair["margin"] for pair in measured.values()}) > 1
        assert artifact(plan, f"{group}/checkpoint").manifest.settings["margin"] == "margin"


def test_mbr_prefers_the_candidate_that_a_frozen_judge_scores_best_against_all_others(tiny_pipelines):
    plan = made(tiny_pipelines, "mbr")
    judge = artifact(plan, "mbr/start/judge").digest
    for number in ROUNDS:
        group = f"mbr/round_{number:02d}"
        candidates, expected = by_id(plan, f"{group}/candidates"), by_id(plan, f"{group}/expected")
        told: dict[str, list[float]] = {}
        for row in rows_of(plan, f"{group}/utilities"):
            own, reference = (candidates[parent]["completion"] for parent in row["parents"])
            assert (row["completion"], row["other"]) == (own, reference)
            told.setdefault(row["parents"][0], []).append(row["score"])
        assert {key: row["score"] for key, row in expected.items()} == pytest.approx(
            {key: sum(scores) / len(scores) for key, scores in told.items()}
        )
        pairs = rows_of(plan, f"{group}/pairs")
        for pair in pairs:
            scores = [row["score"] for row in expected.values() if row["prompt_id"] == pair["prompt_id"]]
            assert [expected[parent]["score"] for parent in pair["parents"]] == [max(scores), min(scores)]
        assert pairs and {row["checkpoint"] for row in rows_of(plan, f"{group}/utilities.judgments")} == {
            judge
        }


def test_thinking_judges_the_response_alone_and_prefers_thoughts_by_it(tiny_pipelines):
    plan = made(tiny_pipelines, "thinking")
    judge = artifact(plan, "thinking/start/checkpoint").digest
    for number, before in ((1, "start"), (2, "round_01")):
        group = f"thinking/round_{number:02d}"
        judged, preferred = by_id(plan, f"{group}/judged"), by_id(plan, f"{group}/preferred")
        assert {row["checkpoint"] for row in judged.values()} == {
            artifact(plan, f"thinking/{before}/checkpoint").digest
        }
        judgments = rows_of(plan, f"{group}/judged.judgments")
        assert judgments and {row["checkpoint"] for row in judgments} == {judge}
        for row in judgments:
            shown = judged[row["parents"][0]]
            assert shown["completion"].endswith(f">{shown['response']}")
            assert row["prompt"] == f"+{shown['prompt']}{shown['response']}:"
        pairs = rows_of(plan, f"{group}/pairs")
        for pair in pairs:
            won, lost = (judged[parent] for parent in preferred[pair["parents"][0]]["parents"])
            assert won["score"] > lost["score"] and pair["prompt"] == f"/{won['prompt']}"
            assert (pair["chosen"], pair["rejected"]) == (won["completion"], lost["completion"])


def test_matryoshka_controller_prefers_guidance_after_which_the_black_box_is_right(tiny_pipelines):
    plan = made(tiny_pipelines, "matryoshka")
    black_box = artifact(plan, "matryoshka/start/black_box").digest
    for number, before in ((1, "start"), (2, "round_01")):
        group = f"matryoshka/round_{number:02d}"
        guidance, verified = by_id(plan, f"{group}/guidance"), rows_of(plan, f"{group}/verified")
        assert {row["checkpoint"] for row in guidance.values()} == {
            artifact(plan, f"matryoshka/{before}/checkpoint").digest
        }
        assert {row["checkpoint"] for row in verified} == {black_box}
        for row in verified:
            given = guidance[row["parents"][0]]
            assert row["asked"] == f"/{given['prompt']}{given['completion']}"
        right = {row["parents"][0]: row["verdict"] for row in verified}
        preferred = by_id(plan, f"{group}/preferred")
        for pair in rows_of(plan, f"{group}/pairs"):
            won, lost = preferred[pair["parents"][0]]["parents"]
            assert (right[won], right[lost]) == ("pass", "fail") and pair["chosen"] == guidance[won][
                "completion"
            ]
        assert plan.step(f"{group}/checkpoint").inputs["init"] == (f"matryoshka/{before}/checkpoint",)


def test_self_reinforcement_prefers_tuned_answers_to_those_before_the_tuning_by_its_own_judgment(
    tiny_pipelines,
):
    plan = made(tiny_pipelines, "self_reinforcement")
    base = artifact(plan, "self_reinforcement/start/base").digest
    for number, before in ((1, "start"), (2, "round_01")):
        group = f"self_reinforcement/round_{number:02d}"
        tuned = artifact(plan, f"self_reinforcement/{before}/checkpoint").digest
        better, worse = by_id(plan, f"{group}/better"), by_id(plan, f"{group}/worse")
        pairs = rows_of(plan, f"{group}/pairs")
        assert pairs
        for pair in pairs:
            lost, won = pair["parents"]
            assert (better[won]["checkpoint"], worse[lost]["checkpoint"]) == (tuned, base)
            assert (
                better[won]["score"] >= 0.5 > worse[lost]["score"] and pair["prompt"] == better[won]["prompt"]
            )
        judges = {
            row["checkpoint"]
            for name in ("told", "retold")
            for row in rows_of(plan, f"{group}/{name}.judgments")
        }
        assert judges == {tuned}


def test_reinforced_reranking_teaches_the_reward_model_the_wrong_answers_that_it_liked_best(tiny_pipelines):
    plan = made(tiny_pipelines, "reinforced_reranking")
    for number, before in ((1, "start"), (2, "round_01")):
        group = f"reinforced_reranking/round_{number:02d}"
        assert plan.step(f"{group}/liked").inputs["scorer"] == (
            f"reinforced_reranking/{before}/reward_model",
        )
        verified, ranked = by_id(plan, f"{group}/verified"), by_id(plan, f"{group}/ranked")
        for pair in rows_of(plan, f"{group}/hard"):
            right, wrong = (verified[parent] for parent in pair["parents"])
            assert (right["verdict"], wrong["verdict"]) == ("pass", "fail")
            liked = sorted(
                (
                    row["rm_score"]
                    for row in verified.values()
                    if row["prompt_id"] == pair["prompt_id"] and row["verdict"] == "fail"
                ),
                reverse=True,
            )
            assert wrong["rm_score"] in liked[:4]
        for pair in rows_of(plan, f"{group}/pairs"):
            scores = [row["score"] for row in ranked.values() if row["prompt_id"] == pair["prompt_id"]]
            assert [ranked[parent]["score"] for parent in pair["parents"]] == [max(scores), min(scores)]
    assert plan.step("reinforced_reranking/round_02/reward_model").inputs["rows"] == tuple(
        f"reinforced_reranking/{group}/hard" for group in ("start", "round_01", "round_02")
    )


def test_preflexor_prefers_the_critic_s_thoughts_by_orpo_first_and_exo_then(tiny_pipelines):
    plan = made(tiny_pipelines, "preflexor")
    critic = artifact(plan, "preflexor/start/critic").digest
    for number, before in ((1, "start"), (2, "round_01"), (3, "round_02")):
        group = f"preflexor/round_{number:02d}"
        told, own = by_id(plan, f"{group}/told"), by_id(plan, f"{group}/own")
        preferred, pairs = by_id(plan, f"{group}/preferred"), rows_of(plan, f"{group}/pairs")
        assert pairs
        for pair in pairs:
            rejected, chosen = preferred[pair["parents"][0]]["parents"]
            assert (told[chosen]["checkpoint"], own[rejected]["checkpoint"]) == (
                critic,
                artifact(plan, f"preflexor/{before}/checkpoint").digest,
            )
            assert (pair["chosen"], pair["rejected"]) == (
                told[chosen]["completion"],
                own[rejected]["completion"],
            )
        assert plan.step(f"{group}/checkpoint").component.use == ("orpo" if number == 1 else "dpo")
    assert artifact(plan, "preflexor/round_02/checkpoint").manifest.settings["loss"] == "exo_pair"


def test_matata_labels_plans_and_what_carries_them_out_by_the_answer_alone(tiny_pipelines):
    plan = made(tiny_pipelines, "matata")
    for number, method in ((1, "sft"), (2, "sft"), (3, "kto")):
        group = f"matata/round_{number:02d}"
        plans, ends = by_id(plan, f"{group}/planned"), rows_of(plan, f"{group}/ran")
        whole = {key: row["parents"][0] for key, row in by_id(plan, f"{group}/gathered").items()}
        right = {whole[row["parents"][0]]: row["verdict"] == "pass" for row in ends}
        assert ends and set(right) <= set(plans)
        learned = rows_of(plan, f"{group}/plans")
        kept = {key for key, passed in right.items() if passed or method == "kto"}
        assert {row["sample_id"] for row in learned} == kept and all(
            row["label"] == right[row["sample_id"]] for row in learned
        )
        assert all(row["prompt"] == f"%{row['question']}:" for row in learned)
        programs = {row["sample_id"]: row["verdict"] for row in rows_of(plan, f"{group}/programs")}
        assert set(programs.values()) <= ({"pass", "fail"} if method == "kto" else {"pass"})
        assert artifact(plan, f"{group}/checkpoint").manifest.component == method


def test_start_learns_answers_with_the_place_of_their_passage_and_the_best_of_three_criteria(tiny_pipelines):
    plan = made(tiny_pipelines, "start")
    cited = rows_of(plan, "start/start/cited")
    for row in cited:
        passages, place, answer = row["passages"].split("|"), row["completion"][0], row["completion"][1:]
        assert (
            len(passages) == 2 and passages[int(place) - 1] == row["passage"] == f"{row['question']}{answer}"
        )
        assert row["prompt"] == f"${row['passages']}|{row['question']}:"
    assert {row["completion"][0] for row in cited} == {"1", "2"} and len(cited) == 2048
    for number in ROUNDS:
        group = f"start/round_{number:02d}"
        scored, best = by_id(plan, f"{group}/scored"), {}
        for row in scored.values():
            place, answer, passages = row["completion"][:1], row["completion"][1:], row["passages"].split("|")
            read = passages[int(place) - 1] if place in ("1", "2") else ""
            attributable, robust = f"={answer}|" in f"{row['passages']}|", read.startswith(row["question"])
            assert row["score"] == attributable + (len(row["completion"]) == len(row["question"])) + robust
            best[row["prompt_id"]] = max(row["score"], best.get(row["prompt_id"], 0.0))
        assert all(row["score"] == best[row["prompt_id"]] >= 1 for row in rows_of(plan, f"{group}/chosen"))
        for pair in rows_of(plan, f"{group}/pairs"):
            chosen, rejected = (scored[parent]["score"] for parent in pair["parents"])
            assert chosen == best[pair["prompt_id"]] >= rejected
        assert plan.step(f"{group}/checkpoint").inputs["init"] == (f"{group}/tuned",)


def test_process_self_rewarding_goes_on_with_the_steps_that_its_own_checkpoint_prefers(tiny_pipelines):
    plan = made(tiny_pipelines, "process_self_rewarding")
    for number, before in ((1, "start"), (2, "round_01")):
        round_ = f"process_self_rewarding/round_{number:02d}"
        first, second = by_id(plan, f"{round_}/candidates/turn_1"), by_id(plan, f"{round_}/candidates/turn_2")
        for turn in (1, 2):
            writer = plan.step(f"{round_}/candidates/turn_{turn}").inputs["model"]
            assert writer == plan.step(f"{round_}/judged/turn_{turn}").inputs["model"]
            assert writer == (f"process_self_rewarding/{before}/checkpoint",)
        chosen = {row["prompt_id"]: row["chosen"] for row in rows_of(plan, f"{round_}/pairs/turn_1")}
        onwards = {
            row["prompt_id"]: first[row["parents"][0]] for row in rows_of(plan, f"{round_}/onwards/turn_1")
        }
        for step in onwards.values():
            assert step["completion"] == chosen.get(step["prompt_id"], step["completion"]) and step[
                "completion"
            ].endswith(">")
        for row in second.values():
            step = onwards[row["prompt_id"]]
            assert row["prompt"] == step["prompt"] + step["completion"]
        learnt = plan.step(f"{round_}/checkpoint").inputs["rows"]
        assert learnt == tuple(f"{round_}/pairs/turn_{turn}" for turn in (1, 2))
