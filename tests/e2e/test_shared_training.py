"""Two processes share a training: the curve of one process, written once; a process that dies stops the step."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import psutil
import pytest

from lineal.data.store import open_artifact
from lineal.errors import EngineError, ProjectError
from lineal.plan import make_plan
from lineal.recipe.project import open_project
from lineal.step.rank import run_rank
from lineal.step.runlog import read_log
from lineal.step.runner import run_step

from .toy_project import make_project

PIPELINE = """\
method: Toy
summary: One model from scratch.
tasks:
  base: {use: letter_sort, length: [2, 3], size: 64, split: train}
start:
  checkpoint:
    {use: pretrain, rows: tasks.base, steps: 30, batch_size: 16, threads: 1, hidden_size: 32, layers: 1, heads: 2,
     intermediate_size: 64, max_positions: 32}
round:
  again: {use: same_model, model: start.checkpoint}
"""
KEY = "toy/start/checkpoint"


def plan_with(root: Path, compute: str):
    (root / "params.yaml").write_text(f"seed: 0\nrounds: 1\nactive: [toy]\ncompute: {compute}\n")
    return make_plan(open_project(root), ["toy"])


def kill_second_process_when_it_has_saved(saves: Path, stop: threading.Event) -> None:
    while not stop.wait(0.05):
        ranks = [
            child
            for child in psutil.Process().children(recursive=True)
            if "lineal.step.rank" in child.cmdline()
        ]
        second = [child for child in ranks if child.environ().get("RANK") == "1"]
        if second and list(saves.glob("whole-*")):
            os.kill(second[0].pid, signal.SIGKILL)
            return


def test_training_shared_by_two_processes_survives_a_killed_one_and_follows_the_curve_of_one(
    tmp_path: Path,
) -> None:
    root = make_project(tmp_path / "project", PIPELINE)
    alone = plan_with(root, "{workers: 1}")
    run_step(alone, "toy/tasks/base")
    run_step(alone, KEY)
    expected = read_log(alone.project, KEY)["facts"]
    assert open_artifact(KEY, alone.project.directory(KEY)).manifest.made_with is None
    alone.project.directory(KEY).rename(tmp_path / "alone")

    shared = plan_with(root, "{workers: 1, accelerate: 2, save_seconds: 0}")
    partial = shared.project.directory(KEY).with_name(".checkpoint.partial")
    stop = threading.Event()
    killer = threading.Thread(target=kill_second_process_when_it_has_saved, args=(partial / "training", stop))
    killer.start()
    try:
        with pytest.raises(EngineError, match="a training process died without an error message"):
            run_step(shared, KEY)
    finally:
        stop.set()
        killer.join()
    assert not shared.project.directory(KEY).exists()
    with pytest.raises(ProjectError, match="got 1 running processes, expected 2"):
        run_rank(root, KEY)
    assert not [
        child for child in psutil.Process().children(recursive=True) if "lineal.step.rank" in child.cmdline()
    ]

    assert run_step(shared, KEY) == "done"
    facts = read_log(shared.project, KEY)["facts"]
    assert facts["resumed_at_step"] >= 1
    assert facts["curve"]["loss"] == pytest.approx(expected["curve"]["loss"], rel=1e-3)
    assert facts["tokens"] == expected["tokens"]
    artifact = open_artifact(KEY, shared.project.directory(KEY))
    assert artifact.manifest.made_with == "2 processes"
    assert sorted(artifact.manifest.files) == sorted(open_artifact(KEY, tmp_path / "alone").manifest.files)
    assert not partial.exists()


def test_error_of_a_process_is_the_error_of_the_step(tmp_path: Path) -> None:
    root = make_project(tmp_path / "project", PIPELINE.replace("batch_size: 16", "batch_size: 5"))
    plan = plan_with(root, "{workers: 1, accelerate: 2}")
    run_step(plan, "toy/tasks/base")
    with pytest.raises(EngineError, match="got 2 processes for 5 examples per step"):
        run_step(plan, KEY)


def test_training_by_an_accelerate_configuration_says_how_many_processes_made_it(tmp_path: Path) -> None:
    root = make_project(tmp_path / "project", PIPELINE)
    (root / "two.yaml").write_text("distributed_type: MULTI_GPU\nuse_cpu: true\nnum_processes: 2\n")
    plan = plan_with(root, "{workers: 1, accelerate: two.yaml}")
    run_step(plan, "toy/tasks/base")
    assert run_step(plan, KEY) == "done"
    manifest = open_artifact(KEY, plan.project.directory(KEY)).manifest
    assert (manifest.made_with, manifest.equal_bytes) == ("2 processes", False)
