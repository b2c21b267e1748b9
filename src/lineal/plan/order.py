"""What the unrolling knows of nodes and steps that need each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from lineal.plan.compile import CompiledNode
from lineal.plan.steps import Step
from lineal.recipe.pipeline import Part, Pipeline, Section
from lineal.recipe.references import Reference, Scope

Forms = list[list[CompiledNode]]
"""A node in the rounds in which it differs."""


class NotPlanned(KeyError):
    """A step that another one needs could not be planned."""


class Made(dict[str, Step]):
    """The steps so far, by key."""

    def __missing__(self, key: str) -> Step:
        raise NotPlanned(key)


@dataclass(frozen=True)
class Order:
    """In which order a part's nodes run.

    Attributes:
        names: the nodes in declared order, but each after what it needs.
        needs: by node, the nodes of its own part that it needs.
        this_round: pairs of a node and one that it reads by `history.`, where that includes the same round's.
    """

    names: list[str]
    needs: dict[str, list[str]]
    this_round: set[tuple[str, str]]


def order_of(pipeline: Pipeline, part: Part, nodes: Mapping[str, Forms]) -> Order:
    """Puts a part's nodes in order.

    Raises:
        DeclarationError: they form a cycle.
    """
    after, this_round = _dependencies(part, nodes)
    order: dict[str, None] = {}
    visiting: list[str] = []

    def visit(name: str) -> None:
        if name in order:
            return
        if name in visiting:
            cycle = " -> ".join([*visiting[visiting.index(name) :], name])
            fix = "Let one of them read previous.NODE, the last round's"
            path = pipeline.parts[part][name].paths[0]
            raise pipeline.document.error(path, f"the nodes need each other: {cycle}. {fix}")
        visiting.append(name)
        for needed in after[name]:
            visit(needed)
        visiting.pop()
        order[name] = None

    for name in after:
        visit(name)
    return Order(list(order), after, this_round)


def _dependencies(part: Part, nodes: Mapping[str, Forms]) -> tuple[dict[str, list[str]], set[tuple[str, str]]]:
    """By node, the nodes of its own part that it needs, and the pools that include this round's.

    `history.X` includes this round's X unless X needs the node that asks. Where two such questions hang on each other, the
    one whose X is declared above the node that asks is answered first.
    """
    references = {name: list(_references(forms)) for name, forms in nodes.items()}
    after = {name: [r.node for r in found if r.scope is Scope.HERE and r.node in nodes] for name, found in references.items()}
    place = {name: index for index, name in enumerate(nodes)}
    pools = [
        (name, r.node)
        for name, found in references.items()
        for r in found
        if part.section is Section.ROUND and r.scope is Scope.HISTORY and r.node in nodes
    ]
    this_round = set()
    for name, pooled in sorted(pools, key=lambda pair: place[pair[1]] > place[pair[0]]):
        if way(after, pooled, name) is None:
            after[name].append(pooled)
            this_round.add((name, pooled))
    return after, this_round


def _references(forms: Forms) -> Iterator[Reference]:
    for item in (item for items in forms for item in items):
        yield from (reference for references, _ in item.inputs.values() for reference in references)
        yield from item.settings_from.values()


def way(after: Mapping[str, list[str]], start: str, goal: str) -> list[str] | None:
    """The nodes from `start` to `goal`, each needing the next; None where `start` does not need `goal`."""
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
