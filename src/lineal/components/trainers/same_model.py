"""`same_model`: another name for a checkpoint, where several roles or members of a population start as one."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from lineal.components.base import AnyModelRef, Columns, Component, Output, Role, Workspace
from lineal.data.store import Artifact
from lineal.recipe.references import ArtifactKind


class SameModel(Component):
    """Gives a checkpoint under a name of its own, byte for byte. A copy of an adapter is an adapter on the same base.

    Attributes:
        model: the checkpoint.
    """

    role: ClassVar[Role] = Role.MODEL
    seeded: ClassVar[bool] = False
    kinds: ClassVar[tuple[str, ...]] = ("huggingface",)

    model: AnyModelRef

    def outputs(self, inputs: Mapping[str, Columns]) -> dict[str, Output]:
        return {"": Output(ArtifactKind.MODEL, head_of="model")}

    def run(self, workspace: Workspace) -> None:
        """Copies the checkpoint's files."""
        copy_checkpoint(workspace.model("model"), workspace.directory())


def copy_checkpoint(source: Artifact, directory: Path) -> None:
    """Writes all files of a checkpoint, byte for byte, into a directory."""
    for name in source.manifest.files:
        target = directory / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source.directory / name, target)
