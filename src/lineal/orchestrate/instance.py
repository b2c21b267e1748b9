"""The project's own Dagster instance: `.dagster/` beside `params.yaml`, for every command that touches Dagster."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from lineal.orchestrate.dagster_databases import make_databases
from lineal.orchestrate.dagster_storage import share_databases

DAGSTER_HOME = "DAGSTER_HOME"
DATABASES = ("history/runs.db", "history/runs/index.db", "schedules/schedules.db")
DIRECTORY = ".dagster"


def use_project_instance(root: Path) -> Path:
    """Points `DAGSTER_HOME` where the project's `.env` points Dagster's own commands, so that all share one instance.

    The instance is made if it isn't there.

    Returns:
        the instance's directory.

    Raises:
        PermissionError: a database in it is another user's, and not the group's.
    """
    home = root.resolve() / DIRECTORY
    if (root / ".env").exists() or DAGSTER_HOME not in os.environ:
        os.environ[DAGSTER_HOME] = str(home)
    home.mkdir(exist_ok=True)
    chosen = Path(os.environ[DAGSTER_HOME])
    make_databases(chosen)
    share_databases()
    for name in DATABASES:
        if (chosen / name).exists() and not os.access(chosen / name, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(chosen / name))
    return chosen
