"""docs/parts.md names only what exists, has every paper once, and counts rightly."""

import re
from collections import Counter

import pytest

from lineal.components.registry import Registry
from lineal.components.selectors.header import read_selector
from lineal.step.checks import CHECKS
from tests.unit.lab import ROOT

PAGE = (ROOT / "docs" / "parts.md").read_text()
ROWS = re.findall(r"^\| ([CM])(\d{3}) \| (.+?) \| ([\w ]+) \| (.+?) \|(?: (.*?) ?\|)?$", PAGE, re.MULTILINE)
STATES = ["works", "in text", "in part", "declarable", "missing", "out of reach"]
EXAMPLES = {
    name: f"[{path.stem}](../tests/parts/{path.name})"
    for path in (ROOT / "tests" / "parts").glob("*.yaml")
    for name in re.findall(r"^([CM]\d{3}):$", path.read_text(), re.MULTILINE)
}
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
        *(f"C{number:03}" for number in range(1, 136)),
        *(f"M{number:03}" for number in range(1, 35)),
    ]
    for kind, label in (("C", "parts"), ("M", "measures")):
        found = Counter(state for own, _, _, state, *_ in ROWS if own == kind)
        counts = [found[state] for state in STATES]
        assert f"| {label} | {' | '.join(map(str, [*counts, sum(counts)]))} |" in PAGE and set(found) <= set(
            STATES
        )


def test_tested_parts_are_those_with_a_test_and_are_counted():
    """A part is tested by the example of its number, by the pipeline or policy that it names, or by a test file."""
    tested = {f"{kind}{number}": test for kind, number, *_, test in ROWS if kind == "C" and test}
    others = {name: test for name, test in tested.items() if name not in EXAMPLES}
    assert {name: test for name, test in tested.items() if name in EXAMPLES} == {
        name: test for name, test in EXAMPLES.items() if name.startswith("C")
    }
    by = {f"{kind}{number}": by for kind, number, _, _, by, _ in ROWS}
    assert all(
        f"[example]{test.partition(']')[2]}" in by[name]
        for name, test in EXAMPLES.items()
        if name.startswith("M")
    )
    for test in others.values():
        place = re.fullmatch(r"\[\w+\]\(\.\./(tests/\w+/test_\w+\.py)\)", test)
        named = [f"{folder}/{test.strip('`')}.yaml" for folder in ("pipelines", "policies")]
        assert (ROOT / place[1]).is_file() if place else any((ROOT / one).is_file() for one in named), test
    assert f"\n{len(tested)} of the 135 parts run in a test.\n" in PAGE and len(tested) >= 100
    assert {
        f"{kind}{number}"
        for kind, number, _, state, *_ in ROWS
        if kind == "C" and state in ("works", "in text")
    } <= {*tested}


def test_page_shows_an_example_as_it_is():
    shown = PAGE.partition("```yaml\n")[2].partition("```")[0]
    assert shown in (ROOT / "tests" / "parts" / "refinement.yaml").read_text()


@pytest.mark.parametrize(("kind", "number", "title", "state", "by", "test"), ROWS, ids=lambda value: "")
def test_line_names_what_exists(kind, number, title, state, by, test):
    registry = Registry()
    names = re.findall(r"`([^`]+)`", by)
    assert [name for name in names if not exists(name, registry)] == []
    if state in ("works", "declarable") and not by.startswith(("as M", "every")):
        assert names, f"{kind}{number} names no part"
