"""Retraction from the selection's query up to the checkpoints: dropped with the reason, refused, marked until made again."""

import json
import shutil

import pytest
from click.testing import CliRunner

from lineal.cli.prove import contamination
from lineal.cli.retracting import retract as command
from lineal.errors import ArtifactError, CheckFailure, DeclarationError, ProjectError, UsageError
from lineal.orchestrate.retracting import retract, settled_plan
from lineal.plan import make_plan
from lineal.recipe.project import open_project
from lineal.recipe.retractions import Retraction, Retractions
from lineal.step.runner import run_step
from lineal.step.status import State, status_of
from lineal.step.tainted import tainted_checkpoints
from tests.unit.audit_project import SELECTORS, made_project
from tests.unit.lab import Lab, rows_of, samples


@pytest.fixture(scope="module")
def made_once(tmp_path_factory):
    return made_project(tmp_path_factory.mktemp("retraction")).project.root


@pytest.fixture
def root(made_once, tmp_path):
    shutil.copytree(made_once, tmp_path / "project")
    return tmp_path / "project"


def plan_of(root):
    return make_plan(open_project(root))


def rows(root, key):
    import pyarrow.parquet as pq

    return pq.read_table(root / "artifacts" / key / "part-00000.parquet").to_pylist()


def add(root, dry=False, name="bad", **values):
    entry = Retraction.model_validate({"reason": "they are wrong", "date": "2026-11-21", **values})
    return retract(open_project(root), name, entry, dry)


def stale(root):
    return {status.key for status in status_of(plan_of(root)) if status.state is not State.DONE}


def rerun(root):
    plan = plan_of(root)
    for status in status_of(plan):
        if status.state is not State.DONE:
            run_step(plan, status.key)
    for key in stale(root):
        run_step(plan_of(root), key)
    assert stale(root) == set()


# -- selections -------------------------------------------------------------------------------------------------------


@pytest.fixture
def lab(tmp_path):
    return Lab(tmp_path)


def test_select_drops_retracted_rows_before_its_query_sees_them(lab):
    put = lab.put("round_01/verified", samples({"a": "ppp", "b": "pf"}))
    lab.retracted = {"a-0": "retracted: wrong", "b-1": "retracted: wrong", "gone": "retracted: wrong"}
    made = lab.run("select", "round_01/filtered", {"rows": put}, sql="keep_correct", max_per_prompt=1)
    assert [row["sample_id"] for row in rows_of(made[""])] == ["a-1", "b-0"], (
        "the cap of 1 went to the next row"
    )
    dropped = {row["sample_id"]: row["reason"] for row in rows_of(made["dropped"])}
    assert dropped == {"a-0": "retracted: wrong", "a-2": "over max_per_prompt", "b-1": "retracted: wrong"}
    assert lab.counts["in"] == 5 and lab.counts["kept"] == 2 and lab.counts["dropped: retracted: wrong"] == 2


def test_select_that_gives_no_reason_of_its_own_still_says_why_rows_are_retracted(lab):
    lab.selector("no_reason", "-- summary: All.\nSELECT row_id, 'kept' AS decision, NULL AS reason FROM rows")
    lab.retracted = {"a-0": "retracted: wrong"}
    made = lab.run("select", "f", {"rows": lab.put("v", samples({"a": "pp"}))}, sql="no_reason")
    assert [row["reason"] for row in rows_of(made["dropped"])] == ["retracted: wrong"]


def test_selection_of_retracted_rows_alone_fails_and_says_why(lab):
    put = lab.put("round_01/verified", samples({"a": "pp"}))
    lab.retracted = dict.fromkeys(["a-0", "a-1"], "retracted: wrong")
    with pytest.raises(CheckFailure, match=r"0 of 2 rows kept \(2 retracted: wrong\)"):
        lab.run("select", "round_01/filtered", {"rows": put}, sql="keep_correct")


def test_making_selection_makes_nothing_from_retracted_rows_of_any_input(lab):
    lab.selector("replayed", SELECTORS["replayed"])
    put = {"rows": lab.put("v", samples({"a": "pp"})), "replay": lab.put("b", samples({"r": "pp"}))}
    lab.retracted = {"a-1": "retracted: wrong", "r-0": "retracted: wrong"}
    made = lab.run("select", "m", put, sql="replayed")
    assert [row["parents"] for row in rows_of(made[""])] == [["a-0"], ["r-1"]]
    assert {row["sample_id"]: row["reason"] for row in rows_of(made["dropped"])} == {
        "a-1": "retracted: wrong"
    }


# -- what becomes stale -----------------------------------------------------------------------------------------------


