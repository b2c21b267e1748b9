"""Scratch copies of this project for benchmarks: its files in a new git repository, nothing of this checkout's state."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LINEAL = Path(sys.executable).with_name("lineal")
PROJECT_FILES = (
    "params.yaml",
    "dvc.yaml",
    "pipelines",
    "policies",
    "assets",
    ".dvc",
    ".dagster",
    ".env",
    ".dvcignore",
    "pyproject.toml",
    ".gitignore",
)


def scratch_project(directory: Path, **params: object) -> Path:
    """Copies the project to `directory` and sets `params` in its `params.yaml` (see `set_params`); returns the directory."""
    directory.mkdir(parents=True)
    for name in PROJECT_FILES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(
                source,
                directory / name,
                ignore=shutil.ignore_patterns("cache", "tmp", "storage", "history", "schedules"),
            )
        elif source.exists():
            shutil.copy2(source, directory / name)
    set_params(directory, **params)
    git = ["git", "-c", "user.name=bench", "-c", "user.email=bench@example.org"]
    for command in ([*git, "init", "-q"], [*git, "add", "-A"], [*git, "commit", "-qm", "project"]):
        subprocess.run(command, cwd=directory, check=True)
    return directory


def set_params(directory: Path, **params: object) -> None:
    """Sets top-level keys of a project's `params.yaml`, a list in a block included; those under `compute` as `compute_NAME`."""
    path = directory / "params.yaml"
    text = path.read_text(encoding="utf-8")
    for key, value in params.items():
        name = key.removeprefix("compute_")
        indent = "  " if key.startswith("compute_") else ""
        text, count = re.subn(
            rf"(?m)^{indent}{name}:.*(?:\n{indent}  - .*)*$", f"{indent}{name}: {value}", text
        )
        if not count and indent:
            text = re.sub(r"(?m)^compute:$", f"compute:\n  {name}: {value}", text)
        elif not count:
            text += f"{name}: {value}\n"
    path.write_text(text, encoding="utf-8")


def lineal(directory: Path, *arguments: str, quiet: bool = True) -> str:
    """Runs the command line in a project and returns its standard output; fails loudly."""
    environment = {name: value for name, value in os.environ.items() if name != "DAGSTER_HOME"}
    done = subprocess.run(
        [LINEAL, *arguments],
        cwd=directory,
        env=environment,
        text=True,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE if quiet else None,
    )
    if done.returncode:
        raise SystemExit(f"lineal {' '.join(arguments)} failed in {directory}:\n{done.stdout}\n{done.stderr}")
    return done.stdout
