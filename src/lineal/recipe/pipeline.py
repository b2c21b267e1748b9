"""One pipeline file: its header, its sections, its profiles; no component is known here yet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from lineal.errors import DeclarationError, Problems, did_you_mean
from lineal.recipe.compute import Strict
from lineal.recipe.document import Document, KeyPath, count_at, mapping_at, refuse_unknown, words_of
from lineal.recipe.nodes import EACH, NODE_KEYS, PER_ROUND, RESERVED, STOP, Node, Part, Section, node_of
from lineal.recipe.policies import Policies, expand, is_policy, require_free
from lineal.recipe.references import NAME
from lineal.recipe.repeat import PER_TURN, REPEAT, read_repeats
from lineal.recipe.stages import ROUNDS, STAGES, Layer, Stage, read_stages, stage_layers

PAPER = "paper"
"""The profile that is the declaration as written."""


_HEADER = ("method", "paper", "summary")
PROFILES = "profiles"
_KEYS = (*_HEADER, EACH, *(str(section) for section in Section), STAGES, ROUNDS, REPEAT, STOP, PROFILES)


class Header(Strict):
    """A pipeline's description of itself.

    Attributes:
        method: the method's own name.
        paper: `arXiv:...` or another citation; none for a control.
        summary: one or two sentences.
    """

    method: str
    summary: str
    paper: str | None = None


@dataclass(frozen=True)
class Ablation:
    """A part that a variant of a pipeline is made without.

    Attributes:
        part: a node, or a node's setting: `filtered`, `generated.hint`.
        document, path: the key that asks for the variant; not in the document if the command line does.
    """

    part: str
    document: Document
    path: KeyPath

    def error(self, message: str) -> Exception:
        """Makes an error that names file, line and key, or the command line's word."""
        if self._is_written():
            return self.document.error(self.path, f"{self.part!r} {message}")
        return DeclarationError(f"{self.path[1]} without {self.part}: {self.part!r} {message}")

    def _is_written(self) -> bool:
        found = self.document.value
        for key in self.path:
            inside = isinstance(found, Mapping) and key in found
            inside = inside or (isinstance(found, list) and isinstance(key, int) and key < len(found))
            if not inside:
                return False
            found = found[key]
        return bool(found == self.part)


@dataclass(frozen=True)
class Pipeline:
    """One parsed pipeline file under one profile.

    Attributes:
        name, document, header, profile: the file, what it says about itself, and the profile in force.
        each: by variable, its values.
        parts: the nodes of each section; with stages, each stage's in place of the round's.
        repeat: by group of nodes, how many turns it has.
        own_rounds: how many rounds the method has; None where it doesn't say.
        policies: where the policies that its nodes name are looked for.
        without: the part that this variant of it is made without; None for the pipeline itself.
        stages: the kinds of rounds in their order; one without a name where no stages are declared.
    """

    name: str
    document: Document
    header: Header
    profile: str
    each: Mapping[str, list[str]]
    parts: Mapping[Part, Mapping[str, Node]]
    stages: tuple[Stage, ...]
    repeat: Mapping[str, int]
    policies: Policies
    own_rounds: int | None = None
    without: Ablation | None = None

    def rounds(self, rounds: int) -> int:
        """Returns the total number of rounds when the stage that doesn't say how many has `rounds`."""
        return sum(stage.rounds or rounds for stage in self.stages)

    def other_profiles(self) -> list[Pipeline]:
        """Returns the same file under each other profile.

        Raises:
            DeclarationError: as `read_pipeline` does.
        """
        names = dict.fromkeys([PAPER, *(self.document.value.get("profiles") or {})])
        return [
            read_pipeline(self.name, self.document, name, self.policies)
            for name in names
            if name != self.profile
        ]

    def turns(self, node: Node) -> int:
        """Returns how many turns a node has; 0 where it is not repeated."""
        return self.repeat[node.repeat] if isinstance(node.repeat, str) else node.repeat or 0

    def counts_in_stage(self, node: Node) -> bool:
        """Tells whether `per_round` is written in a stage, so that it counts the rounds of that stage and not all."""
        path = node.path_of(PER_ROUND)
        return STAGES in (path[0], path[2])


