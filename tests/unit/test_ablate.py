"""A pipeline without one of its parts: what is read in its place, what cannot be taken away, what is shared, and the table."""

import json
import shutil

import pytest

from lineal.audit.ablations import ablations, own_steps, plan_variants, with_parts
from lineal.cli.main import run_command
from lineal.components.evaluators.reading import compare, read_evaluation
from lineal.errors import DeclarationError
from lineal.plan import make_plan
from lineal.recipe.project import open_project
from lineal.step.runner import run_step
from tests.unit.lab import ROOT

PIPELINE = """\
method: Mine
summary: A loop with parts to take away.
tasks:
  base:  {use: letter_sort, length: [2, 4], size: 24, split: train}
  train: {use: letter_sort, length: [4, 5], size: 6}
  test:  {use: letter_sort, length: [4, 5], size: 8, split: test}
start:
  checkpoint: {use: pretrain, rows: tasks.base, steps: 1}
  tuned:      {use: settings, temperature: 0.9}
round:
  generated:  {use: sample, model: previous.checkpoint, prompts: tasks.train, samples: 2, temperature: previous.tuned.temperature}
  verified:   {use: exact_match, rows: generated}
  filtered:   {use: select, rows: verified, sql: by_verdict, failed: false}
  pool:       {use: select, rows: history.filtered, sql: keep_all}
  checkpoint: {use: sft, init: previous.checkpoint, rows: pool, steps: 1}
  tuned:      {use: settings, temperature: 0.8}
  rewritten:  {use: ask, model: checkpoint, rows: pool, template: "{prompt}{completion}", row_prompt: own}
  dropped:    {use: select, rows: filtered.dropped, sql: keep_all}
  evaluation: {use: accuracy, model: checkpoint, prompts: tasks.test}
"""


def project_of(root, parts, pipeline=PIPELINE, params=""):
    shutil.copytree(
        ROOT / "pipelines", root / "pipelines", ignore=shutil.ignore_patterns("*.yaml"), dirs_exist_ok=True
    )
    (root / "pipelines" / "mine.yaml").write_text(pipeline)
    ablated = f"pipelines: {{mine: {{ablate: [{parts}]}}}}\n" if parts else ""
    (root / "params.yaml").write_text(
        f"rounds: 2\nactive: [mine]\n{ablated}{params}compute: {{engine: fake, workers: 1}}\n"
    )
    return open_project(root)


UNDROPPED = "".join(line for line in PIPELINE.splitlines(keepends=True) if "filtered.dropped" not in line)


def test_readers_of_a_node_read_its_input_in_its_place(tmp_path):
    project = project_of(tmp_path, "filtered, rewritten", UNDROPPED)
    assert project.active == ["mine", "mine__without_filtered", "mine__without_rewritten"]
    plan = make_plan(project)
    rows = [f"mine__without_filtered/round_0{number}/verified" for number in (1, 2)]
    assert plan.step("mine__without_filtered/round_02/pool").inputs["rows"] == tuple(rows)
    assert plan.step("mine/round_02/pool").inputs["rows"] == (
        "mine/round_01/filtered",
        "mine/round_02/filtered",
    )
    assert (
        "mine__without_filtered/round_01/filtered" not in plan.steps
        and "mine__without_rewritten/round_01/rewritten" not in plan.steps
    )


def test_a_trainer_gives_way_to_its_init_and_an_instance_to_its_own_input(tmp_path):
    nodes = """\
  a_lot:      {use: sample, each: agent, model: previous.checkpoint, prompts: tasks.train, samples: 2}
  judged:     {use: exact_match, each: agent, rows: "a_lot[agent]"}
  all_of_it:  {use: select, rows: ["judged[*]"], sql: keep_all}
  one_of_it:  {use: select, rows: "judged[b]", sql: keep_all}
  warm:       {use: sft, init: previous.checkpoint, rows: verified, steps: 1}
  checkpoint: {use: sft, init: warm, rows: pool, steps: 1}
"""
    lines = UNDROPPED.splitlines(keepends=True)
    pipeline = (
        "".join(line for line in lines if "checkpoint: {use: sft" not in line)
        + nodes
        + "each: {agent: [a, b]}\n"
    )
    plan = make_plan(project_of(tmp_path, "judged, warm", pipeline))
    first = "mine__without_judged/round_01"
    assert plan.step(f"{first}/all_of_it").inputs["rows"] == (f"{first}/a_lot/a", f"{first}/a_lot/b")
    assert plan.step(f"{first}/one_of_it").inputs["rows"] == (f"{first}/a_lot/b",)
    assert plan.step("mine__without_warm/round_02/checkpoint").inputs["init"] == (
        "mine__without_warm/round_01/checkpoint",
    )


def test_a_setting_goes_back_to_its_default(tmp_path):
    plan = make_plan(project_of(tmp_path, "generated.temperature, filtered.failed"))
    assert plan.step("mine__without_generated_temperature/round_01/generated").component.temperature == 1.0
    assert plan.step("mine__without_generated_temperature/round_01/generated").settings_from == {}
    assert plan.step("mine/round_01/generated").settings_from == {
        "temperature": ("mine/start/tuned", "temperature")
    }
    assert plan.step("mine/round_01/filtered").component.model_extra == {"failed": False}
    assert plan.step("mine__without_filtered_failed/round_01/filtered").component.model_extra == {}


