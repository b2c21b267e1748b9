"""`per_round:` and `per_turn:`: settings that change with the round or the turn, by a list of values or by a step."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from lineal.recipe.document import Document, KeyPath

STEP = "step"
FIX = "Give each setting a list with its values in {0}s 1, 2, 3, ..., or its value in {0} 1 and `step` to add each {0}"


def check_moves(document: Document, path: KeyPath, value: Mapping[str, Any], fixed: Collection[str]) -> None:
    """Refuses `per_round` and `per_turn` for keys that cannot change.

    Args:
        document: the file.
        path: where `per_round` or `per_turn` stands.
        value: what it holds.
        fixed: keys of a node that don't move.

    Raises:
        DeclarationError: it names no setting, or one that has no values.
    """
    unit = _unit(path)
    if not value.keys() - {STEP}:
        raise document.error(path, f"names no setting. {FIX.format(unit)}")
    for key, values in value.items():
        if key in fixed:
            raise document.error(
                (*path, key), f"{key!r} is the same in every {unit}. Declare two nodes in its place"
            )
        if STEP not in value and (not isinstance(values, list) or len(values) < 2):
            message = f"got {values!r}, expected a list of two values or more, as `step` is not there. {FIX.format(unit)}"
            raise document.error((*path, key), message)


def moved_settings(
    document: Document, path: KeyPath, moves: Mapping[str, Any], number: int
) -> dict[str, Any]:
    """Returns the settings of a round or turn: first value + step * (number - 1), or the list's; its last value continues.

    Raises:
        DeclarationError: value and step don't fit each other.
    """
    if STEP not in moves:
        return {key: values[min(number, len(values)) - 1] for key, values in moves.items()}
    return {
        key: _moved(document, (*path, key), first, moves[STEP], number - 1)
        for key, first in moves.items()
        if key != STEP
    }


def values_listed(moves: Mapping[str, Any] | None) -> int:
    """Returns how many rounds or turns show every listed value; one where nothing is listed."""
    return 1 if moves is None or STEP in moves else max(len(values) for values in moves.values())


def _moved(document: Document, path: KeyPath, first: Any, step: Any, times: int) -> Any:
    if isinstance(first, list):
        steps = step if isinstance(step, list) else [step] * len(first)
        if len(steps) == len(first):
            return [
                _moved(document, path, item, each_step, times)
                for item, each_step in zip(first, steps, strict=True)
            ]
    elif isinstance(first, int | float) and isinstance(step, int | float):
        return first + step * times
    fix = FIX.format(_unit(path[:-1]))
    raise document.error(
        path, f"value {first!r} and step {step!r} don't fit: both numbers, or lists of one length. {fix}"
    )


def _unit(path: KeyPath) -> str:
    """Returns `round` or `turn`, as the key says."""
    return str(path[-1]).removeprefix("per_")
