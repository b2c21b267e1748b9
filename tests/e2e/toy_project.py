"""A small project on disk: real components, the fake engine, a git and a DVC repository of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from lineal.orchestrate.dagster_run import materialize
from lineal.orchestrate.decision import decide, to_do
from lineal.orchestrate.dvc_yaml import write_dvc_yaml
from lineal.plan import make_plan
from lineal.recipe.project import open_project
from lineal.step.forkserver import fork_server
from lineal.step.status import Act

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
UP_TO_DATE = "Data and pipelines are up to date."

PARAMS = """\
seed: 0
rounds: 2
active: [toy]
compute:
  engine: fake
  workers: 1
"""
PYPROJECT = """\
[tool.dagster]
module_name = "assets.definitions"

[tool.dg]
directory_type = "project"

[tool.dg.project]
root_module = "assets"
code_location_target_module = "assets.definitions"
"""
TOY = """\
method: Toy
summary: Two rounds of the fake engine.
tasks:
  base:  {use: letter_sort, length: [2, 3], size: 16, split: train}
  train: {use: letter_sort, length: [4, 6], size: 24}
  test:  {use: letter_sort, length: [4, 6], size: 12}
start:
  checkpoint: {use: pretrain, rows: tasks.base, steps: 2}
round:
  generated:  {use: sample, model: previous.checkpoint, prompts: tasks.train, samples: 2, max_tokens: 16}
  verified:   {use: exact_match, rows: generated}
  filtered:   {use: select, rows: verified, sql: keep_correct, max_per_prompt: 1}
  checkpoint: {use: sft, init: previous.checkpoint, rows: filtered, steps: 2}
  evaluation: {use: accuracy, model: checkpoint, prompts: tasks.test, max_tokens: 16}
"""


def make_project(root: Path, pipeline: str = TOY, params: str = PARAMS) -> Path:
    """Writes a project as `lineal init` would, with one pipeline `toy`."""
    for name in ("measures", "selectors", "templates"):
        shutil.copytree(ROOT / "pipelines" / name, root / "pipelines" / name)
    (root / "pipelines" / "toy.yaml").write_text(pipeline)
    (root / "params.yaml").write_text(params)
    for name in ("assets", ".dvc/plots"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    (root / ".dagster").mkdir()
    for name in (
        ".dvc/config",
        ".dvc/.gitignore",
        ".dvcignore",
        ".gitignore",
        ".env",
        ".dagster/dagster.yaml",
    ):
        shutil.copy(ROOT / name, root / name)
    (root / "pyproject.toml").write_text(PYPROJECT)
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    write_dvc_yaml(plan_of(root))
    return root


def plan_of(root: Path):
    """The project's plan as its files say now."""
    return make_plan(open_project(root))


def to_make(plan, *chosen):
    """The steps that a run would make to bring the chosen ones (default: all) up to date."""
    return to_do(plan, decide(plan), chosen or plan.steps.values())[Act.MAKE]


def make_steps(plan, steps):
    """Has Dagster make steps, as `lineal run` does: in children of a process that has the imports done."""
    with fork_server(steps, plan.project.params.compute.engine):
        return materialize(plan, steps)


def edit(path: Path, old: str, new: str) -> None:
    """Replaces text that must be there."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def command(root: Path, *arguments: str, status: int = 0) -> str:
    """Runs an installed command in the project as a person would; returns what it printed."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("DAGSTER_HOME", "DAGSTER_MODULE_NAME")
    }
    environment |= {
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "PWD": str(root),
        "VIRTUAL_ENV": str(BIN.parent),
    }
    done = subprocess.run(
        [BIN / arguments[0], *arguments[1:]],
        cwd=root,
        env=environment,
        text=True,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert done.returncode == status, done.stdout
    return done.stdout


def run_logs(root: Path) -> dict[str, int]:
    """By step key, when its run log was last written."""
    logs = (root / "runs").rglob("*.json")
    return {str(path.relative_to(root / "runs").with_suffix("")): path.stat().st_mtime_ns for path in logs}
