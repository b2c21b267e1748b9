"""Pictures in the plan: the artifacts that hold those that a step's model is shown, and steps whose model would not see them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from lineal.components.base import ROWS, Columns, Component
from lineal.data.media import IMAGES, MEDIA
from lineal.plan.steps import Step, artifact_key

Split = Callable[[str], tuple[Step, str, str]]
"""Finds the step, its key and the output of an artifact's key."""


def media_inputs(
    component: Component, inputs: Mapping[str, tuple[str, ...]], split: Split
) -> dict[str, tuple[str, ...]]:
    """Returns the further inputs of a step: by `prompts_media`, the artifacts that hold the pictures of its prompts' rows."""
    found = {field: _media_of(inputs.get(field, ()), split, {}) for field in component.sees}
    return {f"{field}_{MEDIA}": tuple(keys) for field, keys in found.items() if keys}


def _media_of(keys: Iterable[str], split: Split, seen: dict[str, list[str]]) -> list[str]:
    """Returns the media of the sources that some rows come from, each once, in order."""
    for key in keys:
        if key in seen:
            continue
        step, step_key, output = split(key)
        seen[key] = []
        if IMAGES in step.outputs[output].columns:
            here = MEDIA in step.outputs
            before = [one for names in step.inputs.values() for one in names]
            seen[key] = [artifact_key(step_key, MEDIA)] if here else _media_of(before, split, seen)
    return list(dict.fromkeys(one for key in keys for one in seen[key]))


def unseen(component: Component, columns: Mapping[str, Columns]) -> Iterator[str]:
    """Yields the input fields whose rows have pictures, of a component that gives a model their texts alone.

    So may one inside another: it reads that one's rows.
    """
    blind_inside = bool(_blind(component))
    if component.loads_model:
        pictured = (field for field, names in columns.items() if IMAGES in names)
        yield from (field for field in pictured if blind_inside or field not in component.sees)


def hidden(component: Component, columns: Mapping[str, Columns]) -> str | None:
    """Returns the setting that keeps a component from showing its model the pictures of its rows; None where all are shown."""
    pictured = any(IMAGES in columns.get(field, ()) for field in component.sees)
    return component.hides_pictures() if pictured else None


def hiding(step: str, component: Component, setting: str) -> str:
    """Says that a setting excludes pictures."""
    got = f"{step}: the rows have pictures (column {IMAGES!r}), which {component.use} cannot show with {setting}"
    return f"{got}. Leave {setting} out, or the column: docs/media.md"


def _blind(component: Component) -> list[str]:
    """Returns the components inside one that give a model the texts of its rows alone."""
    return [one.use for one in component.embedded().values() if one.loads_model and ROWS not in one.sees]


def blind(step: str, component: Component) -> str:
    """Says that a step's model would not see the pictures."""
    used = next(iter(_blind(component)), component.use)
    got = f"{step}: the rows have pictures (column {IMAGES!r}), and {used} gives a model texts alone"
    return f"{got}: it would answer without seeing them. What shows pictures: docs/media.md"
