"""Run logs: when, where and how fast a step ran. They are outside artifacts and enter no digest."""

from __future__ import annotations

import json
import os
import platform
import resource
import time
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, Field

from lineal.data.manifest import Manifest
from lineal.data.records import recorded_cost
from lineal.data.store import Artifact
from lineal.recipe.project import Project
from lineal.recipe.whole_files import write_whole

PACKAGES = ("lineal", "torch", "transformers", "trl", "pyarrow", "duckdb", "datasets")


def _instant(text: str) -> str:
    datetime.fromisoformat(text)
    return text


class _Facts(BaseModel):
    """The facts that others read by name."""

    seconds_by_phase: dict[str, float] = {}
    tokens: float | None = None
    stopped: str | None = None


class _Log(BaseModel):
    """The parts of a run log that others read by name."""

    status: str
    started: Annotated[str, AfterValidator(_instant)] = ""
    seconds: float = Field(0.0, ge=0, lt=1e12)
    error: str | None = None
    check: str | None = None
    source_digest: str | None = None
    identity: str | None = None
    packages: dict[str, str] = {}
    cores: int | None = None
    peak_memory_bytes: int | None = None
    facts: _Facts = _Facts()


def log_path(project: Project, step_key: str) -> Path:
    """Returns the path of a step's run log."""
    return project.runs / f"{step_key}.json"


def progress_path(project: Project, step_key: str) -> Path:
    """Returns the path of a running step's progress lines."""
    return project.runs / f"{step_key}.progress"


def read_log(project: Project, step_key: str) -> dict[str, Any]:
    """Reads a step's last run log; empty when it never ran here, or when an edit damaged the log."""
    try:
        found: dict[str, Any] = json.loads(log_path(project, step_key).read_text(encoding="utf-8"))
        _Log.model_validate(found)
        return found
    except (OSError, ValueError, RecursionError):  # pydantic's and JSON's errors are ValueErrors
        return {}


COSTS = (
    "started",
    "status",
    "seconds",
    "cpu_seconds",
    "peak_memory_bytes",
    "machine",
    "cores",
    "python",
    "packages",
    "source_digest",
    "facts",
    "identity",
)
"""The parts of a run log that go into the artifact's record."""
HERE_ALONE = ("gpus",)
"""Facts that say something of this machine only."""


def cost_of(project: Project, step_key: str, manifest: Manifest) -> dict[str, Any]:
    """Returns the cost of making an artifact from its step's run log; empty for another identity's log, or one without work."""
    log = read_log(project, step_key)
    if log.get("status") != "done" or log.get("identity") != manifest.identity:
        return {}
    facts = {name: value for name, value in (log.get("facts") or {}).items() if name not in HERE_ALONE}
    return {name: log[name] for name in COSTS if name in log} | {"facts": facts}


def log_of(project: Project, artifact: Artifact) -> dict[str, Any]:
    """Returns the log of the run that made an artifact, here or elsewhere; a log of another identity is not its."""
    key = artifact.key.removesuffix(f".{artifact.manifest.output}")
    log, own = read_log(project, key), artifact.manifest.identity
    if log.get("identity", own) == own and log.get("status") == "done":
        return log
    recorded = recorded_cost(project, key)
    if recorded.get("identity") == own:
        return recorded
    return log if log.get("identity", own) == own else {}


class RunLog:
    """Collects one run of one step and writes it at the end, however it ends."""

    def __init__(self, project: Project, step_key: str) -> None:
        self._path = log_path(project, step_key)
        self._started = time.monotonic()
        self._record: dict[str, Any] = {
            "step": step_key,
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
        }

    def write(self, status: str, **facts: Any) -> None:
        """Writes the log with the run's outcome: done, reused, failed or interrupted."""
        usage = resource.getrusage(resource.RUSAGE_SELF)
        record = {
            **self._record,
            "status": status,
            "seconds": round(time.monotonic() - self._started, 3),
            "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 3),
            "peak_memory_bytes": usage.ru_maxrss * 1024,
            "machine": platform.machine(),
            "cores": len(os.sched_getaffinity(0)),
            "python": platform.python_version(),
            "packages": _versions(),
            **facts,
        }
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(self._path, json.dumps(record, indent=2, sort_keys=True) + "\n")


@cache
def _versions() -> dict[str, str]:
    """Returns the versions of the packages that are installed; reading them takes 4 ms."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
