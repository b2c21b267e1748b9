"""Lineage graphs as text for Graphviz and Mermaid; labels are escaped, so they are only ever shown."""

from __future__ import annotations

from lineal.audit.terminal import cut, printable, show_value
from lineal.audit.trace.descendants import Touched
from lineal.audit.trace.lineage import Edge, Graph, LineageNode

LABEL_CELLS = 60
"""Width of a label's lines; a diagram shows the shape, --format json the values."""
TEXTS = ("prompt", "completion")
SHAPES = {
    "model": "cylinder",
    "served": "cylinder",
    "sample": "note",
    "prompt": "note",
    "missing": "plaintext",
}
"""Graphviz shapes by kind; the rest are boxes."""
BRACKETS = {
    "model": ("[(", ")]"),
    "served": ("[(", ")]"),
    "sample": (">", "]"),
    "prompt": (">", "]"),
    "missing": ("{{", "}}"),
}
"""Mermaid's brackets for the same."""
_PLAIN = frozenset(" -_.,/@=:%+")


def as_dot(graph: Graph) -> str:
    """Writes the graph in Graphviz's language, with arrows from origins to what was made from them."""
    names = _names(graph)
    lines = ["digraph lineage {", "  rankdir=LR;", '  node [shape=box, fontname="sans-serif"];']
    for node in graph.nodes.values():
        label = r"\n".join(_dot_text(line) for line in _node_lines(node))
        shape = f", shape={SHAPES[node.kind]}" if node.kind in SHAPES else ""
        weight = ", style=bold" if node.id == graph.root else ""
        lines.append(f'  {names[node.id]} [label="{label}"{shape}{weight}];')
    for edge in graph.edges:
        lines.append(
            f'  {names[edge.target]} -> {names[edge.source]} [label="{_dot_text(_edge_line(edge))}"];'
        )
    return "\n".join([*lines, "}"])


def as_mermaid(graph: Graph) -> str:
    """Writes the graph as a Mermaid flowchart, with arrows from origins to what was made from them."""
    names = _names(graph)
    lines = ["flowchart LR"]
    for node in graph.nodes.values():
        opening, closing = BRACKETS.get(node.kind, ("[", "]"))
        label = "<br/>".join(_mermaid_text(line) for line in _node_lines(node))
        lines.append(f'  {names[node.id]}{opening}"{label}"{closing}')
    for edge in graph.edges:
        lines.append(f'  {names[edge.target]} -->|"{_mermaid_text(_edge_line(edge))}"| {names[edge.source]}')
    return "\n".join(lines)


def forward_graph(touched: list[Touched]) -> Graph:
    """Builds a graph of what was made from something; its root is the first entry."""
    graph = Graph(touched[0].key if touched else "")
    for one in touched:
        counted = {} if one.total is None else {"touched": f"{one.rows} of {one.total} rows"}
        graph.add(LineageNode(one.key, one.kind, one.key, {**counted, "digest": one.digest}))
        for field, key, rows in one.through:
            graph.connect(one.key, field, key, **({"rows": rows} if rows else {}))
    return graph


def _names(graph: Graph) -> dict[str, str]:
    return {node_id: f"n{number}" for number, node_id in enumerate(graph.nodes)}


def _node_lines(node: LineageNode) -> list[str]:
    """Returns the lines of a node's label: its name, its kind and digest, and the beginnings of its texts."""
    facts = node.facts
    digest = f" @{str(facts['digest'])[:12]}" if facts.get("digest") else ""
    counted = f", {show_value(facts['touched'])}" if "touched" in facts else ""
    texts = [f"{name}: {show_value(facts[name])}" for name in TEXTS if facts.get(name) is not None]
    return [
        cut(printable(line), LABEL_CELLS) for line in (node.name, f"{node.kind}{digest}{counted}", *texts)
    ]


def _edge_line(edge: Edge) -> str:
    verdicts = [name for name in edge.facts if name == "verdict" or name.endswith("_verdict")]
    told = [
        show_value(edge.facts[name])
        for name in ("decision", "reason", *verdicts, "rows")
        if edge.facts.get(name)
    ]
    return cut(
        ": ".join([printable(edge.relation), ", ".join(told)]) if told else printable(edge.relation),
        LABEL_CELLS,
    )


def _dot_text(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _mermaid_text(text: str) -> str:
    """Replaces everything that could be syntax or HTML by Mermaid's character codes."""
    return "".join(letter if letter.isalnum() or letter in _PLAIN else f"#{ord(letter)};" for letter in text)
