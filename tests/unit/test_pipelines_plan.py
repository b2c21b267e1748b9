"""The shipped pipelines plan in every profile, and what cannot be planned says file, line, key and the fix."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from lineal.errors import DeclarationError, LinealError
from lineal.plan import Plan, make_plan
from lineal.recipe.project import open_project

ROOT = Path(__file__).parents[2]
NAMES = sorted(path.stem for path in (ROOT / "pipelines").glob("*.yaml"))
SHIPPED = {
    "rest_em",
    "self_improving_transformers",
    "star",
    "lmsi",
    "control_unfiltered",
    "control_base_data",
}
PROFILES = {
    name: ["paper", *yaml.safe_load((ROOT / "pipelines" / f"{name}.yaml").read_text())["profiles"]]
    for name in NAMES
}
REAL = {"rest_em", "irpo", "control_unfiltered"}
"""Pipelines that a pretrained model runs too (`make real`)."""


def planned(root: Path, name: str, profile: str, rounds: int | None = 3) -> Plan:
    """The shipped pipeline's plan in a project without its models, and with empty files where it has its data.

    `rounds: None` leaves the number to the pipeline.
    """
    shutil.copytree(ROOT / "pipelines", root / "pipelines")
    (root / "data").mkdir()
    for path in re.findall(r"path: (data/\S+\.jsonl)", (ROOT / "pipelines" / f"{name}.yaml").read_text()):
        (root / path).touch()
    own = f"pipelines: {{{name}: {{rounds: {rounds}}}}}\n" if rounds else ""
    (root / "params.yaml").write_text(f"profile: {profile}\nactive: [{name}]\n{own}")
    return make_plan(open_project(root))


# -- what is shipped ----------------------------------------------------------------------------------------------------


def test_shipped_pipelines_are_all_found():
    assert set(NAMES) >= SHIPPED
    assert all("laptop" in profiles for profiles in PROFILES.values())
    assert {name for name, profiles in PROFILES.items() if "real" in profiles} == REAL


@pytest.mark.parametrize(
    ("name", "profile"), [(name, profile) for name in NAMES for profile in PROFILES[name]]
)
def test_shipped_pipeline_plans(tmp_path: Path, name: str, profile: str):
    plan = planned(tmp_path / "project", name, profile)
    rounds = plan.project.pipeline(name).rounds(3)
    assert {step.round for step in plan.steps.values()} == {*range(rounds + 1)} and rounds >= 3
    for number in (1, 2, 3):
        assert f"{name}/round_{number:02d}/evaluation" in plan.steps


@pytest.mark.parametrize("name", NAMES)
def test_shipped_pipeline_says_what_it_is(tmp_path: Path, name: str):
    header = planned(tmp_path / "project", name, "paper").pipelines[name].header
    assert header.method and header.summary
    if name.startswith("control_"):
        assert header.paper is None
    else:
        assert header.paper is not None and re.fullmatch(r"arXiv:\d{4}\.\d{5}", header.paper)


@pytest.mark.parametrize("name", NAMES)
def test_shipped_pipeline_stands_in_the_index(name: str):
    text = (ROOT / "pipelines" / f"{name}.yaml").read_text()
    lines = [
        line
        for line in (ROOT / "pipelines" / "README.md").read_text().splitlines()
        if f"[{name}]({name}.yaml)" in line
    ]
    assert len(lines) == 1
    paper = re.search(r"^paper: arXiv:(\S+)", text, re.MULTILINE)
    assert paper is None or f"https://arxiv.org/abs/{paper[1]}" in lines[0]


def test_pages_about_methods_are_current():
    done = subprocess.run(
        [sys.executable, ROOT / "bench" / "methods.py", "pages", "--check"],
        check=False,
        stderr=subprocess.PIPE,
    )
    assert done.returncode == 0, done.stderr.decode()


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith("control_")])
def test_page_of_a_method_says_first_what_differs_from_its_paper(name: str):
    said = (ROOT / "docs" / "methods" / f"{name}.md").read_text().split("\n\n")[1]
    assert re.fullmatch(r"Differs from the paper: \S.*\.", said)


def test_index_names_no_pipeline_that_is_not_there():
    named = re.findall(r"\]\((\w+)\.yaml\)", (ROOT / "pipelines" / "README.md").read_text())
    assert sorted(named) == NAMES


BASE = ["tasks/base", "tasks/easy", "start/checkpoint", "start/easy"]
HARD = ["tasks/test", "start/evaluation"]
SAMPLES = ["tasks/train", "round_01/generated", "round_01/verified"]
SHARED = {
    "control_unfiltered": BASE + HARD + SAMPLES,
    "control_base_data": BASE + HARD,
    **{name: [*BASE, *HARD, "tasks/train"] for name in ("irpo", "kto", "spin", "rlhf_workflow")},
    "scpo": BASE + HARD,
    "v_star": ["tasks/base", "tasks/easy", "tasks/train", "tasks/test", "start/checkpoint"],
    "star": [*BASE, *HARD, "tasks/train"],
    "lmsi": [*BASE, *HARD, "tasks/train"],
    "self_improving_transformers": BASE,
    "b_star": [*BASE, *HARD, "tasks/train"],
    "socratic": [*BASE, *HARD, *SAMPLES],
    "east": [*BASE, *HARD, "tasks/train"],
    "dive": [*BASE, *HARD, "tasks/train"],
    "auto_cei": ["tasks/base", "start/checkpoint"],
    "adarft": BASE + HARD,
}


@pytest.mark.parametrize("name", sorted(SHARED))
def test_laptop_profiles_share_the_work_of_the_demo(tmp_path: Path, name: str):
    """Same node, same settings, same inputs: the runner then finds the demo's artifact by its identity."""
    demo, other = (planned(tmp_path / pipeline, pipeline, "laptop") for pipeline in ("rest_em", name))
    for step in SHARED[name]:
        theirs, ours = demo.step(f"rest_em/{step}"), other.step(f"{name}/{step}")
        assert ours.component.identity() == theirs.component.identity(), step
        assert [key.partition("/")[2] for key in ours.all_inputs()] == [
            key.partition("/")[2] for key in theirs.all_inputs()
        ]


