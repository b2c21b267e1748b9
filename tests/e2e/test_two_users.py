"""A project that two users of one group work in, and one whose first user kept it from the group. Needs root."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from .toy_project import BIN, ROOT, edit

GROUP, ANN, BOB = 54242, 55001, 55002
AS = """
if [ -n "$HIDDEN" ]; then  # root's home with the interpreter in it, which others may not enter: opened in this namespace alone
    mount --bind "$BASE" "$STAGE" && mount -t tmpfs -o mode=755 none "$HIDDEN" && mkdir -p "$BASE" &&
    mount --bind "$STAGE" "$BASE"
fi
umask "$MASK"
exec setpriv --reuid="$WHO" --regid="$GROUP" --clear-groups "$@"
"""
Run = Callable[..., tuple[int, str]]


@pytest.fixture
def open_directory():
    """A directory that every user may enter, unlike pytest's."""
    made = Path(tempfile.mkdtemp(prefix="lineal-users-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@pytest.fixture
def run_as(open_directory) -> Run:
    """Runs a command of this installation in the project as a user with a umask; gives its status and what it said."""
    stage = open_directory / "base"
    stage.mkdir()
    hidden = [place for place in Path(sys.base_prefix).parents if not place.stat().st_mode & 0o001][-1:]

    def run(who: int, mask: str, *arguments: str) -> tuple[int, str]:
        home = open_directory / f"home_{who}"
        if not home.exists():
            home.mkdir()
            os.chown(home, who, GROUP)
        environment = {
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT / "src"),
            "HOME": str(home),
            "USER": f"user{who}",
            "WHO": str(who),
            "GROUP": str(GROUP),
            "MASK": mask,
            "BASE": sys.base_prefix,
            "STAGE": str(stage),
            "HIDDEN": " ".join(map(str, hidden)),
            "PWD": str(open_directory / "project"),
        }
        done = subprocess.run(
            ["unshare", "--mount", "--propagation", "private", "sh", "-c", AS, "-", *arguments],
            cwd=open_directory / "project",
            env=environment,
            text=True,
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        return done.returncode, done.stdout

    (open_directory / "project").mkdir(exist_ok=True)
    if os.geteuid() != 0 or run(ANN, "002", str(BIN / "python"), "-c", "import lineal")[0] != 0:
        pytest.skip("becoming two other users who can start this interpreter needs root, unshare and setpriv")
    return run


@pytest.fixture
def project(open_directory, finished_once) -> Path:
    """A finished project that the group has, made by the first user."""
    root = open_directory / "project"
    shutil.copytree(finished_once, root, symlinks=True, dirs_exist_ok=True)
    for path in (root, *root.rglob("*")):
        os.chown(path, ANN, GROUP, follow_symlinks=False)
        if path.is_dir():
            path.chmod(0o2775)
        elif not path.is_symlink() and ".dvc/cache/files" not in str(path):
            path.chmod(0o664)
    return root


def test_second_user_of_a_shared_project_does_all_that_the_first_does(project, run_as):
    def succeeds(who: int, *arguments: str) -> str:
        status, said = run_as(who, "002", *arguments)
        assert status == 0, said
        return said

    edit(project / "pipelines/toy.yaml", "max_per_prompt: 1", "max_per_prompt: 2")
    assert "8 stale" in succeeds(BOB, "lineal", "status")
    succeeds(BOB, "lineal", "run")
    edit(project / "pipelines/toy.yaml", "max_per_prompt: 2", "max_per_prompt: 1")
    succeeds(ANN, "lineal", "run")
    (project / "artifacts/toy/round_01/evaluation/manifest.json").unlink()
    succeeds(BOB, "lineal", "plan", "--write")
    succeeds(BOB, "dvc", "repro", "-q", "toy-round_01-evaluation")
    succeeds(
        BOB,
        "dagster",
        "asset",
        "materialize",
        "--select",
        "toy/round_01/evaluation",
        "-m",
        "assets.definitions",
    )
    assert "0 assets and 1 runs deleted" in succeeds(BOB, "lineal", "prune"), "the first user's"
    files = [path for path in project.rglob("*") if path.is_file() and not path.is_symlink()]
    assert not [path for path in files if path.stat().st_mode & 0o220 == 0o200], "for their owner alone"


def test_second_user_of_a_project_that_the_group_may_not_write_looks_and_is_told_why_nothing_is_made(
    project, run_as
):
    for path in (project, *project.rglob("*")):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode & ~0o022)
    edit(project / "pipelines/toy.yaml", "max_per_prompt: 1", "max_per_prompt: 2")
    for looked in (
        "status",
        "trace toy/round_02/checkpoint",
        "round toy/round_01 --verify",
        "show toy/round_01/filtered",
    ):
        assert run_as(BOB, "022", "lineal", *looked.split())[0] == 0
    for asked in ("run", "run --json", "sync", "ui", "retract --where true --reason bad"):
        status, said = run_as(BOB, "022", "lineal", *asked.split())
        assert status == 1 and "Permission denied. Several users of a project need one group" in said, said
        assert "Traceback" not in said, said
    status, said = run_as(BOB, "022", "lineal", "report")
    assert (
        status == 1 and "Permission denied" in said and "Choose another place: lineal report -o FILE" in said
    )
    status, said = run_as(BOB, "022", "lineal", "step", "toy/round_01/filtered")
    assert status == 1 and "Traceback" not in said, said
