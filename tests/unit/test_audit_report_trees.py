"""The report's trees of searches: their nodes with visits and values, and the way that was chosen."""

from __future__ import annotations

import re

import pyarrow.parquet as pq
import pytest

from lineal.audit.report import trees
from lineal.audit.report.page import gather
from tests.unit.audit_project import run_all
from tests.unit.test_audit_report import Reader, page_of

PIPELINE = """
method: Searched
summary: Searches in letters, of which n ends a step.
tasks:
  base:  {use: letter_sort, length: [2, 4], size: 8, split: train}
  train: {use: letter_sort, length: [3, 8], size: 12}
start:
  checkpoint: {use: pretrain, rows: tasks.base, steps: 1}
round:
  tree:
    {use: tree_search, model: start.checkpoint, prompts: tasks.train,
     policy: uct, expansions: 5, breadth: 3, max_steps: 3, separator: n}
"""


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    root = tmp_path_factory.mktemp("trees")
    (root / "pipelines").mkdir()
    (root / "pipelines" / "searched.yaml").write_text(PIPELINE)
    (root / "params.yaml").write_text("rounds: 2\nactive: [searched]\ncompute: {engine: fake, workers: 1}\n")
    return run_all(root)


def nodes_of(steps):
    return [node for step in steps for node in (step, *nodes_of(step.children))]


def test_trees_are_those_of_the_latest_round_with_every_node_once(plan):
    found = gather(plan).trees["searched"]
    rows = pq.read_table(plan.project.directory("searched/round_02/tree") / "part-00000.parquet").to_pylist()
    wanted = sorted({row["prompt_id"] for row in rows})[: trees.MOST_TREES]
    assert [tree.key for tree in found] == ["searched/round_02/tree"] * 3
    for tree, prompt_id in zip(found, wanted, strict=True):
        own = {row["sample_id"]: row for row in rows if row["prompt_id"] == prompt_id}
        nodes = nodes_of(tree.steps)
        assert (
            len(nodes) == len(own) == tree.nodes
            and {node.row_id for node in nodes} == own.keys()
            and not tree.left_out
        )
        for node in nodes:
            assert (node.text, node.facts["visits"], node.facts["value"]) == tuple(
                own[node.row_id][name] for name in ("completion", "visits", "value")
            )
            assert [own[child.row_id]["parents"] for child in node.children] == [[node.row_id]] * len(
                node.children
            )
        chosen = [row["verdict"] for row in own.values() if row["best"] and row["terminal"]]
        assert tree.verdict == (chosen[0] if chosen else None)
    assert any(len(nodes_of(tree.steps)) > 3 for tree in found) and any(tree.verdict for tree in found)


def test_report_opens_the_way_to_the_answer_and_says_what_is_left_out(plan, tmp_path, monkeypatch):
    page = page_of(plan.project.root, tmp_path / "whole.html")
    Reader(page)
    found = gather(plan).trees["searched"]
    section = page[page.index('<section id="trees"') :].partition("</section>")[0]
    nodes = [node for tree in found for node in nodes_of(tree.steps)]
    assert section.count('class="node-of-tree"') == len(nodes)
    assert (
        section.count('class="node-of-tree" open')
        == section.count(">chosen<")
        == sum(node.facts["best"] for node in nodes)
        > 0
    )
    assert '<a href="#trees">' in page and re.search(r"value 0\.5, \d+ visits|value [01], 1 visit", section)
    monkeypatch.setattr(trees, "MOST_NODES", 2)
    shorter = page_of(plan.project.root, tmp_path / "short.html")
    assert f"{found[0].nodes - 2} more nodes" in shorter
