"""The tree of a search over steps, and the policies that say which of its nodes are continued next.

A policy is asked for nodes and told nothing: what came of them stands in the tree. Nothing here draws anything at random.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(eq=False)
class SearchNode:
    """One step of a prompt's tree; the root is the prompt itself.

    Attributes:
        id: the row's id; the root's is its prompt row's.
        prompt: which of the prompts that are searched together the tree is of.
        parent: the node that it continues.
        text: everything behind the prompt up to the end of this step.
        start: where in `text` the step begins.
        terminal: whether the model ended here.
        open: whether it may be continued.
        index: which of its parent's draws it is; of equal ones the first.
        draws: how many of them gave this step.
        drawn: what the draw said: tokens, log-probability, reason to finish, seed.
        spent: tokens that were drawn for it: by all of its draws, and to find its score.
        score: how good it is by itself; None: nothing could say.
        verdict, detail: of a terminal node, what the verifier says.
        visits: nodes in its subtree that have a score, itself included.
        total: the sum of their scores.
        children: the steps that continue it, best draws in the order of their indices.
    """

    id: str
    prompt: int
    parent: SearchNode | None = None
    text: str = ""
    start: int = 0
    terminal: bool = False
    open: bool = True
    index: int = 0
    draws: int = 1
    drawn: dict[str, object] = field(default_factory=dict)
    spent: int = 0
    score: float | None = None
    verdict: str | None = None
    detail: str | None = None
    visits: int = 0
    total: float = 0.0
    children: list[SearchNode] = field(default_factory=list)

    @property
    def depth(self) -> int:
        """The number of steps that lead to it."""
        return 0 if self.parent is None else self.parent.depth + 1

    @property
    def value(self) -> float | None:
        """The mean score in its subtree."""
        return self.total / self.visits if self.visits else None

    def path(self) -> Iterator[SearchNode]:
        """Yields the node and its ancestors, up to the root."""
        yield self
        if self.parent is not None:
            yield from self.parent.path()


class Tree:
    """One prompt's search.

    Attributes:
        root: the prompt.
        nodes: all others, in the order in which they were found.
        newest: those of the last wave; at the beginning the root.
        expanded: how many nodes were continued.
    """

    def __init__(self, prompt_id: str, prompt: int = 0) -> None:
        self.root = SearchNode(prompt_id, prompt)
        self.nodes: list[SearchNode] = []
        self.newest = [self.root]
        self.expanded = 0

    def add(self, expanded: Sequence[SearchNode], found: Sequence[SearchNode]) -> None:
        """Adds the result of a wave: the nodes that it continued, and their children, which have their scores."""
        for node in expanded:
            node.open = False
        self.expanded += len(expanded)
        self.newest = list(found)
        for child in found:
            assert child.parent is not None
            child.parent.children.append(child)
            self.nodes.append(child)
            if child.score is not None:
                for node in child.path():
                    node.visits += 1
                    node.total += child.score

    def best(self) -> SearchNode | None:
        """Returns the terminal node with the highest score, the first of several; None where no path of the search ended."""
        ended = [node for node in self.nodes if node.terminal and node.score is not None]
        return max(ended, key=_worth, default=None)


class SearchPolicy(Protocol):
    """Chooses which nodes a search continues."""

    def ask(self, tree: Tree) -> list[SearchNode]:
        """Returns the open nodes to continue in the next wave; none when the search is over."""
        ...


def _worth(node: SearchNode) -> float:
    """Returns a node's score; a node without one is worse than any."""
    return -math.inf if node.score is None else node.score


def _best(nodes: Sequence[SearchNode], count: int) -> list[SearchNode]:
    """Returns the best-scored nodes, of equal ones the first."""
    return sorted(nodes, key=_worth, reverse=True)[:count]


@dataclass(frozen=True)
class Beam:
    """Continues the best `width` of each wave; one that has ended keeps its place."""

    width: int

    def ask(self, tree: Tree) -> list[SearchNode]:
        return [node for node in _best(tree.newest, self.width) if node.open]


@dataclass(frozen=True)
class BestFirst:
    """Continues the `width` best nodes that were not continued, wherever they are."""

    width: int

    def ask(self, tree: Tree) -> list[SearchNode]:
        return _best([node for node in (tree.root, *tree.nodes) if node.open], self.width)


@dataclass(frozen=True)
class Uct:
    """Descends the tree by value and uncertainty, UCB1 at every node (arXiv:cs/0703062), `width` times in a wave.

    A way down that a wave has taken counts as a visit worth nothing until the wave is over, so that the next one differs.
    Subtrees without an open node are passed by.
    """

    width: int
    explore: float

    def ask(self, tree: Tree) -> list[SearchNode]:
        taken: list[SearchNode] = []
        pending: dict[SearchNode, int] = {}
        while len(taken) < self.width:
            leaf = self._leaf(tree.root, taken, pending)
            if leaf is None:
                break
            taken.append(leaf)
            for node in leaf.path():
                pending[node] = pending.get(node, 0) + 1
        return taken

    def _leaf(
        self, node: SearchNode, taken: Sequence[SearchNode], pending: dict[SearchNode, int]
    ) -> SearchNode | None:
        while not node.open or node in taken:
            ways = [child for child in node.children if _leads_on(child, taken)]
            if not ways:
                return None
            tried = sum(child.visits + pending.get(child, 0) for child in node.children)
            node = max(ways, key=self._bound(tried, pending))
        return node

    def _bound(self, tried: int, pending: dict[SearchNode, int]) -> Callable[[SearchNode], float]:
        def bound(child: SearchNode) -> float:
            visits = child.visits + pending.get(child, 0)
            return (
                child.total / visits + self.explore * math.sqrt(math.log(tried) / visits)
                if visits
                else math.inf
            )

        return bound


def _leads_on(node: SearchNode, taken: Sequence[SearchNode]) -> bool:
    """Tells whether the subtree has an open node that the wave has not taken."""
    return (node.open and node not in taken) or any(_leads_on(child, taken) for child in node.children)
