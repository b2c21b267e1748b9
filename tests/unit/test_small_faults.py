"""Messages that lead somewhere: each was met by somebody who then knew no further."""

from __future__ import annotations

import json
from typing import ClassVar

import pytest
import yaml

from lineal.cli.main import run_command
from lineal.components.base import Columns
from lineal.components.registry import _no_component
from lineal.components.selectors.binding import bind
from lineal.components.verifiers.base import RowVerifier
from lineal.errors import DeclarationError, ProjectError
from lineal.orchestrate.pulling import pull
from lineal.plan import make_plan
from lineal.recipe.project import open_project
from tests.e2e.toy_project import TOY, make_project

from .lab import Lab

GRPO = "online: {use: grpo, init: checkpoint, prompts: tasks.train, samples: 2, steps: 1, rewards: REWARDS}\n"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return make_project(tmp_path_factory.mktemp("small") / "project")


def refused(root, pipeline=TOY, params="active: [toy]\n"):
    (root / "pipelines/toy.yaml").write_text(pipeline)
    (root / "params.yaml").write_text(params)
    with pytest.raises(DeclarationError) as error:
        make_plan(open_project(root))
    return str(error.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("steps: 2, warmup: {steps: 2.5}", "warmup: steps: got 2.5, expected a whole number from 1 on"),
        (
            "steps: 2, warmup: {steps: 0}",
            "warmup: steps: got 0, expected a whole number from 1 on; without a warm-up write 0",
        ),
        (
            "steps: 2, warmup: 0.2, schedule: constant",
            "warmup: schedule constant has none. Write schedule: constant_with_warmup",
        ),
        ("steps: 2, warmup: {steps: 9}, schedule: constant", "warmup: schedule constant has none"),
    ],
)
def test_warmup_that_cannot_be_is_told(root, settings, message):
    assert message in refused(root, TOY.replace("rows: filtered, steps: 2", f"rows: filtered, {settings}"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("rows: filtered, steps: two", "steps: got 'two', expected a whole number"),
        ("rows: filtered, steps: 2, learning_rate: -1", "learning_rate: got -1, expected more than 0"),
        ("rows: filtered, steps: 2, packing: perhaps", "packing: got 'perhaps', expected true or false"),
        ("row: filtered, steps: 2", "unknown key 'row'. Did you mean 'rows'?"),
    ],
)
def test_setting_that_cannot_be_is_told_once(root, settings, message):
    told = refused(root, TOY.replace("rows: filtered, steps: 2", settings))
    assert message in told
    assert "\n" not in told


@pytest.mark.parametrize(
    "settings",
    ["schedule: constant", "schedule: constant, warmup: 0", "schedule: constant_with_warmup, warmup: 0.2"],
)
def test_constant_schedule_without_a_warmup_plans(root, settings):
    (root / "params.yaml").write_text("active: [toy]\n")
    (root / "pipelines/toy.yaml").write_text(
        TOY.replace("rows: filtered, steps: 2", f"rows: filtered, steps: 2, {settings}")
    )
    assert make_plan(open_project(root)).steps


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (
            "{checkpoints: al}",
            "retain.checkpoints: got 'al', expected all, or which rounds keep theirs: {last: 2}",
        ),
        ("{nodes: {generated: 3}}", "retain.nodes.generated: got 3, expected all, or which rounds"),
        ("{rows: {lst: 3}}", "unknown key 'lst'. Did you mean 'last'?"),
    ],
)
def test_retain_is_refused_in_words(root, rule, message):
    told = refused(root, params=f"active: [toy]\nretain: {rule}\n")
    assert message in told and "literal" not in told


