"""Policies: prompting scaffolds as files of nodes. A pipeline's node uses one, and the file's nodes stand in its place.

In a policy's file `$name` is a setting of it, which the pipeline's node may give, or another node of the file. The node that is
the policy's output gets the name of the pipeline's node; `draft` of a policy at `refined` becomes `refined_draft`. From then on
they are nodes like any others.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import lineal
from lineal.errors import Problems, did_you_mean
from lineal.recipe.document import Document, KeyPath, count_at, mapping_at, read_document, refuse_unknown
from lineal.recipe.nodes import EACH, PER_ROUND, Node, Part, Section, each_of, node_of
from lineal.recipe.references import NAME
from lineal.recipe.repeat import PER_TURN, REPEAT

POLICIES = "policies"
"""The directory of policies, beside `pipelines/`; `use: policies.self_refine` names a file in it."""
PACKAGED = Path(lineal.__file__).parent / "_project" / POLICIES
POLICY, REQUIRED, SETTINGS, NODES, OUTPUT = "policy", "required", "settings", "nodes", "output"
_KEYS = (POLICY, "paper", "summary", REQUIRED, SETTINGS, REPEAT, NODES, OUTPUT)
_OWN = (PER_ROUND, PER_TURN, REPEAT)
"""Keys of a node that a policy's file decides, where it allows them."""
_NAMED = re.compile(
    r"^(?P<scope>(?:previous|history|before|turns)\.)?\$(?P<name>[a-z][a-z0-9_]*)(?P<part>\.[a-z][a-z0-9_]*)?$"
)


@dataclass(frozen=True)
class Policies:
    """The places of policies' files.

    Attributes:
        directories: where they are looked for; the first that has one counts.
    """

    directories: tuple[Path, ...]

    @classmethod
    def of(cls, root: Path) -> Policies:
        """Returns a project's policies, and those that come with lineal."""
        return cls((root / POLICIES, PACKAGED))

    def find(self, name: str) -> Path:
        """Returns a policy's file.

        Raises:
            ValueError: there is none.
        """
        found = [path for directory in self.directories if (path := directory / f"{name}.yaml").is_file()]
        if not found or not NAME.match(name):
            raise ValueError(f"no policy {POLICIES}/{name}.yaml. {did_you_mean(name, self.files())}")
        return found[0]

    def files(self) -> dict[str, Path]:
        """Returns the policies' files by name, the project's in place of lineal's of the same name."""
        return {path.stem: path for one in reversed(self.directories) for path in one.glob("*.yaml")}


@dataclass(frozen=True)
class Policy:
    """One policy's file.

    Attributes:
        document: the file.
        required: settings that whoever uses it gives.
        settings: the other settings, and their defaults; null leaves a key out, for the component's own default.
        repeat: by group of nodes, how many turns it has.
        nodes: its nodes as written.
        output: the node whose rows are the policy's.
    """

    document: Document
    required: tuple[str, ...]
    settings: Mapping[str, Any]
    repeat: Mapping[str, Any]
    nodes: Mapping[str, Mapping[str, Any]]
    output: str

    @property
    def known(self) -> tuple[str, ...]:
        """All settings, those first that must be given."""
        return (*self.required, *self.settings)

    def error_at(self, setting: str, message: str) -> Exception:
        """Makes an error about a setting's declaration."""
        return self.document.error((REQUIRED,) if setting in self.required else (SETTINGS, setting), message)


def is_policy(use: Any) -> bool:
    """Tells whether a node's `use:` names a policy's file and not a component."""
    return isinstance(use, str) and use.startswith(f"{POLICIES}.")


