"""Policies: files of nodes that stand in the place of one node of a pipeline."""

import json
import shutil

import jsonschema
import pyarrow.parquet as pq
import pytest

from lineal.components.base import Role
from lineal.components.registry import Registry
from lineal.components.schema import pipeline_schema
from lineal.data.store import open_artifact
from lineal.errors import DeclarationError
from lineal.orchestrate.dvc_yaml import stage_of
from lineal.plan import make_plan
from lineal.recipe.project import open_project
from lineal.step.runner import run_step
from tests.unit.lab import ROOT, rows_of

SHIPPED = sorted(path.stem for path in (ROOT / "policies").glob("*.yaml"))
FEWER = {
    "adaptive_self_consistency": "batches: 2",
    "self_consistency": "samples: 3",
    "universal_self_consistency": "samples: 3",
    "self_refine": "turns: 2",
    "reflexion": "trials: 2",
    "sets": "samples: 2, turns: 1",
    "iterative_deepening": "turns: 2",
    "critic": "turns: 2, tool: rule, formula: \"completion <= 'd'\", revise: '{prompt}{completion}'",
}
HEAD = """\
method: Mine
summary: Answers by policies.
tasks:
  base: {use: letter_sort, length: [2, 4], size: 24, split: train}
  test: {use: letter_sort, length: [4, 6], size: 5}
start:
  checkpoint: {use: pretrain, rows: tasks.base, steps: 1}
round:
"""
TINY = """\
policy: Tiny
summary: Answers twice.
required: [model, prompts]
settings: {turns: 2, template: null, revise: "{prompt}{completion}"}
repeat: {turn: $turns}
nodes:
  draft:  {use: sample, model: $model, prompts: $prompts, template: $template}
  judged: {repeat: turn, use: exact_match, per_turn: {rows: [$draft, before.$answer]}}
  answer: {repeat: turn, use: ask, model: $model, rows: $judged, template: $revise, row_prompt: own}
  spent:  {use: measure, rows: $prompts, drawn: [$draft, turns.$answer], sql: spent}
output: answer
"""
BY_HAND = """\
  refined_draft:  {use: sample, model: start.checkpoint, prompts: tasks.test}
  refined_judged: {repeat: turn, use: exact_match, per_turn: {rows: [refined_draft, before.refined]}}
  refined:
    {repeat: turn, use: ask, model: start.checkpoint, rows: refined_judged, row_prompt: own, template: "{prompt}{completion}"}
  refined_spent:  {use: measure, rows: tasks.test, drawn: [refined_draft, turns.refined], sql: spent}
"""
GIVEN = "model: start.checkpoint"
USED = "  refined: {use: policies.tiny, model: start.checkpoint, prompts: tasks.test}\n"


def plan_of(root, nodes, policy=TINY, tail=""):
    shutil.copytree(
        ROOT / "pipelines", root / "pipelines", ignore=shutil.ignore_patterns("*.yaml"), dirs_exist_ok=True
    )
    shutil.copytree(ROOT / "policies", root / "policies", dirs_exist_ok=True)
    (root / "policies" / "tiny.yaml").write_text(policy)
    (root / "pipelines" / "mine.yaml").write_text(f"{HEAD}{nodes}{tail}")
    profile = "profile: laptop\n" if "laptop" in tail else ""
    (root / "params.yaml").write_text(
        f"rounds: 1\n{profile}active: [mine]\ncompute: {{engine: fake, workers: 1}}\n"
    )
    return make_plan(open_project(root))


def as_said(step):
    component = step.component
    return {
        "key": step.key,
        "use": component.use,
        "identity": component.identity(),
        "inputs": step.inputs,
        "outputs": step.outputs,
    }


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """Every shipped policy in one round, on the fake engine."""
    nodes = "".join(
        f"  {name}: {{use: policies.{name}, {GIVEN}, prompts: tasks.test, max_tokens: 16, {FEWER.get(name, '')}}}\n"
        for name in SHIPPED
    )
    plan = plan_of(tmp_path_factory.mktemp("policies"), nodes)
    for step in plan.steps.values():
        run_step(plan, step.key)
    return plan


def test_there_are_enough_policies():
    assert len(SHIPPED) >= 8