def test_a_curriculum_has_its_shuffled_control(tmp_path):
    ordered = PIPELINE.replace("rows: pool, steps: 1}", "rows: pool, steps: 1, order: difficulty}")
    plan = make_plan(project_of(tmp_path, "checkpoint.order", ordered))
    whole, control = (
        plan.step(f"{name}/round_01/checkpoint") for name in ("mine", "mine__without_checkpoint_order")
    )
    assert (whole.component.order, control.component.order) == ("difficulty", None)
    assert whole.component.identity() == {**control.component.identity(), "order": "difficulty"}
    assert whole.inputs["rows"] == ("mine/round_01/pool",)
    pools = [plan.step(f"{name}/round_01/pool") for name in ("mine", "mine__without_checkpoint_order")]
    assert pools[0].component.identity() == pools[1].component.identity()


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (
            "filtered",
            "params.yaml:3: pipelines.mine.ablate.0: 'filtered' cannot be taken away: round.dropped.rows reads dropped of it",
        ),
        ("filterd", "'filterd' cannot be taken away: mine has no node 'filterd'. Did you mean 'filtered'?"),
        (
            "tuned",
            "'tuned' cannot be taken away: 'settings' is a controller, and nothing that it reads could stand in its place",
        ),
        (
            "evaluation",
            "'evaluation' cannot be taken away: it is an evaluation; no training depends on it, so removing it",
        ),
        ("checkpoint", "'checkpoint' cannot be taken away: 'pretrain' is a trainer, and nothing"),
        (
            "verified",
            "pipelines.mine.ablate.0: 'verified' cannot be taken away: mine__without_verified/round_01/filtered needs column "
            "'verdict', but mine__without_verified/round_01/generated has only",
        ),
        ("generated", "needs column 'completion', but mine__without_generated/tasks/train has only"),
        ("generated.hint", "'generated.hint' cannot be taken away: generated does not set 'hint' itself"),
        ("generated.model", "round.generated.model: is missing"),
    ],
)
def test_what_cannot_be_taken_away_is_said(tmp_path, part, message):
    with pytest.raises(DeclarationError) as error:
        make_plan(project_of(tmp_path, part))
    assert message in str(error.value)


def test_a_part_of_the_command_line_is_no_line_of_a_file(tmp_path):
    project = with_parts(project_of(tmp_path, "verified"), "mine", ["filterd"])
    with pytest.raises(
        DeclarationError, match="^mine without filterd: 'filterd' cannot be taken away: mine has no node"
    ):
        plan_variants(project, "mine")


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """A pipeline and its variant without the filter, with two seeds, on the fake engine."""
    root = tmp_path_factory.mktemp("ablated")
    project = project_of(root, "filtered", UNDROPPED, "seeds: [0, 1]\n")
    plan = make_plan(project)
    return plan, {key: run_step(plan, key) for key in plan.steps}


def test_variant_shares_what_does_not_depend_on_the_part(ran):
    plan, told = ran
    mine = {
        key.partition("/")[2]: state
        for key, state in told.items()
        if key.startswith("mine__without_filtered/")
    }
    assert {name for name, state in mine.items() if state == "done"} >= {
        "round_01/pool",
        "round_01/checkpoint",
        "round_02/generated",
    }
    assert {
        mine[name] for name in ("tasks/train", "start/checkpoint", "round_01/generated", "round_01/verified")
    } == {"reused"}
    own, every = own_steps(plan, "mine", "filtered")
    assert (every, own) == (len(mine), sum(state == "done" for state in mine.values()))


def test_table_compares_the_last_rounds_prompt_by_prompt_for_each_seed(ran, capsys):
    plan, _ = ran
    found = list(ablations(plan_variants(with_parts(plan.project, "mine", []), "mine"), "mine"))
    assert [(one.part, one.seed, one.label, one.headline) for one in found] == [
        ("filtered", 0, "evaluation", "accuracy"),
        ("filtered", 1, "evaluation", "accuracy"),
    ]
    whole, without = (
        read_evaluation(plan.project.directory(f"{name}/round_02/evaluation"))
        for name in ("mine__seed_1", "mine__without_filtered__seed_1")
    )
    expected = compare(whole, without)
    assert (found[1].whole, found[1].without, found[1].change) == (
        whole.numbers["accuracy"],
        without.numbers["accuracy"],
        expected,
    )
    assert expected.prompts == 8
    assert run_command(["-C", str(plan.project.root), "ablate", "mine"]) == 0
    told = capsys.readouterr().out
    assert "steps differ; the others are made once" in told and "8 prompts" in told and "not made" not in told
    assert run_command(["-C", str(plan.project.root), "ablate", "mine", "--json"]) == 0
    assert [entry["seed"] for entry in json.loads(capsys.readouterr().out)] == [0, 1]


def test_command_names_the_line_for_a_part_that_is_not_declared(ran, capsys):
    root = str(ran[0].project.root)
    assert run_command(["-C", root, "ablate", "mine", "rewritten"]) == 0
    told = capsys.readouterr().out
    assert (
        "not made: rewritten. Write into params.yaml: pipelines: {mine: {ablate: [rewritten]}}, then run"
        in told
    )
    assert run_command(["-C", root, "ablate", "main"]) == 2
    assert "no pipeline 'main'" in capsys.readouterr().err
    variant = next(name for name in ran[0].pipelines if name.startswith("mine__without_"))
    assert run_command(["-C", root, "ablate", variant, "rewritten"]) == 2
    assert "Name the pipeline: lineal ablate mine" in capsys.readouterr().err


def test_other_pipelines_have_no_variants(tmp_path):
    project = project_of(tmp_path, "")
    assert project.active == ["mine"] and make_plan(project).pipelines["mine"].without is None
