from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from lineal.orchestrate.dagster_run import materialize, use_project_instance

from .pipelines_project import make_pipelines_project
from .toy_project import make_project, plan_of


@pytest.fixture(scope="session")
def finished_once(tmp_path_factory) -> Path:
    root = make_project(tmp_path_factory.mktemp("finished") / "project")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_HOME", "")
        use_project_instance(root)
        plan = plan_of(root)
        materialize(plan, plan.steps.values())
    return root


@pytest.fixture
def finished(finished_once, tmp_path, monkeypatch) -> Path:
    """A project that Dagster has materialized, and its instance as the current one."""
    root = tmp_path / "project"
    shutil.copytree(finished_once, root, symlinks=True)
    monkeypatch.setenv("DAGSTER_HOME", "")
    use_project_instance(root)
    return root


@pytest.fixture
def fresh(tmp_path, monkeypatch) -> Path:
    """A project in which nothing has run, and its instance as the current one."""
    root = make_project(tmp_path / "project")
    monkeypatch.setenv("DAGSTER_HOME", "")
    use_project_instance(root)
    return root


@pytest.fixture(scope="session")
def tiny_pipelines(tmp_path_factory) -> Path:
    """All shipped pipelines, tiny, in one project; tests make what they need and share it."""
    return make_pipelines_project(tmp_path_factory.mktemp("pipelines") / "project")


@pytest.fixture
def run_python():
    """Runs code in a new interpreter and returns what it printed."""

    def run(code: str) -> str:
        return subprocess.run([sys.executable, "-c", code], check=True, text=True, stdout=subprocess.PIPE).stdout.strip()

    return run


@pytest.fixture(scope="module")
def ray_alone():
    """One Ray cluster of the tests at a time: each starts a dozen processes, and the machine may have two cores."""
    with (Path(tempfile.gettempdir()) / "lineal-ray-tests.lock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