def test_retain_of_a_node_that_is_none_suggests_one(root, capsys):
    (root / "pipelines/toy.yaml").write_text(TOY)
    for rule, message in (
        ("{nodes: {genrated: {last: 1}}}", "no round has a node 'genrated'. Did you mean 'generated'?"),
        ("{rows: {best: evaluation.acuracy}}", "Did you mean 'accuracy'?"),
    ):
        (root / "params.yaml").write_text(f"active: [toy]\nretain: {rule}\n")
        assert run_command(["-C", str(root), "prune", "--dry-run"]) == 2
        assert message in capsys.readouterr().err


def test_measure_of_numbers_that_are_no_shares_has_their_mean(tmp_path):
    lab = Lab(tmp_path)
    head = "-- summary: Sizes.\n-- needs: score\n-- gives: size\n"
    text = f"{head}SELECT prompt_id, avg(score) AS size FROM rows GROUP BY prompt_id\n"
    (tmp_path / "pipelines/measures/size.sql").write_text(text)
    rows = lab.put("x", [{"sample_id": f"s{n}", "prompt_id": f"p{n}", "score": 5.0 + n} for n in range(3)])
    numbers = json.loads(
        (lab.run("measure", "m", {"rows": rows}, sql="size")[""].directory / "metrics.json").read_text()
    )
    assert numbers["size"] == 6.0 and numbers["low"] < 6.0 < numbers["high"]


ASKED = "{repeat: debate, use: ask, model: start.checkpoint, template: '{prompt} {completion}', "
DEBATE = (
    f"critique: {ASKED}per_turn: {{rows: [generated, before.revisd]}}}}\n  revised: {ASKED}rows: critique}}\n"
)


@pytest.mark.parametrize(
    ("old", "new", "where", "said"),
    [
        ("verified:", DEBATE + "  verified:", "round.critique.per_turn.rows", "Did you mean 'revised'?"),
        (
            "verified:",
            GRPO.replace("REWARDS", "{right: {use: exact_match, wieght: 2.0}}") + "  verified:",
            "round.online.rewards.right.wieght",
            "unknown key 'wieght'. Did you mean 'weight'?",
        ),
        (
            "verified:",
            "found: {use: retrieve, rows: generated, docs: tasks.base}\n  verified:",
            "round.found.documents",
            "is missing, and 'docs' is no setting. Did you mean 'documents'?",
        ),
        (
            "verified:",
            "found: {use: retrieve, rows: generated, documents: tasks.base, seperator: ';', a: '{found}'}\n  verified:",
            "round.found",
            "Did you mean 'separator'? For a column take another name",
        ),
        (
            "init: previous.checkpoint",
            "init: previos.checkpoint",
            "round.checkpoint.init",
            "Did you mean 'previous.checkpoint'?",
        ),
        (
            "size: 16, split: train}",
            "size: 16}",
            "tasks.base",
            "split is missing, and the name 'base' does not say it. Set split: train, dev or test",
        ),
    ],
)
def test_slip_is_told_with_its_key_and_what_was_meant(root, old, new, where, said):
    assert old in TOY
    text = TOY.replace(old, new, 1).replace(
        "round:\n", "repeat: {debate: 2}\nround:\n" if "repeat" in new else "round:\n"
    )
    told = refused(root, text)
    assert f"{where}: " in told and said in told and "pipelines/toy.yaml:" in told, told


def test_names_that_are_known_are_listed_once(root):
    told = refused(root, TOY.replace("max_per_prompt", "zzz"))
    assert told.count(" use,") + told.count(" use.") <= 1, told


def test_rewards_that_weigh_nothing_are_refused(root):
    told = refused(root, TOY + "  " + GRPO.replace("REWARDS", "{right: {use: exact_match, weight: 0}}"))
    assert "rewards: every weight is 0, so that no rollout is better than another" in told


def test_pipeline_without_profiles_says_where_to_write_one(root):
    told = refused(root, params="active: [toy]\nprofile: laptop\n")
    assert (
        "pipelines/toy.yaml:1: the pipeline has no profiles, and params.yaml asks for profile 'laptop'"
        in told
    )
    (root / "params.yaml").write_text("active: [toy]\nprofile: laptop\npipelines: {toy: {profile: paper}}\n")
    assert make_plan(open_project(root)).steps


