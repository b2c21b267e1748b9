"""Steps whose file has not arrived yet, and the steps that depend on them."""

from __future__ import annotations

from collections.abc import Iterable

from lineal.errors import Waiting
from lineal.plan import Plan, Step

ARRIVED = "file_arrived"
"""The check of a step that waits for a file."""


def why_waiting(step: Step) -> str:
    """Says which file a step waits for, and what to do; empty where it waits for none."""
    awaited = step.component.awaited(step.key)
    return "" if awaited is None or awaited.here else f"{step.key} waits for {awaited.path}. {awaited.fix}"


def require_arrived(step: Step) -> None:
    """Refuses to run a step whose file is not here.

    Raises:
        Waiting: names the file and what to do.
    """
    why = why_waiting(step)
    if why:
        raise Waiting(why)


def held_up(plan: Plan, steps: Iterable[Step]) -> tuple[list[Step], list[Step]]:
    """Splits some steps in the plan's order into those that can be made, and those that wait for a file or a waiting step."""
    ready: list[Step] = []
    waiting: dict[str, Step] = {}
    for step in steps:
        if why_waiting(step) or any(before.key in waiting for before in plan.upstream(step)):
            waiting[step.key] = step
        else:
            ready.append(step)
    return ready, list(waiting.values())


def waiting_for(steps: Iterable[Step]) -> Waiting:
    """Makes the end of a run whose steps wait: the files, and how many steps."""
    steps = list(steps)
    reasons = [why for why in map(why_waiting, steps) if why]
    more = len(steps) - len(reasons)
    follow = f"\n{more} steps that follow wait too" if more else ""
    return Waiting("\n".join(reasons) + f"{follow}. Then run again: lineal run")
