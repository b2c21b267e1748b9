"""Files of a project that DVC keeps and lineal did not make, from `x.dvc` files and other stages of `dvc.yaml`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from lineal.errors import ProjectError

SUFFIX = ".dvc"
_DVC_YAML, _DVC_LOCK = "dvc.yaml", "dvc.lock"
_Loader = getattr(yaml, "CBaseLoader", yaml.BaseLoader)  # every scalar is a string


@dataclass(frozen=True)
class Tracked:
    """DVC's record of a file.

    Attributes:
        md5: of its bytes (or its directory's list) as they are recorded; empty where that is not known.
        fix: what brings it here, as a command.
        itself: whether DVC keeps this very file, or a directory that may hold it.
        stage: the stage that makes it; empty where none does.
    """

    md5: str
    fix: str
    itself: bool
    stage: str = ""


def tracked(project: Path, file: Path) -> Tracked | None:
    """Finds DVC's record of a file or directory of the project, which need not be here; None where DVC does not keep it.

    Raises:
        ProjectError: a `.dvc` file, `dvc.yaml` or `dvc.lock` on the way is no YAML.
    """
    root = project.absolute()
    inside = [place for place in (file, *file.parents) if place != root and place.is_relative_to(root)]
    for place in inside:
        note = place.with_name(place.name + SUFFIX)
        if note.is_file():
            md5 = _noted_md5(note) if place == file else ""
            return Tracked(md5, f"dvc pull {note.relative_to(root).as_posix()}", place == file)
    return next((found for place in inside if (found := _made(root, file, place.parent)) is not None), None)


def not_here(project: Path, file: Path) -> str:
    """Explains that a file of the project is not here, and what brings it."""
    root = project.absolute()
    found = tracked(root, file) if file.is_relative_to(root) else None
    shown = file.relative_to(root).as_posix() if file.is_relative_to(root) else str(file)
    return f"{shown} is not here. {'Put it there' if found is None else f'Bring it: {found.fix}'}"


def _noted_md5(note: Path) -> str:
    outs = _entries(_read(note).get("outs"))
    return str(outs[0].get("md5") or "") if outs else ""


def _made(root: Path, file: Path, directory: Path) -> Tracked | None:
    """Finds a file among the outputs of the stages in a directory's `dvc.yaml`."""
    declared = _read(directory / _DVC_YAML).get("stages")
    if not isinstance(declared, dict) or not declared:
        return None
    locked = _read(directory / _DVC_LOCK).get("stages")
    locked = locked if isinstance(locked, dict) else {}
    for name, place in _outs(directory, declared, locked):
        if file == place or place in file.parents:
            at = "" if directory == root else f"{(directory / _DVC_YAML).relative_to(root).as_posix()}:"
            fix = f"dvc pull {at}{name} (or make it: dvc repro {at}{name})"
            md5 = _locked_md5(directory, locked.get(name), place) if file == place else ""
            return Tracked(md5, fix, file == place, f"{at}{name}")
    return None


def _outs(directory: Path, declared: dict[str, Any], locked: dict[str, Any]) -> Iterator[tuple[str, Path]]:
    """Yields the outputs of each stage; for stages with variables in their paths, those in `dvc.lock`."""
    for name, stage in declared.items():
        if isinstance(stage, dict) and not str(stage.get("cmd", "")).startswith("lineal step "):
            base = directory / str(stage.get("wdir") or "")
            for part in ("outs", "metrics", "plots"):
                yield from ((name, base / path) for path in _paths(stage.get(part)))
    for name, stage in locked.items():
        if name.partition("@")[0] in declared and isinstance(stage, dict):
            yield from ((name, directory / str(out.get("path"))) for out in _entries(stage.get("outs")))


def _paths(outs: Any) -> Iterator[str]:
    for out in outs if isinstance(outs, list) else ():
        yield from out if isinstance(out, dict) else [str(out)]


def _locked_md5(directory: Path, stage: Any, place: Path) -> str:
    outs = _entries(stage.get("outs")) if isinstance(stage, dict) else []
    return next((str(out.get("md5") or "") for out in outs if directory / str(out.get("path")) == place), "")


def _entries(outs: Any) -> list[dict[str, Any]]:
    return [out for out in outs if isinstance(out, dict)] if isinstance(outs, list) else []


def _read(path: Path) -> dict[str, Any]:
    """Reads a YAML file's mapping; empty where there is no such file."""
    if not path.is_file():
        return {}
    state = path.stat()
    return _parsed(path, (state.st_mtime_ns, state.st_size))


@lru_cache(maxsize=64)
def _parsed(path: Path, state: tuple[int, int]) -> dict[str, Any]:
    try:
        value = yaml.load(path.read_bytes(), Loader=_Loader)  # noqa: S506 - makes plain values only
    except yaml.YAMLError as error:
        raise ProjectError(f"{path} is not valid YAML: {error}") from error
    return value if isinstance(value, dict) else {}
