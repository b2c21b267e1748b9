"""A pipeline's sections into steps: tasks, start, the rounds one after another, finish."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from lineal.components.base import Columns
from lineal.components.registry import Registry
from lineal.errors import Problems, did_you_mean
from lineal.plan.compile import CompiledNode, Compiler, unknown_node
from lineal.plan.order import Made, NotPlanned, way
from lineal.plan.steps import Step, artifact_key
from lineal.plan.stopping import best_steps, stop_step
from lineal.recipe.pipeline import BEST, STOP, Node, Pipeline, Section
from lineal.recipe.project import Project
from lineal.recipe.references import Accepts, ArtifactKind, Reference, Scope

Nodes = Mapping[str, list[CompiledNode]]


def unroll(project: Project, pipeline: Pipeline, registry: Registry, rounds: int) -> Iterator[Step]:
    """All steps of a pipeline, each after the steps it needs.

    Raises:
        DeclarationError: a reference, a kind, a column or a cycle; names file, line and key.
    """
    yield from Unroller(Compiler(project, pipeline, registry), rounds).steps()


@dataclass(frozen=True)
class Place:
    """Where the unrolling stands: a section, and the round when the section is `round`."""

    section: Section
    round: int = 0

    @property
    def group(self) -> str:
        """The middle part of step keys."""
        return f"round_{self.round:02d}" if self.section is Section.ROUND else str(self.section)


class Unroller:
    """Resolves references round by round and collects the finished steps."""

    def __init__(self, compiler: Compiler, rounds: int) -> None:
        self._compiler, self._rounds = compiler, rounds
        self._pipeline = compiler.pipeline
        self._made = Made()
        self._moving = {
            section: {node.name for node in nodes.values() if node.per_round is not None}
            for section, nodes in self._pipeline.sections.items()
        }
        self._forms = compiler.compile_all()
        self._compiled = {section: {name: forms[0] for name, forms in nodes.items()} for section, nodes in self._forms.items()}
        self._this_round: set[tuple[str, str]] = set()
        self._needs: dict[Section, dict[str, list[str]]] = {}
        self._problems = Problems()
        self._orders: dict[Section, list[str]] = {}
        for section in Section:
            with self._problems.noted():
                self._orders[section] = self._order(section)
        self._problems.raise_all()

    def steps(self) -> Iterator[Step]:
        """The steps, in an order in which they can run."""
        yield from self._section(Place(Section.TASKS))
        yield from self._section(Place(Section.START))
        for round_number in range(1, self._rounds + 1):
            for name in sorted(self._moving[Section.TASKS], key=list(self._pipeline.sections[Section.TASKS]).index):
                yield from self._node(self._pipeline.sections[Section.TASKS][name], Place(Section.ROUND, round_number))
            yield from self._section(Place(Section.ROUND, round_number))
            if self._stops:
                yield self._keep(stop_step(self._step(self._stops[0], Place(Section.ROUND, round_number)), self._made))
        if self._stops:
            for step in best_steps(self._stops[0], self._rounds, self._made):
                yield self._keep(step)
        yield from self._section(Place(Section.FINISH, self._rounds))

    def _section(self, place: Place) -> Iterator[Step]:
        for name in self._orders[place.section]:
            moves = place.section is Section.TASKS and name in self._moving[Section.TASKS]
            if not moves and name != STOP:
                yield from self._node(self._pipeline.sections[place.section][name], place)
        if place.section in (Section.ROUND, Section.FINISH):
            self._problems.raise_all()

    def _node(self, node: Node, place: Place) -> Iterator[Step]:
        moving = node.name in self._moving[node.section]
        compiled = self._compiler.compile(node, place.round) if moving else self._compiled[node.section][node.name]
        for item in compiled:
            step = None
            with self._problems.noted(), self._after_a_problem():
                step = self._step(item, place)
            if step is not None:
                yield self._keep(step)

    @contextmanager
    def _after_a_problem(self) -> Iterator[None]:
        """Leaves out what needs a step that could not be planned; the reason for that is noted already."""
        try:
            yield
        except NotPlanned:
            if not self._problems.found:
                raise

    def _keep(self, step: Step) -> Step:
        self._made[step.key] = step
        return step

    @property
    def _stops(self) -> list[CompiledNode]:
        """The node that may stop the run; none or one."""
        return self._compiled[Section.ROUND].get(STOP, [])

    def _step(self, item: CompiledNode, place: Place) -> Step:
        inputs = self._inputs(item, place)
        for field in list(inputs):
            bases = tuple(base for key in inputs[field] for base in self._base_of(key))
            if bases:
                inputs[f"{field}_base"] = bases
        settings_from = {
            setting: (self._value_key(item, setting, reference, place), str(reference.part))
            for setting, reference in item.settings_from.items()
        }
        columns = {field: self._columns(keys) for field, keys in inputs.items()}
        self._check_columns(item, place, inputs, columns)
        try:
            outputs = item.component.outputs(columns)
        except ValueError as error:
            raise self._pipeline.document.error(item.node.paths[-1], str(error)) from error
        self._check_adapter(item, inputs)
        label = f"tasks/{item.label}" if item.node.section is Section.TASKS and place.round else item.label
        return Step(
            pipeline=self._pipeline.name, group=place.group, label=label, round=place.round, component=item.component,
            inputs=inputs, settings_from=settings_from, outputs=outputs, paths=item.node.paths,
            stopped_by=self._stopped_by(place),
        )  # fmt: skip

    def _inputs(self, item: CompiledNode, place: Place) -> dict[str, tuple[str, ...]]:
        """By field, the artifacts that go in; every reference is looked at before the first wrong one ends the step."""
        inputs: dict[str, tuple[str, ...]] = {}
        for field, (references, accepts) in item.inputs.items():
            with self._problems.noted(), self._after_a_problem():
                inputs[field] = tuple(key for one in references for key in self._keys(item, field, one, accepts, place))
        if len(inputs) < len(item.inputs):
            raise NotPlanned(item.label)
        return inputs

    def _stopped_by(self, place: Place) -> str | None:
        """From round 2 on: what the round before decided."""
        may_stop = bool(self._stops) and place.section is not Section.FINISH and place.round > 1
        return f"{self._pipeline.name}/round_{place.round - 1:02d}/{STOP}" if may_stop else None

    # -- order inside a section -------------------------------------------------------------------------------------

    def _order(self, section: Section) -> list[str]:
        """The section's nodes in declared order, but each after what it needs.

        Raises:
            DeclarationError: they form a cycle.
        """
        after = self._needs[section] = self._dependencies(section)
        order: list[str] = []
        visiting: list[str] = []

        def visit(name: str) -> None:
            if name in order:
                return
            if name in visiting:
                cycle = " -> ".join([*visiting[visiting.index(name) :], name])
                fix = "Let one of them read previous.NODE, the last round's"
                raise self._pipeline.document.error((str(section), name), f"the nodes need each other: {cycle}. {fix}")
            visiting.append(name)
            for needed in after[name]:
                visit(needed)
            visiting.pop()
            order.append(name)

        for name in after:
            visit(name)
        return order

    def _dependencies(self, section: Section) -> dict[str, list[str]]:
        """By node, the nodes of its own section that it needs.

        `history.X` includes this round's X unless X needs the node that asks; which it is goes to `_this_round`. Where
        two such questions hang on each other, the one whose X is declared above the node that asks is answered first.
        """
        nodes = self._forms[section]
        references = {
            name: [r for items in forms for item in items for r in _all_references(item)] for name, forms in nodes.items()
        }
        after = {name: [r.node for r in found if r.scope is Scope.HERE and r.node in nodes] for name, found in references.items()}
        place = {name: index for index, name in enumerate(nodes)}
        pools = [
            (name, r.node)
            for name, found in references.items()
            for r in found
            if section is Section.ROUND and r.scope is Scope.HISTORY and r.node in nodes
        ]
        for name, pooled in sorted(pools, key=lambda pair: place[pair[1]] > place[pair[0]]):
            if way(after, pooled, name) is None:
                after[name].append(pooled)
                self._this_round.add((name, pooled))
        return after

    # -- references -------------------------------------------------------------------------------------------------

    def _keys(self, item: CompiledNode, field: str, reference: Reference, accepts: Accepts, place: Place) -> list[str]:
        keys = [
            key for step in self._targets(item, field, reference, place) for key in self._output_of(item, field, reference, step)
        ]
        if len(keys) != 1 and not accepts.many:
            raise self._error(item, field, f"{str(reference)!r} names {len(keys)} artifacts, but {field} takes one")
        for key in keys:
            kind = self._kind(key)
            if kind not in accepts.kinds:
                wanted = " or ".join(sorted(accepts.kinds))
                raise self._error(item, field, f"{str(reference)!r} is a {kind} artifact, but {field} takes {wanted}")
        return keys

    def _output_of(self, item: CompiledNode, field: str, reference: Reference, step: Step) -> list[str]:
        part = reference.part or ""
        if part not in step.outputs:
            known = [name for name in step.outputs if name]
            raise self._error(item, field, f"{reference.node!r} has no output {part!r}. {did_you_mean(part, known)}")
        return [artifact_key(step.key, part)]

    def _value_key(self, item: CompiledNode, setting: str, reference: Reference, place: Place) -> str:
        steps = self._targets(item, setting, reference, place)
        if len(steps) != 1:
            raise self._error(item, setting, f"{str(reference)!r} names {len(steps)} artifacts, but a setting takes one value")
        return steps[0].key

    def _targets(self, item: CompiledNode, field: str, reference: Reference, place: Place) -> list[Step]:
        """The steps that a reference names, seen from a place."""
        if reference.scope is Scope.TASKS:
            return self._tasks(item, field, reference, place)
        if reference.scope is Scope.START:
            return self._in_group(item, field, reference, Section.START, "start")
        if reference.scope is Scope.HERE:
            return self._in_group(item, field, reference, place.section, place.group)
        if place.section in (Section.TASKS, Section.START):
            raise self._error(
                item, field, f"{str(reference)!r}: nothing comes before {place.section}; use start.NODE or tasks.NAME"
            )
        if reference.scope is Scope.PREVIOUS:
            return self._previous(item, field, reference, place)
        return self._history(item, field, reference, place)

    def _tasks(self, item: CompiledNode, field: str, reference: Reference, place: Place) -> list[Step]:
        if reference.node not in self._moving[Section.TASKS]:
            return self._in_group(item, field, reference, Section.TASKS, "tasks")
        if place.section is Section.START:
            raise self._error(item, field, f"{str(reference)!r} changes per round, and start stands before the first round")
        return [self._made[f"{self._pipeline.name}/round_{place.round:02d}/tasks/{reference.node}"]]

    def _previous(self, item: CompiledNode, field: str, reference: Reference, place: Place) -> list[Step]:
        last = place.round if place.section is Section.FINISH else place.round - 1
        if last >= 1:
            best = bool(self._stops) and place.section is Section.FINISH
            return self._in_group(item, field, reference, Section.ROUND, BEST if best else f"round_{last:02d}")
        if reference.node not in self._pipeline.sections[Section.START]:
            self._require(item, field, reference, Section.ROUND)
            why = f"in round 1 means start.{reference.node}, which is not declared; add it under start"
            raise unknown_node(self._pipeline, item.node, field, reference, self._pipeline.sections[Section.START], why)
        found = self._in_group(item, field, reference, Section.START, "start")
        return found * self._population(reference) if len(found) == 1 else found

    def _population(self, reference: Reference) -> int:
        """How often `previous.X[*]` repeats a single start.X: once for each agent that X will have."""
        node = self._pipeline.sections[Section.ROUND].get(reference.node)
        return len(self._pipeline.each[node.each]) if reference.instance == "*" and node is not None and node.each else 1

    def _history(self, item: CompiledNode, field: str, reference: Reference, place: Place) -> list[Step]:
        """Start's node if it has one, then every round's up to the last that exists when this node runs."""
        self._require(item, field, reference, Section.ROUND)
        inclusive = place.section is Section.FINISH or (item.node.name, reference.node) in self._this_round
        last = place.round if inclusive else place.round - 1
        found: list[Step] = []
        if reference.node in self._pipeline.sections[Section.START]:
            found += self._in_group(item, field, reference, Section.START, "start")
        for round_number in range(1, last + 1):
            found += self._in_group(item, field, reference, Section.ROUND, f"round_{round_number:02d}")
        if not found:
            needs = way(self._needs[Section.ROUND], reference.node, item.node.name) or [reference.node, item.node.name]
            why = f"is empty in round 1, since in one round {' needs '.join(needs)}"
            fix = f"Let one of these read previous.NODE, the last round's, or declare start.{reference.node}"
            raise self._error(item, field, f"{str(reference)!r} {why}. {fix}")
        return found

    def _require(self, item: CompiledNode, field: str, reference: Reference, section: Section) -> None:
        known = self._pipeline.sections[section]
        if reference.node not in known:
            raise unknown_node(self._pipeline, item.node, field, reference, known, f"names no node of {section}")

    def _in_group(self, item: CompiledNode, field: str, reference: Reference, section: Section, group: str) -> list[Step]:
        """The step (or the instances) of a node in one group."""
        self._require(item, field, reference, section)
        target = self._pipeline.sections[section][reference.node]
        prefix = f"{self._pipeline.name}/{group}/{reference.node}"
        if target.each is None:
            if reference.instance is not None and section is not Section.START:
                raise self._error(
                    item, field, f"{str(reference)!r}: {reference.node} is one node; leave out [{reference.instance}]"
                )
            return [self._made[prefix]]
        values = self._pipeline.each[target.each]
        if reference.instance is None:
            fix = f"write {reference.node}[*] for all or {reference.node}[{values[0]}] for one"
            raise self._error(item, field, f"{str(reference)!r} is made once for each {target.each}; {fix}")
        if reference.instance == "*":
            return [self._made[f"{prefix}/{value}"] for value in values]
        if reference.instance not in values:
            raise self._error(
                item, field, f"{str(reference)!r}: unknown {target.each}. {did_you_mean(reference.instance, values)}"
            )
        return [self._made[f"{prefix}/{reference.instance}"]]

    # -- kinds and columns ------------------------------------------------------------------------------------------

    def _kind(self, key: str) -> ArtifactKind:
        step, _, output = self._split(key)
        return step.outputs[output].kind

    def _split(self, key: str) -> tuple[Step, str, str]:
        if key in self._made:
            return self._made[key], key, ""
        step_key, _, output = key.rpartition(".")
        return self._made[step_key], step_key, output

    def _base_of(self, key: str) -> list[str]:
        """The full model under an adapter; nothing for anything else."""
        step, _, output = self._split(key)
        field = step.outputs[output].adapter_of
        return [] if field is None else list(step.inputs.get(f"{field}_base", step.inputs[field]))

    def _columns(self, keys: tuple[str, ...]) -> Columns:
        found: dict[str, None] = {}
        for key in keys:
            step, _, output = self._split(key)
            found.update(dict.fromkeys(step.outputs[output].columns))
        return tuple(found)

    def _check_columns(
        self, item: CompiledNode, place: Place, inputs: Mapping[str, tuple[str, ...]], columns: Mapping[str, Columns]
    ) -> None:
        for field, needed in item.component.needs().items():
            for key in inputs.get(field, ()):
                there = self._columns((key,))
                for column in needed:
                    if column not in there:
                        step = f"{self._pipeline.name}/{place.group}/{item.label}"
                        message = f"{step} needs column {column!r}, but {key} has only {', '.join(there) or 'no columns'}"
                        raise self._error(item, field, f"{message}. Add it there, or choose another {item.component.role}")

    def _check_adapter(self, item: CompiledNode, inputs: Mapping[str, tuple[str, ...]]) -> None:
        """A trainer that starts from an adapter trains that adapter on: with `lora:`, and with the adapter's own values."""
        fields = type(item.component).model_fields
        if "lora" not in fields or "init" not in fields or not self._base_of(inputs["init"][0]):
            return
        maker = self._split(inputs["init"][0])[0].component
        made, own = (getattr(component, "lora", None) for component in (maker, item.component))
        if own is None or (made is not None and own.shape() != made.shape()):
            expected = "an adapter's own lora: values" if made is None else f"lora: {made.shape()}, the adapter's own values"
            got = "none" if own is None else str(own.shape())
            fix = "Write them, or start from a full model"
            raise self._error(item, "lora", f"got {got}, but init {inputs['init'][0]} is an adapter; expected {expected}. {fix}")

    def _error(self, item: CompiledNode, field: str, message: str) -> Exception:
        return self._pipeline.document.error(self._pipeline.path_of(item.node, field), message)


def _all_references(item: CompiledNode) -> list[Reference]:
    from_fields = [reference for references, _ in item.inputs.values() for reference in references]
    return [*from_fields, *item.settings_from.values()]
