"""References in declarations: to this round's nodes, the previous round's, all rounds', the tasks, other pipelines."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum


class ArtifactKind(StrEnum):
    """The content of an artifact."""

    ROWS = "rows"
    MODEL = "model"
    SERVED = "served"
    SETTINGS = "settings"
    METRICS = "metrics"
    MEDIA = "media"

    @property
    def is_model(self) -> bool:
        """True for a model: its weights, or the name under which a server has it."""
        return self in (ArtifactKind.MODEL, ArtifactKind.SERVED)

    @property
    def wanted(self) -> str:
        """The kind in messages; an evaluation holds rows and values."""
        named = {
            ArtifactKind.METRICS: "an evaluation",
            ArtifactKind.MODEL: "a model",
            ArtifactKind.SERVED: "a served model",
        }
        return named.get(self, str(self))


class Head(StrEnum):
    """The output of a model. The plan tells the two apart; an artifact is a model in either case."""

    LANGUAGE = "language model"
    REWARD = "reward model"

    @property
    def gives(self) -> str:
        """The output in words, for messages."""
        return "writes texts" if self is Head.LANGUAGE else "gives one number for a completion"


class Scope(StrEnum):
    """The part of the plan that a reference points into."""

    HERE = "here"
    PREVIOUS = "previous"
    HISTORY = "history"
    BEFORE = "before"
    TURNS = "turns"
    START = "start"
    TASKS = "tasks"
    PIPELINES = "pipelines"


@dataclass(frozen=True)
class Accepts:
    """Marks a component's field as a reference: what kind it takes, whether it takes several, and which models."""

    kinds: frozenset[ArtifactKind]
    many: bool = False
    heads: frozenset[Head] = frozenset({Head.LANGUAGE})


@dataclass(frozen=True)
class Reference:
    """One parsed reference.

    Attributes:
        scope: where it looks.
        node: the node's (or task set's) name.
        instance: `[a]` gives 'a', `[*]` gives '*', nothing gives None.
        part: what follows the node: an output (`checkpoint.rollouts`) or a value (`tuned.temperature`).
        pipeline, group: of a node of another pipeline, `pipelines.base.round_03.checkpoint`: `base` and `round_03`.
    """

    scope: Scope
    node: str
    instance: str | None = None
    part: str | None = None
    pipeline: str | None = None
    group: str | None = None

    def __str__(self) -> str:
        scope = "" if self.scope is Scope.HERE else f"{self.scope}."
        scope += "" if self.pipeline is None else f"{self.pipeline}.{self.group}."
        instance = "" if self.instance is None else f"[{self.instance}]"
        return f"{scope}{self.node}{instance}{'' if self.part is None else '.' + self.part}"


@dataclass(frozen=True)
class SettingReference:
    """Takes a setting's place until the controller's value is known: `previous.tuned.temperature`."""

    reference: Reference


SELF = "self"
"""Inside an online trainer, the name of the model in training at that optimizer step; no node has this name."""
NAME = re.compile(r"^[a-z][a-z0-9_]*$")
_REFERENCE = re.compile(
    r"^(?:(?P<scope>previous|history|before|turns|start|tasks)\.)?(?P<node>[a-z][a-z0-9_]*)"
    r"(?:\[(?P<instance>[A-Za-z0-9_]+|\*)\])?(?:\.(?P<part>[a-z][a-z0-9_]*))?$"
)
_ELSEWHERE = re.compile(
    r"^pipelines\.(?P<pipeline>[A-Za-z0-9_-]+)\.(?P<group>tasks|start|round_\d\d+|best|finish)\.(?P<node>[a-z][a-z0-9_]*)"
    r"(?:\[(?P<instance>[A-Za-z0-9_]+|\*)\])?(?:\.(?P<part>[a-z][a-z0-9_]*))?$"
)


def parse_reference(text: str) -> Reference | None:
    """Parses a reference; None when `text` cannot be one."""
    elsewhere = _ELSEWHERE.match(text)
    if elsewhere is not None:
        return Reference(Scope.PIPELINES, **elsewhere.groupdict())
    match = _REFERENCE.match(text)
    if match is None or match["node"] == Scope.PIPELINES:
        return None
    scope = Scope(match["scope"]) if match["scope"] else Scope.HERE
    return Reference(scope, match["node"], match["instance"], match["part"])
