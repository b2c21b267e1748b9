"""One declared node: its component, its settings, and the keys that every node may have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from lineal.errors import did_you_mean
from lineal.recipe.document import Document, KeyPath, mapping_at
from lineal.recipe.per_round import STEP, check_moves, moved_settings
from lineal.recipe.references import SELF, Scope
from lineal.recipe.repeat import PER_TURN, REPEAT, repeat_of
from lineal.recipe.stages import STAGES


class Section(StrEnum):
    """The parts of a pipeline that hold nodes."""

    TASKS = "tasks"
    START = "start"
    ROUND = "round"
    FINISH = "finish"


class Part(NamedTuple):
    """Nodes that are declared together: a section, or the round of one stage."""

    section: Section
    stage: str = ""

    def __str__(self) -> str:
        return f"{STAGES}.{self.stage}" if self.stage else str(self.section)


STOP = "stop"
"""The key at the top that ends a run early; its node is at the end of every round under this name."""
BEST = "best"
"""The group with the best round's nodes, after the last round of a pipeline with `stop`."""
EACH = "each"
PER_ROUND = "per_round"
NODE_KEYS = ("use", EACH, REPEAT, PER_ROUND, PER_TURN)
RESERVED = {str(scope) for scope in Scope} | {str(section) for section in Section} | {STOP, BEST, SELF}
"""Words that no node is named by."""


@dataclass(frozen=True)
class Node:
    """One declared node, profile applied.

    Attributes:
        name: its name in the section.
        section: where it stands.
        use: the component's name.
        settings: what is the component's own.
        each: the variable that it is made for each value of.
        stage: of a round's node, the stage; empty where there is one kind of rounds.
        per_round: settings that move with the round: lists of values, or first values and `step` to add.
        repeat: how many turns it has, or the group that it is repeated with; None for a node that is made once in its place.
        per_turn: settings that move with the turn.
        document: the file that declares it: the pipeline's, or that of the policy that it belongs to.
        paths: the YAML keys in that file that declare it (its own, and the profile's if that changes it).
        used_by: of a policy's node, the pipeline's keys that use the policy.
    """

    name: str
    section: Section
    use: str
    settings: Mapping[str, Any]
    each: str | None
    per_round: Mapping[str, Any] | None
    document: Document = field(repr=False)
    paths: tuple[KeyPath, ...]
    stage: str = ""
    repeat: int | str | None = None
    per_turn: Mapping[str, Any] | None = None
    used_by: tuple[KeyPath, ...] = ()

    @property
    def group(self) -> str | None:
        """The group that it is repeated with, or one of its own; None where it is not repeated."""
        return f"{REPEAT} {self.name}" if isinstance(self.repeat, int) else self.repeat

    @property
    def part(self) -> Part:
        """The part that declares it."""
        return Part(self.section, self.stage)

    def path_of(self, key: str) -> KeyPath:
        """Returns the YAML key that sets `key`, such as `rewards.right.scorer`: the profile's where it overrides."""
        inside = tuple(key.split("."))
        for path in reversed(self.paths):
            for owner in ((*path, PER_ROUND), (*path, PER_TURN), path):
                if (*owner, inside[0]) in self.document.lines:
                    rows = (
                        *owner,
                        *inside,
                        "rows",
                    )  # of a setting that is about rows, which goes by the setting's own name
                    return rows if rows in self.document.lines else (*owner, *inside)
        return (*self.paths[0], *inside)

    def error(self, key: str, message: str) -> Exception:
        """Makes an error about one of its keys that names file, line and key."""
        return self.document.error(self.path_of(key), message)


def node_of(
    document: Document,
    part: Part,
    name: str,
    value: Mapping[str, Any],
    paths: tuple[KeyPath, ...],
    each: Mapping[str, list[str]] | None,
    groups: Mapping[str, int] | None,
) -> Node:
    """Types one node.

    Args:
        document: the file that declares it.
        part: where it stands in the pipeline.
        name: its name there.
        value: its keys, all layers in one.
        paths: the places of the layers.
        each: the variables of the pipeline; None where they are wrong.
        groups: how many turns each group of nodes has; None where that is wrong.

    Raises:
        DeclarationError: one of the keys that every node may have is wrong; names file, line and key.
    """
    path = paths[-1]
    use = value.get("use")
    if not isinstance(use, str):
        raise document.error((*path, "use"), f"every node says which component it uses, got {use!r}")
    variable = each_of(document, path, value, each)
    repeat = repeat_of(document, (*path, REPEAT), value.get(REPEAT), groups)
    if repeat is not None and (part.section is Section.TASKS or name == STOP):
        raise document.error(
            (*path, REPEAT), f"{name!r} is made once; only nodes of start, round and finish have turns"
        )
    moves = {
        key: _moves(document, (*path, key), value[key])
        for key in (PER_ROUND, PER_TURN)
        if value.get(key) is not None
    }
    if PER_ROUND in moves and part.section not in (Section.TASKS, Section.ROUND):
        raise document.error(
            (*path, PER_ROUND), f"only tasks and round nodes have rounds; this one stands in {part}"
        )
    if PER_TURN in moves and repeat is None and groups is not None:
        raise document.error((*path, PER_TURN), "this node has one turn. Give it repeat: N too")
    for key in moves.get(PER_ROUND, {}).keys() & moves.get(PER_TURN, {}).keys() - {STEP}:
        raise document.error(
            (*path, PER_TURN, key), f"{key!r} moves with the round already; let it move with one of the two"
        )
    settings = {key: item for key, item in value.items() if key not in NODE_KEYS}
    per_round, per_turn = moves.get(PER_ROUND), moves.get(PER_TURN)
    section, stage = part.section, part.stage
    return Node(name, section, use, settings, variable, per_round, document, paths, stage, repeat, per_turn)


def each_of(
    document: Document, path: KeyPath, value: Mapping[str, Any], each: Mapping[str, list[str]] | None
) -> str | None:
    """Returns the variable that a node is made for each value of, if any.

    Raises:
        DeclarationError: it is no variable of the file.
    """
    variable = value.get(EACH)
    if variable is not None and not isinstance(variable, str):
        fix = "List the values at the top of the file, each: {agent: [a, b]}, and name the variable here: each: agent"
        raise document.error((*path, EACH), f"expected the name of a variable, got {variable!r}. {fix}")
    if variable is not None and each is not None and variable not in each:
        raise document.error((*path, EACH), f"unknown variable {variable!r}. {did_you_mean(variable, each)}")
    return variable


def _moves(document: Document, path: KeyPath, value: Any) -> Mapping[str, Any]:
    moves = mapping_at(document, path, value)
    check_moves(document, path, moves, NODE_KEYS)
    return moves


def settings_at(node: Node, round_number: int, turn: int) -> dict[str, Any]:
    """Returns the node's settings in a round and turn, also those that change with it; null is the setting's default.

    Raises:
        DeclarationError: value and step don't fit each other.
    """
    settings = dict(node.settings)
    for key, moves, number in ((PER_ROUND, node.per_round, round_number), (PER_TURN, node.per_turn, turn)):
        if moves is not None:
            moved = moved_settings(node.document, (*node.paths[-1], key), moves, number)
            settings = {
                name: value
                for name, value in {**settings, **moved}.items()
                if value is not None or name not in moved
            }
    return settings
