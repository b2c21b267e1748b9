"""`dvc.yaml` and `dvc.lock` as lines that belong to entries, so that some are replaced and all others stay byte for byte.

A parser says where each entry begins and ends. Only what is replaced is written: comments, quotes, order and
spaces of the rest stay.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from lineal.errors import ProjectError

_Loader = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
MARKER = re.compile(r"^(<<<<<<<|\|\|\|\|\|\|\||=======|>>>>>>>)( |$)", re.MULTILINE)


_BREAKS = ("\n", "\r", "\x85", "\u2028", "\u2029")
_LINE = re.compile("[^\n\r\x85\u2028\u2029]*(?:\r\n|[\n\r\x85\u2028\u2029])|[^\n\r\x85\u2028\u2029]+")
"""Lines as YAML counts them, with their ends."""


@dataclass(frozen=True)
class Entry:
    """A stage, or an item of a list, with the comments above it.

    Attributes:
        name: its key; of an item of a list, its text or its only key.
        above: the lines above it that belong to no entry: comments and blank lines.
        lines: its own lines.
        value: its value; every scalar is a string.
    """

    name: str
    above: tuple[str, ...]
    lines: tuple[str, ...]
    value: Any = None


@dataclass(frozen=True)
class TopLevelKey:
    """A top-level key.

    Attributes:
        name: the key.
        above: the lines above it that belong to no entry.
        head: the key's own line, or all lines where its value is no list or mapping of entries.
        entries: what it holds.
        indent: how many spaces stand before an entry.
        is_list: whether its entries are items of a list.
    """

    name: str
    above: tuple[str, ...]
    head: tuple[str, ...]
    entries: tuple[Entry, ...] = ()
    indent: int = 2
    is_list: bool = False


@dataclass(frozen=True)
class Entries:
    """A file's sections and the lines after the last of them."""

    sections: tuple[TopLevelKey, ...] = ()
    below: tuple[str, ...] = ()

    def section(self, name: str) -> TopLevelKey | None:
        """Returns the section with this name."""
        return next((section for section in self.sections if section.name == name), None)

    def with_section(self, section: TopLevelKey) -> Entries:
        """Returns the file with a section in the place of the one with its name, or as the last."""
        if self.section(section.name) is None:
            return replace(self, sections=(*self.sections, section))
        return replace(
            self, sections=tuple(section if one.name == section.name else one for one in self.sections)
        )

    def text(self) -> str:
        """Returns the file's text."""
        lines = [line for section in self.sections for line in _lines_of(section)]
        return "".join(line if line.endswith(_BREAKS) else f"{line}\n" for line in [*lines, *self.below])


def _lines_of(section: TopLevelKey) -> Iterator[str]:
    yield from (*section.above, *section.head)
    for entry in section.entries:
        yield from (*entry.above, *entry.lines)


def read_entries(path: Path, text: str, entry_sections: Sequence[str]) -> Entries:
    """Takes a file apart.

    Args:
        path: the file, for messages.
        text: its text.
        entry_sections: the top-level keys that are taken apart further.

    Raises:
        ProjectError: it is not YAML, holds a merge conflict, names a key twice, or writes entries in braces.
    """
    (root, document), lines = _loaded(path, text), _LINE.findall(text)
    if root is None:
        return Entries((), tuple(lines))
    if root.flow_style:
        raise ProjectError(f"{path}: write each key on a line of its own, without braces")
    sections, place = [], 0
    for key, value in root.value:
        start, stop = key.start_mark.line, max(_last_line(value), key.start_mark.line) + 1
        above = tuple(lines[place:start])
        place = stop
        if key.value in entry_sections and value.value:
            sections.append(_section(path, lines, key, value, above, document[key.value]))
        else:
            sections.append(TopLevelKey(key.value, above, tuple(lines[start:stop])))
    return Entries(tuple(sections), tuple(lines[place:]))


def conflict_message(path: Path) -> str:
    """Says what to do about conflict markers, whatever state git is in."""
    return (
        f"{path} holds a merge conflict. Merge params.yaml and pipelines/ first, then let lineal merge dvc.yaml and dvc.lock: "
        f"lineal resolve. Then: git add {path.name}"
    )


def load_plain(path: Path, text: str) -> Any:
    """Parses the file, every scalar a string; see `read_entries` for errors."""
    return _loaded(path, text)[1]


