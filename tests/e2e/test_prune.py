"""`retain:` and `lineal prune`: what goes, what stays, and that what went is made again to the same bytes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import dagster as dg
import pytest

from lineal.orchestrate.dagster_keys import asset_key
from lineal.orchestrate.dvc_lock import locked_artifacts
from lineal.orchestrate.pruning import pruning_of
from lineal.recipe.project import open_project
from lineal.step.status import State

from .test_records import git, said, told_as_json
from .toy_project import command, edit, run_logs

LAST = "retain: {checkpoints: {last: 1}}\n"
PRUNED = "toy/round_01/checkpoint"


def retain(root: Path, rule: str) -> None:
    (root / "params.yaml").write_text((root / "params.yaml").read_text() + rule)


def states(capsys, root: Path) -> dict[str, str]:
    return {one["key"]: one["state"] for one in told_as_json(capsys, root, "status")}


def objects(root: Path) -> int:
    return sum(path.stat().st_size for path in (root / ".dvc/cache/files").rglob("*") if path.is_file())


def test_prune_takes_checkpoints_and_cache_and_followers_stay_up_to_date(finished, capsys):
    retain(finished, LAST)
    before = locked_artifacts(finished), objects(finished)
    dry = said(capsys, finished, "prune", "--dry-run")
    assert (finished / "artifacts" / PRUNED).exists() and "1 artifacts would go" in dry
    assert any(line.split()[:3] == ["toy", "round_01", "model"] for line in dry.splitlines())
    said(capsys, finished, "prune")
    assert not (finished / "artifacts" / PRUNED).exists()
    assert locked_artifacts(finished) == before[0]
    assert objects(finished) < before[1]
    found = states(capsys, finished)
    assert found.pop(PRUNED) == State.RECORDED
    assert set(found.values()) == {State.DONE}
    assert "nothing to do" in said(capsys, finished, "run")
    assert "0 artifacts went" in said(capsys, finished, "prune")


def test_pruned_checkpoint_made_again_has_its_digest_and_nothing_else_runs(finished, capsys):
    retain(finished, LAST)
    said(capsys, finished, "prune")
    recorded, logs = locked_artifacts(finished), run_logs(finished)
    said(capsys, finished, "run", "--remake", PRUNED)
    assert (finished / "artifacts" / PRUNED).exists()
    assert locked_artifacts(finished) == recorded
    changed = {key for key, when in run_logs(finished).items() if logs.get(key) != when}
    assert changed == {PRUNED}
    assert set(states(capsys, finished).values()) == {State.DONE}


def test_audits_of_a_pruned_project_and_of_its_clone_are_whole(finished, tmp_path, capsys):
    whole = told_as_json(capsys, finished, "diff", "toy/round_01", "toy/round_02")
    retain(finished, LAST)
    said(capsys, finished, "prune")
    assert told_as_json(capsys, finished, "diff", "toy/round_01", "toy/round_02") == whole
    git(finished, "add", ".")
    git(finished, "commit", "-qm", "Pruned")
    command(finished, "dvc", "remote", "add", "-d", "-q", "store", str(tmp_path / "store"))
    shutil.rmtree(finished / ".dvc/tmp", ignore_errors=True)
    git(finished, "add", ".")
    git(finished, "commit", "-qm", "A remote")
    command(
        finished,
        "dvc",
        "push",
        "-q",
        *[f"artifacts/{key}" for key in locked_artifacts(finished) if key != PRUNED],
    )
    git(tmp_path, "clone", "-q", str(finished), str(tmp_path / "clone"))
    told = said(capsys, tmp_path / "clone", "run", "--pull")
    assert f"not on DVC's remote: {PRUNED}" in told
    for root in (finished, tmp_path / "clone"):
        assert "by their records: 1 artifacts" in said(capsys, root, "round", "toy/round_02", "--verify")
        assert "base        toy/start/checkpoint" in said(capsys, root, "round", "toy/round_02")
        assert PRUNED in {
            node["id"] for node in told_as_json(capsys, root, "trace", "toy/round_02/checkpoint")["nodes"]
        }
        assert told_as_json(capsys, root, "diff", "toy/round_01", "toy/round_02") == whole


def test_best_round_is_kept_beside_the_last(finished, capsys):
    edit(finished / "params.yaml", "rounds: 2", "rounds: 3")
    said(capsys, finished, "run")
    places = {
        number: finished / f"artifacts/toy/round_0{number}/evaluation/metrics.json" for number in (1, 2, 3)
    }
    values = {number: json.loads(path.read_text())["accuracy"] for number, path in places.items()}
    best = max(values, key=lambda number: (values[number], -number))
    retain(
        finished,
        "retain: {checkpoints: {last: 1, best: evaluation.accuracy}, nodes: {generated: {last: 2}}}\n",
    )
    going = set(pruning_of(open_project(finished)).going)
    kept = {best, 3}
    assert going == {f"toy/round_0{n}/checkpoint" for n in {1, 2, 3} - kept} | {"toy/round_01/generated"}


def test_what_a_stale_step_reads_stays(finished, capsys):
    retain(finished, LAST)
    shutil.rmtree(finished / "artifacts/toy/round_02/generated")
    shutil.rmtree(finished / ".dvc/cache")
    shutil.rmtree(finished / "records/toy/round_02")
    assert PRUNED in pruning_of(open_project(finished)).held
    said(capsys, finished, "prune")
    assert (finished / "artifacts" / PRUNED).exists()


@pytest.mark.parametrize(
    "rule", ["retain: {checkpoints: {}}", "retain: {checkpoints: {best: accuracy}}", "retain: {rows: none}"]
)
def test_retain_that_cannot_be_is_refused_with_its_key(finished, capsys, rule):
    retain(finished, rule + "\n")
    assert "params.yaml" in said(capsys, finished, "prune", status=2)


def test_leftovers_are_told_by_status_and_cleared_everywhere(finished, capsys):
    edit(finished / "params.yaml", "rounds: 2", "rounds: 1")
    assert "left over, planned by no pipeline: toy/round_02/" in said(capsys, finished, "status")
    text = (finished / "dvc.lock").read_text()
    said(capsys, finished, "prune")
    assert not (finished / "artifacts/toy/round_02").exists()
    assert not list(finished.glob("records/toy/round_02/*"))
    assert {key for key in locked_artifacts(finished) if "round_02" in key} == set()
    assert all(line in text.splitlines() for line in (finished / "dvc.lock").read_text().splitlines())
    with dg.DagsterInstance.get() as instance:
        known = set(instance.all_asset_keys())
    assert asset_key("toy/round_01/checkpoint") in known
    assert asset_key("toy/round_02/checkpoint") not in known
    assert "left over" not in said(capsys, finished, "status")
    assert command(finished, "dvc", "status").strip().endswith("up to date.")


def test_pipeline_that_is_not_active_is_no_leftover(finished, capsys):
    shutil.copy(finished / "pipelines/toy.yaml", finished / "pipelines/other.yaml")
    edit(finished / "params.yaml", "active: [toy]", "active: [other]")
    assert pruning_of(open_project(finished)).leftovers == ()
    (finished / "pipelines/toy.yaml").unlink()
    assert len(pruning_of(open_project(finished)).leftovers) == len(locked_artifacts(finished))


def test_fresh_clone_has_no_work_and_makes_only_what_a_stale_step_reads(finished, tmp_path, capsys):
    git(finished, "add", ".")
    git(finished, "commit", "-qm", "Two rounds")
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", str(finished), str(clone))
    assert set(states(capsys, clone).values()) == {State.RECORDED}
    hint = "14 of them recorded and not here: lineal run --pull brings them, --remake makes them again"
    assert hint in said(capsys, clone, "run")
    said(capsys, clone, "status", "--check")
    edit(
        clone / "pipelines/toy.yaml",
        "prompts: tasks.test, max_tokens: 16}",
        "prompts: tasks.test, max_tokens: 12}",
    )
    would = {one["key"] for one in told_as_json(capsys, clone, "run", "toy/round_01", "--dry-run")["steps"]}
    read = {
        "round_01/checkpoint",
        "round_01/filtered",
        "round_01/verified",
        "round_01/generated",
        "start/checkpoint",
    }
    assert would == {
        f"toy/{name}" for name in {"round_01/evaluation", "tasks/test", "tasks/train", "tasks/base", *read}
    }
