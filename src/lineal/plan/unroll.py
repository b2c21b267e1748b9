"""Unrolls a pipeline's sections into steps: tasks, start, the rounds one after another, finish."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from pydantic import ValidationError

from lineal.components.base import Columns, Output, misfit
from lineal.components.registry import Registry
from lineal.data.schema import row_key
from lineal.errors import Problems
from lineal.plan.compile import CompiledNode, Compiler
from lineal.plan.elsewhere import Unrolled
from lineal.plan.kinds import FINISH, START, TASKS, Kinds, Place
from lineal.plan.lookup import Lookup
from lineal.plan.made import Made, NotPlanned
from lineal.plan.messages import columns_of, other_lora, unlike_models
from lineal.plan.order import Order, order_of
from lineal.plan.sights import blind, hidden, hiding, media_inputs, unseen
from lineal.plan.steps import Step
from lineal.plan.stopping import best_steps, stop_step
from lineal.recipe.groups import round_group
from lineal.recipe.nodes import STOP, Node, Part, Section
from lineal.recipe.pipeline import Pipeline
from lineal.recipe.project import Project

Nodes = Mapping[str, list[CompiledNode]]


def unroll(
    project: Project, pipeline: Pipeline, registry: Registry, rounds: int, others: Unrolled
) -> Iterator[Step]:
    """Yields all steps of a pipeline, each after the steps it needs; those of other pipelines are not among them.

    Raises:
        DeclarationError: a reference, a kind, a column or a cycle; names file, line and key.
    """
    yield from Unroller(Compiler(project, pipeline, registry), rounds, others).steps()


class Unroller:
    """Plans the steps round by round, each checked against what the earlier ones make."""

    def __init__(self, compiler: Compiler, rounds: int, others: Unrolled) -> None:
        self._compiler, self._pipeline = compiler, compiler.pipeline
        self._kinds = Kinds(self._pipeline, rounds)
        self._made = Made(others.steps)
        self._moving = {
            part: {
                node.name
                for node in nodes.values()
                if node.per_round is not None or node.per_turn is not None
            }
            for part, nodes in self._pipeline.parts.items()
        }
        self._forms = compiler.compile_all()
        self._compiled = {
            part: {name: forms[0] for name, forms in nodes.items()} for part, nodes in self._forms.items()
        }
        self._problems = Problems()
        self._orders: dict[Part, Order] = {}
        for part in self._pipeline.parts:
            with self._problems.noted():
                self._orders[part] = order_of(self._pipeline, part, self._forms[part])
        self._problems.raise_all()
        self._lookup = Lookup(
            compiler.project,
            self._pipeline,
            self._kinds,
            self._made,
            others,
            orders=self._orders,
            moving_tasks=self._moving[TASKS],
            stops=bool(self._stops),
        )

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
            if nodes[0].name == STOP or (
                place.section is Section.TASKS and nodes[0].name in self._moving[TASKS]
            ):
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
            setting: (self._lookup.value_key(item, setting, reference, place), str(reference.part))
            for setting, reference in item.settings_from.items()
        }
        self._check_values(item, settings_from)
        columns = {field: self._made.columns(keys) for field, keys in inputs.items()}
        self._check_columns(item, place, inputs, columns)
        inputs |= media_inputs(item.component, inputs, self._made.split)
        in_round = place.round if place.section is Section.ROUND else None
        try:
            component = item.component.placed(in_round, self._compiler.project.seed_of(self._pipeline.name))
            outputs = component.outputs(columns)
        except ValueError as error:
            raise item.node.document.error(item.node.paths[-1], str(error)) from error
        outputs = {name: self._with_head(output, inputs) for name, output in outputs.items()}
        self._check_adapter(item, inputs)
        label = (
            f"tasks/{item.label}" if item.node.section is Section.TASKS and place.round else place.label(item)
        )
        return Step(
            pipeline=self._pipeline.name,
            group=place.group,
            label=label,
            round=place.round,
            component=component,
            inputs=inputs,
            settings_from=settings_from,
            outputs=outputs,
            paths=item.node.used_by or item.node.paths,
            stopped_by=self._stopped_by(place),
            policy=item.node if item.node.used_by else None,
        )

    def _inputs(self, item: CompiledNode, place: Place) -> dict[str, tuple[str, ...]]:
        """Resolves a step's inputs by field; every reference is checked before the first wrong one ends the step."""
        inputs: dict[str, tuple[str, ...]] = {}
        for field, (references, accepts) in item.inputs.items():
            with self._problems.noted(), self._after_a_problem():
                inputs[field] = tuple(
                    key for one in references for key in self._lookup.keys(item, field, one, accepts, place)
                )
        if len(inputs) < len(item.inputs):
            raise NotPlanned(item.label)
        return inputs

    def _check_values(self, item: CompiledNode, settings_from: Mapping[str, tuple[str, str]]) -> None:
        """Checks the values of controllers that are known before anything runs."""
        found = {
            name: self._made[key].component.foreknown(part) for name, (key, part) in settings_from.items()
        }
        known = {name: value for name, value in found.items() if value is not None}
        if not known:
            return
        try:
            item.component.resolved(known)
        except ValidationError as error:
            name, why = misfit(error, known)
            key, part = settings_from[name]
            got = f"{item.settings_from[name]} is {known[name]!r}: {why}"
            raise item.node.error(name, f"{got}. Change {part} of {key}") from error

    def _stopped_by(self, place: Place) -> str | None:
        """Returns the decision of the round before, from the second round of the last kind on."""
        may_stop = (
            bool(self._stops)
            and place.part == self._kinds.last
            and place.round > self._kinds.first_round(place.part)
        )
        return f"{self._pipeline.name}/{round_group(place.round - 1)}/{STOP}" if may_stop else None

    def _with_head(self, output: Output, inputs: Mapping[str, tuple[str, ...]]) -> Output:
        """Completes an output that names itself its model's head, and whether it is an adapter."""
        if (field := output.head_of) is None:
            return output
        head, on_base = self._made.output(inputs[field][0]).head, f"{field}_base" in inputs
        return replace(output, head=head, adapter_of=field if on_base else output.adapter_of)

    def _bases(self, item: CompiledNode, field: str, keys: tuple[str, ...]) -> tuple[str, ...]:
        """Returns the full model under a field's adapters; of several models it must be one."""
        bases = {key: tuple(self._made.base_of(key)) for key in keys}
        if len(set(bases.values())) > 1:
            raise item.node.error(field, unlike_models(bases))
        return next(iter(bases.values()), ())

    def _check_columns(
        self,
        item: CompiledNode,
        place: Place,
        inputs: Mapping[str, tuple[str, ...]],
        columns: Mapping[str, Columns],
    ) -> None:
        step = f"{self._pipeline.name}/{place.group}/{place.label(item)}"
        for field in unseen(item.component, columns):
            raise item.node.error(field, blind(step, item.component))
        if setting := hidden(item.component, columns):
            raise item.node.error(setting, hiding(step, item.component, setting))
        for field in item.component.told_apart:
            self._check_ids(item, step, field, inputs[field])
        for field, needed in item.component.needs().items():
            for key in inputs.get(field, ()):
                there = self._made.columns((key,))
                for column in (column for column in needed if column not in there):
                    message = f"{step} needs column {column!r}, but {key} has only {columns_of(there)}"
                    if self._pipeline.without is not None:
                        raise self._pipeline.without.error(f"cannot be taken away: {message}")
                    raise item.node.error(
                        field, f"{message}. Add it there, or choose another {item.component.role}"
                    )

    def _check_ids(self, item: CompiledNode, step: str, field: str, keys: tuple[str, ...]) -> None:
        """Checks that the rows of several artifacts have the same kind of id: all are samples, or none is."""
        by_kind = {row_key(self._made.columns((key,))): key for key in keys}
        if len(by_kind) > 1:
            samples, prompts = by_kind["sample_id"], by_kind["prompt_id"]
            fix = "Put artifacts of one kind together: `{use: select, rows: NODE, sql: with_hint}` makes prompts of samples"
            raise item.node.error(
                field,
                f"{step} needs rows of one kind, but {samples} has samples and {prompts} prompts. {fix}",
            )

    def _check_adapter(self, item: CompiledNode, inputs: Mapping[str, tuple[str, ...]]) -> None:
        """Checks that a trainer that starts from an adapter continues it: with `lora:`, and with the adapter's own values."""
        fields = type(item.component).model_fields
        if "lora" not in fields or "init" not in fields or not self._made.base_of(inputs["init"][0]):
            return
        makers = (self._made.split(inputs["init"][0])[0].component, item.component)
        lora = (getattr(component, "lora", None) for component in makers)
        made, own = (None if one is None else one.shape() for one in lora)
        if own is None or (made is not None and own != made):
            raise item.node.error("lora", other_lora(inputs["init"][0], made, own))
