"""YAML files as plain values that remember the line of every key."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import ValidationError
from pydantic_core.core_schema import ErrorType

from lineal.errors import DeclarationError, did_you_mean

KeyPath = tuple[str | int, ...]
_SECRET = re.compile(r"(\w*[-_])?(api)?key|((access|api|auth)[-_]?)?token|secret|password|auth(orization)?|headers?", re.I)
PYDANTIC_TYPES = frozenset(get_args(ErrorType)) - {"value_error", "assertion_error"}
"""Problems that pydantic words itself; ours say already what they got."""

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C parser is 8 times faster


class StrictLoader(_Loader):  # type: ignore[misc, valid-type]
    """YAML with the surprises of version 1.1 removed: `no` is a string, `1e-3` a number, `010` no octal."""


StrictLoader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("null", r"^(null|~|)$", ["n", "~", ""]),
    ("bool", r"^(true|false)$", list("tf")),
    ("int", r"^[-+]?(0|[1-9]\d*)$", list("-+0123456789")),
    ("float", r"^[-+]?(\d+\.\d*|\.\d+|\d+(?=[eE]))([eE][-+]?\d+)?$", list("-+.0123456789")),
):
    StrictLoader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), _first)


@dataclass(frozen=True)
class Document:
    """One parsed YAML file.

    Attributes:
        name: the file's path as messages show it.
        value: plain dicts, lists and scalars.
        lines: the 1-based line of every key and list item, by key path.
    """

    name: str
    value: Any
    lines: Mapping[KeyPath, int]

    def error(self, path: KeyPath, message: str) -> DeclarationError:
        """An error that names file, line and key; the line is that of the nearest key that exists."""
        known = path
        while known and known not in self.lines:
            known = known[:-1]
        line = self.lines.get(known, 1)
        key = ".".join(str(part) for part in path)
        return DeclarationError(f"{self.name}:{line}: {key + ': ' if key else ''}{message}")


def read_document(path: Path, name: str | None = None) -> Document:
    """Reads one YAML file.

    Raises:
        DeclarationError: the file is missing, is not YAML, or names a key twice.
    """
    shown = name or str(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise DeclarationError(f"{shown}: no such file") from None
    except UnicodeDecodeError as error:
        raise DeclarationError(f"{shown}: not UTF-8 text ({error.reason} at byte {error.start})") from error
    return parse_document(text, shown)


def parse_document(text: str, name: str) -> Document:
    """Parses YAML text; see `read_document`."""
    loader = StrictLoader(text)
    lines: dict[KeyPath, int] = {}
    try:
        node = loader.get_single_node()
        value = {} if node is None else _value_of(loader, node, (), lines, name)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark is not None else 1
        raise DeclarationError(f"{name}:{line}: not valid YAML: {getattr(error, 'problem', error)}") from error
    finally:
        loader.dispose()
    return Document(name, value, lines)


def _value_of(loader: Any, node: yaml.Node, path: KeyPath, lines: dict[KeyPath, int], name: str) -> Any:
    lines.setdefault(path, node.start_mark.line + 1)
    if not node.tag.startswith("tag:yaml.org,2002:") or "python" in node.tag:
        raise DeclarationError(f"{name}:{node.start_mark.line + 1}: the tag {node.tag!r} is refused; write a plain value")
    if isinstance(node, yaml.MappingNode):
        return _mapping_of(loader, node, path, lines, name)
    if isinstance(node, yaml.SequenceNode):
        return [_value_of(loader, item, (*path, index), lines, name) for index, item in enumerate(node.value)]
    return loader.construct_object(node)


def _mapping_of(loader: Any, node: yaml.MappingNode, path: KeyPath, lines: dict[KeyPath, int], name: str) -> dict[str, Any]:
    mapping: dict[str, Any] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        key = loader.construct_object(key_node) if isinstance(key_node, yaml.ScalarNode) else None
        if not isinstance(key, str):
            raise DeclarationError(f"{name}:{line}: a key must be a plain word, got {key!r}")
        if key in mapping:
            first = lines[(*path, key)]
            raise DeclarationError(f"{name}:{line}: {key!r} stands twice (first at line {first}); delete one")
        lines[(*path, key)] = line
        mapping[key] = _value_of(loader, value_node, (*path, key), lines, name)
    return mapping


def declaration_error(document: Document, path: tuple[str | int, ...], error: ValidationError, known: Any) -> Exception:
    """The first problem of a validation as an error that names file, line and key."""
    first = error.errors()[0]
    where = (*path, *first["loc"])
    if first["type"] == "extra_forbidden":
        key = str(first["loc"][-1])
        hint = did_you_mean(key, known) if len(first["loc"]) == 1 else _secret_hint(where)
        return document.error(where, f"unknown key {key!r}. {hint}".strip())
    if first["type"] == "missing":
        return document.error(where, "is missing")
    if first["type"] in PYDANTIC_TYPES:
        return document.error(where, f"{first['msg']}, got {first['input']!r}")
    return document.error(where, first["msg"].removeprefix("Value error, "))


def _secret_hint(where: KeyPath) -> str:
    """What to do instead, where someone wrote a server's key down."""
    if "endpoints" not in where or not _SECRET.fullmatch(str(where[-1])):
        return ""
    return "A key does not belong in a file: put it into an environment variable, and its name here: key_variable: NAME"
