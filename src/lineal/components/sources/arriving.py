"""Files that arrive while a pipeline runs: people's labels, another program's export. Their paths name the round."""

from __future__ import annotations

import os
from pathlib import Path

from lineal.components.base import Awaited
from lineal.components.sources.files import ENDINGS, reader_of, saved_files
from lineal.data.tracked import tracked

ROUND, SEED = "{round}", "{seed}"


def place_inside(project: Path, path: str) -> Path:
    """Returns the place of a file of rows, or of a saved dataset's directory, inside the project; a file need not be there.

    Raises:
        ValueError: it lies outside, no reader takes its ending, or a directory is not of `save_to_disk`.
    """
    root = os.path.normpath(project.absolute())
    full = os.path.normpath(os.path.join(root, path))  # noqa: PTH118 - lexical: a link into DVC's cache is fine
    if Path(path).is_absolute() or not Path(full).is_relative_to(root):
        raise ValueError(
            f"path {path!r} leads out of the project; put the file inside it (dvc add keeps it out of git)"
        )
    if Path(full).is_dir():
        _require_saved(path, Path(full))
    elif reader_of(full) is None and (is_pattern(path) or not tracked(Path(root), Path(full))):
        raise ValueError(f"path {path!r}: the name must end in {', '.join(ENDINGS)}")
    return Path(full)


def _require_saved(path: str, directory: Path) -> None:
    try:
        saved_files(directory)
    except ValueError as error:
        raise ValueError(f"path {path!r} {error}") from None


def is_here(project: Path, file: Path) -> bool:
    """Tells whether a file is there, or DVC keeps it and could bring it."""
    found = None if file.is_file() else tracked(project, file)
    return file.is_file() or (found is not None and found.itself)


def is_pattern(path: str) -> bool:
    """Tells whether a path stands for all files that it matches: `data/*.parquet`."""
    return "*" in path or "?" in path


def matching(project: Path, pattern: str) -> list[Path]:
    """Returns the project's files that a pattern matches, with those that DVC could bring, in the order of their names."""
    there = {path for path in project.glob(pattern) if path.is_file()}
    return sorted(there | {path.with_suffix("") for path in project.glob(f"{pattern}.dvc")})


def placed_path(path: str, round_number: int | None, seed: int) -> str:
    """Fills the round (two digits, as in step keys) and the seed into a path.

    Raises:
        ValueError: it names the round outside the rounds.
    """
    if ROUND in path and round_number is None:
        raise ValueError(
            f"path {path!r} names the round, but this node stands in none. Declare it under round"
        )
    return path.replace(ROUND, f"{round_number or 0:02d}").replace(SEED, str(seed))


def awaited(project: Path, path: str, fix: str) -> Awaited:
    """Returns a path of the project as a file that is waited for."""
    return Awaited(path, is_here(project, place_inside(project, path)), fix)
