"""Stages of the user's own that make data for steps: whether DVC finds them out of date."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import chdir
from pathlib import Path
from typing import Any

from lineal.data.tracked import tracked
from lineal.errors import ProjectError
from lineal.orchestrate.dvc_yaml import DVC_YAML
from lineal.plan import Plan


def outdated_data(plan: Plan) -> dict[str, str]:
    """Returns by step key the data that a stage of the user's own would change, and the command that does.

    Raises:
        ProjectError: DVC cannot read the project.
    """
    made = dict(_made_files(plan)) if _has_own_stages(plan.project.root) else {}
    changed = (
        _changed_stages(plan.project.root, sorted({stage for _, stage in made.values()})) if made else {}
    )
    return {
        key: f"{path} is out of date: {changed[stage]}. Make it again: dvc repro {stage}"
        for key, (path, stage) in made.items()
        if stage in changed
    }


def _has_own_stages(root: Path) -> bool:
    """Tells whether a `dvc.yaml` has stages that lineal did not write, by its text, since most projects have none."""
    path = root / DVC_YAML
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    return text.count("cmd:") > text.count("cmd: lineal step ")


def _made_files(plan: Plan) -> Iterator[tuple[str, tuple[str, str]]]:
    root = plan.project.root
    for step in plan.steps.values():
        for file in step.component.files().values():
            found = tracked(root, file) if file.is_relative_to(root) else None
            if found is not None and found.stage:
                yield step.key, (file.relative_to(root).as_posix(), found.stage)


def _changed_stages(root: Path, stages: Iterable[str]) -> dict[str, str]:
    """Returns by stage the changes in its own dependencies, or in those of stages that it depends on."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with chdir(root), Repo() as repo:  # DVC searches for targets in the working directory
            found = {stage: repo.status(targets=[stage], with_deps=True) for stage in stages}
    except DvcException as error:
        raise ProjectError(f"{root}: DVC: {error}") from error
    words = {stage: list(_words(told)) for stage, told in found.items()}
    return {stage: ", ".join(said) for stage, said in words.items() if said}


def _words(told: dict[str, list[Any]]) -> Iterator[str]:
    """Yields the changes that DVC's status reports before a stage's outputs: missing outputs are reported elsewhere."""
    for entries in told.values():
        for entry in entries:
            if entry == "changed command":
                yield "its command changed"
            for what, state in (entry.get("changed deps") or {}).items() if isinstance(entry, dict) else ():
                yield from _changes(what, state)


def _changes(what: str, state: Any) -> Iterator[str]:
    if isinstance(state, dict):  # params of a file
        yield from (f"{what}:{key} changed" for key in state)
    elif state != "deleted":
        yield f"{what} changed"
