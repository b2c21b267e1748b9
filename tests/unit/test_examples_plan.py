"""Every declaration of the design's examples, completed in `examples/pipelines`, parses and plans."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from lineal.components.registry import Registry
from lineal.plan import Plan, make_plan
from lineal.recipe.project import open_project
from lineal.recipe.references import ArtifactKind
from tests.unit.stand_ins import STAND_INS

EXAMPLES = Path(__file__).parent / "examples"
SELECTORS = Path(__file__).parents[2] / "pipelines" / "selectors"
NAMES = sorted(path.stem for path in (EXAMPLES / "pipelines").glob("*.yaml"))
ROUNDS = 3


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The examples as a project: their own stand-in selectors laid over the shipped ones."""
    made = tmp_path_factory.mktemp("examples")
    shutil.copytree(SELECTORS, made / "pipelines" / "selectors")
    shutil.copytree(EXAMPLES, made, dirs_exist_ok=True)
    return made


@pytest.fixture(scope="module")
def plan(root: Path) -> Plan:
    return make_plan(open_project(root), NAMES, Registry(STAND_INS))


def test_examples_are_all_there():
    assert len(NAMES) == 10


@pytest.mark.parametrize("name", NAMES)
def test_example_plans_every_round_after_what_it_needs(plan: Plan, name: str):
    steps = [step for step in plan.steps.values() if step.pipeline == name]
    assert {step.round for step in steps} == set(range(ROUNDS + 1))
    done: set[str] = set()
    for step in steps:
        assert set(step.all_inputs()) <= done
        done.update(step.artifact_keys().values())


def test_v_star_feeds_two_trainers_from_the_pool_of_all_rounds(plan: Plan):
    pool = tuple(f"v_star/round_0{number}/verified" for number in (1, 2, 3))
    assert plan.step("v_star/round_03/solutions").inputs["rows"] == pool
    assert plan.step("v_star/round_03/pairs").inputs["rows"] == pool
    assert plan.step("v_star/round_03/generator").inputs["init"] == ("v_star/start/checkpoint",)
    assert plan.step("v_star/round_03/verifier").inputs["init"] == ("v_star/round_03/generator",)
    assert plan.step("v_star/round_01/generated").inputs["model"] == ("v_star/start/generator",)
    evaluation = plan.step("v_star/round_02/evaluation")
    assert evaluation.inputs["scorer"] == ("v_star/round_02/verifier",)
    assert evaluation.inputs["model"] == ("v_star/round_02/generator",)


def test_meta_rewarding_gives_one_checkpoint_three_roles(plan: Plan):
    for role in ("responses", "judged", "metajudged"):
        assert plan.step(f"meta_rewarding/round_02/{role}").inputs["model"] == (
            "meta_rewarding/round_01/checkpoint",
        )
    assert plan.step("meta_rewarding/round_02/duels").inputs["rows"] == (
        "meta_rewarding/round_02/judged.judgments",
    )
    checkpoint = plan.step("meta_rewarding/round_02/checkpoint")
    assert (
        checkpoint.inputs["init"] == checkpoint.inputs["reference"] == ("meta_rewarding/round_01/checkpoint",)
    )
    assert checkpoint.inputs["rows"] == (
        "meta_rewarding/round_02/actor_pairs",
        "meta_rewarding/round_02/judge_pairs",
    )


def test_socratic_sampling_hints_only_what_was_not_solved(plan: Plan):
    assert plan.step("socratic/round_02/hinted").inputs["prompts"] == ("socratic/round_02/unsolved",)
    assert plan.step("socratic/round_02/unsolved").inputs["rows"] == ("socratic/round_02/verified",)
    assert plan.step("socratic/round_02/filtered").inputs["rows"] == (
        "socratic/round_02/verified",
        "socratic/round_02/rescued",
    )
    assert "socratic_question" in plan.output("socratic/round_02/unsolved").columns


def test_b_star_takes_its_settings_from_the_previous_round(plan: Plan):
    generated = [plan.step(f"b_star/round_0{number}/generated") for number in (1, 2)]
    assert generated[0].settings_from == {"temperature": ("b_star/start/tuned", "temperature")}
    assert generated[1].settings_from == {"temperature": ("b_star/round_01/tuned", "temperature")}
    assert "b_star/round_01/tuned" in generated[1].all_inputs()
    filtered = plan.step("b_star/round_03/filtered")
    assert filtered.settings_from == {"threshold": ("b_star/round_02/tuned", "threshold")}
    assert plan.step("b_star/round_03/rewarded").inputs["scorer"] == ("b_star/start/reward_model",)
    assert plan.output("b_star/round_01/tuned").kind is ArtifactKind.SETTINGS


