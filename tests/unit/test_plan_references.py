"""References: inside nested settings, to what a round lacks, and to other pipelines."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from lineal.data.store import open_artifact
from lineal.errors import DeclarationError
from lineal.orchestrate.dvc_yaml import dvc_yaml_text
from lineal.plan import Plan, make_plan
from lineal.recipe.document import parse_document
from lineal.recipe.project import open_project
from lineal.step.judges import Judge, judges_of
from lineal.step.runner import run_step

ROOT = Path(__file__).parents[2]
PARAMS = "rounds: 2\nactive: [mine]\ncompute: {engine: fake, workers: 1}\n"

NESTED = """\
method: Nested
summary: Models inside rewards and evaluators, rows inside examples.
each: {agent: [a, b]}
tasks:
  base: {use: letter_sort, length: [2, 4], size: 24, split: train}
  train: {use: letter_sort, length: [5, 7], size: 6}
  test: {use: letter_sort, length: [8, 9], size: 4}
start:
  checkpoint: {use: pretrain, rows: tasks.base, steps: 1}
  pairs: {use: select, rows: tasks.base, sql: made_pairs}
  scorer: {use: reward_model, init: checkpoint, rows: pairs, steps: 1}
round:
  checkpoint:
    use: grpo
    each: agent
    init: start.checkpoint
    prompts: tasks.train
    steps: 1
    batch_size: 8
    rewards:
      right: exact_match
      rm: {use: reward, scorer: start.scorer, weight: 0.5}
      critic: {use: judge, model: "critic[agent]", template: "{completion}", repeats: completion, threshold: 0.5}
  critic: {use: sft, each: agent, init: start.checkpoint, rows: "shots[agent]", target: answer, steps: 1}
  shots: {use: select, each: agent, rows: tasks.train, sql: keep_all}
  evaluation:
    use: accuracy
    each: agent
    model: "checkpoint[agent]"
    prompts: tasks.test
    verifier: {use: judge, model: "critic[agent]", template: "{completion}", repeats: completion, threshold: 0.5}
    examples: {rows: "shots[agent]", count: 1}
"""
PAIRS = """-- summary: Answers against prompts.
-- needs: prompt_id, prompt, answer
-- makes rows: prompt_id, prompt, chosen, rejected
SELECT [row_id] AS parents, prompt_id, prompt, answer AS chosen, prompt AS rejected FROM rows
"""


def project(root: Path, params: str = PARAMS, **pipelines: str) -> Path:
    """A project with these pipelines."""
    shutil.copytree(ROOT / "pipelines" / "selectors", root / "pipelines" / "selectors")
    (root / "pipelines" / "selectors" / "made_pairs.sql").write_text(PAIRS)
    for name, text in pipelines.items():
        (root / "pipelines" / f"{name}.yaml").write_text(text)
    (root / "params.yaml").write_text(params)
    return root


def planned(root: Path, params: str = PARAMS, **pipelines: str) -> Plan:
    return make_plan(open_project(project(root, params, **pipelines)))


def refused(root: Path, params: str = PARAMS, **pipelines: str) -> str:
    with pytest.raises(DeclarationError) as caught:
        planned(root, params, **pipelines)
    return str(caught.value)


def made(plan: Plan) -> Plan:
    for key in plan.steps:
        run_step(plan, key)
    return plan


def artifact(plan: Plan, key: str):
    return open_artifact(key, plan.project.directory(key))


# -- inside nested settings ---------------------------------------------------------------------------------------------


def test_references_inside_settings_are_planned_like_any_other(tmp_path: Path):
    plan = planned(tmp_path, mine=NESTED)
    for agent in ("a", "b"):
        assert plan.step(f"mine/round_02/checkpoint/{agent}").inputs == {
            "prompts": ("mine/tasks/train",), "init": ("mine/start/checkpoint",),
            "rewards.rm.scorer": ("mine/start/scorer",), "rewards.critic.model": (f"mine/round_02/critic/{agent}",),
        }  # fmt: skip
        assert plan.step(f"mine/round_02/evaluation/{agent}").inputs == {
            "model": (f"mine/round_02/checkpoint/{agent}",), "prompts": ("mine/tasks/test",),
            "examples": (f"mine/round_02/shots/{agent}",), "verifier.model": (f"mine/round_02/critic/{agent}",),
        }  # fmt: skip
    order = list(plan.steps)
    assert order.index("mine/round_01/critic/b") < order.index("mine/round_01/checkpoint/a")
    stages = parse_document(dvc_yaml_text(plan), "dvc.yaml").value["stages"]
    assert "artifacts/mine/round_02/critic/b" in stages["mine-round_02-checkpoint-b"]["deps"]


def test_verifier_inside_a_component_judges_with_its_own_inputs(tmp_path: Path):
    plan = made(planned(tmp_path, PARAMS.replace("rounds: 2", "rounds: 1"), mine=NESTED))
    critics = [artifact(plan, f"mine/round_01/critic/{agent}").digest for agent in ("a", "b")]
    rollouts = artifact(plan, "mine/round_01/checkpoint/a.rollouts")
    assert {"right_verdict", "rm_score", "critic_verdict", "score"} <= {*rollouts.manifest.columns}
    assert [entry.digest for entry in rollouts.manifest.inputs["rewards.critic.model"]] == critics[:1]
    told = [artifact(plan, f"mine/round_01/evaluation/{agent}") for agent in ("a", "b")]
    assert "model" not in told[0].manifest.settings["verifier"]

    def inputs(one):
        return [(field, artifact(plan, key)) for field, keys in plan.step(one.key).inputs.items() for key in keys]

    found = judges_of(told[1], inputs)
    assert found["score"] == frozenset({Judge("judge", 1, (("model", critics[1]),))})


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("scorer: start.scorer", "scorer: start.pairs",
         "22: round.checkpoint.rewards.rm.scorer: 'start.pairs' is a rows artifact, but rewards.rm.scorer takes model"),
        ("scorer: start.scorer", "scorer: start.scoer",
         "22: round.checkpoint.rewards.rm.scorer: 'start.scoer' names no node of start. Did you mean 'scorer'?"),
        ("scorer: start.scorer", "scorer: 'start scorer'", "22: round.checkpoint.rewards.rm.scorer: 'start scorer' is no ref"),
        ("scorer: start.scorer", "scorrer: start.scorer", "22: round.checkpoint.rewards.rm.scorrer: unknown key 'scorrer'. Did"),
        ("template: \"{completion}\", repeats: completion, threshold: 0.5}\n  critic",
         "template: \"{hint}\", threshold: 0.5}\n  critic",
         "17: round.checkpoint.prompts: mine/round_01/checkpoint/a needs column 'hint', but mine/tasks/train has only"),
        ("examples: {rows: \"shots[agent]\"", "examples: {rows: \"shots[c]\"",
         "32: round.evaluation.examples.rows: 'shots[c]': unknown agent. Known: a, b."),
        ("rows: \"shots[agent]\", target", "rows: \"checkpoint[agent].rollouts\", target",
         "13: round.checkpoint: the nodes need each other: checkpoint -> critic -> checkpoint"),
        ("verifier: {use: judge, model: \"critic[agent]\", template: \"{completion}\", repeats: completion, threshold: 0.5}",
         "verifier: {use: reward, scorer: start.scorer}", "verifier: 'reward' gives no verdict and no detail"),
    ],
)  # fmt: skip
def test_reference_inside_a_setting_that_cannot_be_says_where(tmp_path: Path, old: str, new: str, message: str):
    assert NESTED.count(old) == 1
    assert message in refused(tmp_path, mine=NESTED.replace(old, new))