def _loaded(path: Path, text: str) -> tuple[yaml.MappingNode | None, Any]:
    """Returns the file's root node, and its value."""
    if MARKER.search(text):
        raise ProjectError(conflict_message(path))
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None or (isinstance(node, yaml.ScalarNode) and not node.value):
            return None, {}
        root = _with_keys(path, node)
        return root, loader.construct_document(root)
    except (
        yaml.YAMLError,
        ValueError,
        RecursionError,
    ) as error:  # ValueError: a repeated anchor's merge, an odd character
        raise ProjectError(f"{path} is not valid YAML: {error}. {restoring(path)}") from error
    finally:
        loader.dispose()


def restoring(path: Path) -> str:
    """Returns the command that restores a file after a bad edit."""
    restore = f"Restore it: git checkout HEAD -- {path.name}"
    if path.name == "dvc.lock":
        return f"{restore}; or delete it: lineal run takes what DVC's cache holds and makes the rest"
    return f"{restore}; or delete it and write it: lineal plan --write"


def _with_keys(path: Path, node: yaml.Node) -> yaml.MappingNode:
    if not isinstance(node, yaml.MappingNode):
        raise ProjectError(f"{path}: holds no stages, got {node.value!s:.80}. {restoring(path)}")
    _require_distinct(path, node)
    for key, value in node.value:
        if isinstance(value, yaml.MappingNode) and key.value == "stages":
            _require_distinct(path, value)
    return node


def _require_distinct(path: Path, node: yaml.MappingNode) -> None:
    met: set[str] = set()
    for key, _ in node.value:
        if key.value in met:
            raise ProjectError(
                f"{path}:{key.start_mark.line + 1}: {key.value} occurs twice. Keep one, or run: lineal resolve"
            )
        met.add(key.value)


def _section(
    path: Path, lines: list[str], key: yaml.Node, value: yaml.Node, above: tuple[str, ...], says: Any
) -> TopLevelKey:
    start, is_list = key.start_mark.line, isinstance(value, yaml.SequenceNode)
    if not isinstance(value, yaml.CollectionNode) or value.flow_style:
        raise ProjectError(
            f"{path}:{start + 1}: {key.value}: write each entry on lines of its own, without braces or brackets"
        )
    items = [(None, item) for item in value.value] if is_list else value.value
    first = (items[0][0] or items[0][1]).start_mark
    indent = lines[first.line].index("-") if is_list else first.column
    entries, place = [], start + 1
    for (name, item), said in zip(items, says if is_list else says.values(), strict=True):
        begin, stop = (
            (name or item).start_mark.line,
            max(_last_line(item), (name or item).start_mark.line) + 1,
        )
        called = name.value if name else next(iter(said)) if isinstance(said, dict) and said else str(said)
        entries.append(Entry(called, tuple(lines[place:begin]), tuple(lines[begin:stop]), said))
        place = stop
    return TopLevelKey(key.value, above, (lines[start],), tuple(entries), indent, is_list)


def _last_line(node: yaml.Node) -> int:
    """Returns the last line of a value; the parser ends a block where the next token begins, comments later."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style:
        parts = [part for item in node.value for part in (item if isinstance(item, tuple) else (item,))]
        return max((_last_line(part) for part in parts), default=node.start_mark.line)
    end = node.end_mark
    return int(end.line if end.column else max(end.line - 1, node.start_mark.line))


def indented(lines: Sequence[str], indent: int, written: int) -> tuple[str, ...]:
    """Re-indents the lines of an entry from `written` spaces to `indent`."""
    return tuple(" " * indent + line[written:] for line in lines)


@dataclass
class Woven:
    """Entries of ours among those of others: ours in their order, each other one after the one of ours that it followed."""

    ours: dict[str, Entry]
    above: dict[str, tuple[str, ...]] = field(default_factory=dict)
    others: dict[str | None, list[Entry]] = field(default_factory=dict)

    def entries(self) -> Iterator[Entry]:
        """Yields all of them."""
        yield from self.others.get(None, [])
        for name, entry in self.ours.items():
            yield replace(entry, above=self.above.get(name, ()))
            yield from self.others.get(name, [])


def woven(old: Sequence[Entry], is_ours: Sequence[bool], ours: dict[str, Entry]) -> tuple[Entry, ...]:
    """Replaces our entries among others': old ones are removed, new ones added, and comments above any of them are kept."""
    result, last = Woven(ours), None
    for entry, own in zip(old, is_ours, strict=True):
        if not own:
            result.others.setdefault(last, []).append(entry)
        elif entry.name in ours:
            result.above[entry.name], last = entry.above, entry.name
        elif any(line.strip() for line in entry.above):
            result.others.setdefault(last, []).append(Entry("", entry.above, ()))
    return tuple(result.entries())
