"""`lineal init` in a directory that has files: what a project needs is put beside them, and nothing is overwritten."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from lineal.data.tracked import SUFFIX
from lineal.errors import ProjectError, UsageError
from lineal.orchestrate.dvc_yaml import DVC_YAML, write_dvc_yaml
from lineal.orchestrate.new_project import lay_out, needs_git, start_git
from lineal.orchestrate.yaml_entries import read_entries
from lineal.plan import make_plan
from lineal.recipe.document import read_document
from lineal.recipe.project import OTHERS, PARAMS, PIPELINES, Params, open_project

LINES = (".gitignore", ".gitattributes", ".dvcignore", ".env")
"""Files that get the lines that they lack."""
PYPROJECT = "pyproject.toml"
_TABLES = "[tool.dagster]"
"""Where those tables of a new `pyproject.toml` begin that Dagster reads; they stand at its end."""


@dataclass(frozen=True)
class Entered:
    """The outcome of `lineal init` in a directory with files.

    Attributes:
        stages: how many DVC stages the plan has.
        added: the files that are new.
        extended: files of the user's that got new lines.
        kept: files of the user's that are used instead of a project's.
    """

    stages: int
    added: list[str]
    extended: list[str]
    kept: list[str]


def enter(target: Path, pipeline: str | None = None) -> Entered:
    """Turns a directory with files into a project; a failure restores everything.

    Args:
        target: the directory, in a git repository or not.
        pipeline: the only pipeline to be active; default: those of this repository.

    Raises:
        UsageError: it is a project already, or its `pipelines/` holds other YAML files.
        ProjectError: its DVC files belong to a repository above, or what it has and a project needs don't fit.
        DeclarationError: its `params.yaml` has values that lineal cannot read.
    """
    target = target.absolute()
    _require_enterable(target)
    with TemporaryDirectory(prefix="lineal-init-") as name, _undone(target) as undo:
        fresh = Path(name) / target.name
        lay_out(fresh, target.name, pipeline)
        files = sorted(path.relative_to(fresh).as_posix() for path in fresh.rglob("*") if path.is_file())
        texts = {
            file: _extended(file, target / file, fresh / file) for file in files if (target / file).exists()
        }
        _put(fresh, target, [file for file in files if file not in texts], undo)
        _extend(target, texts, undo)
        undo.keep(target / DVC_YAML)
        plan = make_plan(open_project(target))
        write_dvc_yaml(plan)
        if needs_git(target, target):
            start_git(target)
    changed = [file for file, text in texts.items() if text]
    had_stages = undo.texts[target / DVC_YAML] is not None
    return Entered(
        len(plan.steps),
        [*(file for file in files if file not in texts), *([] if had_stages else [DVC_YAML])],
        [*changed, *([DVC_YAML] if had_stages else [])],
        [file for file in texts if file not in changed],
    )


def _require_enterable(target: Path) -> None:
    found = read_document(target / PARAMS, PARAMS).value if (target / PARAMS).is_file() else {}
    if isinstance(found, dict) and "active" in found:
        raise UsageError(
            f"{target}: its {PARAMS} says what is active, so it is a project already. See its steps: lineal plan"
        )
    others = sorted(path.name for path in (target / PIPELINES).glob("*.yaml"))
    if others:
        fix = "Name another directory: lineal init loops"
        raise UsageError(
            f"{target / PIPELINES} holds {others[0]}, which would be taken for a pipeline of lineal's. {fix}"
        )
    above = next((place for place in target.parents if (place / ".dvc").is_dir()), None)
    own = [target / DVC_YAML, *target.rglob(f"*{SUFFIX}")]
    if above is not None and not (target / ".dvc").is_dir() and any(path.is_file() for path in own):
        fix = "Name a directory without stages and .dvc files, or that of the repository"
        raise ProjectError(
            f"{target} has files of the DVC repository in {above}, which it would leave. {fix}"
        )


def _extended(file: str, theirs: Path, ours: Path) -> str:
    """Returns the text to append to a file of the user's; empty where it stays unchanged."""
    if file == PARAMS:
        return _further_params(theirs, ours)
    if file not in (*LINES, PYPROJECT):
        return ""
    text, new = (path.read_text(encoding="utf-8") for path in (theirs, ours))
    if file == PYPROJECT:
        return "" if _TABLES in text else "\n" + new[new.index(_TABLES) :]
    lacking = [line for line in new.splitlines() if not line.startswith("#") and not _has(text, line)]
    return "".join(f"{line}\n" for line in ("# lineal", *lacking)) if lacking else ""


def _has(text: str, line: str) -> bool:
    """Tells whether a file has a line, or gives the line's variable another value."""
    variable = f"{line.partition('=')[0]}=" if "=" in line and " " not in line else line
    return any(
        found == line or (variable != line and found.startswith(variable)) for found in text.splitlines()
    )


def _further_params(theirs: Path, ours: Path) -> str:
    """Returns the keys that their `params.yaml` lacks, and those in it that are not lineal's."""
    found = read_document(theirs, PARAMS).value
    if not isinstance(found, dict):
        raise ProjectError(
            f"{theirs} is no mapping, so that lineal's keys cannot stand beside what it says. Name another directory"
        )
    new = read_entries(ours, ours.read_text(encoding="utf-8"), ())
    lines = [line for one in new.sections if one.name not in found for line in (*one.above, *one.head)]
    others = [name for name in found if name not in Params.model_fields]
    named = f"{OTHERS}: [{', '.join(others)}]  # keys of this file that are not lineal's\n" if others else ""
    return "\n" + "".join(lines) + named


def _put(fresh: Path, target: Path, files: list[str], undo: _Undo) -> None:
    for file in files:
        undo.keep(target / file)
        (target / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(fresh / file, target / file)


def _extend(target: Path, texts: Mapping[str, str], undo: _Undo) -> None:
    for file, text in texts.items():
        if text:
            undo.keep(target / file)
            old = (target / file).read_text(encoding="utf-8")
            (target / file).write_text(
                old + ("" if old.endswith("\n") or not old else "\n") + text, encoding="utf-8"
            )


class _Undo:
    """The previous state of files and directories."""

    def __init__(self) -> None:
        self.texts: dict[Path, bytes | None] = {}
        self.directories: list[Path] = []

    def keep(self, path: Path) -> None:
        """Remembers a file's present content, and which directories above it do not exist."""
        if path not in self.texts:
            self.texts[path] = path.read_bytes() if path.exists() else None
            self.directories += [
                place for place in path.parents if not place.exists() and place not in self.directories
            ]

    def put_back(self) -> None:
        """Restores everything."""
        for path, content in self.texts.items():
            if content is not None:
                path.write_bytes(content)
            else:
                path.unlink(missing_ok=True)
        for place in sorted(self.directories, key=lambda place: -len(place.parts)):
            if place.is_dir() and not any(place.iterdir()):
                place.rmdir()


@contextmanager
def _undone(target: Path) -> Iterator[_Undo]:
    undo = _Undo()
    try:
        yield undo
    except BaseException as error:
        undo.put_back()
        if isinstance(error, OSError):
            raise ProjectError(f"{target} cannot be made a project: {error}. It is as it was") from error
        raise
