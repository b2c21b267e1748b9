"""Dependencies between nodes and between steps, and the order that follows from them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from lineal.plan.compile import CompiledNode, unknown_node
from lineal.recipe.nodes import Part, Section
from lineal.recipe.pipeline import Pipeline
from lineal.recipe.references import Reference, Scope
from lineal.recipe.repeat import REPEAT

Forms = list[list[CompiledNode]]
"""A node in the rounds in which it differs."""
_NAMED_FROM_ELSEWHERE = {Section.TASKS: Scope.TASKS, Section.START: Scope.START}
"""How other sections name a section's nodes; its own nodes may do so too, and `start.NODE` under `start` is that node."""


@dataclass(frozen=True)
class Order:
    """The order in which a part's nodes run.

    Attributes:
        units: what runs together turn by turn, mostly single nodes; in declared order, but each after what it needs.
        needs: by node, the nodes of its own part that it needs.
        this_round: pairs of a node and one that it reads by `history.`, where that includes the same round's.
    """

    units: list[list[str]]
    needs: dict[str, list[str]]
    this_round: set[tuple[str, str]]


def order_of(pipeline: Pipeline, part: Part, nodes: Mapping[str, Forms]) -> Order:
    """Puts a part's nodes in order.

    Raises:
        DeclarationError: they form a cycle, or are repeated though no turn reads the one before.
    """
    units = _units(pipeline, part)
    _require_turns_that_differ(pipeline, part, units, nodes)
    first = {name: unit[0] for unit in units for name in unit}
    after, this_round = _dependencies(part, nodes, {name: unit for unit in units for name in unit})
    between = {
        unit[0]: [first[needed] for name in unit for needed in after[name] if first[needed] != unit[0]]
        for unit in units
    }
    inside = {name: [needed for needed in after[name] if first[needed] == first[name]] for name in after}
    members = {unit[0]: unit for unit in units}
    order = _sorted(pipeline, part, list(between), between)
    return Order([_sorted(pipeline, part, members[name], inside) for name in order], after, this_round)


def _units(pipeline: Pipeline, part: Part) -> list[list[str]]:
    found: dict[str, list[str]] = {}
    for name, node in pipeline.parts[part].items():
        found.setdefault(f"group {node.group}" if node.group else name, []).append(name)
    return list(found.values())


def _require_turns_that_differ(
    pipeline: Pipeline, part: Part, units: list[list[str]], nodes: Mapping[str, Forms]
) -> None:
    for unit in units:
        node = pipeline.parts[part][unit[0]]
        for item in (item for name in unit if node.group for items in nodes[name] for item in items):
            _require_known_turns(pipeline, part, item, dict.fromkeys(unit))
        scopes = {
            reference.scope
            for name in unit
            for reference in _references(nodes[name])
            if reference.node in unit
        }
        if node.group and not scopes & {Scope.BEFORE, Scope.TURNS}:
            named = " and ".join(unit)
            what = f"no turn of {named} reads the one before, so that all would do the same"
            fix = f"Let one read it: per_turn: {{rows: [FIRST, before.{unit[-1]}]}}; for several at once use each:"
            raise node.error(REPEAT, f"{what}. {fix}")


def _require_known_turns(
    pipeline: Pipeline, part: Part, item: CompiledNode, unit: Mapping[str, None]
) -> None:
    """Refuses a turn of an undeclared node before the check that some turn reads the one before."""
    for field, (references, _) in item.inputs.items():
        for reference in references:
            if reference.scope in (Scope.BEFORE, Scope.TURNS) and reference.node not in pipeline.parts[part]:
                raise unknown_node(
                    item.node, field, reference, unit, "names no node that is repeated together with it"
                )


def _sorted(pipeline: Pipeline, part: Part, names: list[str], needs: Mapping[str, list[str]]) -> list[str]:
    """Sorts names topologically, keeping the given order where possible."""
    order: dict[str, None] = {}
    visiting: list[str] = []

    def visit(name: str) -> None:
        if name in order:
            return
        if name in visiting:
            raise _cycle(pipeline, part, [*visiting[visiting.index(name) :], name])
        visiting.append(name)
        for needed in needs[name]:
            visit(needed)
        visiting.pop()
        order[name] = None

    for name in names:
        visit(name)
    return list(order)


def _cycle(pipeline: Pipeline, part: Part, names: list[str]) -> Exception:
    nodes = [pipeline.parts[part][name] for name in names]
    rounds = part.section is Section.ROUND
    fix = (
        "Let one of them read previous.NODE, the last round's"
        if rounds
        else "Let one of them read another node"
    )
    if any(node.group for node in nodes):
        fix = f"{fix}, or before.NODE, the last turn's; what stands between nodes of one repeat needs the same repeat"
    return nodes[-1].document.error(
        nodes[-1].paths[0], f"the nodes need each other: {' -> '.join(names)}. {fix}"
    )


def _dependencies(
    part: Part, nodes: Mapping[str, Forms], units: Mapping[str, list[str]]
) -> tuple[dict[str, list[str]], set[tuple[str, str]]]:
    """Returns the nodes of its own part that each node needs, and the pools that include this round's.

    `history.X` includes this round's X unless X needs the node that asks. Where two such questions hang on each other, the
    one whose X is declared above the node that asks is answered first.
    """
    references = {name: list(_references(forms)) for name, forms in nodes.items()}
    after = {
        name: [r.node for r in found if _is_needed(part, r, units, name)]
        for name, found in references.items()
    }
    place = {name: index for index, name in enumerate(nodes)}
    pools = [
        (name, r.node)
        for name, found in references.items()
        for r in found
        if part.section is Section.ROUND and r.scope is Scope.HISTORY and r.node in nodes
    ]
    this_round = set()
    for name, pooled in sorted(pools, key=lambda pair: place[pair[1]] > place[pair[0]]):
        together = (
            {one: [*needed, *units[one]] for one, needed in after.items()} if len(units[name]) > 1 else after
        )
        if way(together, pooled, name) is None:
            after[name].append(pooled)
            this_round.add((name, pooled))
    return after, this_round


def _is_needed(part: Part, reference: Reference, units: Mapping[str, list[str]], name: str) -> bool:
    """Tells whether a reference names a node of the same part that must run before: of another turn only where repeated apart."""
    if reference.node not in units:
        return False
    if reference.scope in (Scope.HERE, _NAMED_FROM_ELSEWHERE.get(part.section)):
        return True
    return reference.scope in (Scope.BEFORE, Scope.TURNS) and reference.node not in units[name]


def _references(forms: Forms) -> Iterator[Reference]:
    for item in (item for items in forms for item in items):
        yield from (reference for references, _ in item.inputs.values() for reference in references)
        yield from item.settings_from.values()


def way(after: Mapping[str, list[str]], start: str, goal: str) -> list[str] | None:
    """Finds the nodes from `start` to `goal`, each needing the next; None where `start` does not need `goal`."""
    came_from: dict[str, str] = {}
    seen, todo = {start}, [start]
    while todo:
        name = todo.pop()
        if name == goal:
            found = [name]
            while found[-1] != start:
                found.append(came_from[found[-1]])
            return found[::-1]
        for needed in after.get(name, ()):
            if needed not in seen:
                seen.add(needed)
                came_from[needed] = name
                todo.append(needed)
    return None
