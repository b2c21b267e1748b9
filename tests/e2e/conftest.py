from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from lineal.orchestrate.dagster_run import use_project_instance

from .pipelines_project import make_pipelines_project, taking_turns
from .toy_project import make_project, make_steps, plan_of


@pytest.fixture(scope="session")
def made_once(tmp_path_factory) -> Callable[[str, Callable[[Path], object]], Path]:
    """Gives a project that all workers of this session share; the first to ask makes it."""
    own = tmp_path_factory.getbasetemp()
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own

    def project(name: str, make: Callable[[Path], object]) -> Path:
        root = shared / name / "project"
        with taking_turns(shared / f"{name}.lock"):
            if not (shared / name / "made").exists():
                make(root)
                (shared / name / "made").touch()
        return root

    return project


def make_finished(root: Path) -> None:
    make_project(root)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_HOME", "")
        use_project_instance(root)
        plan = plan_of(root)
        make_steps(plan, plan.steps.values())


@pytest.fixture(scope="session")
def finished_once(made_once) -> Path:
    """A project that Dagster has materialized; to be copied."""
    return made_once("finished", make_finished)


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
def tiny_pipelines(made_once) -> Path:
    """All shipped pipelines, tiny, in one project; tests make what they need and share it."""
    return made_once("pipelines", make_pipelines_project)


@pytest.fixture
def run_python():
    """Runs code in a new interpreter and returns what it printed."""

    def run(code: str) -> str:
        return subprocess.run(
            [sys.executable, "-c", code], check=True, text=True, stdout=subprocess.PIPE
        ).stdout.strip()

    return run


@pytest.fixture(scope="module")
def ray_alone():
    """One Ray cluster of the tests at a time: each starts a dozen processes, and the machine may have two cores."""
    with taking_turns(Path(tempfile.gettempdir()) / "lineal-ray-tests.lock"):
        yield
