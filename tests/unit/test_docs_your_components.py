"""docs/your_components.md: the verifier of the page, found by its entry point, judges as the page says."""

from __future__ import annotations

import re
import sys
import tomllib

import pytest
import yaml

from lineal.components import registry
from lineal.errors import CheckFailure
from tests.unit.lab import ROOT, Lab, rows_of

PAGE = (ROOT / "docs" / "your_components.md").read_text(encoding="utf-8")
BLOCKS = {name or language: text for language, name, text in re.findall(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", PAGE, re.M | re.S)}


@pytest.fixture
def lab(tmp_path, monkeypatch):
    """A project beside an installed package that holds what the page shows."""
    packages = tmp_path / "site-packages"
    (packages / "my_package").mkdir(parents=True)
    (packages / "my_package" / "__init__.py").touch()
    (packages / "my_package" / "verifiers.py").write_text(BLOCKS["my_package/verifiers.py"])
    project = tomllib.loads(BLOCKS["pyproject.toml"])["project"]
    installed = packages / f"my_package-{project['version']}.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    points = project["entry-points"]["lineal.components"]
    (installed / "entry_points.txt").write_text(
        "[lineal.components]\n" + "".join(f"{name} = {value}\n" for name, value in points.items())
    )
    monkeypatch.syspath_prepend(packages)
    registry._outside.cache_clear()
    yield Lab(tmp_path / "project")
    registry._outside.cache_clear()
    for name in [name for name in sys.modules if name.startswith("my_package")]:
        del sys.modules[name]


def rows(*pairs):
    return [
        {"sample_id": f"s{number}", "prompt_id": f"p{number}", "prompt": "?", "completion": completion, "answer": answer}
        for number, (completion, answer) in enumerate(pairs)
    ]


def settings():
    node = yaml.safe_load(BLOCKS["yaml"])["verified"]
    return node.pop("use"), {name: value for name, value in node.items() if name != "rows"}


def test_verifier_of_the_page_judges_by_its_entry_point(lab):
    use, given = settings()
    completions = [
        ("Answer: Paris", "Paris"),
        ("Answer: it is Paris of course", "Paris"),
        ("Answer: Rome", "Paris"),
        ("Rome", "Rome"),
    ]
    made = lab.run(use, "round_01/verified", {"rows": lab.put("round_01/generated", rows(*completions))}, **given)[""]
    assert [(row["verdict"], row["score"], row["detail"]) for row in rows_of(made)] == [
        ("pass", 1.0, None), ("fail", 0.0, "5 words"), ("fail", 0.0, "the answer is not in it"),
        ("fail", 0.0, "no answer found in the completion"),
    ]  # fmt: skip


def test_verifier_of_the_page_tells_errors_and_unknown_settings(lab):
    use, given = settings()
    with pytest.raises(CheckFailure, match="the commonest, 1 times: the answer is empty"):
        lab.run(use, "round_01/verified", {"rows": lab.put("round_01/generated", rows(("Answer: a", " ")))}, **given)
    with pytest.raises(ValueError, match="most_word"):
        lab.parse(use, rows="generated", most_word=3)
