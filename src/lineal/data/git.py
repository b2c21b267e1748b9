"""Runs git commands in one repository."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from lineal.errors import ProjectError


def git(root: Path, *arguments: str, stdin: bytes = b"") -> bytes:
    """Returns git's output in a directory, ignoring the caller's git variables, which hooks set.

    Raises:
        ProjectError: git is missing or fails.
    """
    program = shutil.which("git")
    if program is None:
        raise ProjectError(
            "git is not installed; a project lies in a git repository. Install git, then run again"
        )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = [program, "--no-optional-locks", *arguments]
    done = subprocess.run(command, cwd=root, env=environment, input=stdin, capture_output=True, check=False)  # noqa: S603
    if done.returncode:
        raise ProjectError(
            f"git {arguments[0]} failed in {root}: {done.stderr.decode(errors='replace').strip()}"
        )
    return done.stdout
