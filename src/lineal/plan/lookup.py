"""The artifacts that a reference names, seen from a place in the unrolling."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from lineal.errors import did_you_mean
from lineal.plan.compile import CompiledNode, unknown_node
from lineal.plan.elsewhere import Unrolled, steps_elsewhere
from lineal.plan.kinds import START, TASKS, Kinds, Place, turn_label
from lineal.plan.made import Made
from lineal.plan.messages import start_without, wrong_head
from lineal.plan.order import Order, way
from lineal.plan.steps import Step, artifact_key
from lineal.recipe.groups import round_group
from lineal.recipe.nodes import BEST, Part, Section
from lineal.recipe.pipeline import Pipeline
from lineal.recipe.project import Project
from lineal.recipe.references import Accepts, ArtifactKind, Reference, Scope


class Lookup:
    """Finds what references name: in the same group, in other rounds and turns, under start and tasks, in other pipelines.

    Args:
        project: the project.
        pipeline: the pipeline whose references are resolved.
        kinds: its rounds.
        made: its steps so far.
        others: the steps of other pipelines.
        orders: by part, the order of its nodes.
        moving_tasks: the tasks that change per round.
        stops: whether the pipeline may stop early, and `finish` then reads the best round.
    """

    def __init__(
        self,
        project: Project,
        pipeline: Pipeline,
        kinds: Kinds,
        made: Made,
        others: Unrolled,
        orders: Mapping[Part, Order],
        moving_tasks: Collection[str],
        stops: bool,
    ) -> None:
        self._project, self._pipeline, self._kinds = project, pipeline, kinds
        self._made, self._others, self._orders = made, others, orders
        self._moving_tasks, self._stops = moving_tasks, stops

    def keys(
        self, item: CompiledNode, field: str, reference: Reference, accepts: Accepts, place: Place
    ) -> list[str]:
        keys = [
            key
            for step in self._targets(item, field, reference, place)
            for key in self._output_of(item, field, reference, step)
        ]
        if len(keys) != 1 and not accepts.many:
            raise item.node.error(
                field, f"{str(reference)!r} names {len(keys)} artifacts, but {field} takes one"
            )
        for key in keys:
            kind = self._made.output(key).kind
            if kind not in accepts.kinds:
                wanted = " or ".join(one.wanted for one in ArtifactKind if one in accepts.kinds)
                raise item.node.error(
                    field, f"{str(reference)!r} names {kind.wanted}, but {field} takes {wanted}"
                )
            head = self._made.output(key).head
            if kind is ArtifactKind.MODEL and head is not None and head not in accepts.heads:
                raise item.node.error(field, wrong_head(field, reference, head, accepts, self._made))
        return keys

    def _output_of(self, item: CompiledNode, field: str, reference: Reference, step: Step) -> list[str]:
        part = reference.part or ""
        if part not in step.outputs:
            known = [name for name in step.outputs if name]
            if reference.scope is Scope.PREVIOUS and step.group == str(Section.START):
                raise item.node.error(field, start_without(reference, known))
            raise item.node.error(
                field, f"{reference.node!r} has no output {part!r}. {did_you_mean(part, known)}"
            )
        return [artifact_key(step.key, part)]

    def value_key(self, item: CompiledNode, setting: str, reference: Reference, place: Place) -> str:
        steps = self._targets(item, setting, reference, place)
        if len(steps) != 1:
            raise item.node.error(
                setting, f"{str(reference)!r} names {len(steps)} artifacts, but a setting takes one value"
            )
        values = steps[0].outputs[""].values
        if values is not None and reference.part not in values:
            known = did_you_mean(str(reference.part), values)
            raise item.node.error(setting, f"{reference.node!r} gives no value {reference.part!r}. {known}")
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
            return self._in_group(
                item, field, reference, place.part, place.group, turn=self._own_turn(item, reference, place)
            )
        if reference.scope in (Scope.BEFORE, Scope.TURNS):
            return self._in_turns(item, field, reference, place)
        if place.section in (Section.TASKS, Section.START):
            raise item.node.error(
                field,
                f"{str(reference)!r}: nothing comes before {place.section}; use start.NODE or tasks.NAME",
            )
        find = self._previous if reference.scope is Scope.PREVIOUS else self._history
        return find(item, field, reference, place)

    def _elsewhere(self, item: CompiledNode, field: str, reference: Reference) -> list[Step]:
        try:
            return steps_elsewhere(self._project, self._pipeline.name, reference, self._others)
        except ValueError as error:
            raise item.node.error(field, str(error)) from error

    def _tasks(self, item: CompiledNode, field: str, reference: Reference, place: Place) -> list[Step]:
        if reference.node not in self._moving_tasks:
            return self._in_group(item, field, reference, TASKS, "tasks")
        if place.section is Section.START:
            raise item.node.error(
                field, f"{str(reference)!r} changes per round, and start stands before the first round"
            )
        return [self._made[f"{self._pipeline.name}/{round_group(place.round)}/tasks/{reference.node}"]]

    def _own_turn(self, item: CompiledNode, reference: Reference, place: Place) -> int | None:
        """Returns the turn of a node that is repeated together with this one; None for others."""
        target = self._pipeline.parts[place.part].get(reference.node)
        return (
            place.turn
            if target is not None and target.group is not None and target.group == item.node.group
            else None
        )

    def _in_turns(self, item: CompiledNode, field: str, reference: Reference, place: Place) -> list[Step]:
        """Returns the turn before, or all of them; of nodes repeated together with this one, those before its own."""
        self._require(item, field, reference, place.part)
        own, target = self._own_turn(item, reference, place), self._pipeline.parts[place.part][reference.node]
        if target.group is None or (own is None and reference.scope is Scope.BEFORE):
            fix = f"Give {item.node.name} and {reference.node} the same repeat: NAME"
            with_it = " together with this node" if target.group else ""
            raise item.node.error(
                field, f"{str(reference)!r}: {reference.node} is not repeated{with_it}. {fix}"
            )
        if own == 1:
            fix = f"List what the first turn reads: per_turn: {{{field}: [NODE, {reference}]}}"
            raise item.node.error(field, f"{str(reference)!r}: no turn comes before the first. {fix}")
        last = self._pipeline.turns(target) if own is None else own - 1
        turns = range(1, last + 1) if reference.scope is Scope.TURNS else (last,)
        return [
            step
            for turn in turns
            for step in self._in_group(item, field, reference, place.part, place.group, turn=turn)
        ]

    def _previous(self, item: CompiledNode, field: str, reference: Reference, place: Place) -> list[Step]:
        """Returns the node of the last round that has it, seen from a place; start's where no round before has it."""
        finish = place.section is Section.FINISH
        last, here = (place.round, self._kinds.last) if finish else (place.round - 1, place.part)
        found = self._kinds.last_with(reference.node, last)
        if found is not None:
            round_number, part = found
            group = BEST if finish and self._stops and part == here else round_group(round_number)
        elif reference.node in self._pipeline.parts[START] and (
            last < 1 or reference.node in self._kinds.names()
        ):
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
        return (
            len(self._pipeline.each[node.each])
            if reference.instance == "*" and node is not None and node.each
            else 1
        )

    def _history(self, item: CompiledNode, field: str, reference: Reference, place: Place) -> list[Step]:
        """Returns start's node if it has one, then every round's up to the last that exists when this node runs."""
        self._require_in_rounds(item, field, reference)
        inclusive = (
            place.section is Section.FINISH
            or (item.node.name, reference.node) in self._orders[place.part].this_round
        )
        last = place.round if inclusive else place.round - 1
        found: list[Step] = []
        if reference.node in self._pipeline.parts[START]:
            start = self._in_group(item, field, reference, START, "start")
            found += [
                step
                for step in start
                if field in item.settings_from or (reference.part or "") in step.outputs
            ]
        for round_number, part in self._kinds.rounds_with(reference.node, last):
            found += self._in_group(item, field, reference, part, round_group(round_number))
        if not found:
            needs = way(self._orders[place.part].needs, reference.node, item.node.name) or [
                reference.node,
                item.node.name,
            ]
            why = f"is empty in round {place.round}, since in one round {' needs '.join(needs)}"
            declared = f"start.{reference.node}" + (
                f" with an output {reference.part!r}" if reference.part else ""
            )
            fix = f"Let one of these read previous.NODE, the last round's, or declare {declared}"
            raise item.node.error(field, f"{str(reference)!r} {why}. {fix}")
        return found

    def _require_in_rounds(self, item: CompiledNode, field: str, reference: Reference) -> None:
        if reference.node not in self._kinds.names():
            raise unknown_node(
                item.node, field, reference, self._kinds.names(), f"names no node of {Section.ROUND}"
            )

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
                raise item.node.error(
                    field,
                    f"{str(reference)!r}: {reference.node} is one node; leave out [{reference.instance}]",
                )
            return [self._made[prefix]]
        values = self._pipeline.each[target.each]
        if reference.instance is None:
            fix = f"write {reference.node}[*] for all or {reference.node}[{values[0]}] for one"
            raise item.node.error(field, f"{str(reference)!r} is made once for each {target.each}; {fix}")
        if reference.instance == "*":
            return [self._made[f"{prefix}/{value}"] for value in values]
        if reference.instance not in values:
            raise item.node.error(
                field,
                f"{str(reference)!r}: unknown {target.each}. {did_you_mean(reference.instance, values)}",
            )
        return [self._made[f"{prefix}/{reference.instance}"]]
