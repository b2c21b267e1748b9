"""Trainings that several processes share: the step starts them, waits, and takes over the main one's results."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import IO

from lineal.components.trainers.base import Trainer
from lineal.data.workspace import Workspace
from lineal.errors import EngineError
from lineal.step.sharing import Sharing, require_sharing

DIRECTORY = "launched"
"""In the partial directory: files from the processes for the step."""
RESULT = "result.json"
POLL_SECONDS = 0.2
LAST_LINES = 5


def launch(workspace: Workspace, trainer: Trainer) -> None:
    """Runs the step's component in the processes that `compute.accelerate` names.

    Raises:
        EngineError: one of them failed, with its own message where it left one.
        ProjectError: accelerate's configuration is missing, or doesn't fit the training.
    """
    sharing = require_sharing(workspace.project, workspace.compute, trainer, workspace.key)
    told = workspace.partial / DIRECTORY
    shutil.rmtree(told, ignore_errors=True)
    told.mkdir()
    progress = workspace.progress_file or workspace.partial / "progress"
    log = progress.with_suffix(".log")
    with log.open("w", encoding="utf-8") as output:
        command = launch_command(workspace, sharing)
        output.write(f"{json.dumps(command)}\n")
        output.flush()
        status = _wait(command, output, progress)
    if status != 0:
        raise EngineError(_why(told, status, log, workspace.key))
    result = json.loads((told / RESULT).read_text(encoding="utf-8"))
    workspace.counts.update(result["counts"])
    workspace.facts.update(result["facts"])
    workspace.made_with = f"{sharing.processes} process{'es' if sharing.processes > 1 else ''}"
    workspace.equal_bytes = False


def launch_command(workspace: Workspace, sharing: Sharing) -> list[str]:
    """Returns the command that starts the processes: torchrun for a number of them on this machine, else `accelerate launch`."""
    start = ["torch.distributed.run", "--standalone", "--nproc_per_node", str(sharing.processes)]
    if sharing.config is not None:
        start = ["accelerate.commands.launch", "--config_file", str(sharing.config)]
    return [
        sys.executable,
        "-m",
        *start,
        "-m",
        "lineal.step.rank",
        str(workspace.project.resolve()),
        workspace.key,
    ]


def _wait(command: list[str], output: IO[str], progress: Path) -> int:
    """Waits for the processes and shows the main one's progress lines; none of them outlives this call."""
    progress.touch()
    process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)  # noqa: S603 - no shell, names of our own
    try:
        with progress.open(encoding="utf-8") as lines:
            while process.poll() is None:
                time.sleep(POLL_SECONDS)
                for line in lines:
                    sys.stderr.write(f"  {line}")
    finally:
        process.terminate()
        process.wait()
    return process.returncode


def _why(told: Path, status: int, log: Path, key: str) -> str:
    errors = sorted(told.glob("error-*"))
    if errors:
        return errors[0].read_text(encoding="utf-8")
    last = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-LAST_LINES:])
    return (
        f"{key}: a training process died without an error message (exit status {status}). Nothing was published; a rerun "
        f"resumes from the last checkpoint inside the step. All its output is in {log}, which ends with\n{last}"
    )