def test_retraction_of_one_rounds_row_makes_its_selections_and_what_follows_stale(root):
    row = rows(root, "tiny/round_02/filtered")[0]["sample_id"]
    effect = add(root, ids=[row])
    assert "tiny/round_02/filtered" in effect.lost and not any("round_01" in key for key in effect.lost)
    found = stale(root)
    assert {key for key in found if key.startswith("tiny/")} == {
        f"tiny/round_02/{name}" for name in ("filtered", "mixed", "checkpoint", "evaluation")
    }
    assert not any("round_01" in key for key in found)
    why = {status.key: status.reasons for status in status_of(plan_of(root))}
    assert why["tiny/round_02/filtered"] == ("retracted: they are wrong",)


def test_retraction_goes_with_the_rows_to_pipelines_that_its_condition_does_not_ask(root):
    """The control trains on rows that the method's own verifier failed: the same ids, another artifact."""
    failed = {row["sample_id"] for row in rows(root, "tiny/round_01/verified") if row["verdict"] == "fail"}
    effect = add(root, where="verdict = 'fail'", **{"in": "tiny/round_01/verified"})
    assert effect.lost["control/round_01/filtered"] == len(failed)
    assert set(json.loads((root / "retracted.json").read_text())["bad"]["ids"]) == failed
    rerun(root)
    assert not failed & {row["sample_id"] for row in rows(root, "control/round_01/filtered")}
    reasons = {row["sample_id"]: row["reason"] for row in rows(root, "control/round_01/filtered.dropped")}
    assert reasons == dict.fromkeys(failed, "retracted: they are wrong")


def test_retraction_drops_new_rows_that_fulfil_its_condition(root):
    add(root, where="verdict = 'fail' AND round > 0")
    before = {row["sample_id"] for row in rows(root, "control/round_02/verified")}
    rerun(root)
    fresh = rows(root, "control/round_02/verified")
    assert not before & {row["sample_id"] for row in fresh}, "another checkpoint sampled"
    kept = rows(root, "control/round_02/filtered")
    assert {row["verdict"] for row in kept} == {"pass"} and any(row["verdict"] == "fail" for row in fresh)


def test_retraction_that_is_taken_back_brings_the_same_bytes_again(root):
    path = root / "artifacts/control/round_02/mixed/manifest.json"
    before = path.read_bytes()
    add(root, where="verdict = 'fail'")
    rerun(root)
    assert path.read_bytes() != before
    (root / "retractions.yaml").write_text("{}\n")
    settled_plan(open_project(root))
    assert not (root / "retracted.json").exists()
    rerun(root)
    assert path.read_bytes() == before


def test_dry_run_says_what_it_touches_and_writes_nothing(root):
    before = sorted(path.name for path in root.iterdir())
    result = CliRunner().invoke(
        command, ["--where", "verdict = 'fail'", "--reason", "x", "--dry-run"], obj=root
    )
    assert (
        result.exit_code == 0
        and "selections that lose rows (" in result.output
        and "nothing was written" in result.output
    )
    assert sorted(path.name for path in root.iterdir()) == before


def test_command_for_programs_gives_rows_selections_and_checkpoints(root):
    row = rows(root, "control/round_02/filtered")[0]["sample_id"]
    result = CliRunner().invoke(
        command, ["--id", row, "--reason", "x", "--json"], obj=root, catch_exceptions=False
    )
    found = json.loads(result.output)
    assert found["rows"] == 1 and found["selections"]["control/round_02/filtered"] == 1
    assert "control/round_02/checkpoint" in found["checkpoints"] and found["direct"] == {}


# -- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"where": "verdict = 'never'"},
            r"no row matches \(\d+ artifacts searched, \d+ more lack its columns\)",
        ),
        ({"where": "verdict = ("}, "--where"),
        ({"where": "true; DROP TABLE rows"}, "--where"),
        ({"where": "(SELECT count(*) FROM read_text('/etc/passwd')) > 0"}, "--where"),
        ({"where": "true) UNION SELECT 'x' WHERE (true"}, "--where"),
        ({"where": "verdict = 'fail'", "in": "tiny/round_09"}, "no rows lie under 'tiny/round_09'"),
        ({"ids": ["none"]}, "no row has the id 'none'"),
    ],
)
def test_retraction_of_nothing_or_by_wrong_sql_is_refused_and_writes_nothing(root, values, message):
    with pytest.raises(UsageError, match=message):
        add(root, **values)
    assert not (root / "retractions.yaml").exists() and not (root / "retracted.json").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--reason", "x"], "say which rows"),
        (["--reason", "x", "--where", "true", "--id", "a"], "say which rows"),
        (["--reason", " ", "--where", "true"], "--reason ' ': say in one line why"),
        (["--reason", "x", "--where", " "], "names no row"),
        (["--reason", "x", "--where", "true", "--in", "../x"], "--in '../x': "),
    ],
)
def test_command_that_says_too_little_is_wrong_use(root, arguments, message):
    result = CliRunner().invoke(command, arguments, obj=root)
    assert result.exit_code == 2 and message in result.output


