"""`per_round:`: settings that move with the round, by a list of values or by a step."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from lineal.recipe.document import Document, KeyPath

STEP = "step"
FIX = "Give each setting a list with its values in rounds 1, 2, 3, ..., or its value in round 1 and `step` to add each round"


def check_per_round(document: Document, path: KeyPath, value: Mapping[str, Any], fixed: Collection[str]) -> None:
    """Refuses what cannot move.

    Args:
        document: the file.
        path: where `per_round` stands.
        value: what it holds.
        fixed: keys of a node that are the same in all rounds.

    Raises:
        DeclarationError: it names no setting, or one that has no values.
    """
    if not value.keys() - {STEP}:
        raise document.error(path, f"names no setting. {FIX}")
    for key, values in value.items():
        if key in fixed:
            raise document.error((*path, key), f"{key!r} is the same in every round. Declare two nodes in its place")
        if STEP not in value and (not isinstance(values, list) or len(values) < 2):
            message = f"got {values!r}, expected a list of two values or more, as `step` is not there. {FIX}"
            raise document.error((*path, key), message)


def settings_in_round(document: Document, path: KeyPath, moves: Mapping[str, Any], round_number: int) -> dict[str, Any]:
    """The values of moving settings in a round: first value + step * (r - 1), or the list's; after its end the last holds.

    Raises:
        DeclarationError: value and step don't fit each other.
    """
    if STEP not in moves:
        return {key: values[min(round_number, len(values)) - 1] for key, values in moves.items()}
    return {
        key: _moved(document, (*path, key), first, moves[STEP], round_number - 1) for key, first in moves.items() if key != STEP
    }


def rounds_that_differ(moves: Mapping[str, Any] | None) -> int:
    """How many rounds show every listed value; one where nothing is listed."""
    return 1 if moves is None or STEP in moves else max(len(values) for values in moves.values())


def _moved(document: Document, path: KeyPath, first: Any, step: Any, times: int) -> Any:
    if isinstance(first, list):
        steps = step if isinstance(step, list) else [step] * len(first)
        if len(steps) == len(first):
            return [_moved(document, path, item, each_step, times) for item, each_step in zip(first, steps, strict=True)]
    elif isinstance(first, int | float) and isinstance(step, int | float):
        return first + step * times
    raise document.error(path, f"value {first!r} and step {step!r} don't fit: both numbers, or lists of one length. {FIX}")