def read_policy(path: Path) -> Policy:
    """Reads a policy's file.

    Raises:
        DeclarationError: a key is unknown, missing or wrong, or a setting is not used; names file, line and key.
    """
    document = read_document(path, f"{POLICIES}/{path.name}", dvc_reads=True)
    value = mapping_at(document, (), document.value)
    refuse_unknown(document, (), value, _KEYS)
    for key in (POLICY, "summary", OUTPUT):
        if not isinstance(value.get(key), str):
            raise document.error((key,), f"expected text, got {value.get(key)!r}")
    required = value.get(REQUIRED) or []
    if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
        raise document.error((REQUIRED,), f"expected a list of names, got {required!r}")
    settings, repeat, declared = (
        mapping_at(document, (key,), value.get(key)) for key in (SETTINGS, REPEAT, NODES)
    )
    nodes = {name: _checked(document, name, node) for name, node in declared.items()}
    if value[OUTPUT] not in nodes:
        raise document.error((OUTPUT,), f"names no node of this file. {did_you_mean(value[OUTPUT], nodes)}")
    policy = Policy(document, tuple(required), settings, repeat, nodes, value[OUTPUT])
    _check_settings(policy)
    _check_uses(policy)
    return policy


def _checked(document: Document, name: str, node: Any) -> Mapping[str, Any]:
    path = (NODES, name)
    if not NAME.match(name):
        raise document.error(path, "a node's name is a lower-case word")
    found = mapping_at(document, path, node)
    for key in (EACH, PER_ROUND):
        if key in found:
            fix = (
                "The pipeline's node may have it"
                if key == EACH
                else "Make it a setting, or declare two nodes"
            )
            raise document.error((*path, key), f"a policy's node has no {key!r}. {fix}")
    if is_policy(found.get("use")):
        raise document.error(
            (*path, "use"), f"a policy's node uses a component, got {found['use']!r}. Write its nodes here"
        )
    return found


def _check_settings(policy: Policy) -> None:
    """Refuses settings whose names mean something else, too."""
    for name in policy.known:
        taken = name in ("use", EACH, *_OWN) or name in policy.nodes or policy.known.count(name) > 1
        if taken or not NAME.match(name):
            what = "a setting's name is a lower-case word that no node, no other setting and no key of every node has"
            raise policy.error_at(name, f"{what}, got {name!r}")


def _check_uses(policy: Policy) -> None:
    """Refuses a `$name` that means nothing, and a setting that nothing uses."""
    written = [
        (path, text, _NAMED.match(text))
        for path, text in _texts({NODES: policy.nodes, REPEAT: policy.repeat})
    ]
    uses = [(path, text, found) for path, text, found in written if found is not None]
    for path, text, found in uses:
        name = found["name"]
        if name not in policy.known and name not in policy.nodes:
            near = did_you_mean(name, [*policy.known, *policy.nodes])
            raise policy.document.error(path, f"{text!r}: no setting and no node of this file. {near}")
        if name in policy.known and text != f"${name}":
            raise policy.document.error(path, f"{text!r}: {name} is a setting; write ${name} alone")
    used = {found["name"] for _, _, found in uses}
    for name in policy.known:
        if name not in used:
            raise policy.error_at(name, f"no node uses ${name}. Use it, or take it away")


