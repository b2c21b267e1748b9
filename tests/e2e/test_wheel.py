"""The wheel in an environment of its own, where only the core's dependencies can be imported and this repository cannot.

Installing the core again would take minutes. So the new environment finds the packages of this one through links, but only those
that `dependencies` in pyproject.toml lead to: what belongs to an extra alone is as absent as after `pip install lineal`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from importlib.metadata import Distribution, distribution
from pathlib import Path, PurePosixPath

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from .toy_project import ROOT

PIPELINE = """\
method: Small
summary: One round on a model of some thousand parameters.
tasks:
  base:  {use: letter_sort, length: [2, 3], size: 32, split: train}
  train: {use: letter_sort, length: [2, 3], size: 8}
  test:  {use: letter_sort, length: [2, 3], size: 8}
start:
  checkpoint: {use: pretrain, rows: tasks.base, steps: 2, hidden_size: 32, layers: 1, heads: 2, intermediate_size: 64}
round:
  generated:  {use: sample, model: previous.checkpoint, prompts: tasks.train, samples: 2, max_tokens: 4}
  verified:   {use: exact_match, rows: generated}
  filtered:   {use: select, rows: verified, sql: keep_all}
  checkpoint: {use: sft, init: start.checkpoint, rows: filtered, steps: 2}
  evaluation: {use: accuracy, model: checkpoint, prompts: tasks.test, max_tokens: 4}
"""
PARAMS = "rounds: 1\nactive: [small]\ncompute: {workers: 1, device: cpu}\n"


def requirements_of(name: str, extras: set[str]) -> list[Requirement]:
    """Returns the requirements of a distribution here with some of its extras."""
    wanted = [Requirement(text) for text in distribution(name).requires or []]
    asked = [{"extra": extra} for extra in ("", *extras)]
    return [one for one in wanted if one.marker is None or any(one.marker.evaluate(extra) for extra in asked)]


def core_distributions() -> list[Distribution]:
    """lineal's dependencies without extras, and all of theirs."""
    seen: set[tuple[str, str]] = set()
    waiting = [("lineal", "")]
    while waiting:
        name, extra = waiting.pop()
        for one in requirements_of(name, {extra} - {""}):
            found = {(canonicalize_name(one.name), part) for part in ("", *one.extras)} - seen
            seen |= found
            waiting += found
    return [distribution(name) for name in sorted({name for name, _ in seen})]


def link_files(found: Distribution, target: Path) -> None:
    """Links a distribution's modules and metadata into a directory; namespaces that several share are real directories."""
    for file in found.files or ():
        first, *rest = PurePosixPath(file).parts
        if first in ("..", "__pycache__"):
            continue
        shared = (
            rest and "." not in first and not (Path(str(found.locate_file(first))) / "__init__.py").exists()
        )
        name = PurePosixPath(first, rest[0]) if shared else PurePosixPath(first)
        if not (target / name).exists():
            (target / name).parent.mkdir(exist_ok=True)
            (target / name).symlink_to(Path(str(found.locate_file(name))).resolve())


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """The `bin` of an environment with the wheel and the core's dependencies."""
    directory = tmp_path_factory.mktemp("wheel")
    build = [
        sys.executable,
        "-m",
        "hatchling",
        "build",
        "--target",
        "wheel",
        "--directory",
        directory / "dist",
    ]
    subprocess.run(build, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    (wheel,) = (directory / "dist").glob("lineal-*.whl")
    venv.create(directory / "venv", symlinks=True)
    core = (
        directory / "core" / "site-packages"
    )  # dill takes modules by name only from a directory of this name
    core.mkdir(parents=True)
    for found in core_distributions():
        link_files(found, core)
    (site,) = (directory / "venv" / "lib").glob("python3*/site-packages")
    (site / "core.pth").write_text(f"{core}\n")
    python = directory / "venv" / "bin" / "python"
    install = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        python,
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        wheel,
    ]
    subprocess.run(install, check=True)
    return python.parent


def run(bin_: Path, *command: str, at: Path, status: int = 0) -> str:
    """Returns the output of a command of the environment, with only PATH and HOME of this process's environment."""
    kept = {name: os.environ[name] for name in ("HOME", "TMPDIR", "LANG") if name in os.environ}
    environment = {**kept, "PATH": f"{bin_}:{os.environ['PATH']}", "PWD": str(at)}
    done = subprocess.run(
        [bin_ / command[0], *command[1:]],
        cwd=at,
        env=environment,
        text=True,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert done.returncode == status, done.stdout
    return done.stdout


def test_environment_of_the_wheel_holds_the_core_and_nothing_of_the_extras(installed, tmp_path):
    names = ("ray", "peft", "math_verify", "reasoning_gym", "kubernetes", "pytest", "tensorboard")
    code = f"from importlib.util import find_spec; print([name for name in {names} if find_spec(name)])"
    code += "; import lineal; print(lineal.__file__)"
    extras, path = run(installed, "python", "-c", code, at=tmp_path).splitlines()
    assert Path(path).is_relative_to(installed.parent) and extras == "[]"


ASK_FOR_EXTRAS = """\
from pathlib import Path
from lineal.audit.export.openlineage import _require_client
from lineal.components.isolated.pool import WorkerPool
from lineal.engines.models.checkpoints import require_peft
from lineal.engines.ray.cluster import _load as load_ray
from lineal.orchestrate.dagster_executors import extra
from lineal.recipe.compute import Compute

def scored(function):
    with WorkerPool(function, 1, 1.0) as pool:
        list(pool.map([{}]))

for ask in (
    lambda: scored("lineal.components.verifiers.math:score_math"),
    lambda: scored("lineal.components.sources.reasoning_gym:make_item"),
    require_peft, _require_client, load_ray,
    lambda: extra("dagster_k8s", Compute(executor="k8s", device="cpu")),
):
    try:
        ask()
    except Exception as error:
        print("SAID", str(error).replace(chr(10), " "))
"""


def test_error_without_an_extra_says_which_one_to_install(installed, tmp_path):
    said = run(installed, "python", "-c", ASK_FOR_EXTRAS, at=tmp_path)
    extras = ["math", "reasoning-gym", "lora", "openlineage", "ray", "k8s"]
    lines = [line for line in said.splitlines() if line.startswith("SAID ")]
    assert [
        extra for extra, line in zip(extras, lines, strict=True) if f"pip install 'lineal[{extra}]'" in line
    ] == extras, said


@pytest.mark.model
def test_wheel_makes_a_project_runs_a_small_pipeline_and_reports_it(installed, tmp_path):
    root = tmp_path / "mine"
    run(installed, "lineal", "init", str(root), at=tmp_path)
    assert "dvc.yaml is current" in run(installed, "lineal", "plan", "--check", at=root)
    (root / "pipelines" / "small.yaml").write_text(PIPELINE)
    (root / "params.yaml").write_text(PARAMS)
    assert "evaluations per round" in run(installed, "lineal", "run", at=root)
    assert "9 steps: 9 done, 0 stale, 0 missing" in run(installed, "lineal", "status", at=root)
    assert "up to date" in run(installed, "python", "-m", "dvc", "status", at=root)
    assert "<html" in (root / run(installed, "lineal", "report", at=root).strip()).read_text()[:200]
