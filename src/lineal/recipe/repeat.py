"""`repeat:`: nodes that run several times within a round, turn by turn; each turn may read the one before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lineal.errors import did_you_mean
from lineal.recipe.document import Document, KeyPath, count_at, mapping_at
from lineal.recipe.references import NAME

REPEAT, PER_TURN = "repeat", "per_turn"


def read_repeats(document: Document, declared: Any, profile: str, changed: Any) -> dict[str, int]:
    """Reads each group's number of turns; a profile may change the number.

    Raises:
        DeclarationError: a group's name is no plain word or one that only a profile has, or its turns are no number from 1 on.
    """
    turns: dict[str, int] = {}
    for above, value in (((REPEAT,), declared), (("profiles", profile, REPEAT), changed)):
        for name, number in mapping_at(document, above, value).items():
            if not NAME.match(name):
                raise document.error((*above, name), "a group's name is a lower-case word")
            if above != (REPEAT,) and name not in turns:
                raise document.error(
                    (*above, name),
                    f"a profile changes a group's turns, and there is no {name!r}. {did_you_mean(name, turns)}",
                )
            turns[name] = count_at(document, (*above, name), number, "turns")
    return turns


def repeat_of(
    document: Document, path: KeyPath, value: Any, groups: Mapping[str, int] | None
) -> int | str | None:
    """Reads a node's `repeat:`: its own number of turns, the group that it is repeated with, or nothing.

    Raises:
        DeclarationError: it is neither, or an unknown group.
    """
    if value is None or groups is None:
        return None
    if not isinstance(value, str):
        return count_at(document, path, value, "turns")
    if value not in groups:
        fix = f"Say at the top of the file how many turns it has, repeat: {{{value}: 3}}, or give the number here"
        raise document.error(path, f"unknown group {value!r}. {did_you_mean(value, groups)} {fix}")
    return value
