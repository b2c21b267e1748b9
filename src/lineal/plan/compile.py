"""Compiles declared nodes into components: finds every `use:`, types every setting, tells references from settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError

from lineal.components.base import Component, Role, Surroundings
from lineal.components.registry import BUILT_IN, Registry
from lineal.components.selectors.sql_file import SqlFile
from lineal.errors import DeclarationError, Problems, did_you_mean, is_missing_file
from lineal.plan.ablation import StandIns, inputs_of, nodes_to_take, remaining, without_setting
from lineal.plan.elsewhere import role_elsewhere
from lineal.recipe.document import declaration_error
from lineal.recipe.nodes import NODE_KEYS, STOP, Node, Part, Section, settings_at
from lineal.recipe.per_round import values_listed
from lineal.recipe.pipeline import Ablation, Pipeline
from lineal.recipe.project import PIPELINES, Project
from lineal.recipe.references import Accepts, Reference, Scope, SettingReference, parse_reference

VALUE_ROLES = frozenset({Role.CONTROLLER, Role.EVALUATOR})
"""Roles whose artifacts hold values that a setting may take: `previous.tuned.temperature`."""


@dataclass(frozen=True)
class CompiledNode:
    """One node for one value of its `each` variable.

    Attributes:
        node: the declaration.
        instance: the `each` value, or None.
        component: the typed component; settings from controllers hold `SettingReference`s.
        inputs: by field, the references and what the field accepts.
        settings_from: by setting, the controller's value it takes.
    """

    node: Node
    instance: str | None
    component: Component
    inputs: Mapping[str, tuple[tuple[Reference, ...], Accepts]]
    settings_from: Mapping[str, Reference]

    @property
    def label(self) -> str:
        """`checkpoint`, or `checkpoint/a` for one of several."""
        return self.node.name if self.instance is None else f"{self.node.name}/{self.instance}"


class Compiler:
    """Compiles the nodes of one pipeline."""

    def __init__(self, project: Project, pipeline: Pipeline, registry: Registry) -> None:
        self.project = project
        self.pipeline = pipeline
        self.registry = registry
        self.surroundings = Surroundings(project.root, project.root / PIPELINES)
        self.classes: dict[tuple[Part, str], type[Component]] = {}
        problems = Problems()
        for part, name, node in self._nodes():
            with problems.noted():
                self.classes[part, name] = self._class_of(node)
        problems.raise_all()
        self.stand_ins: StandIns | None = None
        if pipeline.without is not None:
            self._take_away(pipeline.without)

    def _take_away(self, ablation: Ablation) -> None:
        if "." in ablation.part:
            self.pipeline = without_setting(self.pipeline, ablation)
            return
        taken = nodes_to_take(self.pipeline, ablation)
        inputs = {}
        for part, node in taken:
            forms = [(item.instance, item.inputs) for form in self.forms(node) for item in form]
            inputs[part, node.name] = inputs_of(ablation, node, self.classes[part, node.name].role, forms)
        self.pipeline, self.stand_ins = remaining(self.pipeline, inputs), StandIns(ablation, inputs)

    def _nodes(self) -> list[tuple[Part, str, Node]]:
        return [
            (part, name, node) for part, nodes in self.pipeline.parts.items() for name, node in nodes.items()
        ]

    def _class_of(self, node: Node) -> type[Component]:
        try:
            found = self.registry.find(node.use)
        except KeyError as error:
            raise node.error("use", str(error.args[0])) from None
        if found.role is Role.EVALUATOR and found.headline is Component.headline:
            message = f"{node.use!r} names no headline: the figure that stands for it in plots, reports and checks. Declare one"
            raise node.error("use", message)
        for fits, wanted in (
            (node.section is not Section.TASKS or found.role is Role.SOURCE, "tasks need sources"),
            (node.name != STOP or found.role is Role.CONTROLLER, "stop needs a controller such as 'plateau'"),
        ):
            if not fits:
                message = f"{node.use!r} is {'an' if str(found.role)[0] in 'aeiou' else 'a'} {found.role}, but {wanted}"
                raise node.error("use", message)
        return found

    def check_settings(self) -> None:
        """Types every node's settings; files that they name need not be there.

        Raises:
            DeclarationError: a setting is unknown, missing or wrong; names file, line and key.
        """
        problems = Problems()
        for _, _, node in self._nodes():
            with problems.noted():
                self.forms(node)
        problems.found = [error for error in problems.found if not is_missing_file(error)]
        problems.raise_all()

    def compile_all(self) -> dict[Part, dict[str, list[list[CompiledNode]]]]:
        """Returns every node's forms.

        Raises:
            DeclarationError: as `check_settings` does, also where a file is missing.
        """
        compiled: dict[Part, dict[str, list[list[CompiledNode]]]] = {part: {} for part in self.pipeline.parts}
        problems = Problems()
        for part, name, node in self._nodes():
            with problems.noted():
                compiled[part][name] = self.forms(node)
        problems.raise_all()
        return compiled

    def forms(self, node: Node) -> list[list[CompiledNode]]:
        """Returns the node as it is in the first round and turn, and in those after them that values are listed for."""
        rounds, turns = (range(1, values_listed(moves) + 1) for moves in (node.per_round, node.per_turn))
        return [self.compile(node, round_number, turn) for round_number in rounds for turn in turns]

    def compile(self, node: Node, round_number: int = 1, turn: int = 1) -> list[CompiledNode]:
        """Compiles the node for a round and turn, once for each value of its `each` variable."""
        settings = settings_at(node, round_number, turn)
        if node.each is None:
            return [self._compile_instance(node, settings, None)]
        return [
            self._compile_instance(node, dict(settings), value) for value in self.pipeline.each[node.each]
        ]

    def _compile_instance(self, node: Node, settings: dict[str, Any], instance: str | None) -> CompiledNode:
        if instance is not None:
            assert node.each is not None
            settings = {key: _substituted(value, node.each, instance) for key, value in settings.items()}
        settings_from = {}
        for key, value in settings.items():
            reference = self._setting_reference(node, key, value)
            if reference is not None:
                if self.stand_ins is not None:
                    self.stand_ins.require_unread(node, key, reference)
                settings_from[key] = reference
                settings[key] = SettingReference(reference)
        named = node.name if instance is None or node.section is Section.TASKS else instance
        component = self._parse(node, {"use": node.use, **settings}, named)
        inputs = {
            field: (tuple(one for text in texts for one in self._references(node, field, text)), accepts)
            for field, (texts, accepts) in component.references().items()
        }
        return CompiledNode(node, instance, component, inputs, settings_from)

    def _parse(self, node: Node, settings: dict[str, Any], name: str) -> Component:
        cls = self.classes[(node.part, node.name)]
        try:
            made = cls.parse(settings, self.surroundings)
            made.require_name(name)
            return made
        except ValidationError as error:
            first = str(error.errors()[0]["loc"][0]) if error.errors()[0]["loc"] else "use"
            path = node.path_of(first)[:-1]
            refused = declaration_error(node.document, path, error, cls, NODE_KEYS)
            file = settings.get("sql") if first != "sql" and issubclass(cls, SqlFile) else None
            raise DeclarationError(f"{refused}{_page_of(node.use, file)}") from error
        except ValueError as error:
            raise node.document.error(node.path_of("use")[:-1], str(error)) from error

    def _setting_reference(self, node: Node, key: str, value: Any) -> Reference | None:
        """Parses the reference when `value` names a controller's or an evaluator's value."""
        reference = parse_reference(value) if isinstance(value, str) else None
        if reference is None or reference.part is None:
            return None
        try:
            role = self._role_of(reference, node.part)
        except ValueError as error:
            raise node.error(key, str(error)) from error
        return reference if role in VALUE_ROLES else None

    def _role_of(self, reference: Reference, part: Part) -> Role | None:
        if reference.scope is Scope.PIPELINES:
            return role_elsewhere(self.project, self.pipeline.name, reference, self.registry)
        start, rounds = (
            Part(Section.START),
            [other for other in self.pipeline.parts if other.section is Section.ROUND],
        )
        places = {
            Scope.HERE: [part],
            Scope.BEFORE: [part],
            Scope.TURNS: [part],
            Scope.START: [start],
            Scope.PREVIOUS: [*rounds, start],
            Scope.HISTORY: [*rounds, start],
            Scope.TASKS: [Part(Section.TASKS)],
        }[reference.scope]
        for place in places:
            if (place, reference.node) in self.classes:
                return self.classes[(place, reference.node)].role
        return None

    def _references(self, node: Node, field: str, text: str) -> tuple[Reference, ...]:
        reference = self._reference(node, field, text)
        return (reference,) if self.stand_ins is None else self.stand_ins.of(node, field, reference)

    def _reference(self, node: Node, field: str, text: str) -> Reference:
        reference = parse_reference(text)
        if reference is None:
            here = "NODE, previous.NODE, history.NODE, before.NODE, turns.NODE"
            forms = f"{here}, start.NODE, tasks.NAME or pipelines.NAME.finish.NODE"
            message = f"{text!r} is no reference; write {forms}"
            raise node.error(field, message)
        return reference


def _page_of(use: str, file: str | None) -> str:
    """Names the command that shows a component, or the SQL file that it runs; no example of a package's component is known."""
    if use not in BUILT_IN:
        return ""
    return f" (`lineal components {file or use}` shows a correct one)"


def _substituted(value: Any, variable: str, instance: str) -> Any:
    if isinstance(value, list):
        return [_substituted(item, variable, instance) for item in value]
    if isinstance(value, dict):
        return {key: _substituted(item, variable, instance) for key, item in value.items()}
    if value == variable:
        return instance
    return value.replace(f"[{variable}]", f"[{instance}]") if isinstance(value, str) else value


def unknown_node(
    node: Node, field: str, reference: Reference, known: Mapping[str, Any], why: str
) -> Exception:
    """Makes the error for a reference to a node that does not exist."""
    scope = (
        next(iter(get_close_matches(reference.node, list(Scope), n=1)), None)
        if reference.scope is Scope.HERE
        else None
    )
    meant = f"Did you mean '{scope}.{reference.part}'?" if scope and reference.part else ""
    hint = meant or did_you_mean(reference.node, known)
    return node.error(field, f"{str(reference)!r} {why}. {hint}")