@pytest.mark.parametrize("name", SHIPPED)
def test_policy_answers_every_prompt_once_under_its_own_prompt_and_counts_all_that_it_draws(ran, name):
    root, key = ran.project.root, f"mine/round_01/{name}"
    inner = [
        step
        for step in ran.steps.values()
        if step.policy is not None and step.label.split("/")[0].startswith(name)
    ]
    turns = sum(step.label.split("/")[0] == name for step in inner)
    last = f"{key}/turn_{turns}" if turns > 1 else key
    answers, prompts = (
        rows_of(open_artifact(one, ran.project.directory(one))) for one in (last, "mine/tasks/test")
    )
    asked = [(row["prompt_id"], row["prompt"], row["answer"]) for row in prompts]
    assert sorted((row["prompt_id"], row["prompt"], row["answer"]) for row in answers) == sorted(asked)
    made = [
        output for step in inner if step.component.loads_model for output in step.artifact_keys().values()
    ]
    tables = [
        pq.read_table(path) for output in made for path in (root / "artifacts" / output).glob("*.parquet")
    ]
    drawn = {
        row["sample_id"]: row["tokens"]
        for table in tables
        for row in table.select(["sample_id", "tokens"]).to_pylist()
    }
    told = json.loads((root / "artifacts" / f"{key}_spent" / "metrics.json").read_text())
    assert told == {"tokens": pytest.approx(sum(drawn.values()) / 5), "draws": pytest.approx(len(drawn) / 5)}


def test_policy_stops_where_it_is_satisfied(ran):
    first, second = (
        rows_of(open_artifact(key, ran.project.directory(key)))
        for key in (
            "mine/round_01/adaptive_self_consistency_drawn/turn_1",
            "mine/round_01/adaptive_self_consistency_drawn/turn_2",
        )
    )
    agreed = {row["prompt_id"] for row in first} - {row["prompt_id"] for row in second}
    by_prompt = {name: {row["completion"] for row in first if row["prompt_id"] == name} for name in agreed}
    assert by_prompt and second and all(len(answers) == 1 for answers in by_prompt.values())


def test_nodes_are_those_that_one_would_write_by_hand(tmp_path):
    used = plan_of(tmp_path / "a", USED)
    written = plan_of(tmp_path / "b", BY_HAND, tail="repeat: {turn: 2}\n")
    assert [as_said(step) for step in used.steps.values()] == [
        as_said(step) for step in written.steps.values()
    ]
    assert [step.name for step in used.steps.values()][-5:] == [
        "round_01/refined_judged/turn_1",
        "round_01/refined/turn_1",
        "round_01/refined_judged/turn_2",
        "round_01/refined/turn_2",
        "round_01/refined_spent",
    ]


def test_steps_name_the_files_and_keys_that_declare_them(tmp_path):
    plan = plan_of(tmp_path, USED)
    assert stage_of(plan, plan.step("mine/round_01/refined_draft"))["params"] == [
        {"pipelines/mine.yaml": ["round.refined"]},
        {"policies/tiny.yaml": ["nodes.draft", "settings"]},
    ]
    assert stage_of(plan, plan.step("mine/start/checkpoint"))["params"] == [
        {"pipelines/mine.yaml": ["start.checkpoint"]}
    ]


def test_profile_changes_a_setting_and_another_policy_or_component_replaces_all(tmp_path):
    given = "model: start.checkpoint, prompts: tasks.test}"
    laptop = "profiles:\n  laptop: {round: {refined: CHANGE}}\n"
    plan = plan_of(
        tmp_path / "a", USED, tail=laptop.replace("CHANGE", "{turns: 1, revise: '+{prompt}{completion}:'}")
    )
    assert plan.step("mine/round_01/refined/turn_1").component.template == "+{prompt}{completion}:"
    assert "mine/round_01/refined/turn_2" not in plan.steps
    plan = plan_of(
        tmp_path / "b", USED, tail=laptop.replace("CHANGE", f"{{use: policies.self_consistency, {given}")
    )
    assert {"mine/round_01/refined_voted", "mine/round_01/refined"} <= set(plan.steps)
    assert "mine/round_01/refined_draft" not in plan.steps
    plan = plan_of(tmp_path / "c", USED, tail=laptop.replace("CHANGE", f"{{use: sample, {given}"))
    assert [key for key in plan.steps if "refined" in key] == ["mine/round_01/refined"]


def test_policy_is_made_for_each_value_and_twice_with_other_numbers_of_turns(tmp_path):
    nodes = "  refined: {use: policies.tiny, each: agent, model: start.checkpoint, prompts: tasks.test}\n"
    again = "  again: {use: policies.tiny, turns: 1, model: start.checkpoint, prompts: 'refined[a]'}\n"
    plan = plan_of(tmp_path, nodes + again, tail="each: {agent: [a, b]}\n")
    assert plan.step("mine/round_01/refined_judged/turn_2/b").inputs["rows"] == (
        "mine/round_01/refined/turn_1/b",
    )
    assert plan.step("mine/round_01/refined_spent/a").inputs["drawn"] == (
        "mine/round_01/refined_draft/a",
        "mine/round_01/refined/turn_1/a",
        "mine/round_01/refined/turn_2/a",
    )
    assert plan.step("mine/round_01/again_draft").inputs["prompts"] == ("mine/round_01/refined/turn_2/a",)
    assert "mine/round_01/again/turn_2" not in plan.steps


