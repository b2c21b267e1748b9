"""Eight of the random edits of `bench/edits.py`, which makes 1,000: status, dry run and run agree; nothing is made in vain."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "bench"
EDITS = 8


@pytest.fixture
def edits(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCH))
    import edits

    yield edits
    for name in ("edits", "scratch"):
        sys.modules.pop(name, None)


def test_status_dry_run_and_run_agree_after_random_edits_and_nothing_that_stands_is_made(edits):
    told: list[str] = []
    with edits.finished_project() as root:
        total = edits.edit_at_random(root, EDITS, 7, told.append)
    assert len(told) == EDITS
    assert total["made"] and total["recorded again"], total
    assert total["made"] <= total["listed"]