def test_condition_without_a_single_answer_is_refused(root):
    with pytest.raises(
        DeclarationError, match=r"retractions.yaml: bad.where.*random gives another value each time"
    ):
        add(root, where="verdict = 'fail' AND random() < 0.5")
    assert not (root / "retractions.yaml").exists()


def test_retraction_of_nothing_that_was_written_by_hand_names_file_and_key(root):
    (root / "retractions.yaml").write_text(
        "bad:\n  reason: x\n  date: 2026-11-21\n  where: verdict = 'never'\n"
    )
    with pytest.raises(DeclarationError, match=r"retractions.yaml:4: bad.where: no row matches"):
        settled_plan(open_project(root))


def test_retraction_written_by_hand_is_resolved_when_the_plan_is_written(root):
    row = rows(root, "tiny/round_02/filtered")[0]["sample_id"]
    (root / "retractions.yaml").write_text(f"bad:\n  reason: x\n  date: 2026-11-21\n  ids: ['{row}']\n")
    assert "tiny/round_01/filtered" in stale(root), "until then it may touch any selection"
    settled_plan(open_project(root))
    assert "tiny/round_01/filtered" not in stale(root) and "tiny/round_02/filtered" in stale(root)


def test_selection_that_was_untouched_but_gets_retracted_rows_fails_until_the_plan_is_written(root):
    add(root, where="sample_index = 3 OR round = 2")
    assert not plan_of(root).step("tiny/round_01/filtered").retractions
    for name in ("tiny", "control"):
        path = root / "pipelines" / f"{name}.yaml"
        path.write_text(path.read_text().replace("samples: 3", "samples: 4"))
    plan = plan_of(root)
    for name in ("generated", "verified"):
        run_step(plan, f"tiny/round_01/{name}")
    with pytest.raises(
        ProjectError,
        match=r"retracted.json is stale: tiny/round_01/filtered was untouched by 'bad'.*20 of its",
    ):
        run_step(plan, "tiny/round_01/filtered")
    settled_plan(open_project(root))
    run_step(plan_of(root), "tiny/round_01/filtered")
    assert {row["sample_index"] for row in rows(root, "tiny/round_01/filtered")} <= {0, 1, 2}


def test_trainer_that_reads_rows_without_a_selection_is_named_and_stops(root):
    row = rows(root, "tiny/tasks/base")[0]["prompt_id"]
    effect = add(root, ids=[row])
    assert effect.direct == {
        f"{name}/start/checkpoint": [f"{name}/tasks/base"] for name in ("tiny", "control")
    }
    marks = tainted_checkpoints(plan_of(root))
    assert marks["tiny/start/checkpoint"] == {"bad": "trained on 1 retracted row"}
    shutil.rmtree(root / "artifacts/tiny/start/checkpoint")
    with pytest.raises(
        CheckFailure, match=r"would train on retracted rows \(1 by 'bad'\). Put a selection .*tiny/tasks/base"
    ):
        run_step(plan_of(root), "tiny/start/checkpoint")


def test_selection_whose_ancestors_are_missing_is_refused(root):
    add(root, where="verdict = 'fail'")
    shutil.rmtree(root / "artifacts/tiny/round_01/generated")
    with pytest.raises(ArtifactError, match="its retracted rows cannot be told: tiny/round_01/generated"):
        run_step(plan_of(root), "tiny/round_01/filtered")


def unreadable_rows(root):
    """Damages the rounds' files of rows, whose digests nobody recomputes here; what a trainer reads past a selection stays."""
    for path in (root / "artifacts").glob("*/round_*/*/*.parquet"):
        path.unlink()
        path.write_bytes(b"no rows")


def test_retraction_that_was_applied_reads_no_rows_for_status_or_plan(root):
    add(root, ids=[rows(root, "tiny/round_02/filtered")[0]["sample_id"]])
    rerun(root)
    plan = plan_of(root)
    before = [step.retractions for step in plan.steps.values()]
    unreadable_rows(root)
    assert tainted_checkpoints(plan) == {}
    assert [step.retractions for step in settled_plan(open_project(root)).steps.values()] == before


# -- tainted checkpoints ----------------------------------------------------------------------------------------------


