"""`same_model`: another name for a checkpoint, where several roles or members of a population begin as one."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from typing import ClassVar

from lineal.components.base import AnyModelRef, Columns, Component, Output, Role, Workspace
from lineal.engines.checkpoints import is_adapter
from lineal.errors import DataError
from lineal.recipe.references import ArtifactKind


class SameModel(Component):
    """Gives a checkpoint under a name of its own, byte for byte.

    Attributes:
        model: the checkpoint, with full weights.
    """

    role: ClassVar[Role] = Role.MODEL
    seeded: ClassVar[bool] = False
    kinds: ClassVar[tuple[str, ...]] = ("huggingface",)

    model: AnyModelRef

    def outputs(self, inputs: Mapping[str, Columns]) -> dict[str, Output]:
        return {"": Output(ArtifactKind.MODEL, head_of="model")}

    def run(self, step: Workspace) -> None:
        """Copies the checkpoint's files.

        Raises:
            DataError: it is an adapter, which is nothing without its base.
        """
        source = step.model("model")
        if is_adapter(source.directory):
            raise DataError(f"{step.step}: {source.key} is an adapter; same_model takes full weights. Refer to it directly")
        for name in source.manifest.files:
            target = step.directory() / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source.directory / name, target)
