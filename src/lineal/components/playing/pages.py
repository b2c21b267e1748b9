"""A page as a model reads it: its accessibility tree in lines, with a number before all that can be clicked or filled in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lineal.environments.website import ROLES

CLICKED, TYPED, SELECTED = ROLES["click"], ROLES["type"], ROLES["select"]
_BLOCKS = {"heading": "heading ", "row": "row ", "paragraph": "", "listitem": ""}
"""What has one line for all that is in it, and how the line begins."""
_LABEL = "LabelText"
"""A label's text is the name of what it labels, which says it."""


@dataclass
class Control:
    """Something that can be clicked or filled in.

    Attributes:
        role, name, value: as the accessibility tree says them.
        options: what can be selected.
        disabled: whether it takes nothing now.
        element: the browser's number of the element.
    """

    role: str
    name: str
    value: str = ""
    options: list[str] = field(default_factory=list)
    disabled: bool = False
    element: int = 0

    def plain(self) -> dict[str, Any]:
        """Returns it as an environment gets it."""
        return {name: value for name, value in vars(self).items() if name != "element"}

    def __str__(self) -> str:
        options = f" ({', '.join(self.options)})" if self.options else ""
        value = f": {self.value}" if self.value or self.role in (*TYPED, *SELECTED) else ""
        return " ".join(f"{self.role} {self.name}{value}{options}{' disabled' * self.disabled}".split())


@dataclass
class WebPage:
    """A page as it is seen.

    Attributes:
        text: its lines.
        controls: by number, from 1, in the order of the page.
    """

    text: str
    controls: dict[int, Control]

    def plain(self) -> dict[str, Any]:
        """Returns it as an environment gets it."""
        return {
            "text": self.text,
            "controls": {str(number): one.plain() for number, one in self.controls.items()},
        }


def page_of(nodes: Sequence[Mapping[str, Any]]) -> WebPage:
    """Reads the nodes of a browser's accessibility tree."""
    reader = _Reader({node["nodeId"]: node for node in nodes})
    lines = [line for line in reader.lines(nodes[0]) if line]
    return WebPage("\n".join(lines), reader.controls)


class _Reader:
    """Reads a tree; `controls` are those that it has come by."""

    def __init__(self, nodes: Mapping[str, Mapping[str, Any]]) -> None:
        self._nodes = nodes
        self.controls: dict[int, Control] = {}

    def lines(self, node: Mapping[str, Any], label: bool = False) -> Iterator[str]:
        """Yields the lines in a node; in a label, those of its controls alone."""
        for child in self._children(node):
            role = child["role"]["value"]
            if role in (*CLICKED, *TYPED, *SELECTED):
                yield self._numbered(child, role)
            elif role in _BLOCKS:
                parts = (" ".join(self.lines(part)) for part in self._parts(child, role))
                yield _BLOCKS[role] + (" | " if role == "row" else " ").join(parts)
            elif role != "StaticText":
                yield from self.lines(child, label or role == _LABEL)
            elif not label:
                yield _plain(child.get("name"))

    def _parts(self, node: Mapping[str, Any], role: str) -> Iterable[Mapping[str, Any]]:
        """Returns a row's cells; of other blocks the whole."""
        return self._children(node) if role == "row" else (node,)

    def _children(self, node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        """Yields what is in a node; in place of what the tree ignores, what is in that."""
        for name in node.get("childIds", ()):
            child = self._nodes.get(name)
            if child is not None and child["ignored"]:
                yield from self._children(child)
            elif child is not None:
                yield child

    def _numbered(self, node: Mapping[str, Any], role: str) -> str:
        states = {one["name"]: one["value"].get("value") for one in node.get("properties", ())}
        value = _plain(node.get("value"))
        if "checked" in states:
            value = {"true": "on", "false": "off"}.get(str(states["checked"]), "mixed")
        control = Control(
            role,
            _plain(node.get("name")),
            value,
            list(self._options(node)) if role in SELECTED else [],
            states.get("disabled") is True,
            node["backendDOMNodeId"],
        )
        number = len(self.controls) + 1
        self.controls[number] = control
        return f"[{number}] {control}"

    def _options(self, node: Mapping[str, Any]) -> Iterator[str]:
        for child in self._children(node):
            if child["role"]["value"] == "option":
                yield _plain(child.get("name"))
            else:
                yield from self._options(child)


def _plain(value: Mapping[str, Any] | None) -> str:
    """Returns a text of the tree in one line."""
    return " ".join(str((value or {}).get("value") or "").split())
