"""A pipeline without one of its parts: a node whose readers read its input in its place, or a setting at its default."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace

from lineal.components.base import Role
from lineal.errors import did_you_mean
from lineal.recipe.nodes import Node, Part, Section
from lineal.recipe.pipeline import Ablation, Pipeline
from lineal.recipe.references import Accepts, Reference, Scope
from lineal.recipe.seeds import declared_name

Read = tuple[str | None, Mapping[str, tuple[tuple[Reference, ...], Accepts]]]
"""A node's `each` value, and by field what it reads."""
ROWS_IN, MODEL_IN = ("rows", "prompts"), ("init",)
"""The inputs that stand in the place of a step's rows, or of its checkpoint."""
INPUTS = {
    Role.GENERATOR: ROWS_IN,
    Role.VERIFIER: ROWS_IN,
    Role.SELECTOR: ROWS_IN,
    Role.TRAINER: MODEL_IN,
}


@dataclass(frozen=True)
class StandIns:
    """References that are read in the place of nodes that are taken away.

    Attributes:
        ablation: the part that is taken away.
        by_node: by part and name of each such node, and by its `each` value, the references of its input.
    """

    ablation: Ablation
    by_node: Mapping[tuple[Part, str], Mapping[str | None, tuple[Reference, ...]]]

    def of(self, node: Node, field: str, reference: Reference) -> tuple[Reference, ...]:
        """Returns what a node reads in the place of what it refers to.

        Raises:
            DeclarationError: nothing can stand in that place.
        """
        gone = self._gone(node.part, reference)
        if gone is None:
            return (reference,)
        own = self._inputs(gone, reference.instance)
        if reference.part is not None:
            raise self.ablation.error(
                f"cannot be taken away: {_reader(node, field)} reads {reference.part} of it ({reference})"
            )
        return tuple(self._moved(node, field, reference, one) for one in own)

    def _inputs(self, gone: tuple[Part, str], instance: str | None) -> list[Reference]:
        """Returns what one instance of a node reads, or all of them."""
        by_instance = self.by_node[gone]
        chosen = [by_instance[instance]] if instance in by_instance else list(by_instance.values())
        return list(dict.fromkeys(one for references in chosen for one in references))

    def require_unread(self, node: Node, setting: str, reference: Reference) -> None:
        """Refuses a setting that takes its value from a node that is taken away.

        Raises:
            DeclarationError: names both.
        """
        if self._gone(node.part, reference) is not None:
            raise self.ablation.error(
                f"cannot be taken away: {_reader(node, setting)} takes its value from it ({reference})"
            )

    def _gone(self, part: Part, reference: Reference) -> tuple[Part, str] | None:
        if reference.scope in (Scope.TASKS, Scope.PIPELINES):
            return None
        sections = {
            Scope.HERE: part.section,
            Scope.BEFORE: part.section,
            Scope.TURNS: part.section,
            Scope.START: Section.START,
        }
        section = sections.get(reference.scope, Section.ROUND)
        found = [key for key in self.by_node if key[1] == reference.node and key[0].section is section]
        return next((key for key in found if key[0] == part), found[0] if found else None)

    def _moved(self, node: Node, field: str, asked: Reference, own: Reference) -> Reference:
        """Returns the input of a node as one that refers to that node sees it: `previous.X` of `rows: Y` is `previous.Y`."""
        if asked.scope is Scope.HERE or own.scope in (Scope.TASKS, Scope.START, Scope.PIPELINES):
            return own
        if own.scope is not Scope.HERE:
            raise self.ablation.error(
                f"cannot be taken away: {_reader(node, field)} reads it as {asked}, and its own input is {own}, of other rounds"
            )
        return replace(own, scope=asked.scope)


def _reader(node: Node, field: str) -> str:
    return f"{node.part}.{node.name}.{field}"


def without_setting(pipeline: Pipeline, ablation: Ablation) -> Pipeline:
    """Returns a pipeline in which one node's setting has its default.

    Raises:
        DeclarationError: no such node sets it.
    """
    name, _, setting = ablation.part.partition(".")
    nodes = _named(pipeline, ablation, name)
    parts = {part: dict(own) for part, own in pipeline.parts.items()}
    found = False
    for part, node in nodes:
        changed = replace(
            node,
            settings=_but(node.settings, setting) or {},
            per_round=_but(node.per_round, setting),
            per_turn=_but(node.per_turn, setting),
        )
        found = found or changed != node
        parts[part][name] = changed
    if not found:
        known = sorted({key for _, node in nodes for key in node.settings})
        raise ablation.error(
            f"cannot be taken away: {name} does not set {setting!r} itself. {did_you_mean(setting, known)}"
        )
    return replace(pipeline, parts=parts)


def _but(values: Mapping[str, object] | None, setting: str) -> dict[str, object] | None:
    kept = {key: value for key, value in (values or {}).items() if key != setting}
    return None if values is None or not kept.keys() - {"step"} else kept


def _named(pipeline: Pipeline, ablation: Ablation, name: str) -> list[tuple[Part, Node]]:
    nodes = [
        (part, own[name])
        for part, own in pipeline.parts.items()
        if name in own and part.section is not Section.TASKS
    ]
    if not nodes:
        known = {
            name for part, own in pipeline.parts.items() if part.section is not Section.TASKS for name in own
        }
        own = declared_name(pipeline.name)
        raise ablation.error(f"cannot be taken away: {own} has no node {name!r}. {did_you_mean(name, known)}")
    return nodes


def nodes_to_take(pipeline: Pipeline, ablation: Ablation) -> list[tuple[Part, Node]]:
    """Returns the nodes of a name, in every section and stage.

    Raises:
        DeclarationError: there is none, or it is repeated.
    """
    nodes = _named(pipeline, ablation, ablation.part)
    for part, node in nodes:
        if node.repeat is not None:
            fix = "Take away one of its settings, or declare the control as a pipeline of its own"
            raise ablation.error(f"cannot be taken away: {part}.{node.name} takes turns. {fix}")
    return nodes


def inputs_of(
    ablation: Ablation, node: Node, role: Role, forms: Sequence[Read]
) -> dict[str | None, tuple[Reference, ...]]:
    """Returns by `each` value the references that stand in a node's place.

    Args:
        ablation: the part that is taken away.
        node: the node.
        role: its component's role.
        forms: what it reads, for each `each` value, and for each round and turn in which it differs.

    Raises:
        DeclarationError: the node has no input that could, or another one in other rounds.
    """
    if role is Role.EVALUATOR:
        raise ablation.error(
            "cannot be taken away: it is an evaluation; no training depends on it, so removing it changes no result"
        )
    fields = [field for field in INPUTS.get(role, ()) if field in forms[0][1]]
    if not fields:
        what = f"{node.use!r} is a {role}, and nothing that it reads could stand in its place"
        raise ablation.error(f"cannot be taken away: {what}")
    found: dict[str | None, tuple[Reference, ...]] = {}
    for instance, inputs in forms:
        references = inputs[fields[0]][0]
        if found.setdefault(instance, references) != references:
            raise ablation.error(f"cannot be taken away: its {fields[0]} change with the round")
    return found


def remaining(pipeline: Pipeline, gone: Container[tuple[Part, str]]) -> Pipeline:
    """Returns a pipeline without some nodes."""
    parts = {
        part: {name: node for name, node in own.items() if (part, name) not in gone}
        for part, own in pipeline.parts.items()
    }
    return replace(pipeline, parts=parts)