def test_stage_of_a_profile_that_is_misspelt_is_no_new_stage(root):
    stages = yaml.safe_load(TOY)
    shared = stages.pop("round")
    stages["round"] = shared
    stages["stages"] = {"warm_up": {"rounds": 1, "round": {}}, "main": {}}
    stages["profiles"] = {"laptop": {"stages": {"warm_pu": {"rounds": 2}}}}
    told = refused(root, yaml.safe_dump(stages, sort_keys=False), "active: [toy]\nprofile: laptop\n")
    assert "no stage 'warm_pu'. Did you mean 'warm_up'?" in told


def test_value_of_a_node_that_is_not_there_is_called_so(root):
    told = refused(root, TOY.replace("samples: 2", "samples: 2, temperature: evaluatoin.accuracy"))
    assert (
        "temperature: got 'evaluatoin.accuracy', which is no number, and no value of a node that is declared here"
        in told
    )


def test_random_in_a_formula_is_led_to_what_works(root):
    told = refused(
        root,
        TOY.replace(
            "{use: exact_match, rows: generated}", "{use: rule, rows: generated, formula: random() < 0.5}"
        ),
    )
    assert "let a selector's SQL draw rows, with uniform(row_id, $seed)" in told


@pytest.mark.parametrize(
    ("gives", "query", "message"),
    [
        (
            "share",
            "SELECT avg(score) AS shrae FROM rows",
            "'-- gives' names 'share', which the query doesn't give. Did you mean 'shrae'?",
        ),
        (
            "share",
            "SELECT avg(score) AS share, 1 AS more FROM rows",
            "the query gives a column 'more' that '-- gives' doesn't name",
        ),
    ],
)
def test_measures_numbers_are_held_against_its_query(tmp_path, gives, query, message):
    lab = Lab(tmp_path)
    (tmp_path / "pipelines/measures/own.sql").write_text(
        f"-- summary: A share.\n-- needs: score\n-- gives: {gives}\n{query}\n"
    )
    with pytest.raises(DeclarationError, match="own.sql") as error:
        bind(lab.parse("measure", {"rows": ()}, sql="own"), {"rows": ("score",)}, 0)
    assert message in str(error.value)


def test_revision_that_is_none_is_told_without_a_list_of_pipelines(root, capsys):
    (root / "pipelines/toy.yaml").write_text(TOY)
    (root / "params.yaml").write_text("active: [toy]\n")
    for number in range(6):
        (root / f"pipelines/other_{number}.yaml").write_text(TOY)
    assert run_command(["-C", str(root), "diff", "HEAD~9", "HEAD"]) == 2
    told = capsys.readouterr().err
    assert "'HEAD~9' is no round, artifact or pipeline. As a revision: no git revision 'HEAD~9'" in told
    assert "other_3" not in told
    assert run_command(["-C", str(root), "diff", "toi", "toy"]) == 2
    assert "Did you mean 'toy'?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("reads", "wrong"), [(3, True), (("completion", 1), True), ("completion", True), (("completion",), False)]
)
def test_component_of_a_package_whose_reads_are_no_columns_is_told(reads, wrong):
    made = type("Own", (RowVerifier,), {"reads": reads, "__annotations__": {"reads": ClassVar[Columns]}})
    expected = (
        f"is the class Own with reads = {reads!r}, expected a tuple of column names: ('completion',)"
        if wrong
        else ""
    )
    assert _no_component(made) == expected


def test_pull_without_a_remote_says_how_to_add_one(root):
    with pytest.raises(
        ProjectError, match="no DVC remote to bring toy/x from. Add one: dvc remote add --default NAME URL"
    ):
        pull(root, {"toy/x": "0" * 32 + ".dir"})
