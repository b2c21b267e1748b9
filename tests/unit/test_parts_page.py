"""docs/parts.md names only what exists, has every paper once, and counts rightly."""

import re
from collections import Counter

import pytest

from lineal.components.registry import Registry
from lineal.components.selectors.header import read_selector
from lineal.step.checks import CHECKS
from tests.unit.lab import ROOT

PAGE = (ROOT / "docs" / "parts.md").read_text()
ROWS = re.findall(r"^\| ([CM])(\d{3}) \| (.+?) \| ([\w ]+) \| (.+) \|$", PAGE, re.MULTILINE)
STATES = ["works", "declarable", "in part", "missing", "out of reach"]
LANGUAGE = {"repeat:", "each:", "previous.", "stop", *(check.name for check in CHECKS)}
"""Words of the language and checks that the page names."""
FILES = {
    path.stem
    for folder in ("selectors", "measures", "templates", ".", "../policies")
    for path in (ROOT / "pipelines" / folder).iterdir()
    if path.is_file()
}


def exists(name, registry):
    """Tells whether a name of the page is a component, a setting, a file beside the pipelines, or a number of a measure."""
    owner, _, inside = name.partition(":")[0].partition(".")
    if name in LANGUAGE or (not inside and (owner in FILES or owner in registry.names)):
        return True
    if owner in registry.names and inside:
        settings = {info.alias or field for field, info in registry.find(owner).model_fields.items()}
        return inside in settings or name == "agreement.gap"
    path = ROOT / "pipelines" / "measures" / f"{owner}.sql"
    return path.is_file() and inside in read_selector(owner, path, owner).gives


def test_every_paper_has_its_line_and_is_counted():
    assert [f"{kind}{number}" for kind, number, *_ in ROWS] == [
        *(f"C{number:03}" for number in range(1, 136)), *(f"M{number:03}" for number in range(1, 35)),
    ]  # fmt: skip
    for kind, label in (("C", "parts"), ("M", "measures")):
        found = Counter(state for own, _, _, state, _ in ROWS if own == kind)
        counts = [found[state] for state in STATES]
        assert f"| {label} | {' | '.join(map(str, [*counts, sum(counts)]))} |" in PAGE and set(found) <= set(STATES)


@pytest.mark.parametrize(("kind", "number", "title", "state", "by"), ROWS, ids=lambda value: "")
def test_line_names_what_exists(kind, number, title, state, by):
    registry = Registry()
    names = re.findall(r"`([^`]+)`", by)
    assert [name for name in names if not exists(name, registry)] == []
    if state in ("works", "declarable") and not by.startswith(("as M", "every")):
        assert names, f"{kind}{number} names no part"