def test_policy_teaches_what_it_reaches(tmp_path):
    """The pipeline of docs/policies.md: a generator, an evaluation and a teacher to distil."""
    page = (ROOT / "docs" / "policies.md").read_text()
    distilled = page.partition("```yaml\nmethod:")[2].partition("```")[0]
    plan_of(tmp_path, USED)
    (tmp_path / "pipelines" / "mine.yaml").write_text(f"method:{distilled}")
    plan = make_plan(open_project(tmp_path))
    assert plan.step("mine/round_01/filtered").inputs["rows"] == ("mine/round_01/verified",)
    assert plan.step("mine/round_01/verified").inputs["rows"] == ("mine/round_01/taught",)
    assert plan.step("mine/round_01/reached_spent").component.role is Role.EVALUATOR


HERE, THERE = "pipelines/mine.yaml:9: round.refined", "policies/tiny.yaml"


@pytest.mark.parametrize(
    ("wrong", "right", "message"),
    [
        (
            "policies.tinny",
            "policies.tiny",
            f"{HERE}.use: no policy policies/tinny.yaml. Did you mean 'tiny'?",
        ),
        (f"turn: 3, {GIVEN}", GIVEN, f"{HERE}.turn: unknown key 'turn'. Did you mean 'turns'?"),
        ("", f"{GIVEN}, ", f"{HERE}: policies.tiny needs model; write model: ..."),
        (
            f"repeat: 2, {GIVEN}",
            GIVEN,
            f"{HERE}.repeat: a node that uses a policy has no 'repeat'. Write it in the policy",
        ),
        ("start.chekpoint", "start.checkpoint", f"{HERE}.model: 'start.chekpoint' names no node of start"),
        (
            f"turns: x, {GIVEN}",
            GIVEN,
            f"{HERE}.turns: must be a number of turns from 1 on, got 'x' (it is repeat.turn of",
        ),
        (
            "tasks.test}\n  refined_draft: {use: sample, model: start.checkpoint, prompts: tasks.test}",
            "tasks.test}",
            "mine.yaml:10: round.refined_draft: another node is named 'refined_draft'",
        ),
    ],
)
def test_error_in_the_pipeline_names_its_file_and_key(tmp_path, wrong, right, message):
    assert right in USED
    with pytest.raises(DeclarationError) as error:
        plan_of(tmp_path, USED.replace(right, wrong))
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("wrong", "right", "message"),
    [
        (
            "$daft, before",
            "$draft, before",
            ":8: nodes.judged.per_turn.rows.0: '$daft': no setting and no node of this",
        ),
        (
            "row_promt",
            "row_prompt",
            ":9: nodes.answer.row_promt: unknown key 'row_promt'. Did you mean 'row_prompt'? (us",
        ),
        ("samples: 2", "template: $template", ":4: settings.template: no node uses $template"),
        (
            "output: anser",
            "output: answer",
            ":11: output: names no node of this file. Did you mean 'answer'?",
        ),
        (
            "repeat: turns, use: ask",
            "repeat: turn, use: ask",
            ":9: nodes.answer.repeat: unknown group 'turns'",
        ),
        ("draft:  {each: a, ", "draft:  {", ":7: nodes.draft.each: a policy's node has no 'each'"),
        (
            "use: policies.tiny",
            "use: exact_match",
            ":8: nodes.judged.use: a policy's node uses a component, got 'policies.tiny'",
        ),
    ],
)
def test_error_in_a_policy_names_its_file_and_key(tmp_path, wrong, right, message):
    assert right in TINY
    with pytest.raises(DeclarationError) as error:
        plan_of(tmp_path, USED, TINY.replace(right, wrong))
    assert f"{THERE}{message}" in str(error.value)


def test_policy_among_tasks_is_refused(tmp_path):
    plan_of(tmp_path, USED)
    path = tmp_path / "pipelines" / "mine.yaml"
    path.write_text(
        path.read_text().replace(
            "start:", f"  more: {{use: policies.tiny, {GIVEN}, prompts: test}}\nstart:", 1
        )
    )
    with pytest.raises(
        DeclarationError,
        match="tasks.more.use: a policy answers prompts; it stands in start, round or finish",
    ):
        make_plan(open_project(tmp_path))


def test_editors_take_a_policy_and_refuse_what_is_neither_policy_nor_component():
    schema = pipeline_schema(Registry())
    task = {"use": "letter_sort", "length": [2, 4], "size": 4}
    used = {"use": "policies.self_refine", "turns": 2}
    pipeline = {"method": "a", "summary": "b", "tasks": {"test": task}, "round": {"refined": used}}
    jsonschema.validate(pipeline, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**pipeline, "round": {"refined": {"use": "self_refine"}}}, schema)


def test_page_lists_every_policy():
    page = (ROOT / "docs" / "policies.md").read_text()
    assert [name for name in SHIPPED if f"](../policies/{name}.yaml)" not in page] == []
