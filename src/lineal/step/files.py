"""Files of the project that a step reads and that are not here: DVC keeps them, or another of its stages makes them."""

from __future__ import annotations

from pathlib import Path

from lineal.components.base import Component
from lineal.data.tracked import not_here
from lineal.errors import MachineError
from lineal.plan import Plan, Step


def absent_files(component: Component) -> dict[str, Path]:
    """Returns a component's files that are not here, by their names in the manifest."""
    return {name: path for name, path in component.files().items() if not path.exists()}


def why_absent(plan: Plan, step: Step) -> list[str]:
    """Says for each missing file that a step reads how to get it."""
    return [not_here(plan.project.root, path) for path in absent_files(step.component).values()]


def require_files(plan: Plan, step: Step) -> None:
    """Refuses to run a step whose files are not here.

    Raises:
        MachineError: names them, and what brings them.
    """
    absent = why_absent(plan, step)
    if absent:
        raise MachineError("\n".join(f"{step.key}: {why}" for why in absent))
