"""A project in use: disks that are full, users who share it, and params.yaml without a pipeline."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import time
from pathlib import Path

import pytest

from lineal.cli.main import run_command
from lineal.data.manifest import Manifest
from lineal.data.workspace import Workspace
from lineal.orchestrate.dagster_databases import make_databases
from lineal.orchestrate.dvc_lock import locked_artifacts
from lineal.recipe.compute import Compute
from lineal.recipe.references import ArtifactKind
from lineal.step.handover import MARK

from .toy_project import BIN, command, edit, plan_of, to_make

OLD = "evaluation: {use: accuracy, model: checkpoint, prompts: tasks.test, max_tokens: 16}"


def test_run_on_a_full_disk_says_so_and_the_next_one_goes_on(finished):
    before, records = locked_artifacts(finished), len(list(finished.glob("records/**/manifest.json")))
    edit(finished / "pipelines/toy.yaml", OLD, OLD.replace("16", "17"))
    for most_bytes in (4 << 10, 64 << 10):
        done = subprocess.run(
            [BIN / "lineal", "run"],
            cwd=finished,
            capture_output=True,
            text=True,
            check=False,
            preexec_fn=lambda size=most_bytes: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)),
        )
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        assert "error: " in done.stderr and "run again" in done.stderr
    assert locked_artifacts(finished) == before
    assert len(list(finished.glob("records/**/manifest.json"))) == records
    plan = plan_of(finished)
    assert {step.key for step in to_make(plan)} == {"toy/round_01/evaluation", "toy/round_02/evaluation"}
    assert run_command(["-C", str(finished), "run"]) == 0
    assert to_make(plan) == []


def test_steps_of_dvc_repro_share_a_warm_process_that_ends_with_it(finished):
    edit(finished / "pipelines/toy.yaml", OLD, OLD.replace("16", "17"))
    command(finished, "dvc", "repro")
    _, address = (finished / "runs" / MARK).read_text().split("\n")
    assert json.loads((finished / "runs/toy/round_02/evaluation.json").read_text())["status"] == "done"
    until = time.monotonic() + 30
    while Path(address).parent.exists() and time.monotonic() < until:
        time.sleep(0.1)
    assert not Path(address).parent.exists(), "the server ends with DVC and takes its socket away"


def test_output_that_cannot_be_written_is_told_without_a_traceback(finished, capsys):
    assert run_command(["-C", str(finished), "show", "toy/round_01/generated"]) == 0
    assert (
        run_command(["-C", str(finished), "openlineage", "-o", str(finished / "nowhere/events.jsonl")]) == 1
    )
    assert "error: " in capsys.readouterr().err


@pytest.fixture
def team_umask():
    before = os.umask(0o002)
    yield
    os.umask(before)


@pytest.mark.usefixtures("team_umask")
def test_what_is_published_may_be_written_by_the_group(tmp_path):
    workspace = Workspace(tmp_path, "x", 0, 0, Compute(), {}, tmp_path / ".x.partial")
    weights = workspace.directory() / "model.safetensors"
    weights.write_bytes(b"")
    weights.chmod(0o600)

    def manifest(**parts):
        return Manifest(
            step="x",
            component="x",
            version=1,
            identity="x",
            settings={},
            seed=0,
            inputs={},
            files_read={},
            counts={},
            **parts,
        )

    workspace.publish(workspace.draft("", manifest, ArtifactKind.MODEL), tmp_path / "x")
    assert modes(tmp_path / "x") == {"model.safetensors": "664", "manifest.json": "664"}
    home = tmp_path / "home"
    home.mkdir()
    make_databases(home)
    assert set(modes(home).values()) == {"664", "775"}


def modes(directory: Path) -> dict[str, str]:
    return {
        str(path.relative_to(directory)): f"{path.stat().st_mode & 0o777:o}" for path in directory.rglob("*")
    }


def test_project_without_an_active_pipeline_answers_every_look(finished, capsys):
    edit(finished / "params.yaml", "active: [toy]", "active: []")
    said = {}
    for asked in (
        "plan",
        "status",
        "run --dry-run",
        "plan --write",
        "check",
        "run",
        "status --json",
        "prune --dry-run",
    ):
        assert run_command(["-C", str(finished), *asked.split()]) == 0, asked
        said[asked] = capsys.readouterr().out
    assert "0 steps in no pipeline: params.yaml has none active" in said["plan"]
    assert "0 steps: 0 done" in said["status"] and json.loads(said["status --json"]) == []
    assert run_command(["-C", str(finished), "report"]) == 2
    assert "no pipeline is active" in capsys.readouterr().err
