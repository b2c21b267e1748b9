"""docs/datasets.md: every example is read as the page says."""

from __future__ import annotations

import json
import re

import pytest
import yaml

from tests.unit.lab import ROOT, Lab, rows_of

PAGE = (ROOT / "docs" / "datasets.md").read_text(encoding="utf-8")
EXAMPLES = PAGE.split("<!-- example -->\n")[1:]
BLOCK = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def without_nulls(row):
    """A row's messages without the fields that a message does not have, as the page writes them."""
    turns = [
        {name: value for name, value in turn.items() if value is not None}
        for turn in row.get("messages") or []
    ]
    return row | ({"messages": turns} if turns else {})


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda text: BLOCK.search(text)[2])
def test_example_gives_the_rows_that_the_page_shows(tmp_path, example):
    lab = Lab(tmp_path)
    (_, name, data), (_, _, node), (_, _, shown) = BLOCK.findall(example)[:3]
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(data, encoding="utf-8")
    settings = yaml.safe_load(node)
    rows = [
        without_nulls(row) for row in rows_of(lab.run(settings.pop("use"), "tasks/train", **settings)[""])
    ]
    expected = [json.loads(line) for line in shown.splitlines()]
    if "prompt_id" not in expected[0]:
        rows = [{name: value for name, value in row.items() if name != "prompt_id"} for row in rows]
    assert rows == expected


def test_page_has_an_example_of_every_shape():
    assert len(EXAMPLES) == 11


def test_page_names_every_setting_of_the_component(tmp_path):
    (tmp_path / "a.jsonl").write_text("")
    fields = type(Lab(tmp_path).parse("dataset", path="a.jsonl")).model_fields
    names = {field.alias or name for name, field in fields.items()} - {"use"}
    assert [name for name in sorted(names) if f"`{name}`" not in PAGE] == []
