"""`one_of`: one of several checkpoints, by a number that a controller wrote: the best of a node's turns, say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from lineal.components.base import AnyModelsRef, Columns, Component, Output, Role, Workspace
from lineal.components.trainers.same_model import copy_checkpoint
from lineal.errors import DataError
from lineal.recipe.compute import Positive
from lineal.recipe.references import ArtifactKind


class OneOf(Component):
    """Gives one of several checkpoints, byte for byte; of adapters, an adapter on the base that all of them share.

    Attributes:
        models: the checkpoints, all of one kind.
        number: which one, from 1 on in the order given: `chosen.number` of a `highest`.
    """

    role: ClassVar[Role] = Role.MODEL
    seeded: ClassVar[bool] = False
    kinds: ClassVar[tuple[str, ...]] = ("huggingface",)

    models: AnyModelsRef
    number: Positive

    def outputs(self, inputs: Mapping[str, Columns]) -> dict[str, Output]:
        return {"": Output(ArtifactKind.MODEL, head_of="models")}

    def run(self, workspace: Workspace) -> None:
        """Copies the chosen checkpoint's files.

        Raises:
            DataError: there are not so many.
        """
        models = workspace.inputs["models"]
        if self.number > len(models):
            fix = "Take the number of a `highest` over as many scores"
            raise DataError(
                f"{workspace.step}: number is {self.number}, but models names {len(models)} checkpoints. {fix}"
            )
        copy_checkpoint(models[self.number - 1], workspace.directory())
