"""What makes each method of search what it is, asserted on the artifacts of two tiny rounds."""

from __future__ import annotations

import pytest

from .pipelines_project import check_two_rounds, made
from .test_preference_methods import ROUNDS, artifact, by_id, rows_of

pytestmark = pytest.mark.model
SEARCHES = ("alphallm", "itool", "mcts_dpo", "rest_mcts", "self_correcting_mcts")


@pytest.mark.parametrize("name", SEARCHES)
def test_pipeline_runs_two_rounds(tiny_pipelines, name):
    check_two_rounds(made(tiny_pipelines, name))


def test_mcts_dpo_prefers_the_better_of_two_steps_after_the_same_beginning(tiny_pipelines):
    plan = made(tiny_pipelines, "mcts_dpo")
    for number, before in ((1, "start"), (2, "round_01")):
        group = f"mcts_dpo/round_{number:02d}"
        nodes, pairs = by_id(plan, f"{group}/tree"), rows_of(plan, f"{group}/step_pairs")
        assert {node["checkpoint"] for node in nodes.values()} == {
            artifact(plan, f"mcts_dpo/{before}/checkpoint").digest
        }
        assert pairs
        for pair in pairs:
            won, lost = (nodes[parent] for parent in pair["parents"])
            assert won["parents"] == lost["parents"] and won["prefix"] == lost["prefix"]
            assert (pair["prompt"], pair["chosen"], pair["rejected"]) == (
                won["prompt"] + won["prefix"],
                won["completion"],
                lost["completion"],
            )
            siblings = [node["value"] for node in nodes.values() if node["parents"] == won["parents"]]
            assert won["value"] == max(siblings) and lost["value"] == min(siblings) and pair["gap"] >= 0.1
        assert plan.step(f"{group}/checkpoint").inputs["init"] == (f"mcts_dpo/{before}/checkpoint",)


def test_rest_mcts_searches_by_process_rewards_and_teaches_both_models_from_the_tree(tiny_pipelines):
    plan = made(tiny_pipelines, "rest_mcts")
    for number, before in ((1, "start"), (2, "round_01")):
        group = f"rest_mcts/round_{number:02d}"
        assert plan.step(f"{group}/tree").inputs["value.scorer"] == (f"rest_mcts/{before}/scorer",)
        nodes = by_id(plan, f"{group}/tree")
        assert all(0 < node["score"] < 1 for node in nodes.values() if node["finish_reason"] == "stop"), (
            "not the verifier's 0 and 1"
        )
        for trace in rows_of(plan, f"{group}/solutions"):
            (end,) = (nodes[parent] for parent in trace["parents"])
            assert end["verdict"] == "pass" and trace["completion"] == end["prefix"] + end["completion"]
            assert trace["completion"].endswith(f">{trace['answer']}")
        for node in rows_of(plan, f"{group}/valued"):
            verdicts = [one["verdict"] for one in ends_behind(nodes, node["sample_id"])]
            assert node["reached"] == verdicts.count("pass") / len(verdicts)
        assert plan.step(f"{group}/scorer").inputs["init"] == (f"rest_mcts/{before}/scorer",)
        assert artifact(plan, f"{group}/scorer").manifest.settings["label"] == "reached"
    assert any(rows_of(plan, f"rest_mcts/round_{number:02d}/solutions") for number in ROUNDS)


def test_alphallm_learns_what_its_critics_pass_of_problems_that_it_wrote(tiny_pipelines):
    plan = made(tiny_pipelines, "alphallm")
    rewarded = by_id(plan, "alphallm/start/rewarded")
    assert {(row["outcome"], row["score"]) for row in rewarded.values()} <= {("pass", 1.0), ("fail", 0.0)}
    for number, before in ((1, "start"), (2, "round_01")):
        group = f"alphallm/round_{number:02d}"
        tree = plan.step(f"{group}/tree")
        assert tree.inputs["model"] == (f"alphallm/{before}/checkpoint",)
        assert tree.inputs["value.scorer"] == ("alphallm/start/value",)
        assert tree.inputs["verifier.model"] == ("alphallm/start/outcome_judge",)
        asked = {row["prompt"] for row in rows_of(plan, f"{group}/asked")}
        assert asked and not asked & {row["prompt"] for row in rows_of(plan, "alphallm/tasks/annotated")}
        nodes, learnt = by_id(plan, f"{group}/tree"), rows_of(plan, f"{group}/solutions")
        assert not any("answer" in node for node in nodes.values()), "the search sees no reference"
        for trace in learnt:
            (end,) = (nodes[parent] for parent in trace["parents"])
            passed = [
                one["score"]
                for one in nodes.values()
                if one["prompt_id"] == end["prompt_id"] and one["terminal"] and one["verdict"] == "pass"
            ]
            assert end["score"] == max(score for score in passed if score is not None)
        assert len({trace["prompt_id"] for trace in learnt}) == len(learnt)


def test_self_correction_learns_first_what_made_a_wrong_answer_right_and_searches_then(tiny_pipelines):
    plan = made(tiny_pipelines, "self_correcting_mcts")
    answers, helped = (by_id(plan, f"self_correcting_mcts/start/{name}") for name in ("judged", "helped"))
    for row in helped.values():
        (first,) = (answers[parent] for parent in row["parents"])
        assert (first["verdict"], row["verdict"]) == ("fail", "pass") and first["completion"] in row["prompt"]
    assert plan.step("self_correcting_mcts/start/checkpoint").inputs["init"] == (
        "self_correcting_mcts/start/base",
    )
    assert plan.step("self_correcting_mcts/round_01/tree").inputs["model"] == (
        "self_correcting_mcts/start/checkpoint",
    )


def test_itool_searches_only_what_its_model_finds_hard_to_believe(tiny_pipelines):
    plan = made(tiny_pipelines, "itool")
    for number, before in ((1, "start"), (2, "round_01")):
        group = f"itool/round_{number:02d}"
        assert plan.step(f"{group}/likely").inputs["scorer"] == (f"itool/{before}/checkpoint",)
        likely, hard = rows_of(plan, f"{group}/likely"), rows_of(plan, f"{group}/hard")
        assert len(hard) == int(0.3 * len(likely))
        assert sorted(row["score"] for row in hard) == sorted(row["score"] for row in likely)[: len(hard)]
        nodes, pairs = by_id(plan, f"{group}/tree"), rows_of(plan, f"{group}/pairs")
        assert {node["prompt_id"] for node in nodes.values()} == {row["prompt_id"] for row in hard}
        for pair in pairs:
            won, lost = (nodes[parent] for parent in pair["parents"])
            assert won["prefix"] == lost["prefix"] and won["value"] - lost["value"] >= 0.1


def ends_behind(nodes, name):
    """The terminal nodes in a node's subtree."""
    below = [one for one in nodes.values() if one["parents"] == [name]]
    own = [nodes[name]] if nodes[name]["terminal"] else []
    return own + [end for one in below for end in ends_behind(nodes, one["sample_id"])]
