"""Trackers that get each step's figures of a training: TRL's own integrations, kept inside the project's `runs/`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

from lineal.errors import EngineError

if TYPE_CHECKING:
    from lineal.engines.training.execution import Execution

PLACES = {
    "tensorboard": ("TENSORBOARD_LOGGING_DIR", "{}"),
    "wandb": ("WANDB_DIR", "{}"),
    "mlflow": ("MLFLOW_TRACKING_URI", "sqlite:///{}/mlflow.db"),
    "trackio": ("TRACKIO_DIR", "{}"),
}
"""By tracker: the variable that holds its directory, and how it spells the directory. One that is already set is kept."""


def require_trackers(names: Iterable[str]) -> None:
    """Raises where a tracker's package is missing.

    Raises:
        EngineError: says what to install.
    """
    missing = [name for name in names if find_spec(name) is None]
    if missing:
        raise EngineError(
            f"compute.report_to: got {', '.join(missing)}, which is not installed, expected installed packages. "
            f"Run: pip install {' '.join(missing)}, or remove it from report_to"
        )


@contextmanager
def reporting(execution: Execution) -> Iterator[None]:
    """Points the trackers at the training's own directory for the block.

    Raises:
        EngineError: a tracker's package is not installed.
    """
    require_trackers(execution.report_to)
    places = _places(execution)
    given = {name: os.environ.get(name) for name in places}
    os.environ.update({name: place for name, place in places.items() if given[name] is None})
    try:
        yield
    finally:
        for name, value in given.items():
            if value is None:
                del os.environ[name]


def _places(execution: Execution) -> dict[str, str]:
    if execution.reports is None or not execution.report_to:
        return {}
    execution.reports.mkdir(parents=True, exist_ok=True)
    variables = [PLACES[name] for name in execution.report_to]
    return {variable: pattern.format(execution.reports.resolve()) for variable, pattern in variables}
