"""What the unrolling knows of nodes and steps that need each other."""

from __future__ import annotations

from collections.abc import Mapping

from lineal.plan.steps import Step


class NotPlanned(KeyError):
    """A step that another one needs could not be planned."""


class Made(dict[str, Step]):
    """The steps so far, by key."""

    def __missing__(self, key: str) -> Step:
        raise NotPlanned(key)


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
