"""The control's selector keeps as many rows as the filter would, whatever the verifier said of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from lineal.data.store import Rows
from tests.unit.lab import Lab


def rows(passes: list[tuple[int, int]]) -> list[dict[str, object]]:
    """By prompt, so many samples that pass and so many that fail."""
    return [
        {
            "sample_id": f"{prompt}-{index}",
            "prompt_id": str(prompt),
            "prompt": "ba=",
            "completion": f"{index}",
            "verdict": "pass" if index < good else "fail",
        }
        for prompt, (good, bad) in enumerate(passes)
        for index in range(good + bad)
    ]


def kept(lab: Lab, selector: str, passes: list[tuple[int, int]], cap: int | None) -> list[str]:
    verified = lab.put("round_01/verified", rows(passes))
    made = lab.run("select", f"round_01/{selector}", {"rows": verified}, sql=selector, max_per_prompt=cap)
    return Rows((made[""],)).read(["sample_id"])["sample_id"].to_pylist()


@pytest.mark.parametrize("cap", [None, 1, 2])
def test_keep_as_many_keeps_as_many_as_keep_correct(tmp_path: Path, cap: int | None):
    passes = [(3, 1), (0, 4), (1, 3), (4, 0), (2, 2)]
    lab = Lab(tmp_path)
    blind, filtered = (kept(lab, selector, passes, cap) for selector in ("keep_as_many", "keep_correct"))
    assert len(blind) == len(filtered)
    assert max(sum(name.startswith(f"{prompt}-") for name in blind) for prompt in range(5)) <= (cap or 4)


def test_keep_as_many_does_not_look_at_verdicts(tmp_path: Path):
    lab = Lab(tmp_path)
    assert kept(lab, "keep_as_many", [(2, 2)] * 50, 1) == kept(lab, "keep_as_many", [(1, 3)] * 50, 1)