def test_multiagent_trains_one_checkpoint_for_each_agent(plan: Plan):
    agents = ("a", "b", "c")
    trained = tuple(f"multiagent/round_01/checkpoint/{agent}" for agent in agents)
    for agent in agents:
        assert plan.step(f"multiagent/round_01/debated/{agent}").inputs["model"] == (
            "multiagent/start/checkpoint",
        )
        heard = plan.step(f"multiagent/round_02/heard/{agent}").inputs
        assert heard["rows"] == tuple(f"multiagent/round_02/answers/{a}" for a in agents)
        assert heard["own"] == (f"multiagent/round_02/answers/{agent}",)
    for agent, checkpoint in zip(agents, trained, strict=True):
        answers = plan.step(f"multiagent/round_02/answers/{agent}")
        assert answers.inputs["model"] == (checkpoint,)
        assert answers.component.identity()["seed_by"] == agent
        assert plan.step(f"multiagent/round_02/filtered/{agent}").inputs["rows"] == (
            f"multiagent/round_02/first/{agent}",
        )
        assert plan.step(f"multiagent/round_02/checkpoint/{agent}").inputs["rows"] == (
            f"multiagent/round_02/filtered/{agent}",
        )


def test_ladder_grows_its_tasks_from_earlier_failures(plan: Plan):
    failures = plan.step("ladder/round_03/failures").inputs["rows"]
    assert failures == ("ladder/start/verified", "ladder/round_01/verified", "ladder/round_02/verified")
    prompts = plan.step("ladder/round_02/checkpoint").inputs["prompts"]
    assert prompts == ("ladder/tasks/train", "ladder/round_01/accepted", "ladder/round_02/accepted")
    assert plan.step("ladder/round_02/verified").inputs["rows"] == ("ladder/round_02/checkpoint.rollouts",)
    assert plan.output("ladder/round_02/checkpoint.rollouts").kind is ArtifactKind.ROWS
    assert plan.output("ladder/round_02/checkpoint").kind is ArtifactKind.MODEL


def test_target_difficulty_follows_the_rollouts_of_the_round_before(plan: Plan):
    batch = plan.step("target_difficulty/round_02/batch")
    assert batch.settings_from == {"target": ("target_difficulty/round_01/target", "difficulty")}
    target = plan.step("target_difficulty/round_02/target")
    assert target.settings_from == {"difficulty": ("target_difficulty/round_01/target", "difficulty")}
    assert target.inputs["rows"] == ("target_difficulty/round_02/checkpoint.rollouts",)


def test_growing_range_moves_the_tasks_with_the_round(plan: Plan):
    lengths = [
        plan.step(f"growing_range/round_0{number}/tasks/train").component.identity()["length"]
        for number in (1, 2, 3)
    ]
    assert lengths == [[12, 12], [14, 14], [16, 16]]
    assert plan.step("growing_range/round_02/generated").inputs["prompts"] == (
        "growing_range/round_02/tasks/train",
    )
    assert "growing_range/tasks/train" not in plan.steps


def test_two_models_read_each_other_across_rounds(plan: Plan):
    assert plan.step("two_models/round_02/rewarded").inputs["scorer"] == ("two_models/round_01/reward_model",)
    assert plan.step("two_models/round_02/generated").inputs["model"] == ("two_models/round_01/policy",)
    assert plan.step("two_models/round_02/policy").inputs["rows"] == ("two_models/round_02/filtered",)
    order = [step.label for step in plan.steps.values() if step.pipeline == "two_models" and step.round == 2]
    assert (
        order.index("generated") < order.index("rewarded") < order.index("filtered") < order.index("policy")
    )


def test_search_tree_is_a_dataset_of_nodes(plan: Plan):
    assert {"parents", "depth", "visits", "value", "terminal"} <= set(
        plan.output("search_tree/round_01/tree").columns
    )
    assert plan.step("search_tree/round_02/tree").inputs["value.scorer"] == (
        "search_tree/round_01/process_reward",
    )
    assert plan.step("search_tree/round_02/step_pairs").inputs["rows"] == ("search_tree/round_02/tree",)
    assert {"chosen", "rejected"} <= set(plan.output("search_tree/round_02/step_pairs").columns)
