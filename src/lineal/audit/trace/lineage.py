"""A lineage graph: rows, artifacts and checkpoints, and how each came from others. As JSON, and as a readable tree."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from lineal.audit.terminal import cut, printable, show_value
from lineal.errors import number_of


@dataclass(frozen=True)
class LineageNode:
    """One thing that has a lineage.

    Attributes:
        id: unique in its graph: an artifact's key, `row:ID`, or `missing:STEP@DIGEST`.
        kind: sample, prompt, rows, model, metrics, settings or missing.
        name: what a person calls it.
        facts: what is known of it.
    """

    id: str
    kind: str
    name: str
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class Edge:
    """One thing, and something that it came from.

    Attributes:
        source: the thing's node id.
        relation: how: decision, verdict, sample, prompt, init, rows, ...
        target: the node id of what it came from.
        facts: what is known of this connection.
    """

    source: str
    relation: str
    target: str
    facts: Mapping[str, Any]


@dataclass
class Graph:
    """Nodes, and edges from each to what it came from, in the order in which they were found."""

    root: str
    nodes: dict[str, LineageNode] = field(default_factory=dict)
    edges: list[Edge] = field(default_factory=list)

    def add(self, node: LineageNode) -> bool:
        """Adds a node and returns whether it is new."""
        fresh = node.id not in self.nodes
        self.nodes.setdefault(node.id, node)
        return fresh

    def connect(self, source: str, relation: str, target: str, **facts: Any) -> None:
        """Adds an edge, once."""
        edge = Edge(source, relation, target, facts)
        if edge not in self.edges:
            self.edges.append(edge)

    def below(self, node_id: str) -> list[Edge]:
        """Returns the edges from a node to what it came from."""
        return [edge for edge in self.edges if edge.source == node_id]

    def as_json(self) -> dict[str, Any]:
        """Returns the graph for programs."""
        return {
            "root": self.root,
            "nodes": [
                {"id": n.id, "kind": n.kind, "name": n.name, "facts": dict(n.facts)}
                for n in self.nodes.values()
            ],
            "edges": [
                {"from": e.source, "relation": e.relation, "to": e.target, "facts": dict(e.facts)}
                for e in self.edges
            ],
        }

    def as_tree(self, width: int) -> str:
        """Formats the graph as an indented tree; a node is described once and only named after that."""
        root = self.nodes[self.root]
        spelled = {self.root}
        lines = [cut(_text(root), width), *(cut(f"  {line}", width) for line in _details(root))]
        lines += self._branches(self.root, "", spelled, width)
        return "\n".join(lines)

    def _branches(self, node_id: str, indent: str, spelled: set[str], width: int) -> Iterator[str]:
        edges = self.below(node_id)
        label = max((len(edge.relation) for edge in edges), default=0)
        for edge in edges:
            last, again = edge is edges[-1], edge.target in spelled
            spelled.add(edge.target)
            further = indent + ("   " if last else "│  ")
            below = [] if again else self.below(edge.target)
            first, *rest = _told(
                edge, self.nodes[edge.target], again, seen_above=again and bool(self.below(edge.target))
            )
            yield cut(f"{indent}{'└─' if last else '├─'} {edge.relation:<{label}}  {first}", width)
            bar = "│" if below else " "
            yield from (cut(f"{further}{bar}{' ' * (label + 1)}{line}", width) for line in rest)
            if not again:
                yield from self._branches(edge.target, further, spelled, width)


def _told(edge: Edge, node: LineageNode, again: bool, seen_above: bool) -> list[str]:
    """Returns a branch's lines: the connection, the node, and the node's own texts."""
    facts = {name: value for name, value in edge.facts.items() if value is not None}
    how = ", ".join(
        ("" if name == edge.relation else f"{name} ") + show_value(value) for name, value in facts.items()
    )
    name = printable(node.name) + ("  (spelled out above)" if seen_above else "")
    return [*([how] if how else []), name if again else _text(node), *([] if again else _details(node))]


def _text(node: LineageNode) -> str:
    facts = {
        name: value
        for name, value in node.facts.items()
        if name not in _BELOW and value not in (None, {}, [])
    }
    return f"{printable(node.name)}  " + "  ".join(_fact(name, value) for name, value in facts.items())


UNSAMPLED = {
    False: "from tasks, not sampled",
    True: "of unknown origin: the rows are not here (lineal run --pull)",
}
"""Descriptions of rows for which no checkpoint is known, by whether the sampler is unknown."""
_BELOW = ("prompt", "completion", "observation", "chosen", "rejected", "answer", "mix")
"""Facts that get lines of their own under the node."""
_BARE = ("component", "kind")


def _fact(name: str, value: Any) -> str:
    if name == "digest":
        return f"@{str(value)[:12]}"
    if name == "rows":
        return number_of(value, "row")
    if name == "settings":
        return (
            "("
            + ", ".join(f"{key}={show_value(item)}" for key, item in value.items() if item is not None)
            + ")"
        )
    return show_value(value) if name in _BARE else f"{name} {show_value(value)}"


def _details(node: LineageNode) -> Iterator[str]:
    for name in _BELOW:
        if name == "mix":
            yield from (printable(text) for text in mix_lines(node.facts.get("mix") or ()))
        elif node.facts.get(name) is not None:
            yield f"{name}: {show_value(node.facts[name])}"


def mix_lines(mix: Any) -> Iterator[str]:
    """Writes one line for each origin of training rows: `180 of round 1, sampled by rest_em/start/checkpoint`."""
    for part in mix:
        origin = (
            f"sampled by {part['sampled_by']}"
            if part.get("sampled_by")
            else UNSAMPLED[bool(part.get("unknown"))]
        )
        when = (
            f" in round {part['round']}" if part.get("round") is not None and part.get("sampled_by") else ""
        )
        yield f"{number_of(part['rows'], 'row')} {origin}{when}"
