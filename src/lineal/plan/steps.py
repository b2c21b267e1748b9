"""One node of one round, as the plan holds it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from lineal.components.base import Component, Output
from lineal.recipe.document import KeyPath
from lineal.recipe.nodes import Node
from lineal.recipe.retractions import RetractionRule


@dataclass(frozen=True)
class Step:
    """One node of one round.

    Attributes:
        pipeline: the pipeline's name.
        group: `tasks`, `start`, `round_01` ... or `finish`.
        label: the node's name, with its `each` value: `checkpoint`, `checkpoint/a`.
        round: the round; 0 for tasks and start.
        component: what it uses, with its settings.
        inputs: by field, the artifact keys that go in.
        settings_from: by setting, the artifact and the value in it that the setting takes.
        outputs: by output name ('' is the main one), what it writes.
        paths: the pipeline's YAML keys that declare it.
        policy: the node of a policy's file that it is; None for a node of the pipeline's own.
        retractions: for a selection, the retractions that are in force on it.
        stopped_by: the artifact that says whether the run has stopped before this round; None where nothing stops it.
    """

    pipeline: str
    group: str
    label: str
    round: int
    component: Component
    inputs: Mapping[str, tuple[str, ...]]
    settings_from: Mapping[str, tuple[str, str]]
    outputs: Mapping[str, Output]
    paths: tuple[KeyPath, ...]
    retractions: tuple[RetractionRule, ...] = ()
    stopped_by: str | None = None
    policy: Node | None = field(default=None, repr=False)

    @property
    def key(self) -> str:
        """`rest_em/round_02/verified`."""
        return f"{self.pipeline}/{self.group}/{self.label}"

    @property
    def name(self) -> str:
        """The key without the pipeline: what seeds and manifests carry, so equal work has equal bytes."""
        return f"{self.group}/{self.label}"

    def artifact_keys(self) -> dict[str, str]:
        """Returns by output name the artifact's key: `rest_em/round_02/filtered.dropped`."""
        return {output: artifact_key(self.key, output) for output in self.outputs}

    def all_inputs(self) -> tuple[str, ...]:
        """Returns every artifact that it waits for, each once, in order."""
        from_fields = [key for keys in self.inputs.values() for key in keys]
        stop = [] if self.stopped_by is None else [self.stopped_by]
        return tuple(dict.fromkeys([*from_fields, *(key for key, _ in self.settings_from.values()), *stop]))


def artifact_key(step_key: str, output: str) -> str:
    """Returns the key of one of a step's artifacts."""
    return f"{step_key}.{output}" if output else step_key
