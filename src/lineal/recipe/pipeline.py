"""One pipeline file: its header, its sections, its profiles; no component is known here yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pydantic import ValidationError

from lineal.errors import Problems, did_you_mean
from lineal.recipe.compute import Strict
from lineal.recipe.document import Document, KeyPath
from lineal.recipe.per_round import check_per_round
from lineal.recipe.per_round import settings_in_round as moved_settings
from lineal.recipe.references import NAME, Scope

PAPER = "paper"
"""The profile that is the declaration as it stands."""


class Section(StrEnum):
    """The parts of a pipeline that hold nodes."""

    TASKS = "tasks"
    START = "start"
    ROUND = "round"
    FINISH = "finish"


_HEADER = ("method", "paper", "summary")
STOP = "stop"
"""The key at the top that ends a run early; its node stands at the end of every round under this name."""
BEST = "best"
"""Where the best round's nodes are found after the last round of a pipeline with `stop`."""
_KEYS = (*_HEADER, "each", *(str(section) for section in Section), STOP, "profiles")
PER_ROUND = "per_round"
_NODE_KEYS = ("use", "each", PER_ROUND)
_RESERVED = {str(scope) for scope in Scope} | {str(section) for section in Section} | {STOP, BEST}


class Header(Strict):
    """What a pipeline says about itself.

    Attributes:
        method: the method's own name.
        paper: `arXiv:...` or another citation; none for a control.
        summary: one or two sentences.
    """

    method: str
    summary: str
    paper: str | None = None


@dataclass(frozen=True)
class Node:
    """One declared node, profile applied.

    Attributes:
        name: its name in the section.
        section: where it stands.
        use: the component's name.
        settings: everything but `use`, `each` and `per_round`.
        each: the variable that it is made for each value of.
        per_round: settings that move with the round: lists of values, or first values and `step` to add.
        paths: the YAML keys that declare it (its own, and the profile's if that changes it).
    """

    name: str
    section: Section
    use: str
    settings: Mapping[str, Any]
    each: str | None
    per_round: Mapping[str, Any] | None
    paths: tuple[KeyPath, ...]


@dataclass(frozen=True)
class Pipeline:
    """One parsed pipeline file under one profile."""

    name: str
    document: Document
    header: Header
    profile: str
    each: Mapping[str, list[str]]
    sections: Mapping[Section, Mapping[str, Node]]

    def other_profiles(self) -> list[Pipeline]:
        """The same file under each profile that is not this one.

        Raises:
            DeclarationError: as `read_pipeline` does.
        """
        names = dict.fromkeys([PAPER, *(self.document.value.get("profiles") or {})])
        return [read_pipeline(self.name, self.document, name) for name in names if name != self.profile]

    def path_of(self, node: Node, key: str) -> KeyPath:
        """The YAML key that sets `key` on the node, `rewards.right.scorer` say: the profile's where it overrides."""
        inside = tuple(key.split("."))
        for path in reversed(node.paths):
            for owner in ((*path, PER_ROUND), path):
                if (*owner, inside[0]) in self.document.lines:
                    rows = (*owner, *inside, "rows")  # of a setting that is about rows, which goes by the setting's own name
                    return rows if rows in self.document.lines else (*owner, *inside)
        return (*node.paths[0], *inside)


def read_pipeline(name: str, document: Document, profile: str) -> Pipeline:
    """Types one pipeline document.

    Raises:
        DeclarationError: an unknown key, a missing section, a malformed node; names file, line and key.
    """
    value = _mapping(document, (), document.value)
    problems = Problems()
    with problems.noted():
        _refuse_unknown(document, (), value, _KEYS)
    with problems.noted():
        header = _header(document, value)
    overrides: Mapping[str, Any] = {}
    with problems.noted():
        overrides = _overrides(document, value, profile)
    each: dict[str, list[str]] | None = None
    with problems.noted():
        each = _each(document, value.get("each", {}))
    sections = {section: _section(document, value, overrides, section, profile, each, problems) for section in Section}
    for section in (Section.TASKS, Section.ROUND):
        if not sections[section] and not problems.found:
            raise document.error((str(section),), "is missing or empty; a pipeline needs tasks and a round")
    with problems.noted():
        sections[Section.ROUND].update(_stop(document, value, overrides, profile))
    problems.raise_all()
    assert each is not None
    return Pipeline(name, document, header, profile, each, sections)


def _header(document: Document, value: Mapping[str, Any]) -> Header:
    try:
        return Header.model_validate({key: value[key] for key in _HEADER if key in value})
    except ValidationError as error:
        first = error.errors()[0]
        raise document.error(tuple(first["loc"]), f"{first['msg'].lower()} (method and summary are text)") from error


def _overrides(document: Document, value: Mapping[str, Any], profile: str) -> Mapping[str, Any]:
    profiles = _mapping(document, ("profiles",), value.get("profiles", {}))
    for name, override in profiles.items():
        sections = _mapping(document, ("profiles", name), override)
        _refuse_unknown(document, ("profiles", name), sections, (*(str(section) for section in Section), STOP))
    if profile in profiles:
        return profiles[profile]  # type: ignore[no-any-return]
    if profile == PAPER:
        return {}
    known = [PAPER, *profiles]
    fix = f"Write it under profiles, or ask for another in params.yaml: profile: {PAPER}, or for one pipeline under pipelines"
    raise document.error(("profiles",), f"no profile {profile!r} (params.yaml asks for it). {did_you_mean(profile, known)} {fix}")


