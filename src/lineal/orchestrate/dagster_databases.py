"""Makes Dagster's SQLite files once and whole.

Two processes that make them at the same time can each write a schema revision into the same table, and every later
start of Dagster fails on it. So the first one makes them in a directory of its own and moves them into place.
"""

from __future__ import annotations

import fcntl
import shutil
from pathlib import Path

import dagster as dg
from dagster._core.instance.ref import InstanceRef
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage

from lineal.data.modes import open_to_group

LOCK = ".databases.lock"
UNFINISHED = ".databases"
DIRECTORIES = ("history", "schedules")


def make_databases(home: Path) -> None:
    """Makes the databases of the instance in `home`, when it keeps them there and they are missing."""
    if _whole(home) or not _keeps_sqlite_files(home):
        return
    with (home / LOCK).open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # freed by the kernel when the process dies
        if not _whole(home):
            made = home / UNFINISHED
            shutil.rmtree(made, ignore_errors=True)  # a killed maker's
            made.mkdir()
            (made / "dagster.yaml").touch()  # without one, Dagster warns
            dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(made))).dispose()
            open_to_group(made)  # SQLite keeps files from the group, whatever the umask
            for name in DIRECTORIES:
                if not (home / name).exists():
                    (made / name).rename(home / name)
            shutil.rmtree(made)


def _whole(home: Path) -> bool:
    return all((home / name).exists() for name in DIRECTORIES)


def _keeps_sqlite_files(home: Path) -> bool:
    storage = InstanceRef.from_dir(str(home)).storage_data
    if storage is None or storage.class_name != DagsterSqliteStorage.__name__:
        return False
    return Path(storage.config_dict["base_dir"]) == home