def test_checkpoint_is_tainted_until_it_is_made_again_and_what_descends_from_it_longer(root):
    row = rows(root, "tiny/round_01/filtered")[0]["sample_id"]
    add(root, ids=[row])
    assert tainted_checkpoints(plan_of(root))["tiny/round_01/checkpoint"] == {
        "bad": "trained on 1 retracted row"
    }
    plan = plan_of(root)
    run_step(plan, "tiny/round_01/filtered")
    run_step(plan, "tiny/round_01/mixed")
    why = tainted_checkpoints(plan)["tiny/round_01/checkpoint"]
    assert why == {"bad": "made before tiny/round_01/mixed was made without retracted rows"}
    run_step(plan, "tiny/round_01/checkpoint")
    marks = tainted_checkpoints(plan)
    assert "tiny/round_01/checkpoint" not in marks and "tiny/round_02/checkpoint" in marks
    assert any(
        "tainted by 'bad'" in why
        for s in status_of(plan)
        if s.key == "tiny/round_02/checkpoint"
        for why in s.reasons
    )
    rerun(root)
    assert tainted_checkpoints(plan_of(root)) == {}


def test_retract_while_another_is_pending_reports_all_that_it_touches(root):
    alone = add(root, dry=True, where="verdict = 'pass'").lost
    add(root, name="first", where="verdict = 'pass' AND prompt_id < '8'")
    assert stale(root)
    assert add(root, dry=True, name="second", where="verdict = 'pass'").lost == alone


def test_retraction_in_a_pipeline_is_of_all_its_seeds_and_in_one_seed_of_that_one():
    every = Retraction(reason="x", date="2026-11-21", where="true", **{"in": "toy/round_01"})
    one = Retraction(reason="x", date="2026-11-21", where="true", **{"in": "toy__seed_1"})
    both = Retractions({"every": every, "one": one})
    assert [(rule.name, rule.within) for rule in both.rules("toy")] == [("every", "round_01")]
    assert [(rule.name, rule.within) for rule in both.rules("toy__seed_1")] == [
        ("every", "round_01"),
        ("one", ""),
    ]
    assert [rule.name for rule in both.rules("toy__seed_2")] == ["every"] and both.rules("toys") == ()
    keys = [
        "toy/round_01/verified",
        "toy__seed_1/round_01/verified",
        "toy__seed_1/round_02/verified",
        "toys/round_01/verified",
    ]
    assert [every.asks(key) for key in keys] == [True, True, False, False]
    assert [one.asks(key) for key in keys] == [False, True, True, False]


def test_condition_of_one_pipeline_is_not_asked_of_the_rows_that_another_gave_it():
    entry = Retraction(reason="x", date="2026-11-21", where="true", **{"in": "toy/round_01"})
    (rule,) = Retractions({"bad": entry}).rules("toy")
    assert rule.asks("toy/round_01/verified") and not rule.asks("other/round_01/verified")
    (whole,) = Retractions({"bad": entry.model_copy(update={"within": "toy"})}).rules("toy")
    assert whole.asks("toy/round_02/verified") and not whole.asks("other/round_02/verified")


def test_retraction_notes_ids_for_readers_that_do_not_come_from_the_rows_that_match(root):
    """Another verifier's verdict on the same samples: what reads only the first one's rows cannot find them by itself."""
    path = root / "pipelines" / "tiny.yaml"
    again = "  again:      {use: exact_match, rows: generated, name: second}\n"
    path.write_text(path.read_text().replace("  filtered: ", again + "  filtered: "))
    plan = plan_of(root)
    for number in (1, 2):
        run_step(plan, f"tiny/round_0{number}/again")
    failed = {
        row["sample_id"] for row in rows(root, "tiny/round_01/again") if row["second_verdict"] == "fail"
    }
    effect = add(root, where="second_verdict = 'fail' AND round = 1")
    assert (
        effect.lost["tiny/round_01/filtered"] == len(failed) and "tiny/round_02/filtered" not in effect.lost
    )
    assert set(json.loads((root / "retracted.json").read_text())["bad"]["ids"]) == failed


def test_retract_and_contamination_warn_of_damaged_artifacts(root):
    (victim,) = (root / "artifacts" / "tiny" / "round_02" / "verified").glob("*.parquet")
    victim.write_bytes(victim.read_bytes()[:-1] + b"?")
    retracted = CliRunner().invoke(
        command, ["--where", "hinted", "--reason", "x", "--in", "tiny/round_01", "--dry-run"], obj=root
    )
    looked = CliRunner().invoke(contamination, ["tiny/round_01"], obj=root)
    for result in (retracted, looked):
        assert "warning: tiny/round_02/verified: " in result.stderr
