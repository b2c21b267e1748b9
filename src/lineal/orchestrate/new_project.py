"""`lineal init`: a new project, laid out like this repository, which is the first one."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from lineal.data.atomic_directory import new_directory, require_room
from lineal.data.git import git
from lineal.errors import ProjectError, UsageError, did_you_mean
from lineal.orchestrate.dvc_yaml import write_dvc_yaml
from lineal.plan import make_plan
from lineal.recipe.policies import POLICIES
from lineal.recipe.project import PARAMS, PIPELINES, open_project

PACKAGE = Path(__file__).resolve().parents[1]
CARRIED = (
    PIPELINES,
    POLICIES,
    "assets",
    PARAMS,
    ".env",
    ".gitattributes",
    ".gitignore",
    ".dvcignore",
    ".dvc/config",
    ".dvc/.gitignore",
    ".dvc/plots",
    ".dagster/dagster.yaml",
    ".dagster/.gitignore",
)
"""Files that a project takes unchanged from this repository; the wheel carries them under `lineal/_project`."""
STARTER = PACKAGE / "starter"
"""Files of a project's own, under the name `NEW_NAME`."""
NEW_NAME = "new-project"
_DOCS_LINK = re.compile(r"\[([^\]]*)\]\(\.\./docs/[^)]*\)")
_ACTIVE = re.compile(r"^active:.*\n(?:[ \t]+.*\n|-.*\n)*", re.MULTILINE)


def carried_files(package: Path = PACKAGE) -> Path:
    """Returns the directory that holds `CARRIED`: in an installed wheel beside the code, else the repository.

    Raises:
        ProjectError: neither holds all of it.
    """
    for directory in (package / "_project", package.parents[1]):
        if all((directory / name).exists() for name in CARRIED):
            return directory
    raise ProjectError(
        f"{package} carries no project files (looked for _project/ in it). Install lineal again"
    )


def create_project(target: Path, pipeline: str | None = None) -> int:
    """Makes a project with its git and DVC repositories; nothing is left when that fails.

    Inside a git repository it becomes part of that one. A directory that exists must be empty, and stays the same directory.

    Args:
        target: the new project's directory.
        pipeline: the only pipeline to be active; default: those of this repository.

    Returns:
        how many DVC stages it has.

    Raises:
        UsageError: the target is not empty or is a file, or there is no such pipeline.
        ProjectError: files cannot be written, or git is missing.
    """
    target = target.absolute()
    require_room(target)
    _require_pipeline(pipeline)
    try:
        with new_directory(target, last=PARAMS) as building:
            stages = _build(building, target.name, pipeline)
    except OSError as error:
        raise ProjectError(
            f"{target} cannot be made: {error}. Choose a directory that you may write"
        ) from error
    return stages


def _require_pipeline(pipeline: str | None) -> None:
    known = [path.stem for path in (carried_files() / PIPELINES).glob("*.yaml")]
    if pipeline is not None and pipeline not in known:
        raise UsageError(f"no pipeline {pipeline!r} comes with lineal. {did_you_mean(pipeline, known)}")


def _build(root: Path, name: str, pipeline: str | None) -> int:
    lay_out(root, name, pipeline)
    plan = make_plan(open_project(root))
    write_dvc_yaml(plan)
    if needs_git(root, root.parent / name):
        start_git(root)
    return len(plan.steps)


def needs_git(root: Path, target: Path) -> bool:
    """Tells whether a directory is in no git repository, or in one that ignores the new project's place."""
    try:
        git(root, "rev-parse", "--show-toplevel")
    except ProjectError as error:
        if "not installed" in str(error):
            raise
        return True
    try:
        git(root, "check-ignore", "-q", str(target))
    except ProjectError:
        return False
    return True


def start_git(root: Path) -> None:
    """Makes a git repository."""
    git(root, "init", "-q")


def lay_out(root: Path, name: str, pipeline: str | None) -> None:
    """Writes a project's files except `dvc.yaml`.

    Raises:
        UsageError: there is no such pipeline.
    """
    _require_pipeline(pipeline)
    for path in CARRIED:
        _copy(carried_files() / path, root / path)
    _unlink_docs(root / PIPELINES / "README.md")
    _fill_in(root, re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "project")
    if pipeline is not None:
        params = root / PARAMS
        text = _ACTIVE.sub(f"active: [{pipeline}]\n", params.read_text(encoding="utf-8"), count=1)
        params.write_text(text, encoding="utf-8")


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(
            source, target, ignore=shutil.ignore_patterns("__pycache__"), copy_function=shutil.copyfile
        )
    else:
        shutil.copyfile(source, target)


def _unlink_docs(page: Path) -> None:
    """Leaves the words of links to lineal's own pages, which a project doesn't have."""
    text = _DOCS_LINK.sub(_words_of_link, page.read_text(encoding="utf-8"))
    page.write_text(text, encoding="utf-8")


def _words_of_link(link: re.Match[str]) -> str:
    return f"{link[1]} of lineal" if link[1].startswith("docs/") else link[1]


def _fill_in(root: Path, name: str) -> None:
    """Writes the starter's files; the name consists of letters, digits and dashes."""
    for path in sorted(STARTER.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            text = path.read_text(encoding="utf-8").replace(NEW_NAME, name)
            written = root / path.relative_to(STARTER)
            written.parent.mkdir(parents=True, exist_ok=True)
            written.write_text(text, encoding="utf-8")