def read_pipeline(name: str, document: Document, profile: str, policies: Policies) -> Pipeline:
    """Types one pipeline document.

    Args:
        name: the pipeline's name, with its seed.
        document: its file.
        profile: the profile in force.
        policies: where the policies that its nodes name are looked for.

    Raises:
        DeclarationError: an unknown key, a missing section, a malformed node; names file, line and key.
    """
    value = mapping_at(document, (), document.value)
    problems = Problems()
    with problems.noted():
        refuse_unknown(document, (), value, _KEYS)
    with problems.noted():
        header = _header(document, value)
    overrides: Mapping[str, Any] = {}
    with problems.noted():
        overrides = _overrides(document, value, profile)
    each: dict[str, list[str]] | None = None
    with problems.noted():
        each = _each(document, value.get("each", {}))
    repeat: dict[str, int] | None = None
    with problems.noted():
        repeat = read_repeats(document, value.get(REPEAT), profile, overrides.get(REPEAT))
    own_rounds: int | None = None
    with problems.noted():
        own_rounds = _rounds(document, value, overrides, profile)
    stages: tuple[Stage, ...] = (Stage(),)
    with problems.noted():
        stages = read_stages(document, value.get(STAGES), profile, overrides.get(STAGES))
    parts = {}
    for part in _parts(stages):
        layers = [*_layers(value, profile, overrides, str(part.section))]
        if part.stage:
            layers += stage_layers(value, profile, overrides, part.stage)
        parts[part], turns = _nodes(document, part, layers, each, repeat, policies, problems)
        repeat = None if repeat is None else {**repeat, **turns}
        if part.section in (Section.TASKS, Section.ROUND) and not parts[part] and not problems.found:
            where = (STAGES, part.stage) if part.stage else (str(part),)
            raise document.error(where, "is missing or empty; a pipeline needs tasks and a round")
    last = Part(Section.ROUND, stages[-1].name)
    with problems.noted():
        parts[last].update(_stop(document, value, overrides, profile, last))
    problems.raise_all()
    assert each is not None and repeat is not None
    return Pipeline(name, document, header, profile, each, parts, stages, repeat, policies, own_rounds)


def _parts(stages: tuple[Stage, ...]) -> Iterator[Part]:
    for section in Section:
        names = [stage.name for stage in stages] if section is Section.ROUND else [""]
        yield from (Part(section, name) for name in names)


def _layers(
    value: Mapping[str, Any], profile: str, overrides: Mapping[str, Any], key: str
) -> Iterator[Layer]:
    """Yields a section's declaration, and the profile's layer over it."""
    yield (key,), value.get(key, {})
    yield (PROFILES, profile, key), overrides.get(key, {})


def _header(document: Document, value: Mapping[str, Any]) -> Header:
    try:
        return Header.model_validate({key: value[key] for key in _HEADER if key in value})
    except ValidationError as error:
        first = error.errors()[0]
        raise document.error(tuple(first["loc"]), words_of(first)) from error


def _overrides(document: Document, value: Mapping[str, Any], profile: str) -> Mapping[str, Any]:
    profiles = mapping_at(document, ("profiles",), value.get("profiles", {}))
    for name, override in profiles.items():
        sections = mapping_at(document, ("profiles", name), override)
        refuse_unknown(
            document,
            (PROFILES, name),
            sections,
            (*(str(section) for section in Section), STAGES, ROUNDS, REPEAT, STOP),
        )
    if profile in profiles:
        return mapping_at(document, (PROFILES, profile), profiles[profile])
    if profile == PAPER:
        return {}
    if not profiles:
        own = f"in params.yaml, under pipelines, give this one {{profile: {PAPER}}}"
        fix = f"If the name is right, {own}, or write profiles: {{{profile}: {{}}}} here"
        raise document.error(
            (), f"the pipeline has no profiles, and params.yaml asks for profile {profile!r}. {fix}"
        )
    known = [PAPER, *profiles]
    fix = f"Write it under profiles, or ask for another in params.yaml: profile: {PAPER}, or for one pipeline under pipelines"
    raise document.error(
        ("profiles",),
        f"no profile {profile!r} (params.yaml asks for it). {did_you_mean(profile, known)} {fix}",
    )


def _rounds(
    document: Document, value: Mapping[str, Any], overrides: Mapping[str, Any], profile: str
) -> int | None:
    """Returns how many rounds the method has; a profile may give another number, or null for that of `params.yaml`."""
    path: KeyPath = (PROFILES, profile, ROUNDS) if ROUNDS in overrides else (ROUNDS,)
    number = overrides.get(ROUNDS, value.get(ROUNDS))
    if isinstance(number, Mapping):
        raise document.error(
            path, "must be a number of rounds, got a mapping. A round's nodes stand under `round`"
        )
    return (
        None
        if number is None
        else count_at(document, path, number, "rounds", "Leave it out to take params.yaml's")
    )


def _each(document: Document, value: Any) -> dict[str, list[str]]:
    variables = mapping_at(document, ("each",), value)
    for name, values in variables.items():
        words = (
            isinstance(values, list)
            and values
            and all(isinstance(item, str) and NAME.match(item) for item in values)
        )
        if not words or len(set(values)) != len(values):
            raise document.error(("each", name), f"must be a list of different plain words, got {values!r}")
    return dict(variables)