def _each(document: Document, value: Any) -> dict[str, list[str]]:
    variables = _mapping(document, ("each",), value)
    for name, values in variables.items():
        words = isinstance(values, list) and values and all(isinstance(item, str) and NAME.match(item) for item in values)
        if not words or len(set(values)) != len(values):
            raise document.error(("each", name), f"must be a list of different plain words, got {values!r}")
    return dict(variables)


def _section(
    document: Document,
    value: Mapping[str, Any],
    overrides: Mapping[str, Any],
    section: Section,
    profile: str,
    each: Mapping[str, list[str]] | None,
    problems: Problems,
) -> dict[str, Node]:
    """The section's nodes; what is wrong with one of them is noted, and the others are read all the same."""
    declared: Mapping[str, Any] = {}
    with problems.noted():
        declared = _mapping(document, (section,), value.get(section, {}))
    changed = _mapping(document, ("profiles", profile, section), overrides.get(section, {}))
    nodes = {}
    for name in dict.fromkeys([*declared, *changed]):
        if name in changed and changed[name] is None:
            continue
        path, override_path = (str(section), name), ("profiles", profile, str(section), name)
        paths = tuple(p for p, there in ((path, name in declared), (override_path, name in changed)) if there)
        with problems.noted():
            if not NAME.match(name) or name in _RESERVED:
                raise document.error(paths[-1], f"a node's name is a lower-case word that is not {', '.join(sorted(_RESERVED))}")
            laid = _laid_over(document, path, declared.get(name, {}), override_path, changed.get(name, {}))
            nodes[name] = _node(document, section, name, laid, paths, each)
    return nodes


def _laid_over(document: Document, path: KeyPath, base: Any, override_path: KeyPath, override: Any) -> Mapping[str, Any]:
    """A node with the profile's keys over its own, null for a key's default; one that changes `use` replaces it."""
    own, changed = _mapping(document, path, base), _mapping(document, override_path, override)
    if "use" in changed and changed["use"] != own.get("use"):
        return changed
    return {key: item for key, item in {**own, **changed}.items() if item is not None or key not in changed}


def _stop(document: Document, value: Mapping[str, Any], overrides: Mapping[str, Any], profile: str) -> dict[str, Node]:
    """The node that `stop:` declares, if anything does; a profile's `stop: null` takes it away."""
    path, override_path = (STOP,), ("profiles", profile, STOP)
    if overrides.get(STOP, value.get(STOP)) is None:
        return {}
    laid = _laid_over(document, path, value.get(STOP), override_path, overrides.get(STOP))
    paths = tuple(p for p, there in ((path, STOP in value), (override_path, STOP in overrides)) if there)
    return {STOP: _node(document, Section.ROUND, STOP, laid, paths, {})}


def _node(
    document: Document,
    section: Section,
    name: str,
    value: Mapping[str, Any],
    paths: tuple[KeyPath, ...],
    each: Mapping[str, list[str]] | None,
) -> Node:
    path = paths[-1]
    use = value.get("use")
    if not isinstance(use, str):
        raise document.error((*path, "use"), f"every node says which component it uses, got {use!r}")
    variable = value.get("each")
    if variable is not None and not isinstance(variable, str):
        fix = "List the values at the top of the file, each: {agent: [a, b]}, and name the variable here: each: agent"
        raise document.error((*path, "each"), f"expected the name of a variable, got {variable!r}. {fix}")
    if variable is not None and each is not None and variable not in each:
        raise document.error((*path, "each"), f"unknown variable {variable!r}. {did_you_mean(variable, each)}")
    per_round = value.get(PER_ROUND)
    if per_round is not None and section not in (Section.TASKS, Section.ROUND):
        raise document.error((*path, PER_ROUND), f"only tasks and round nodes have rounds; this one stands in {section}")
    if per_round is not None:
        check_per_round(document, (*path, PER_ROUND), _mapping(document, (*path, PER_ROUND), per_round), _NODE_KEYS)
    settings = {key: item for key, item in value.items() if key not in _NODE_KEYS}
    return Node(name, section, use, settings, variable, per_round, paths)


def settings_in_round(document: Document, node: Node, round_number: int) -> dict[str, Any]:
    """The node's settings in a round, `per_round` applied; a value of null is the setting's default.

    Raises:
        DeclarationError: value and step don't fit each other.
    """
    if node.per_round is None:
        return dict(node.settings)
    moved = moved_settings(document, (*node.paths[-1], PER_ROUND), node.per_round, round_number)
    settings = {**node.settings, **moved}
    return {key: value for key, value in settings.items() if value is not None or key not in moved}


def _mapping(document: Document, path: KeyPath, value: Any) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise document.error(path, f"must hold keys and values, got {value!r}")
    return value


def _refuse_unknown(document: Document, path: KeyPath, value: Mapping[str, Any], known: tuple[str, ...]) -> None:
    for key in value:
        if key not in known:
            raise document.error((*path, key), f"unknown key {key!r}. {did_you_mean(key, known)}")