def _texts(value: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, str]]:
    if isinstance(value, str):
        yield path, value
    items = (
        value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, item in items:
        yield from _texts(item, (*path, key))


def expand(
    policies: Policies,
    document: Document,
    part: Part,
    name: str,
    value: Mapping[str, Any],
    paths: tuple[KeyPath, ...],
    each: Mapping[str, list[str]] | None,
) -> tuple[dict[str, Node], dict[str, int]]:
    """Returns the nodes that stand in the place of a node that names a policy, and the turns of their groups.

    Args:
        policies: where policies are.
        document: the pipeline's file.
        part: where the node stands.
        name: the node's name.
        value: its keys, all layers in one.
        paths: the places of the layers.
        each: the variables of the pipeline; None where they are wrong.

    Raises:
        DeclarationError: there is no such policy, its file is wrong, or a setting is unknown or missing; names file and key.
    """
    path = paths[-1]
    if part.section is Section.TASKS:
        raise document.error((*path, "use"), "a policy answers prompts; it stands in start, round or finish")
    for key in _OWN:
        if key in value:
            raise document.error(
                (*path, key), f"a node that uses a policy has no {key!r}. Write it in the policy's file"
            )
    try:
        policy = read_policy(policies.find(value["use"].partition(".")[2]))
    except ValueError as error:
        raise document.error((*path, "use"), str(error)) from error
    refuse_unknown(document, path, value, ("use", EACH, *policy.known))
    missing = [one for one in policy.required if value.get(one) is None]
    if missing:
        raise document.error(path, f"{value['use']} needs {' and '.join(missing)}; write {missing[0]}: ...")
    return _Use(policy, document, part, name, value, paths, each_of(document, path, value, each)).nodes(each)


@dataclass
class _Use:
    """One policy in the place of one node."""

    policy: Policy
    document: Document
    part: Part
    name: str
    given: Mapping[str, Any]
    paths: tuple[KeyPath, ...]
    variable: str | None
    places: dict[KeyPath, tuple[Document, KeyPath]] = field(default_factory=dict)
    """By key of the policy's file, the pipeline's key that gives its value."""

    def nodes(self, each: Mapping[str, list[str]] | None) -> tuple[dict[str, Node], dict[str, int]]:
        """Returns the nodes, and the turns of their groups."""
        values = {name: self._filled(node, (NODES, name)) for name, node in self.policy.nodes.items()}
        turns = {name: self._filled(number, (REPEAT, name)) for name, number in self.policy.repeat.items()}
        used = f"{self.document.name}:{self.document.lines.get(self.paths[0], 1)}: {'.'.join(map(str, self.paths[0]))}"
        document = replace(self.policy.document, places=self.places, used_by=used)
        groups = {
            self._group(name): count_at(document, (REPEAT, name), number, "turns")
            for name, number in turns.items()
        }
        problems, found = Problems(), dict[str, Node]()
        for name, node in values.items():
            with problems.noted():
                found[self._renamed(name)] = self._node(document, name, node, each, groups)
        problems.raise_all()
        return found, groups

    def _node(
        self,
        document: Document,
        name: str,
        value: dict[str, Any],
        each: Mapping[str, list[str]] | None,
        groups: Mapping[str, int],
    ) -> Node:
        group = value.get(REPEAT)
        if isinstance(group, str):
            if self._group(group) not in groups:
                fix = f"Say how many turns it has at the top of the file: {REPEAT}: {{{group}: 3}}"
                raise document.error((NODES, name, REPEAT), f"unknown group {group!r}. {fix}")
            value = {**value, REPEAT: self._group(group)}
        if self.variable is not None:
            value = {**value, EACH: self.variable}
        made = node_of(document, self.part, self._renamed(name), value, ((NODES, name),), each, groups)
        return replace(made, used_by=self.paths)

    def _group(self, name: str) -> str:
        """Returns the name of a group of turns in the pipeline, where the policy may be used twice with other numbers."""
        return f"{self.part}/{self.name}/{name}"

    def _renamed(self, name: str) -> str:
        return self.name if name == self.policy.output else f"{self.name}_{name}"

    def _filled(self, value: Any, path: KeyPath) -> Any:
        """Puts settings and nodes in the place of `$name`s; a setting that is null leaves its key out."""
        if isinstance(value, Mapping):
            filled = {key: (item, self._filled(item, (*path, key))) for key, item in value.items()}
            return {key: new for key, (old, new) in filled.items() if new is not None or old is None}
        if isinstance(value, list):
            items = [(item, self._filled(item, (*path, place))) for place, item in enumerate(value)]
            return [
                one
                for old, new in items
                for one in (new if isinstance(new, list) and isinstance(old, str) else [new])
            ]
        found = _NAMED.match(value) if isinstance(value, str) else None
        if found is None:
            return value
        if found["name"] in self.policy.nodes:
            instance = f"[{self.variable}]" if self.variable else ""
            return f"{found['scope'] or ''}{self._renamed(found['name'])}{instance}{found['part'] or ''}"
        return self._setting(found["name"], path)

    def _setting(self, name: str, path: KeyPath) -> Any:
        for above in reversed(self.paths):
            if (*above, name) in self.document.lines and name in self.given:
                self.places[path] = (self.document, (*above, name))
                return self.given[name]
        return self.given[name] if name in self.given else self.policy.settings[name]


def require_free(
    document: Document, path: KeyPath, names: Mapping[str, Node], taken: Mapping[str, Node]
) -> None:
    """Refuses nodes of a policy with the names of others.

    Raises:
        DeclarationError: names the first.
    """
    for name in names:
        if name in taken:
            raise document.error(
                path, f"another node is named {name!r}, and one of the two is a policy's. Rename the other"
            )
