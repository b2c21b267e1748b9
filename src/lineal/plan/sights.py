"""Pictures in the plan: which steps would give a model rows with pictures that it cannot see."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from lineal.components.base import Columns, Component
from lineal.data.media import IMAGES


def unseen(component: Component, columns: Mapping[str, Columns]) -> Iterator[str]:
    """Yields the input fields whose rows have pictures, of a component that gives a model their texts alone."""
    if component.loads_model:
        yield from (field for field, names in columns.items() if IMAGES in names)


def blind(step: str, component: Component) -> str:
    """Says that a step's model would not see the pictures."""
    got = f"{step}: the rows have pictures (column {IMAGES!r}), and {component.use} gives a model texts alone"
    return f"{got}: it would answer without seeing them. No component shows a model pictures yet (docs/media.md)"
