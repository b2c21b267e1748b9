"""`stages:`: kinds of rounds, one after another, each a layer over what all rounds have in common."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from lineal.recipe.document import Document, KeyPath, count_at, mapping_at, refuse_unknown
from lineal.recipe.references import NAME

STAGES = "stages"
"""The key at the top that holds the kinds of rounds, one after another."""
ROUNDS, ROUND = "rounds", "round"

Declared = list[tuple[KeyPath, Mapping[str, Any]]]
Layer = tuple[KeyPath, Any]
"""The place of a declaration, and its value; a later layer is laid over the ones before."""


@dataclass(frozen=True)
class Stage:
    """One kind of rounds.

    Attributes:
        name: its name; empty where a pipeline declares no stages.
        rounds: how many; None for as many as `params.yaml` asks for.
    """

    name: str = ""
    rounds: int | None = None


def read_stages(document: Document, declared: Any, profile: str, changed: Any) -> tuple[Stage, ...]:
    """Reads the stages in their order, those that a profile adds last; one without a name where nothing is declared.

    Raises:
        DeclarationError: a stage is no mapping, has an unknown key or no round of its own kind; names file, line and key.
    """
    over = ("profiles", profile, STAGES)
    layers: Declared = [
        ((STAGES,), mapping_at(document, (STAGES,), declared)),
        (over, mapping_at(document, over, changed)),
    ]
    if declared is None and not layers[1][1]:
        return (Stage(),)
    for name in layers[1][1]:
        near = get_close_matches(str(name), layers[0][1], n=1) if name not in layers[0][1] else []
        if near:
            fix = "A profile's stage of a new kind needs a name that is less like it"
            raise document.error(
                (*over, name), f"there is no stage {name!r}. Did you mean {near[0]!r}? {fix}"
            )
    names = dict.fromkeys(name for _, mapping in layers for name in mapping)
    stages = [stage for name in names if (stage := _stage(document, layers, name)) is not None]
    if not stages:
        raise document.error(
            (STAGES,), "names no stage; write NAME: {rounds: 2, round: {...}}, or leave it out"
        )
    _require_one_open(document, stages)
    return tuple(stages)


def _stage(document: Document, layers: Declared, name: str) -> Stage | None:
    """Builds a stage from its layers; None where a profile's null removes it."""
    rounds: Any = None
    there = True
    for index, (above, mapping) in enumerate(layers):
        if name not in mapping:
            continue
        path = (*above, name)
        there = mapping[name] is not None or index == 0
        own = _checked(document, path, mapping[name])
        rounds = own.get(ROUNDS, rounds)
        if rounds is not None:
            count_at(document, (*path, ROUNDS), rounds, "rounds", _FIX)
    return Stage(name, rounds) if there else None


_FIX = "Leave it out in the one stage that has as many rounds as params.yaml says"


def _checked(document: Document, path: KeyPath, value: Any) -> Mapping[str, Any]:
    if not NAME.match(str(path[-1])):
        raise document.error(path, "a stage's name is a lower-case word")
    own = mapping_at(document, path, value)
    refuse_unknown(document, path, own, (ROUNDS, ROUND))
    return own


def _require_one_open(document: Document, stages: list[Stage]) -> None:
    opened = [stage.name for stage in stages if stage.rounds is None]
    if len(opened) > 1:
        what = f"{' and '.join(opened)} say no number of rounds, but only one stage can have those of params.yaml"
        raise document.error((STAGES, opened[1]), f"{what}. Write rounds: N in the others")


def stage_layers(
    value: Mapping[str, Any], profile: str, overrides: Mapping[str, Any], name: str
) -> Iterator[Layer]:
    """Yields the declaration of a stage's own round, and the profile's layer over it."""
    for above, stages in (
        ((STAGES,), value.get(STAGES)),
        (("profiles", profile, STAGES), overrides.get(STAGES)),
    ):
        stage = (stages or {}).get(name)
        yield (*above, name, ROUND), (stage or {}).get(ROUND, {})
