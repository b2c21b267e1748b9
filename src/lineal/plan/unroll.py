"""Unrolls a pipeline's sections into steps: tasks, start, the rounds one after another, finish."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from lineal.components.base import Columns, Output
from lineal.components.registry import Registry
from lineal.errors import Problems, did_you_mean
from lineal.plan.compile import CompiledNode, Compiler, unknown_node
from lineal.plan.elsewhere import Unrolled, steps_elsewhere
from lineal.plan.kinds import FINISH, START, TASKS, Kinds, Place, turn_label
from lineal.plan.messages import other_lora, start_without, unlike_models, wrong_head
from lineal.plan.order import Made, NotPlanned, Order, order_of, way
from lineal.plan.sights import blind, media_inputs, unseen
from lineal.plan.steps import Step, artifact_key
from lineal.plan.stopping import best_steps, stop_step
from lineal.recipe.groups import round_group
from lineal.recipe.nodes import BEST, STOP, Node, Part, Section
from lineal.recipe.pipeline import Pipeline
from lineal.recipe.project import Project
from lineal.recipe.references import Accepts, ArtifactKind, Reference, Scope

Nodes = Mapping[str, list[CompiledNode]]


def unroll(project: Project, pipeline: Pipeline, registry: Registry, rounds: int, others: Unrolled) -> Iterator[Step]:
    """Yields all steps of a pipeline, each after the steps it needs; those of other pipelines are not among them.

    Raises:
        DeclarationError: a reference, a kind, a column or a cycle; names file, line and key.
    """
    yield from Unroller(Compiler(project, pipeline, registry), rounds, others).steps()


class Unroller:
    """Resolves references round by round and collects the finished steps."""

    def __init__(self, compiler: Compiler, rounds: int, others: Unrolled) -> None:
        self._compiler, self._pipeline, self._others = compiler, compiler.pipeline, others
        self._kinds = Kinds(self._pipeline, rounds)
        self._made = Made(others.steps)
        self._moving = {
            part: {node.name for node in nodes.values() if node.per_round is not None or node.per_turn is not None}
            for part, nodes in self._pipeline.parts.items()
        }
        self._forms = compiler.compile_all()
        self._compiled = {part: {name: forms[0] for name, forms in nodes.items()} for part, nodes in self._forms.items()}
        self._problems = Problems()
        self._orders: dict[Part, Order] = {}
        for part in self._pipeline.parts:
            with self._problems.noted():
                self._orders[part] = order_of(self._pipeline, part, self._forms[part])
        self._problems.raise_all()

    def steps(self) -> Iterator[Step]:
        """Yields the steps, in an order in which they can run."""
        yield from self._part(Place(TASKS))
        yield from self._part(Place(START))
        for round_number, part in self._kinds.rounds():
            place = Place(part, round_number)
            for name in self._pipeline.parts[TASKS]:
                if name in self._moving[TASKS]:
                    yield from self._node(self._pipeline.parts[TASKS][name], place)
            yield from self._part(place)
            if self._stops and part == self._kinds.last:
                first = self._kinds.first_round(part)
                yield self._keep(stop_step(self._step(self._stops[0], place), self._made, first))
        if self._stops:
            for step in best_steps(self._stops[0], self._kinds.total, self._made):
                yield self._keep(step)
        yield from self._part(Place(FINISH, self._kinds.total))

    def _part(self, place: Place) -> Iterator[Step]:
        for unit in self._orders[place.part].units:
            nodes = [self._pipeline.parts[place.part][name] for name in unit]
            if nodes[0].name == STOP or (place.section is Section.TASKS and nodes[0].name in self._moving[TASKS]):
                continue
            for turn in range(1, self._pipeline.turns(nodes[0]) + 1) or (0,):
                for node in nodes:
                    yield from self._node(node, Place(place.part, place.round, turn))
        if place.section in (Section.ROUND, Section.FINISH):
            self._problems.raise_all()

    def _node(self, node: Node, place: Place) -> Iterator[Step]:
        moving = node.name in self._moving[node.part]
        compiled = self._moved(node, place) if moving else self._compiled[node.part][node.name]
        for item in compiled:
            step = None
            with self._problems.noted(), self._after_a_problem():
                step = self._step(item, place)
            if step is not None:
                yield self._keep(step)

    def _moved(self, node: Node, place: Place) -> list[CompiledNode]:
        in_stage = node.per_round is not None and self._pipeline.counts_in_stage(node)
        round_number = place.round - (self._kinds.first_round(node.part) - 1 if in_stage else 0)
        return self._compiler.compile(node, round_number, place.turn)

    @contextmanager
    def _after_a_problem(self) -> Iterator[None]:
        """Leaves out a step whose input could not be planned; the reason is already noted."""
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
        return self._compiled[self._kinds.last].get(STOP, [])

    def _step(self, item: CompiledNode, place: Place) -> Step:
        inputs = self._inputs(item, place)
        for field in list(inputs):
            if bases := self._bases(item, field, inputs[field]):
                inputs[f"{field}_base"] = bases
        settings_from = {
            setting: (self._value_key(item, setting, reference, place), str(reference.part))
            for setting, reference in item.settings_from.items()
        }
        columns = {field: self._columns(keys) for field, keys in inputs.items()}
        self._check_columns(item, place, inputs, columns)
        inputs |= media_inputs(item.component, inputs, self._split)
        in_round = place.round if place.section is Section.ROUND else None
        try:
            component = item.component.placed(in_round, self._compiler.project.seed_of(self._pipeline.name))
            outputs = component.outputs(columns)
        except ValueError as error:
            raise item.node.document.error(item.node.paths[-1], str(error)) from error
        outputs = {name: self._with_head(output, inputs) for name, output in outputs.items()}
        self._check_adapter(item, inputs)
        label = f"tasks/{item.label}" if item.node.section is Section.TASKS and place.round else place.label(item)
        return Step(
            pipeline=self._pipeline.name, group=place.group, label=label, round=place.round, component=component,
            inputs=inputs, settings_from=settings_from, outputs=outputs, paths=item.node.used_by or item.node.paths,
            stopped_by=self._stopped_by(place), policy=item.node if item.node.used_by else None,
        )  # fmt: skip

    def _inputs(self, item: CompiledNode, place: Place) -> dict[str, tuple[str, ...]]:
        """Resolves a step's inputs by field; every reference is checked before the first wrong one ends the step."""
        inputs: dict[str, tuple[str, ...]] = {}
        for field, (references, accepts) in item.inputs.items():
            with self._problems.noted(), self._after_a_problem():
                inputs[field] = tuple(key for one in references for key in self._keys(item, field, one, accepts, place))
        if len(inputs) < len(item.inputs):
            raise NotPlanned(item.label)
        return inputs

    def _stopped_by(self, place: Place) -> str | None:
        """Returns the decision of the round before, from the second round of the last kind on."""
        may_stop = bool(self._stops) and place.part == self._kinds.last and place.round > self._kinds.first_round(place.part)
        return f"{self._pipeline.name}/{round_group(place.round - 1)}/{STOP}" if may_stop else None

    # -- references -------------------------------------------------------------------------------------------------

    def _keys(self, item: CompiledNode, field: str, reference: Reference, accepts: Accepts, place: Place) -> list[str]:
        keys = [
            key for step in self._targets(item, field, reference, place) for key in self._output_of(item, field, reference, step)
        ]
        if len(keys) != 1 and not accepts.many:
            raise self._error(item, field, f"{str(reference)!r} names {len(keys)} artifacts, but {field} takes one")
        for key in keys:
            kind = self._output(key).kind
            if kind not in accepts.kinds:
                wanted = " or ".join(sorted(accepts.kinds))
                raise self._error(item, field, f"{str(reference)!r} is a {kind} artifact, but {field} takes {wanted}")
            head = self._output(key).head
            if kind is ArtifactKind.MODEL and head is not None and head not in accepts.heads:
                raise self._error(item, field, wrong_head(field, reference, head, accepts, self._made))
        return keys

    def _output_of(self, item: CompiledNode, field: str, reference: Reference, step: Step) -> list[str]:
        part = reference.part or ""
        if part not in step.outputs:
            known = [name for name in step.outputs if name]
            if reference.scope is Scope.PREVIOUS and step.group == str(Section.START):
                raise self._error(item, field, start_without(reference, known))
            raise self._error(item, field, f"{reference.node!r} has no output {part!r}. {did_you_mean(part, known)}")
        return [artifact_key(step.key, part)]

    def _value_key(self, item: CompiledNode, setting: str, reference: Reference, place: Place) -> str:
        steps = self._targets(item, setting, reference, place)
        if len(steps) != 1:
            raise self._error(item, setting, f"{str(reference)!r} names {len(steps)} artifacts, but a setting takes one value")
        values = steps[0].outputs[""].values
        if values is not None and reference.part not in values:
            known = did_you_mean(str(reference.part), values)
            raise self._error(item, setting, f"{reference.node!r} gives no value {reference.part!r}. {known}")
        return steps[0].key

    def _targets(self, item: CompiledNode, field: str, reference: Reference, place: Place) -> list[Step]:
        """Returns the steps that a reference names, seen from a place."""
        if reference.scope is Scope.TASKS:
            return self._tasks(item, field, reference, place)
        if reference.scope is Scope.START:
            return self._in_group(item, field, reference, START, "start")
        if reference.scope is Scope.PIPELINES:
            return self._elsewhere(item, field, reference)
        if reference.scope is Scope.HERE:
            return self._in_group(item, field, reference, place.part, place.group, turn=self._own_turn(item, reference, place))
        if reference.scope in (Scope.BEFORE, Scope.TURNS):
            return self._in_turns(item, field, reference, place)
        if place.section in (Section.TASKS, Section.START):
            raise self._error(
                item, field, f"{str(reference)!r}: nothing comes before {place.section}; use start.NODE or tasks.NAME"
            )
        find = self._previous if reference.scope is Scope.PREVIOUS else self._history
        return find(item, field, reference, place)

    def _elsewhere(self, item: CompiledNode, field: str, reference: Reference) -> list[Step]:
        try:
            return steps_elsewhere(self._compiler.project, self._pipeline.name, reference, self._others)
        except ValueError as error:
            raise self._error(item, field, str(error)) from error

    def _tasks(self, item: CompiledNode, field: str, reference: Reference, place: Place) -> list[Step]:
        if reference.node not in self._moving[TASKS]:
            return self._in_group(item, field, reference, TASKS, "tasks")
        if place.section is Section.START:
            raise self._error(item, field, f"{str(reference)!r} changes per round, and start stands before the first round")
        return [self._made[f"{self._pipeline.name}/{round_group(place.round)}/tasks/{reference.node}"]]

    def _own_turn(self, item: CompiledNode, reference: Reference, place: Place) -> int | None:
        """Returns the turn of a node that is repeated together with this one; None for others."""
        target = self._pipeline.parts[place.part].get(reference.node)
        return place.turn if target is not None and target.group is not None and target.group == item.node.group else None

    def _in_turns(self, item: CompiledNode, field: str, reference: Reference, place: Place) -> list[Step]:
        """Returns the turn before, or all of them; of nodes repeated together with this one, those before its own."""
        self._require(item, field, reference, place.part)
        own, target = self._own_turn(item, reference, place), self._pipeline.parts[place.part][reference.node]
        if target.group is None or (own is None and reference.scope is Scope.BEFORE):
            fix = f"Give {item.node.name} and {reference.node} the same repeat: NAME"
            with_it = " together with this node" if target.group else ""
            raise self._error(item, field, f"{str(reference)!r}: {reference.node} is not repeated{with_it}. {fix}")
        if own == 1:
            fix = f"List what the first turn reads: per_turn: {{{field}: [NODE, {reference}]}}"
            raise self._error(item, field, f"{str(reference)!r}: no turn comes before the first. {fix}")
        last = self._pipeline.turns(target) if own is None else own - 1
        turns = range(1, last + 1) if reference.scope is Scope.TURNS else (last,)
        return [step for turn in turns for step in self._in_group(item, field, reference, place.part, place.group, turn=turn)]

    def _previous(self, item: CompiledNode, field: str, reference: Reference, place: Place) -> list[Step]:
        """Returns the node of the last round that has it, seen from a place; start's where no round before has it."""
        finish = place.section is Section.FINISH
        last, here = (place.round, self._kinds.last) if finish else (place.round - 1, place.part)
        found = self._kinds.last_with(reference.node, last)
        if found is not None:
            round_number, part = found
            group = BEST if finish and self._stops and part == here else round_group(round_number)
        elif reference.node in self._pipeline.parts[START] and (last < 1 or reference.node in self._kinds.names()):
            part, group = START, str(Section.START)
        else:
            self._require_in_rounds(item, field, reference)
            why = f"in round {place.round} means start.{reference.node}, which is not declared; add it under start"
            raise unknown_node(item.node, field, reference, self._pipeline.parts[START], why)
        steps = self._in_group(item, field, reference, part, group, before=part != here)
        return steps * self._population(reference, here) if len(steps) == 1 and part != here else steps

    def _population(self, reference: Reference, part: Part) -> int:
        """Returns how often `previous.X[*]` repeats a single X from before the part's rounds: once for each agent of X there."""
        node = self._pipeline.parts[part].get(reference.node)
        return len(self._pipeline.each[node.each]) if reference.instance == "*" and node is not None and node.each else 1

    def _history(self, item: CompiledNode, field: str, reference: Reference, place: Place) -> list[Step]:
        """Returns start's node if it has one, then every round's up to the last that exists when this node runs."""
        self._require_in_rounds(item, field, reference)
        inclusive = place.section is Section.FINISH or (item.node.name, reference.node) in self._orders[place.part].this_round
        last = place.round if inclusive else place.round - 1
        found: list[Step] = []
        if reference.node in self._pipeline.parts[START]:
            start = self._in_group(item, field, reference, START, "start")
            found += [step for step in start if field in item.settings_from or (reference.part or "") in step.outputs]
        for round_number, part in self._kinds.rounds_with(reference.node, last):
            found += self._in_group(item, field, reference, part, round_group(round_number))
        if not found:
            needs = way(self._orders[place.part].needs, reference.node, item.node.name) or [reference.node, item.node.name]
            why = f"is empty in round {place.round}, since in one round {' needs '.join(needs)}"
            declared = f"start.{reference.node}" + (f" with an output {reference.part!r}" if reference.part else "")
            fix = f"Let one of these read previous.NODE, the last round's, or declare {declared}"
            raise self._error(item, field, f"{str(reference)!r} {why}. {fix}")
        return found

    def _require_in_rounds(self, item: CompiledNode, field: str, reference: Reference) -> None:
        if reference.node not in self._kinds.names():
            raise unknown_node(item.node, field, reference, self._kinds.names(), f"names no node of {Section.ROUND}")

    def _require(self, item: CompiledNode, field: str, reference: Reference, part: Part) -> None:
        known = self._pipeline.parts[part]
        if reference.node not in known:
            raise unknown_node(item.node, field, reference, known, f"names no node of {part}")

    def _in_group(
        self,
        item: CompiledNode,
        field: str,
        reference: Reference,
        part: Part,
        group: str,
        before: bool = False,
        turn: int | None = None,
    ) -> list[Step]:
        """Returns a node's step (or instances) in one group; `before` the rounds of its kind one may stand for several.

        Of a repeated node the last turn's, where no turn is named.
        """
        self._require(item, field, reference, part)
        target = self._pipeline.parts[part][reference.node]
        said = turn_label(self._pipeline.turns(target) if turn is None else turn)
        prefix = f"{self._pipeline.name}/{group}/{reference.node}{said and '/'}{said}"
        if target.each is None:
            if reference.instance is not None and not before and part is not START:
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

    def _with_head(self, output: Output, inputs: Mapping[str, tuple[str, ...]]) -> Output:
        """Completes an output that names itself its model's head, and whether it is an adapter."""
        if (field := output.head_of) is None:
            return output
        head, on_base = self._output(inputs[field][0]).head, f"{field}_base" in inputs
        return replace(output, head=head, adapter_of=field if on_base else output.adapter_of)

    def _output(self, key: str) -> Output:
        step, _, output = self._split(key)
        return step.outputs[output]

    def _split(self, key: str) -> tuple[Step, str, str]:
        if key in self._made:
            return self._made[key], key, ""
        step_key, _, output = key.rpartition(".")
        return self._made[step_key], step_key, output

    def _base_of(self, key: str) -> list[str]:
        """Returns the full model under an adapter; nothing for anything else."""
        step, _, output = self._split(key)
        field = step.outputs[output].adapter_of
        return [] if field is None else list(step.inputs.get(f"{field}_base", step.inputs[field]))

    def _bases(self, item: CompiledNode, field: str, keys: tuple[str, ...]) -> tuple[str, ...]:
        """Returns the full model under a field's adapters; of several models it must be one."""
        bases = {key: tuple(self._base_of(key)) for key in keys}
        if len(set(bases.values())) > 1:
            raise self._error(item, field, unlike_models(bases))
        return next(iter(bases.values()), ())

    def _columns(self, keys: tuple[str, ...]) -> Columns:
        found: dict[str, None] = {}
        for key in keys:
            found.update(dict.fromkeys(self._output(key).columns))
        return tuple(found)

    def _check_columns(
        self, item: CompiledNode, place: Place, inputs: Mapping[str, tuple[str, ...]], columns: Mapping[str, Columns]
    ) -> None:
        step = f"{self._pipeline.name}/{place.group}/{place.label(item)}"
        for field in unseen(item.component, columns):
            raise self._error(item, field, blind(step, item.component))
        for field, needed in item.component.needs().items():
            for key in inputs.get(field, ()):
                there = self._columns((key,))
                for column in (column for column in needed if column not in there):
                    message = f"{step} needs column {column!r}, but {key} has only {', '.join(there) or 'no columns'}"
                    raise self._error(item, field, f"{message}. Add it there, or choose another {item.component.role}")

    def _check_adapter(self, item: CompiledNode, inputs: Mapping[str, tuple[str, ...]]) -> None:
        """Checks that a trainer that starts from an adapter continues it: with `lora:`, and with the adapter's own values."""
        fields = type(item.component).model_fields
        if "lora" not in fields or "init" not in fields or not self._base_of(inputs["init"][0]):
            return
        makers = (self._split(inputs["init"][0])[0].component, item.component)
        lora = (getattr(component, "lora", None) for component in makers)
        made, own = (None if one is None else one.shape() for one in lora)
        if own is None or (made is not None and own != made):
            raise self._error(item, "lora", other_lora(inputs["init"][0], made, own))

    def _error(self, item: CompiledNode, field: str, message: str) -> Exception:
        return item.node.error(field, message)
