"""Runs whose process was killed. No process is left to close them, so Dagster would show them as open for ever."""

from __future__ import annotations

import json
import os
import platform
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import dagster as dg
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._core.storage.tags import GRPC_INFO_TAG

from lineal.orchestrate.processes import running

PID = "lineal/pid"
HOST = "lineal/host"
OPEN = [
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
ABANDONED_SECONDS = 300.0
"""How long a run that no process has claimed may wait for one; Dagster needs some seconds."""
_CLOCK_SECONDS = 1.0
"""How far the clocks of the kernel and of Python may differ."""

Owner = tuple[int, float]
"""A process id, and a time at which the process was alive."""


def owner_tags() -> dict[str, str]:
    """Returns the tags of a run that this process executes."""
    return {PID: str(os.getpid()), HOST: platform.node()}


def close_killed_runs(
    instance: dg.DagsterInstance, abandoned_seconds: float = ABANDONED_SECONDS
) -> list[str]:
    """Closes the open runs whose processes are gone; finished steps of them stay finished.

    Runs of other hosts are left alone.

    Args:
        instance: the instance that holds the runs.
        abandoned_seconds: how old a run must be that no process has ever claimed.

    Returns:
        the ids of the closed runs.
    """
    closed = []
    for record in instance.get_run_records(dg.RunsFilter(statuses=OPEN)):
        why = _why_killed(instance, record, abandoned_seconds)
        if why is None:
            continue
        run = record.dagster_run
        if run.status is dg.DagsterRunStatus.CANCELING:
            instance.report_run_canceled(run, why)
        else:
            instance.report_run_failed(run, f"{why}; the next run continues from its finished steps")
        closed.append(run.run_id)
    return closed


def _why_killed(instance: dg.DagsterInstance, record: dg.RunRecord, abandoned_seconds: float) -> str | None:
    """Says why nothing will ever close the run; None while something may."""
    run = record.dagster_run
    if PID in run.tags:
        here = run.tags.get(HOST) == platform.node()
        owners = [(int(run.tags[PID]), record.create_timestamp.timestamp())]
    else:
        here = _on_this_host(instance) and not _server_answers(run)
        owners = list(_processes_of(instance, run)) if here else []
    if not here or any(_alive(owner) for owner in owners):
        return None
    if owners:
        return f"process {owners[-1][0]} was killed"
    age = datetime.now(UTC) - record.create_timestamp
    waited = GRPC_INFO_TAG not in run.tags and age < timedelta(seconds=abandoned_seconds)
    return None if waited else "the process that should have started this run was killed"


def _on_this_host(instance: dg.DagsterInstance) -> bool:
    """Tells whether all processes of the instance are on this machine: SQLite files cannot be shared by several."""
    storage = instance.get_ref().storage_data
    return storage is not None and storage.class_name == DagsterSqliteStorage.__name__


def _server_answers(run: dg.DagsterRun) -> bool:
    """Tells whether the code server that launched the run answers; it closes the runs of its dead processes itself."""
    info = json.loads(run.tags.get(GRPC_INFO_TAG, "{}"))
    if "socket" not in info:
        return "port" in info  # a server of another owner, perhaps on another host
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(info["socket"])
        except OSError:
            return False
    return True


def _processes_of(instance: dg.DagsterInstance, run: dg.DagsterRun) -> Iterator[Owner]:
    """Yields the processes that have reported to work on the run."""
    for entry in instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ENGINE_EVENT):
        metadata = entry.dagster_event.engine_event_data.metadata if entry.dagster_event else {}
        if "pid" in metadata:
            yield int(str(metadata["pid"].value)), entry.timestamp


def _alive(owner: Owner) -> bool:
    """Tells whether the process still exists; a later one with the same id is another."""
    pid, seen = owner
    found = running(pid)
    return found is not None and bool(found.create_time() <= seen + _CLOCK_SECONDS)