def _nodes(
    document: Document,
    part: Part,
    layers: Sequence[Layer],
    each: Mapping[str, list[str]] | None,
    repeat: Mapping[str, int] | None,
    policies: Policies,
    problems: Problems,
) -> tuple[dict[str, Node], dict[str, int]]:
    """Reads a part's nodes, each layer over the ones before; a wrong node is noted, and the others are read.

    Returns:
        the nodes, those of policies among them, and the turns of the policies' groups.
    """
    declared: list[tuple[KeyPath, Mapping[str, Any]]] = []
    for path, value in layers:
        with problems.noted():
            declared.append((path, mapping_at(document, path, value)))
    nodes: dict[str, Node] = {}
    turns: dict[str, int] = {}
    for name in dict.fromkeys(name for _, mapping in declared for name in mapping):
        with problems.noted():
            found = _layered(document, declared, name)
            if found is None:
                continue
            laid, paths = found
            _require_declared(document, name, laid, paths, declared)
            if is_policy(laid.get("use")):
                made, groups = expand(policies, document, part, name, laid, paths, each)
                turns |= groups
            else:
                made = {name: node_of(document, part, name, laid, paths, each, repeat)}
            require_free(document, paths[0], made, nodes)
            nodes |= made
    return nodes, turns


def _require_declared(
    document: Document,
    name: str,
    laid: Mapping[str, Any],
    paths: Sequence[KeyPath],
    layers: Sequence[tuple[KeyPath, Mapping[str, Any]]],
) -> None:
    """Refuses a node that a profile alone names and that has no `use`: its name is a typo, or `use` was forgotten."""
    if "use" in laid or paths[0][0] != PROFILES:
        return
    known = [other for path, mapping in layers if path[0] != PROFILES for other in mapping]
    fix = "A node that a profile adds needs use: COMPONENT"
    raise document.error(
        paths[0], f"the pipeline has no node {name!r} here. {did_you_mean(name, known)} {fix}"
    )


def _layered(
    document: Document, layers: Sequence[tuple[KeyPath, Mapping[str, Any]]], name: str
) -> tuple[Mapping[str, Any], tuple[KeyPath, ...]] | None:
    """Builds a node from the layers that name it, with their places; None where the last layer is null."""
    laid: Mapping[str, Any] = {}
    paths: list[KeyPath] = []
    for index, (above, mapping) in enumerate(layers):
        if name not in mapping:
            continue
        path = (*above, name)
        if not NAME.match(name) or name in RESERVED:
            raise document.error(
                path, f"a node's name is a lower-case word that is not {', '.join(sorted(RESERVED))}"
            )
        if mapping[name] is None and index > 0:
            if not paths:
                known = [other for _, earlier in layers[:index] for other in earlier]
                raise document.error(
                    path, f"null leaves a node out, and there is no {name!r}. {did_you_mean(name, known)}"
                )
            laid, paths = {}, []
        else:
            laid = _laid_over(document, laid, path, mapping[name])
            paths.append(path)
    return (laid, tuple(paths)) if paths else None


def _laid_over(document: Document, own: Mapping[str, Any], path: KeyPath, override: Any) -> Mapping[str, Any]:
    """Lays a later layer's keys over a node, null for a key's default; one that changes `use` replaces it."""
    changed = mapping_at(document, path, override)
    if not own or ("use" in changed and changed["use"] != own.get("use")):
        _require_used(document, path, changed, changed)
        return changed
    laid = {key: item for key, item in {**own, **changed}.items() if item is not None or key not in changed}
    _require_used(document, path, changed, laid)
    return laid


def _require_used(
    document: Document, path: KeyPath, changed: Mapping[str, Any], laid: Mapping[str, Any]
) -> None:
    """Refuses a value for a setting that changes by round or turn, since the value would never be used."""
    for unit in (PER_ROUND, PER_TURN):
        moves = laid.get(unit)
        moving = set(moves) - set(NODE_KEYS) if isinstance(moves, Mapping) else set()
        for key in moving & {name for name, value in changed.items() if value is not None}:
            fix = f"Change it there, or take {unit} away"
            raise document.error(
                (*path, key), f"{unit} sets {key!r}, so this value would never be used. {fix}"
            )


def _stop(
    document: Document, value: Mapping[str, Any], overrides: Mapping[str, Any], profile: str, part: Part
) -> dict[str, Node]:
    """Returns the node that `stop:` declares, if any; a profile's `stop: null` removes it."""
    if overrides.get(STOP, value.get(STOP)) is None:
        return {}
    layers = [((STOP,), value.get(STOP)), ((PROFILES, profile, STOP), overrides.get(STOP))]
    there = [(path, layer) for path, layer in layers if layer is not None]
    laid: Mapping[str, Any] = {}
    for path, layer in there:
        laid = _laid_over(document, laid, path, layer)
    return {STOP: node_of(document, part, STOP, laid, tuple(path for path, _ in there), {}, {})}
