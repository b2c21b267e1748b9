"""`sft`: supervised fine-tuning with TRL, full weights or a LoRA adapter."""

from __future__ import annotations

from collections.abc import Mapping

from lineal.components.base import Columns, ModelRef, Output, Workspace
from lineal.components.trainers.base import SupervisedTrainer, checkpoint_in
from lineal.components.trainers.lora import Lora
from lineal.recipe.references import ArtifactKind


class Sft(SupervisedTrainer):
    """Learns the rows' completions.

    Attributes:
        init: the checkpoint to start from; written every time, since results depend on it.
        lora: trains an adapter instead of the full weights.
    """

    init: ModelRef
    lora: Lora | None = None

    def outputs(self, inputs: Mapping[str, Columns]) -> dict[str, Output]:
        return {"": Output(ArtifactKind.MODEL, adapter_of="init" if self.lora else None)}

    def run(self, workspace: Workspace) -> None:
        """Trains from `init`."""
        settings = self.training_settings(
            workspace, self.lora.settings() if self.lora else None, self.packing
        )
        self.train(workspace, checkpoint_in(workspace, "init"), settings)