# -- planning is light --------------------------------------------------------------------------------------------------


def test_planning_imports_nothing_heavy():
    program = (
        "import sys; sys.path.insert(0, 'bench'); import plan; _, steps = plan.measure(50, 1); assert steps > 400, steps; "
        "print([name for name in plan.HEAVY if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


# -- what cannot be planned ---------------------------------------------------------------------------------------------

GOOD = """\
method: Mine
summary: A pipeline to break.
tasks:
  base: {use: letter_sort, length: [2, 6], size: 64, split: train}
  train: {use: letter_sort, length: [12, 22], size: 64}
  test: {use: letter_sort, length: [12, 22], size: 16}
start:
  checkpoint: {use: pretrain, rows: tasks.base, steps: 10}
round:
  generated: {use: sample, model: previous.checkpoint, prompts: tasks.train}
  verified:
    use: exact_match
    rows: generated
  filtered: {use: select, rows: verified, sql: keep_correct}
  checkpoint: {use: sft, init: start.checkpoint, rows: filtered, steps: 10}
  evaluation: {use: accuracy, model: checkpoint, prompts: tasks.test}
"""


SHOWN = " (`lineal components %s` shows a correct one)"


def broken(root: Path, old: str, new: str, params: str = "rounds: 2\nactive: [mine]\n") -> str:
    """The message that planning `GOOD` with `old` replaced by `new` ends in."""
    assert GOOD.count(old) == 1 or not old
    return refused(root, GOOD.replace(old, new) if old else GOOD, params)


def refused(root: Path, text: str, params: str = "rounds: 2\nactive: [mine]\n") -> str:
    """The message that planning a pipeline ends in."""
    shutil.copytree(ROOT / "pipelines" / "selectors", root / "pipelines" / "selectors")
    (root / "pipelines" / "mine.yaml").write_text(text)
    (root / "params.yaml").write_text(params)
    with pytest.raises(LinealError) as caught:
        make_plan(open_project(root))
    assert isinstance(caught.value, DeclarationError)
    return str(caught.value)


def test_good_pipeline_plans(tmp_path: Path):
    shutil.copytree(ROOT / "pipelines" / "selectors", tmp_path / "pipelines" / "selectors")
    (tmp_path / "pipelines" / "mine.yaml").write_text(GOOD)
    (tmp_path / "params.yaml").write_text("rounds: 2\nactive: [mine]\n")
    assert len(make_plan(open_project(tmp_path)).steps) == 4 + 2 * 5


def test_profile_leaves_out_a_node_that_it_sets_to_null(tmp_path: Path):
    shutil.copytree(ROOT / "pipelines" / "selectors", tmp_path / "pipelines" / "selectors")
    text = (
        GOOD
        + "profiles:\n  short:\n    round:\n      verified: null\n      filtered: {rows: generated, sql: keep_all}\n"
    )
    (tmp_path / "pipelines" / "mine.yaml").write_text(text)
    (tmp_path / "params.yaml").write_text("rounds: 1\nprofile: short\nactive: [mine]\n")
    assert "mine/round_01/verified" not in make_plan(open_project(tmp_path)).steps


def test_unknown_section_names_line_and_nearest(tmp_path: Path):
    message = broken(tmp_path, "round:\n", "rund:\n")
    assert message == "pipelines/mine.yaml:9: rund: unknown key 'rund'. Did you mean 'round'?"


def test_nodes_under_rounds_are_told_where_they_belong(tmp_path: Path):
    expected = "pipelines/mine.yaml:9: rounds: must be a number of rounds, got a mapping. A round's nodes stand under `round`"
    assert expected in broken(tmp_path, "round:\n", "rounds:\n")


def test_unknown_setting_names_line_and_nearest(tmp_path: Path):
    message = broken(tmp_path, "prompts: tasks.train}", "prompts: tasks.train, sampels: 4}")
    assert (
        message
        == "pipelines/mine.yaml:10: round.generated.sampels: unknown key 'sampels'. Did you mean 'samples'?"
        + SHOWN % "sample"
    )


def test_unknown_setting_of_a_selector_names_line(tmp_path: Path):
    message = broken(tmp_path, "sql: keep_correct}", "sql: keep_correct, max_per_promt: 2}")
    assert message == (
        "pipelines/mine.yaml:14: round.filtered.max_per_promt: selector 'keep_correct' has no setting 'max_per_promt'. "
        "Did you mean 'max_per_prompt'?" + SHOWN % "keep_correct"
    )


def test_unknown_selector_names_line_and_nearest(tmp_path: Path):
    message = broken(tmp_path, "sql: keep_correct}", "sql: keep_corect}")
    assert message == (
        "pipelines/mine.yaml:14: round.filtered.sql: no selector file pipelines/selectors/keep_corect.sql. "
        "Did you mean 'keep_correct'?" + SHOWN % "select"
    )


def test_unknown_component_names_line_and_nearest(tmp_path: Path):
    message = broken(tmp_path, "use: exact_match", "use: exact_mach")
    assert message == (
        "pipelines/mine.yaml:12: round.verified.use: unknown component 'exact_mach'. Did you mean 'exact_match'? "
        "A policy is used as `policies.NAME`. If a package adds it (entry points 'lineal.components'), install that package here"
    )


def test_missing_column_names_who_needs_it_and_what_is_there(tmp_path: Path):
    message = broken(tmp_path, "rows: verified, sql", "rows: generated, sql")
    start = "pipelines/mine.yaml:14: round.filtered.rows: mine/round_01/filtered needs column 'verdict', "
    assert message.startswith(start + "but mine/round_01/generated has only prompt_id, prompt, answer, ")
    assert message.endswith(". Add it there, or choose another selector")


def test_samples_and_prompts_that_one_column_cannot_tell_apart_are_named(tmp_path: Path):
    node = 'mixed: {use: render, rows: [tasks.train, generated], prompt: "{prompt}"}\n  verified:'
    message = broken(tmp_path, "verified:", node)
    assert message == (
        "pipelines/mine.yaml:11: round.mixed.rows: mine/round_01/mixed needs rows of one kind, but mine/round_01/generated has "
        "samples and mine/tasks/train prompts. Put artifacts of one kind together: `{use: select, rows: NODE, sql: with_hint}` "
        "makes prompts of samples"
    )


def test_unknown_reference_names_line_and_nearest(tmp_path: Path):
    message = broken(tmp_path, "rows: filtered,", "rows: filterd,")
    assert message == (
        "pipelines/mine.yaml:15: round.checkpoint.rows: 'filterd' names no node of round. Did you mean 'filtered'?"
    )


def test_unknown_task_set_names_line_and_nearest(tmp_path: Path):
    message = broken(tmp_path, "prompts: tasks.train}", "prompts: tasks.trian}")
    assert message == (
        "pipelines/mine.yaml:10: round.generated.prompts: 'tasks.trian' names no node of tasks. Did you mean 'train'?"
    )


def test_reference_that_is_no_reference_says_the_forms(tmp_path: Path):
    message = broken(tmp_path, "rows: filtered,", "rows: 'filtered!',")
    assert message == (
        "pipelines/mine.yaml:15: round.checkpoint.rows: 'filtered!' is no reference; "
        "write NODE, previous.NODE, history.NODE, before.NODE, turns.NODE, start.NODE, tasks.NAME or pipelines.NAME.finish.NODE"
    )


def test_previous_without_start_says_to_declare_it(tmp_path: Path):
    message = broken(tmp_path, "rows: filtered,", "rows: previous.filtered,")
    assert message == (
        "pipelines/mine.yaml:15: round.checkpoint.rows: 'previous.filtered' in round 1 means start.filtered, "
        "which is not declared; add it under start. Known: checkpoint."
    )


def test_cycle_shows_the_way_round(tmp_path: Path):
    message = broken(tmp_path, "model: previous.checkpoint", "model: checkpoint")
    assert message == (
        "pipelines/mine.yaml:10: round.generated: the nodes need each other: "
        "generated -> checkpoint -> filtered -> verified -> generated. Let one of them read previous.NODE, the last round's"
    )


def test_history_that_a_cycle_empties_shows_the_way_round(tmp_path: Path):
    text = refused(
        tmp_path,
        GOOD.replace("model: previous.checkpoint", "model: checkpoint").replace(
            "rows: filtered", "rows: history.filtered"
        ),
    )
    assert (
        "'history.filtered' is empty in round 1, since in one round filtered needs verified needs generated needs checkpoint"
        in text
    )
    assert "Let one of these read previous.NODE" in text


def test_each_that_is_no_name_shows_how_to_write_it(tmp_path: Path):
    text = refused(tmp_path, GOOD.replace("use: exact_match", "use: exact_match\n    each: {agent: [a, b]}"))
    assert (
        "round.verified.each: expected the name of a variable, got {'agent': ['a', 'b']}" in text
        and "each: agent" in text
    )


def test_problems_of_one_file_are_reported_together_and_say_where_a_correct_node_is(tmp_path: Path):
    wrong = GOOD.replace("size: 64}", "sise: 64}").replace(
        "use: exact_match", "use: exact_match\n    extract: 7\n    name: 7"
    )
    lines = refused(tmp_path, wrong).splitlines()
    assert [line.partition(": ")[2].partition(":")[0] for line in lines] == [
        "tasks.train.sise",
        "round.verified.name",
        "round.verified.extract",
    ]
    assert lines[0].endswith(SHOWN % "letter_sort")
    assert lines[2].endswith(SHOWN % "exact_match")


def test_references_of_several_nodes_are_refused_together(tmp_path: Path):
    text = refused(
        tmp_path,
        GOOD.replace("rows: generated", "rows: generatd").replace(
            "prompts: tasks.test", "prompts: tasks.tets"
        ),
    )
    assert "'generatd'" in text and "'tasks.tets'" in text and len(text.splitlines()) == 2


def test_model_where_rows_are_wanted_says_both(tmp_path: Path):
    message = broken(tmp_path, "rows: filtered,", "rows: previous.checkpoint,")
    assert message == (
        "pipelines/mine.yaml:15: round.checkpoint.rows: 'previous.checkpoint' names a model, "
        "but rows takes rows or an evaluation"
    )


def test_rows_where_a_model_is_wanted_says_both(tmp_path: Path):
    message = broken(tmp_path, "model: previous.checkpoint", "model: tasks.train")
    assert (
        message
        == "pipelines/mine.yaml:10: round.generated.model: 'tasks.train' names rows, but model takes a model or a served model"
    )


def test_task_that_is_no_source_says_so(tmp_path: Path):
    message = broken(
        tmp_path,
        "test: {use: letter_sort, length: [12, 22], size: 16}",
        "test: {use: exact_match, rows: train}",
    )
    assert (
        message
        == "pipelines/mine.yaml:6: tasks.test.use: 'exact_match' is a verifier, but tasks need sources"
    )


def test_zero_rounds_name_the_key(tmp_path: Path):
    message = broken(tmp_path, "", "", "rounds: 0\nactive: [mine]\n")
    assert message == "params.yaml:1: rounds: got 0, expected at least 1"


def test_unknown_profile_names_the_known_ones(tmp_path: Path):
    message = broken(tmp_path, "", "", "rounds: 1\nprofile: labtop\nactive: [mine]\n")
    assert message == (
        "pipelines/mine.yaml:1: the pipeline has no profiles, and params.yaml asks for profile 'labtop'. "
        "If the name is right, in params.yaml, under pipelines, give this one {profile: paper}, "
        "or write profiles: {labtop: {}} here"
    )


def test_node_that_only_a_profile_names_is_a_typo_or_lacks_its_component(tmp_path: Path):
    profiles = "profiles: {laptop: {round: {generate: {samples: 2}}}}\n"
    message = refused(tmp_path, GOOD + profiles, "rounds: 1\nprofile: laptop\nactive: [mine]\n")
    assert "profiles.laptop.round.generate: the pipeline has no node 'generate' here." in message
    assert "Did you mean 'generated'?" in message and "needs use: COMPONENT" in message


def test_key_that_stands_twice_names_both_lines(tmp_path: Path):
    message = broken(tmp_path, "    rows: generated\n", "    rows: generated\n    rows: generated\n")
    assert message == "pipelines/mine.yaml:14: 'rows' occurs twice (first at line 13); delete one"


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ("use: maths", "round.verified.use: unknown component 'maths'. Did you mean 'math'?"),
        ("use: math, stric: true", "round.verified.stric: unknown key 'stric'."),
    ],
)
def test_declared_node_that_the_profile_replaces_is_checked_too(tmp_path: Path, wrong: str, expected: str):
    root = tmp_path / "project"
    planned(root, "rest_em", "laptop")
    path = root / "pipelines" / "rest_em.yaml"
    path.write_text(path.read_text().replace("verified:   {use: math,", f"verified:   {{{wrong},"))
    (root / "data" / "math_train.jsonl").unlink()
    with pytest.raises(DeclarationError) as caught:
        make_plan(open_project(root))
    assert expected in str(caught.value)


@pytest.mark.parametrize(("word", "near"), [("rest_em/roud_02", "rest_em/round_02"), ("rest_en", "rest_em")])
def test_selection_with_a_misspelt_prefix_suggests_the_prefix(tmp_path: Path, word: str, near: str):
    plan = planned(tmp_path / "project", "rest_em", "laptop")
    with pytest.raises(LinealError, match=f"Did you mean '{near}'") as caught:
        plan.select([word])
    assert word in str(caught.value)
