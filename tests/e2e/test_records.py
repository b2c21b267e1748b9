"""What a fresh clone knows by `records/` alone: nothing false is said, and what cannot be known is said to be unknown."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import dagster as dg
import pytest

from lineal.cli.main import run_command
from lineal.data.records import records_of
from lineal.errors import ArtifactError
from lineal.orchestrate.dagster_assets import step_assets
from lineal.orchestrate.dvc_lock import locked_artifacts
from lineal.orchestrate.dvc_repo import DvcProject
from lineal.orchestrate.dvc_yaml import write_dvc_yaml
from lineal.orchestrate.recording import write_records
from lineal.recipe.project import open_project

from .toy_project import TOY, command, plan_of


def git(root: Path, *arguments: str) -> None:
    subprocess.run(
        ["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments],
        cwd=root,
        check=True,
        capture_output=True,
    )


@pytest.fixture
def clone(finished, tmp_path) -> Path:
    """A clone of a finished project: git's files, and neither artifacts nor cache nor run logs."""
    git(finished, "add", ".")
    git(finished, "commit", "-qm", "Two rounds")
    git(tmp_path, "clone", "-q", str(finished), str(tmp_path / "clone"))
    return tmp_path / "clone"


def said(capsys, root: Path, *arguments: str, status: int = 0) -> str:
    capsys.readouterr()
    got = run_command(["-C", str(root), *arguments])
    text = "".join(capsys.readouterr())
    assert got == status, text
    return text


