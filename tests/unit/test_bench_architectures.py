"""bench/architectures.py: the page shows its figures, no architecture differs, and those that are refused have a reason."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The benchmark."""
    monkeypatch.syspath_prepend(ROOT / "bench")
    import architectures

    yield architectures
    sys.modules.pop("architectures", None)


def test_the_table_of_architectures_is_that_of_the_figures_and_none_differs(bench: Any) -> None:
    figures = json.loads(bench.FIGURES.read_text(encoding="utf-8"))
    assert (
        bench.PAGE.read_text(encoding="utf-8").partition(bench.MARK)[2].strip()
        == bench.shown(figures).strip()
    )
    assert set(figures) == set(bench.ARCHITECTURES)
    values = [value for row in figures.values() for value in row.values()]
    assert not [value for value in values if value != bench.EQUAL and not value.startswith(bench.REFUSED)]
    assert sum(set(row.values()) == {bench.EQUAL} for row in figures.values()) >= 30


@pytest.mark.model
def test_an_architecture_is_compared_or_refused(bench: Any) -> None:
    assert set(bench.found("llama").values()) == {bench.EQUAL}
    assert bench.found("t5")["greedy"].startswith(f"{bench.REFUSED}got an encoder-decoder (t5)")
