"""Data that DVC keeps beside a pipeline: what is said where it is not here, and of the stages that make it."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import datasets
import pytest

from lineal.cli.main import run_command
from lineal.data.tracked import tracked

from .toy_project import command, edit, make_project

MADE = """\
method: Data
summary: Rows that were there before.
tasks:
  train: {use: dataset, path: data/made.jsonl, columns: {prompt: question, answer: answer, completion: given}}
round:
  verified: {use: exact_match, rows: tasks.train}
"""
BOTH = """\
method: Data
summary: Rows of two files, one of which a stage makes.
tasks:
  train: {use: dataset, path: data/raw.jsonl, columns: {prompt: question, answer: answer, completion: given}}
  more: {use: dataset, path: data/made.jsonl, columns: {prompt: question, answer: answer}}
round:
  verified: {use: exact_match, rows: tasks.train}
"""
PARAMS = "rounds: 1\nactive: [toy]\ncompute: {engine: fake, workers: 1}\n"
PREPARE = """\
import pathlib, sys
rows = pathlib.Path("data/raw.jsonl").read_text()
pathlib.Path("data/made.jsonl").write_text(rows.replace("+1=", " + 1 ="))
"""
STAGES = """\
stages:
  # mine
  prepare:
    cmd: python prepare.py
    deps: [prepare.py, data/raw.jsonl]
    outs: [data/made.jsonl]
"""


def said(capsys, root: Path, *arguments: str, status: int = 0) -> str:
    capsys.readouterr()
    got = run_command(["-C", str(root), *arguments])
    text = "".join(capsys.readouterr())
    assert got == status, text
    return text


@pytest.fixture(scope="module")
def made_once(tmp_path_factory) -> Path:
    """A project whose data are the output of a stage of its own, which reads a file that DVC tracks; all made."""
    root = tmp_path_factory.mktemp("own") / "project"
    (root / "data").mkdir(parents=True)
    (root / "data/raw.jsonl").write_text(
        "".join(
            json.dumps({"question": f"{n}+1=", "answer": str(n + 1), "given": "3"}) + "\n" for n in range(4)
        )
    )
    (root / "prepare.py").write_text(PREPARE)
    make_project(root, MADE.replace("made", "raw"), PARAMS)
    command(root, "dvc", "add", "-q", "data/raw.jsonl")
    text = (root / "dvc.yaml").read_text()
    (root / "dvc.yaml").write_text(STAGES + text.partition("stages:\n")[2])
    command(root, "dvc", "repro", "-q", "prepare")
    (root / "pipelines/toy.yaml").write_text(MADE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_HOME", "")
        assert run_command(["-C", str(root), "run"]) == 0
    return root


@pytest.fixture
def made(made_once, tmp_path, monkeypatch) -> Path:
    root = tmp_path / "project"
    shutil.copytree(made_once, root, symlinks=True)
    monkeypatch.setenv("DAGSTER_HOME", "")
    return root


def test_data_of_another_stage_that_is_not_here_is_told_with_what_brings_it(made, capsys):
    (made / "data/made.jsonl").unlink()
    assert "2 steps: 2 done" in said(capsys, made, "status"), "dvc.lock says what it was"
    assert "nothing to do" in said(capsys, made, "run")
    edit(made / "pipelines/toy.yaml", "given}", "given, note: answer}")
    fix = "data/made.jsonl is not here. Bring it: dvc pull prepare (or make it: dvc repro prepare)"
    assert f"toy/tasks/train        stale     {fix}" in said(capsys, made, "status")
    assert "dvc.yaml is current" in said(capsys, made, "plan", "--check")
    assert f"toy/tasks/train reads a file that is not here: {fix}" in said(capsys, made, "run", status=1)
    said(capsys, made, "check")
    assert fix in command(made, "lineal", "step", "toy/tasks/train", status=1)
    command(made, "dvc", "repro", "-q", "prepare")
    assert "2 steps: 2 done" in said(capsys, made, "run") + said(capsys, made, "status")


def test_data_that_dvc_tracks_and_that_are_not_here_are_told_with_their_file(made, capsys):
    (made / "pipelines/toy.yaml").write_text(MADE.replace("made", "raw"))
    (made / "data/raw.jsonl").unlink()
    fix = "data/raw.jsonl is not here. Bring it: dvc pull data/raw.jsonl.dvc"
    assert f"stale     {fix}" in said(capsys, made, "status")
    assert fix in said(capsys, made, "run", status=1)
    assert "are not here" not in said(capsys, made, "plan", "--write")


def test_absent_data_that_changed_since_make_their_step_stale(made, capsys):
    (made / "data/made.jsonl").unlink()
    found, lock = tracked(made, made / "data/made.jsonl"), made / "dvc.lock"
    assert found is not None and found.stage == "prepare" and found.itself
    assert lock.read_text().count(found.md5) == 2
    lock.write_text(lock.read_text().replace(found.md5, "ab" * 16, 1))
    assert "data/made.jsonl is not here" in said(capsys, made, "status")


def test_stage_that_would_make_the_data_anew_is_told_and_not_run(made, capsys):
    (made / "prepare.py").write_text(PREPARE + "# more\n")
    why = "data/made.jsonl is out of date: prepare.py changed. Make it again: dvc repro prepare"
    assert f"toy/tasks/train        done      {why}" in said(capsys, made, "status")
    assert f"warning: toy/tasks/train: {why}" in said(capsys, made, "run")
    command(made, "dvc", "repro", "-q")
    assert "out of date" not in said(capsys, made, "status")
    (made / "data/raw.jsonl").write_text((made / "data/raw.jsonl").read_text().replace("3", "5"))
    assert "data/raw.jsonl changed" in said(capsys, made, "status", "toy/tasks/train")


def test_clone_without_data_or_artifacts_is_recorded_whole(made, tmp_path, capsys):
    clone = cloned(made, tmp_path)
    assert not (clone / "data/made.jsonl").exists()
    assert "0 done, 2 recorded" in said(capsys, clone, "status", "--check")


def test_clone_pulls_the_data_that_dvc_keeps_and_makes_what_changed_from_them(made, tmp_path, capsys):
    (made / "pipelines/toy.yaml").write_text(BOTH)
    said(capsys, made, "run")
    command(made, "dvc", "remote", "add", "-q", "--default", "shelf", str(tmp_path / "shelf"))
    command(made, "dvc", "push", "-q", "data/raw.jsonl", "toy-tasks-train", "toy-round_01-verified")
    clone = cloned(made, tmp_path)
    lost = "warning: not on DVC's remote: data/made.jsonl. Make it: dvc repro prepare"
    told = said(capsys, clone, "run", "--pull", "toy/tasks/more", "toy/tasks/train")
    assert "pulled: 1 of 2 data files that were not here" in told and lost in told
    assert "not on DVC's remote: toy/tasks/more. Make it again: lineal run --remake toy/tasks/more" in told
    assert (clone / "data/raw.jsonl").read_bytes() == (made / "data/raw.jsonl").read_bytes()
    assert (clone / "artifacts/toy/tasks/train/manifest.json").exists()
    (clone / "data/raw.jsonl").unlink()
    edit(
        clone / "pipelines/toy.yaml",
        "raw.jsonl, columns: {prompt: question",
        "raw.jsonl, size: 3, columns: {prompt: question",
    )
    assert "data/raw.jsonl is not here" in said(capsys, clone, "run", status=1)
    assert "pulled: 1 of 1 data files" in said(capsys, clone, "run", "--pull", "toy/round_01/verified")
    assert "2+1=" in said(capsys, clone, "show", "toy/tasks/train") and "3+1=" not in said(
        capsys, clone, "show", "toy/tasks/train"
    )


def cloned(root: Path, beside: Path) -> Path:
    """A clone with git's files alone."""
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
    command_of(root, *git, "add", ".")
    command_of(root, *git, "commit", "-qm", "Data")
    command_of(beside, *git, "clone", "-q", str(root), str(beside / "clone"))
    return beside / "clone"