def told_as_json(capsys, root: Path, *arguments: str) -> dict:
    capsys.readouterr()
    assert run_command(["-C", str(root), *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_every_recorded_artifact_has_one_record_and_a_second_writing_writes_none(finished):
    project, recorded = open_project(finished), locked_artifacts(finished)
    assert all(len(records_of(finished, key)) == 1 for key in recorded)
    assert write_records(project, recorded) == 0
    assert not list(finished.glob("records/**/*.parquet")) + list(finished.glob("records/**/*.safetensors"))


def test_clone_proves_a_round_by_manifests_and_says_so(clone, capsys):
    told = told_as_json(capsys, clone, "show", "toy/round_02", "--verify")
    assert told["checkpoints"][0]["base"]["key"] == "toy/start/checkpoint"
    assert told["verified"] == {"artifacts": 14, "by_record": 14, "problems": {}}
    assert told["checkpoints"][0]["mix"]["rows"][0]["unknown"] is True
    assert "of unknown origin" in said(capsys, clone, "show", "toy/round_02")


def test_clone_compares_rounds_by_numbers_and_calls_rows_unknown(clone, finished, capsys):
    told = said(capsys, clone, "diff", "toy/round_01", "toy/round_02")
    assert "rows: unknown, since toy/round_01/generated, toy/round_02/generated are not here" in told
    here = said(capsys, finished, "diff", "toy/round_01", "toy/round_02")
    numbers = [line for line in here.splitlines() if line.startswith("  accuracy  ")]
    assert numbers and set(numbers) <= set(told.splitlines())
    assert "only in" not in told


def test_clone_traces_a_checkpoint_to_its_base_and_forward_with_unknown_rows(clone, capsys):
    told = told_as_json(capsys, clone, "trace", "toy/round_02/checkpoint")
    assert {"toy/round_01/checkpoint", "toy/start/checkpoint", "toy/tasks/base"} <= {
        node["id"] for node in told["nodes"]
    }
    forward = said(capsys, clone, "trace", "toy/round_01/generated", "--forward")
    assert "round_01/verified          unknown of 48 rows" in forward
    assert "round_01/generated         48 of 48 rows" in forward


def test_clone_shows_values_and_refuses_rows_that_are_not_here(clone, capsys):
    assert "accuracy  0." in said(capsys, clone, "show", "toy/round_02/evaluation")
    told = said(capsys, clone, "show", "toy/round_01/generated", "--where", "true", status=1)
    assert (
        "toy/round_01/generated is recorded, but not here. Bring it: lineal run --pull toy/round_01/generated"
        in told
    )
    said(capsys, clone, "export", "toy/round_01/generated", str(clone / "x"), status=1)


def test_clone_report_has_the_numbers_and_the_costs_of_the_project(clone, finished, capsys):
    for root in (clone, finished):
        said(capsys, root, "report")
    pages = [(root / "reports/index.html").read_text() for root in (clone, finished)]
    costs = [
        page[page.index("<h3>Cost") :] if "<h3>Cost" in page else page.partition("Cost")[2] for page in pages
    ]
    assert costs[0][:400] == costs[1][:400]
    assert "No step has run here" not in pages[0]


def test_clone_report_takes_what_the_records_know_and_says_once_what_it_lacks(clone, finished, capsys):
    for root in (clone, finished):
        said(capsys, root, "report")
    told, here = [
        re.sub(r"<[^>]+>", "\n", (root / "reports/index.html").read_text()) for root in (clone, finished)
    ]
    assert "cannot be read" not in told and "is not there" not in told
    assert told.count("artifacts are recorded and not here") == 1 and "recorded and not here" not in here
    assert "The rows are not here: " in told and "No rows yet" not in told
    accuracies = re.findall(r"\d+\.\d% \(\d+-\d+\)", here)
    assert accuracies and re.findall(r"\d+\.\d% \(\d+-\d+\)", told) == accuracies
    differences = re.findall(r"[-+]\d+\.\d \([-+]\d+\.\d to [-+]\d+\.\d\)", here)
    assert differences and "More than noise?" in here and "More than noise?" not in told, (
        "prompts are compared by their rows"
    )


def test_row_whose_makers_are_not_here_is_traced_as_far_as_it_is_known(clone, finished, capsys):
    shutil.copytree(finished / "artifacts/toy/round_02/filtered", clone / "artifacts/toy/round_02/filtered")
    row = told_as_json(capsys, clone, "show", "toy/round_02/filtered")["rows"][0]
    here, told = (told_as_json(capsys, root, "trace", row["sample_id"]) for root in (finished, clone))
    edges = {
        (edge["relation"], edge["to"]): edge["facts"]
        for edge in told["edges"]
        if edge["from"] == told["root"]
    }
    for maker in ("toy/round_02/verified", "toy/round_02/generated"):
        assert f"lineal run --pull {maker}" in edges["unknown", maker]["unknown"]
    assert edges["decision", "toy/round_02/filtered"]["decision"] == "kept"
    assert ("model", "toy/round_01/checkpoint") in edges
    models = [{node["id"] for node in graph["nodes"] if node["kind"] == "model"} for graph in (here, told)]
    assert models[0] == models[1] == {"toy/start/checkpoint", "toy/round_01/checkpoint"}
    assert "one of which may; bring them: lineal run --pull" in json.dumps(told)


def test_what_is_not_here_is_told_once_for_a_command(clone, capsys):
    for asked in (
        "diff toy/round_01 toy/round_02",
        "trace toy/round_02/checkpoint",
        "round toy/round_02",
        "report",
    ):
        assert (
            said(capsys, clone, *asked.split()).count("warning: not here, though dvc.lock records it") == 1
        ), asked


def test_cost_of_another_branchs_run_is_not_taken_for_this_artifacts(finished, capsys):
    log = finished / "runs/toy/round_01/generated.json"
    other = json.loads(log.read_text()) | {"identity": "0" * 64, "seconds": 12345.0}
    log.write_text(json.dumps(other))
    told = told_as_json(capsys, finished, "round", "toy/round_01")
    assert next(one for one in told["artifacts"] if one["key"] == "toy/round_01/generated")["source_digest"]
    said(capsys, finished, "report")
    assert "12345" not in (finished / "reports/index.html").read_text().replace(",", "")


def test_record_that_was_edited_is_told_and_not_believed(clone, capsys):
    (record,) = records_of(clone, "toy/round_01/evaluation")
    (record / "manifest.json").write_text(
        (record / "manifest.json").read_text().replace('"seed": 0', '"seed": 1')
    )
    assert "is not of the directory with MD5" in said(capsys, clone, "show", "toy/round_02")


def test_project_without_records_says_unknown_where_it_knows_nothing(clone, finished, capsys):
    shutil.rmtree(clone / "records/toy/start")
    shutil.rmtree(clone / "records/toy/round_01")
    told = said(capsys, clone, "show", "toy/round_02")
    assert "base        unknown: it comes from round_01/checkpoint" in told
    told = said(capsys, clone, "trace", "toy/round_01/checkpoint", status=2)
    assert "toy/round_01/checkpoint is recorded, but not here" in told


def test_retract_in_a_clone_says_of_which_selections_it_cannot_tell(finished, capsys):
    rows = finished / "artifacts/toy/round_02/verified"
    shutil.rmtree(rows)
    told = said(capsys, finished, "retract", "--where", "round = 2", "--reason", "bad", "--dry-run")
    assert "of which it is not known" in told
    assert "toy/round_02/filtered" in told.partition("of which it is not known")[2]


def test_retract_in_a_clone_refuses_what_it_cannot_tell_and_writes_nothing(clone, capsys):
    for more in ([], ["--dry-run"]):
        told = said(capsys, clone, "retract", "--where", "round = 2", "--reason", "bad", *more, status=2)
        assert (
            "16 artifacts are recorded but not here, so that nobody knows of their rows. Bring them first"
            in told
        )
        assert "0 selections" not in told
    assert not (clone / "retractions.yaml").exists()


def test_round_at_a_revision_whose_cache_is_gone_is_told_by_the_records(finished, capsys):
    git(finished, "add", ".")
    git(finished, "commit", "-qm", "Two rounds")
    shutil.rmtree(finished / ".dvc/cache")
    told = said(capsys, finished, "show", "toy/round_02", "--rev", "HEAD", "--verify")
    assert "by their records: 14 artifacts" in told
    assert "WRONG" not in told and "are what they say" not in told
    traced = told_as_json(capsys, finished, "trace", "toy/round_01/checkpoint", "--rev", "HEAD")
    assert traced["root"] == "toy/round_01/checkpoint"


def without(root: Path, key: str) -> None:
    """Leaves of an artifact its record alone."""
    shutil.rmtree(root / "artifacts" / key)
    md5 = locked_artifacts(root)[key]
    (root / ".dvc/cache/files/md5" / md5[:2] / md5[2:]).unlink()


READS = "toy/round_02/filtered reads toy/round_02/verified, which is recorded, but not here. "
BRING = "Bring it: lineal run --pull toy/round_02/verified, or make it again: lineal run --remake toy/round_02/verified"


def test_dagster_says_of_an_input_that_is_only_recorded_what_brings_it(finished):
    without(finished, "toy/round_02/verified")
    (finished / "pipelines/toy.yaml").write_text(TOY.replace("max_per_prompt: 1", "max_per_prompt: 2"))
    plan = plan_of(finished)
    write_dvc_yaml(plan)
    with pytest.raises(ArtifactError) as error:
        DvcProject(finished).reproduce(plan, plan.step("toy/round_02/filtered"))
    assert str(error.value) == READS + BRING
    definitions = dg.Definitions(step_assets(plan, [plan.step("toy/round_02/filtered")]))
    with dg.DagsterInstance.get() as instance:
        result = definitions.resolve_implicit_global_asset_job_def().execute_in_process(
            instance=instance, raise_on_error=False
        )
    failures = [event.step_failure_data for event in result.all_events if event.is_step_failure]
    assert [failure.user_failure_data.description for failure in failures] == [READS + BRING]


def test_dvc_repro_warns_before_it_makes_again_what_is_recorded(finished):
    without(finished, "toy/round_02/verified")
    warning = "warning: recorded, but not here, and made again: toy/round_02/verified. To bring what DVC's remote has instead: "
    assert warning not in command(finished, "dvc", "repro", "--allow-missing")
    told = command(finished, "dvc", "repro")
    assert warning + "lineal run --pull; to leave it where it is: dvc repro --allow-missing" in told
    assert told.count(warning) == 1
    assert (finished / "artifacts/toy/round_02/verified/manifest.json").exists()
