"""Messages about impossible references, where they take more than a line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from lineal.plan.steps import Step
from lineal.recipe.references import Accepts, ArtifactKind, Head, Reference, Scope

MOST_SHOWN = 5
"""Of the artifacts that would fit."""
MOST_COLUMNS = 12
"""Of the columns that rows have."""


def columns_of(there: Sequence[str]) -> str:
    """Lists the columns that rows have."""
    more = f" and {len(there) - MOST_COLUMNS} more" if len(there) > MOST_COLUMNS else ""
    return f"{', '.join(there[:MOST_COLUMNS])}{more}" if there else "no columns"


def wrong_head(
    field: str, reference: Reference, head: Head, accepts: Accepts, made: Mapping[str, Step]
) -> str:
    """Says that a model is of one kind where the other is needed."""
    wanted = " or ".join(f"a {one}, which {one.gives}" for one in sorted(accepts.heads))
    fits = [
        key
        for step in made.values()
        for output, key in step.artifact_keys().items()
        if step.outputs[output].kind is ArtifactKind.MODEL and step.outputs[output].head in accepts.heads
    ]
    fix = f"Here that is {', '.join(fits[:MOST_SHOWN])}" if fits else "Declare one"
    return f"{str(reference)!r} is a {head}, which {head.gives}, but {field} takes {wanted}. {fix}"


def unlike_models(bases: Mapping[str, tuple[str, ...]]) -> str:
    """Says that of models to choose from some are adapters, or not on one base."""
    stand = ", ".join(f"{key} ({', '.join(own) or 'a full model'})" for key, own in bases.items())
    return f"expected adapters on one base, or full models, got {stand}. Name models of one kind"


def other_lora(key: str, made: object, own: object) -> str:
    """Says that a trainer's `lora:` is not that of the adapter which it starts from."""
    expected = "an adapter's own lora: values" if made is None else f"lora: {made}, the adapter's own values"
    got = "none" if own is None else str(own)
    return f"got {got}, but init {key} is an adapter; expected {expected}. Write them, or start from a full model"


def start_without(reference: Reference, known: list[str]) -> str:
    """Says that `previous.X.output` fails in round 1, where start's X has fewer outputs than the rounds'."""
    start = f"start.{reference.node}"
    outputs = f"has no output {reference.part!r} ({', '.join(known) if known else 'none but itself'})"
    history = replace(reference, scope=Scope.HISTORY)
    fix = f"Declare {start} with a component that writes it, or read {history}, which has what there is of all rounds"
    return f"{str(reference)!r} in round 1 means {start}.{reference.part}, but {start} {outputs}. {fix}"
