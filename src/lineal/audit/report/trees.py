"""A few trees of searches, as a person opens them: each node with its visits and value, the way to the answer marked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lineal.audit.query import Row, fetched, fetched_records
from lineal.data.manifest import MANIFEST
from lineal.data.sql import literal, parquet
from lineal.data.store import Artifact, open_artifact
from lineal.plan import Plan

if TYPE_CHECKING:
    import duckdb

MOST_TREES, MOST_NODES = 3, 150
"""Trees of one artifact, and nodes of a tree, the first ones; the page says how many more there are."""
NODE_FACTS = ("visits", "value", "score", "verdict", "terminal", "best")
"""What a node's row says of it; by `best`, artifacts of searches are known."""


@dataclass
class TreeNode:
    """One step."""

    row_id: str
    text: str
    facts: Row
    children: list[TreeNode] = field(default_factory=list)


@dataclass(frozen=True)
class PromptTree:
    """The search of one prompt.

    Attributes:
        key: the artifact.
        prompt: its text.
        steps: the first steps.
        nodes: how many nodes the tree has.
        left_out: how many of them are not here.
        verdict: that of the search's answer; None where it came to none.
    """

    key: str
    prompt: str
    steps: tuple[TreeNode, ...]
    nodes: int
    left_out: int
    verdict: str | None


def trees_of(plan: Plan, pipeline: str, opened: duckdb.DuckDBPyConnection) -> list[PromptTree]:
    """Returns the trees of the prompts with the lowest ids, for each search in the latest round that has one.

    Raises:
        ArtifactError: rows cannot be read.
    """
    found = {
        artifact.manifest.step.partition("/")[2]: artifact for artifact in _searches(plan, pipeline)
    }  # later rounds last
    return [tree for artifact in found.values() for tree in _trees(artifact, opened)]


def _searches(plan: Plan, pipeline: str) -> Iterator[Artifact]:
    for step in plan.steps.values():
        directory = plan.project.directory(step.key)
        if step.pipeline == pipeline and (directory / MANIFEST).exists():
            artifact = open_artifact(step.key, directory)
            if {"depth", *NODE_FACTS} <= artifact.manifest.columns.keys() and artifact.parquet_files():
                yield artifact


def _trees(artifact: Artifact, opened: duckdb.DuckDBPyConnection) -> list[PromptTree]:
    rows = parquet(artifact.parquet_files())
    prompts = fetched(
        opened, f"SELECT DISTINCT prompt_id FROM {rows} ORDER BY 1 LIMIT {MOST_TREES}", artifact
    )
    return [_tree(artifact, rows, prompt_id, opened) for (prompt_id,) in prompts]


def _tree(artifact: Artifact, rows: str, prompt_id: str, opened: duckdb.DuckDBPyConnection) -> PromptTree:
    listed = ", ".join(("sample_id", "parents[1] AS parent", "prompt", "completion", *NODE_FACTS))
    sql = f"SELECT {listed} FROM {rows} WHERE prompt_id = {literal(prompt_id)}"
    found = fetched_records(opened, sql, artifact)
    nodes: dict[str, TreeNode] = {}
    steps: list[TreeNode] = []
    for row in found[:MOST_NODES]:  # a node stands behind the one that it continues
        node = nodes[row["sample_id"]] = TreeNode(
            row["sample_id"], row["completion"], {name: row[name] for name in NODE_FACTS}
        )
        (nodes[row["parent"]].children if row["parent"] in nodes else steps).append(node)
    answer = next((row["verdict"] for row in found if row["best"] and row["terminal"]), None)
    return PromptTree(
        artifact.key, found[0]["prompt"], tuple(steps), len(found), max(0, len(found) - MOST_NODES), answer
    )
