"""`model`: a checkpoint, or an adapter, in a local directory."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import PrivateAttr

from lineal.components.base import (
    Columns,
    Component,
    ModelRef,
    Output,
    Role,
    Surroundings,
    Workspace,
    missing_package,
)
from lineal.components.trainers.checkpoint_files import PATTERNS, require_whole
from lineal.engines.models.adapter_fit import require_fit
from lineal.engines.models.checkpoints import is_adapter, is_reward_model, require_sound
from lineal.engines.models.whole_weights import require_finite
from lineal.errors import EngineError
from lineal.recipe.references import ArtifactKind, Head


class LocalModel(Component):
    """Takes a local checkpoint in as an artifact.

    Attributes:
        path: its directory, relative to the project; its files' digests are its identity, not its path.
        base: for a LoRA adapter, the full model that it was trained on.
    """

    role: ClassVar[Role] = Role.MODEL
    seeded: ClassVar[bool] = False
    kinds: ClassVar[tuple[str, ...]] = ("huggingface",)

    path: str
    base: ModelRef | None = None
    _directory: Path = PrivateAttr()

    @classmethod
    def parse(cls, settings: Mapping[str, Any], surroundings: Surroundings) -> Self:
        made = cls.model_validate(dict(settings))
        made._directory = (surroundings.project / made.path).resolve()
        return made

    def identity(self) -> dict[str, Any]:
        return {}

    def files(self) -> dict[str, Path]:
        found = {path for pattern in PATTERNS for path in self._directory.glob(pattern)}
        return {path.name: path for path in sorted(found)}

    def lacks(self) -> list[str]:
        """Lists a missing or incomplete checkpoint at `path`; PEFT where it is an adapter."""
        try:
            require_whole(self._directory)
        except EngineError as error:
            return [
                f"cannot take path: {self.path}: {error}. Correct path in the pipeline, or put the model there"
            ]
        return missing_package("peft", "peft", "lora") if is_adapter(self._directory) else []

    def outputs(self, inputs: Mapping[str, Columns]) -> dict[str, Output]:
        if self.base:
            return {"": Output(ArtifactKind.MODEL, adapter_of="base", head_of="base")}
        return {"": Output(ArtifactKind.MODEL, head=self._head())}

    def _head(self) -> Head | None:
        """Returns the model's head by its configuration; None where it is not there yet, or cannot be read."""
        with suppress(EngineError):
            if (self._directory / "config.json").is_file():
                return Head.REWARD if is_reward_model(self._directory) else Head.LANGUAGE
        return None

    def run(self, workspace: Workspace) -> None:
        """Copies the checkpoint's files.

        Raises:
            EngineError: they are no whole checkpoint of finite numbers, an adapter comes without its base or with another one's.
        """
        require_whole(self._directory)
        adapter = is_adapter(self._directory)
        if adapter != (self.base is not None):
            got, fix = ("a full model", "Remove base")
            if adapter:
                got, fix = "an adapter", "Name its base, the model that it was trained on"
            raise EngineError(f"{workspace.step}: got {got} in {self._directory}. {fix}")
        if adapter:
            require_fit(self._directory, workspace.model("base").directory)
            require_finite(self._directory)
        else:
            require_sound(self._directory)
        for name, path in self.files().items():
            shutil.copyfile(path, workspace.directory() / name)
