"""bench/real.py: figures of runs become a table and claims that can fail."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def page(monkeypatch):
    """The module that writes the page."""
    monkeypatch.syspath_prepend(ROOT / "bench")
    import real_page

    yield real_page
    for name in ("real_page", "real", "scratch"):
        sys.modules.pop(name, None)


def test_page_about_the_pretrained_model_is_current(page):
    assert page.page(check=True) == 0


def figures(*solved):
    """Returns a run's figures, with these held-out prompts solved of 40 in each round."""
    marks = ["1" * count + "0" * (40 - count) for count in solved]
    return {
        "solved": marks,
        "passed": [0.2] * (len(solved) - 1),
        "rows": [9] * (len(solved) - 1),
        "cpu_seconds": 60,
        "seconds": 9,
    }


def test_table_has_intervals_and_paired_gains(page):
    results = {"rest_em": {"0": figures(10, 30)}, "control_unfiltered": {"0": figures(10, 11)}}
    text = "\n".join(page.lines(results))
    assert "| 25 (14-40) | 75 (60-86) | +50 (+31 to +64) |" in text
    assert page.holds(results)


@pytest.mark.parametrize(
    ("method", "control", "broken"),
    [((10, 15), (10, 10), "gains 20 points"), ((10, 30), (10, 29), "ends above the control")],
)
def test_claims_fail_on_small_gains_and_on_a_control_that_gains_too(page, method, control, broken):
    claims = page.claims({"rest_em": {"3": figures(*method)}, "control_unfiltered": {"3": figures(*control)}})
    assert [claim for claim, held in claims.items() if not held and broken in claim]
