"""What long work says of itself, by a clock that the tests set."""

from __future__ import annotations

import re

import pytest

from lineal.data.progress import progress_of
from lineal.recipe.compute import Compute
from tests.unit.lab import Lab
from tests.unit.test_judge import checkpoint


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    return now


def said(clock, path, moments, total=256):
    """The lines of work that finishes so many units at each moment, as (seconds, units)."""
    with progress_of("generated", total, "samples", path) as progress:
        for seconds, units in moments:
            clock[0] = 100.0 + seconds
            progress.advance(units)
    return path.read_text().splitlines() if path.exists() else []


def test_progress_after_a_long_loading_tells_no_remaining_time_at_the_first_unit(clock, tmp_path):
    assert said(clock, tmp_path / "log", [(30, 1)]) == ["generated   0% 1/256 samples"]


def test_progress_counts_the_remaining_time_from_the_first_unit(clock, tmp_path):
    lines = said(clock, tmp_path / "log", [(30, 1), (31, 9), (40, 90)])
    assert lines == [
        "generated   0% 1/256 samples",
        "generated  39% 100/256 samples, 16 s left",
    ]  # 99 units in 10 s


def test_progress_of_units_that_come_at_once_tells_no_remaining_time(clock, tmp_path):
    """A resumed step has its finished rows in an instant."""
    assert said(clock, tmp_path / "log", [(9.5, 100), (11, 1)]) == ["generated  39% 101/256 samples"]


def test_progress_at_its_end_has_no_remaining_time(clock, tmp_path):
    assert said(clock, tmp_path / "log", [(1, 1), (20, 255)]) == ["generated 100% 256/256 samples"]


def test_evaluation_that_draws_and_judges_never_has_done_more_than_all(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr("lineal.data.progress.LOG_SECONDS", 0.0)
    lab = Lab(tmp_path, Compute(engine="fake", workers=1, shard_rows=8))
    prompts = lab.put(
        "tasks/test", [{"prompt_id": str(n), "prompt": f"ba{n}=", "answer": "ab"} for n in range(20)]
    )
    lab.run("accuracy", "round_01/evaluation", {"model": checkpoint(lab), "prompts": prompts})
    counts = [
        tuple(map(int, found))
        for found in re.findall(r"(\d+)/(\d+) (?:prompts|verdicts)", capfd.readouterr().err)
    ]
    assert max(counts) == (20, 20) and all(done <= total for done, total in counts)
