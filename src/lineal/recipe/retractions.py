"""`retractions.yaml`: rows that nothing may be trained on any more, and why. `retracted.json`: what they leave untouched.

    no_unit:                                    # a name of the user's choice
      reason: the verifier accepted answers without a unit
      date: 2026-11-21
      where: verdict = 'pass' AND completion NOT LIKE '%cm%'      # or `ids: [...]`
      in: rest_em/round_01                      # optional: only rows of this artifact, round or pipeline

A retraction is in force on every selection, except on those that `retracted.json` calls untouched: they were made before it
and lose no row by it, so they need not be made again. The file is written by `lineal retract`, `plan --write` and `run`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from pydantic import Field, field_validator, model_validator

from lineal.recipe.compute import Strict
from lineal.recipe.document import Document
from lineal.recipe.seeds import declared_name

RETRACTIONS = "retractions.yaml"
RETRACTED = "retracted.json"


class Retraction(Strict):
    """One entry of `retractions.yaml`.

    Attributes:
        reason: why; dropped rows carry it.
        date: the day, as YYYY-MM-DD; for people, no artifact depends on it.
        where: an SQL condition on rows.
        ids: rows by id; instead of a condition.
        within: `in`: the artifact, round or pipeline whose rows the condition is asked of; default: all. A pipeline's name means
            all of its seeds, `NAME__seed_1` that one.
    """

    reason: str
    date: str
    where: str | None = None
    ids: list[str] | None = None
    within: str | None = Field(default=None, alias="in", pattern=r"^[a-z][A-Za-z0-9_-]*(/[A-Za-z0-9_.]+)*$")

    @field_validator("reason")
    @classmethod
    def _one_line(cls, value: str) -> str:
        if not value.strip() or not value.isprintable():
            raise ValueError("say in one line why these rows are retracted")
        return value

    @field_validator("date")
    @classmethod
    def _day(cls, value: str) -> str:
        if not re.fullmatch(r"\d{4}-\d\d-\d\d", value):
            raise ValueError(f"must be a day as YYYY-MM-DD, got {value!r}")
        date.fromisoformat(value)
        return value

    @model_validator(mode="after")
    def _one_way(self) -> Retraction:
        if (self.where is None) == (self.ids is None):
            raise ValueError("give exactly one of where (an SQL condition) and ids (a list of row ids)")
        if (self.where is not None and not self.where.strip()) or self.ids == []:
            raise ValueError("names no row: its where or ids is empty")
        if self.ids is not None and self.within is not None:
            raise ValueError("`in` goes with where; an id is the same row everywhere")
        return self

    def asks(self, artifact_key: str) -> bool:
        """Tells whether it applies to rows of this artifact, of any seed of the pipeline that `in` names."""
        if self.within is None:
            return True
        pipeline, _, step = artifact_key.partition("/")
        keys = (artifact_key, f"{declared_name(pipeline)}/{step}")
        return any(key == self.within or key.startswith(f"{self.within}/") for key in keys)

    def as_yaml(self) -> dict[str, Any]:
        """Returns the entry as the file has it."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class Resolution(Strict):
    """The result of comparing a retraction with the artifacts; one entry of `retracted.json`.

    Attributes:
        of: the `where`, `ids` and `in` that it is of; a changed entry is resolved again.
        ids: rows that fulfil the condition in artifacts which the selections that read them don't come from.
        untouched: keys of selections that lose no row and depend on none that does.
    """

    of: dict[str, Any]
    ids: list[str] = []
    untouched: list[str] = []


@dataclass(frozen=True)
class RetractionRule:
    """A retraction as one pipeline's steps apply it, without the pipeline's name, so that equal work has equal bytes.

    Attributes:
        name: its name in `retractions.yaml`.
        reason: why.
        where: the condition; None when only ids are retracted here.
        within: the step, or the round, whose rows the condition is asked of; '' for all.
        ids: retracted rows.
        entry: what it is of, which says with the pipeline whose rows are meant; no part of the identity.
    """

    name: str
    reason: str
    where: str | None
    within: str
    ids: tuple[str, ...]
    entry: Retraction | None = None

    def identity(self) -> dict[str, Any]:
        """The parts of it that decide a selection's bytes."""
        found = {"reason": self.reason, "where": self.where, "in": self.within, "ids": list(self.ids)}
        return {name: value for name, value in found.items() if value}

    def asks(self, artifact_key: str) -> bool:
        """Tells whether the condition applies to an artifact's rows."""
        return self.where is not None and (self.entry is None or self.entry.asks(artifact_key))


@dataclass(frozen=True)
class Retractions:
    """All retractions of a project.

    Attributes:
        declared: by name, in the file's order.
        resolved: by name, for those that were resolved as they stand now.
        document: the file, to name lines in errors.
    """

    declared: Mapping[str, Retraction] = field(default_factory=dict)
    resolved: Mapping[str, Resolution] = field(default_factory=dict)
    document: Document = field(default_factory=lambda: Document(RETRACTIONS, {}, {}))

    def rules(self, pipeline: str) -> tuple[RetractionRule, ...]:
        """Returns all retractions that can affect rows of a pipeline."""
        found = []
        for name, entry in self.declared.items():
            ids = tuple(sorted({*(entry.ids or []), *self._resolution(name).ids}))
            own, _, within = (entry.within or pipeline).partition("/")
            where = entry.where if own in (pipeline, declared_name(pipeline)) else None
            if where is not None or ids:
                found.append(RetractionRule(name, entry.reason, where, within if where else "", ids, entry))
        return tuple(found)

    def in_force(self, selection: str) -> tuple[RetractionRule, ...]:
        """Returns the retractions that a selection must apply."""
        rules = self.rules(selection.partition("/")[0])
        return tuple(rule for rule in rules if selection not in self._resolution(rule.name).untouched)

    def _resolution(self, name: str) -> Resolution:
        return self.resolved.get(name, Resolution(of={}))


def of(entry: Retraction) -> dict[str, Any]:
    """Returns the parts of a retraction that decide its rows."""
    return {name: value for name, value in entry.as_yaml().items() if name in ("where", "ids", "in")}
