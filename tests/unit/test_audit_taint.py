"""`lineal taint`: what descends from the rows of a condition, and conditions that cannot leave their cage."""

import json

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from lineal.audit.catalog import read_catalog
from lineal.audit.trace.forward import forward_json, trace_forward
from lineal.audit.trace.taint import taint, taint_text
from lineal.audit.trace.target import Target, TargetKind
from lineal.cli.look import taint as command
from lineal.errors import UsageError
from lineal.recipe.compute import Compute
from tests.unit.audit_project import made_project

COMPUTE = Compute(workers=1)


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    return made_project(tmp_path_factory.mktemp("taint"))


@pytest.fixture(scope="module")
def catalog(plan):
    return read_catalog(plan.project)


def rows(plan, key):
    return pq.read_table(plan.project.directory(key) / "part-00000.parquet").to_pylist()


def run(plan, *arguments):
    return CliRunner().invoke(command, arguments, obj=plan.project.root, catch_exceptions=False)


def test_taint_of_one_row_is_its_forward_trace_in_every_pipeline(plan, catalog):
    row = rows(plan, "tiny/round_01/filtered")[0]["sample_id"]
    found = taint(catalog, f"sample_id = '{row}'", COMPUTE)
    assert found.rows == 1
    assert forward_json(list(found.touched)) == forward_json(
        trace_forward(catalog, Target(TargetKind.ROW, row), COMPUTE)
    )
    assert {"tiny/round_01/checkpoint", "control/round_01/checkpoint"} <= set(found.checkpoints)


def test_taint_by_a_verdict_finds_the_rows_wherever_they_are_trained_on(plan, catalog):
    found = taint(catalog, "verdict = 'fail'", COMPUTE, catalog.artifacts["tiny/round_01/verified"])
    assert found.matched == {
        "tiny/round_01/verified": catalog.artifacts["tiny/round_01/verified"].manifest.counts["fail"]
    }
    touched = {one.key: one for one in found.touched}
    assert "tiny/round_01/filtered" not in touched, "it dropped them"
    assert touched["control/round_01/filtered"].made == found.rows, (
        "the same rows, kept without looking at the verdict"
    )
    assert "control/round_02/checkpoint" in found.checkpoints
    assert not any(key.startswith("tiny/") for key in found.checkpoints)


def test_taint_searches_only_artifacts_with_the_columns_and_says_so(plan, catalog):
    found = taint(catalog, "verdict = 'pass'", COMPUTE)
    assert "tiny/tasks/train" in found.passed_over
    assert "tiny/round_01/verified" in found.searched
    assert set(found.searched) & set(found.passed_over) == set()
    assert f"{len(found.passed_over)} lack its columns" in taint_text(found, 200)


def test_taint_of_nothing_says_so_and_is_no_failure(plan):
    result = run(plan, "--where", "sample_id = 'none'")
    assert result.exit_code == 0
    assert result.output.startswith("no row matches: ")
    found = json.loads(run(plan, "--where", "false", "--json").output)
    assert (found["rows"], found["matched"], found["checkpoints"], found["touched"]) == (0, {}, [], [])


def test_taint_command_names_checkpoints_for_people_and_programs(plan):
    row = rows(plan, "tiny/round_02/filtered")[0]["sample_id"]
    found = json.loads(
        run(plan, "--where", f"sample_id = '{row}'", "--in", "tiny/round_02/filtered", "--json").output
    )
    assert found["searched"] == ["tiny/round_02/filtered"]
    assert "tiny/round_02/checkpoint" in found["checkpoints"]
    assert "CHECKPOINT" in run(plan, "--where", f"sample_id = '{row}'").output


@pytest.mark.parametrize(
    "where",
    [
        "true; DROP TABLE tainted",
        "true) UNION SELECT sample_id FROM rows WHERE (true",
        "true) LIMIT (3",
        "(SELECT count(*) FROM read_text('/etc/passwd')) > 0",
        "(SELECT count(*) FROM '/etc/passwd') > 0",
        "(SELECT count(*) FROM glob('/*')) > 0",
        "(SELECT count(*) FROM read_parquet('artifacts/*/*/*/*.parquet')) > 0",
        "getenv('HOME') = 'x'",
        "verdict = (",
        "no_such_column = 1",
        "verdict + 1 = 2",
        "",
    ],
)
@pytest.mark.parametrize("key", [None, "tiny/round_01/verified"])
def test_taint_where_that_is_no_condition_on_rows_is_refused(catalog, where, key):
    with pytest.raises(UsageError, match="--where"):
        taint(catalog, where, COMPUTE, catalog.artifacts.get(key))


def test_taint_where_with_an_unknown_column_lists_those_there_are(catalog):
    with pytest.raises(UsageError, match=r"verdikt(.|\n)*columns here: .*verdict"):
        taint(catalog, "verdikt = 'pass'", COMPUTE)


def test_taint_in_a_checkpoint_is_refused(catalog):
    with pytest.raises(UsageError, match="holds no rows"):
        taint(catalog, "true", COMPUTE, catalog.artifacts["tiny/start/checkpoint"])
