"""Pools of worker processes that are left in the middle of rows."""

from __future__ import annotations

import threading
import time
from typing import Any

import psutil
import pytest

from lineal.components.isolated.pool import WorkerPool
from lineal.errors import DataError

SLEEP = f"{__name__}:sleep"


def sleep(row: dict[str, Any]) -> str:
    time.sleep(row["seconds"])
    return "awake"


def test_pool_left_in_the_middle_of_rows_ends_its_processes_and_threads() -> None:
    before, processes = threading.active_count(), {one.pid for one in psutil.Process().children()}
    with WorkerPool(SLEEP, 3, 60.0) as pool:
        replies = pool.map([{"seconds": 0.0}, *[{"seconds": 60.0}] * 8])
        assert next(replies) == {"answer": "awake"}
        left = time.monotonic()
    assert time.monotonic() - left < 20
    assert threading.active_count() == before
    assert {one.pid for one in psutil.Process().children()} == processes
    with pytest.raises(DataError, match="its pool is closed"):
        pool._workers[0].ask({"seconds": 0.0})