def command_of(root: Path, *arguments: str) -> None:
    subprocess.run(arguments, cwd=root, check=True, capture_output=True)


def test_file_inside_what_dvc_keeps_is_found(tmp_path):
    (tmp_path / "kept.dvc").write_text("outs: [{md5: 0123.dir, path: kept}]\n")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/dvc.yaml").write_text("stages: {split: {cmd: x, outs: [parts: {cache: false}]}}\n")
    kept, split = (tracked(tmp_path, tmp_path / path) for path in ("kept/a/b.jsonl", "sub/parts/x.csv"))
    assert (kept.fix, kept.itself, kept.md5, kept.stage) == ("dvc pull kept.dvc", False, "", "")
    assert (split.stage, split.itself) == ("sub/dvc.yaml:split", False)
    assert tracked(tmp_path, tmp_path / "sub/other.csv") is None


def test_saved_dataset_that_dvc_tracks_is_recorded_where_it_is_not_and_looked_at_by_revision(made, capsys):
    rows = [json.loads(line) for line in (made / "data/raw.jsonl").read_text().splitlines()]
    datasets.Dataset.from_list(rows).save_to_disk(made / "data/saved")
    (made / "pipelines/toy.yaml").write_text(MADE.replace("made.jsonl", "saved"))
    command(made, "dvc", "add", "-q", "data/saved")
    said(capsys, made, "run")
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
    command_of(made, *git, "add", ".")
    command_of(made, *git, "commit", "-qm", "Data")
    shutil.rmtree(made / "data/saved")
    assert "2 steps: 2 done" in said(capsys, made, "status")
    told = said(capsys, made, "status", "--rev", "HEAD")
    assert "2 steps: 2 done" in told and "warning" not in told
    shutil.rmtree(made / ".dvc/cache")
    assert "nor here with the bytes that dvc.lock recorded" in said(capsys, made, "status", "--rev", "HEAD")
    edit(made / "pipelines/toy.yaml", "given}", "given, note: answer}")
    assert "data/saved is not here. Bring it: dvc pull data/saved.dvc" in said(capsys, made, "status")
