"""`reward_model`: a model that gives one number for a completion, learned from preferences (Bradley-Terry) with TRL."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from lineal.components.base import AnyModelRef, Columns, Output, RowsRef, Workspace
from lineal.components.trainers.base import LearningRate, Trainer, Weight, checkpoint_in
from lineal.components.trainers.ends import EndsSetting
from lineal.components.trainers.preference import Factor, pair_columns, preferences
from lineal.recipe.references import ArtifactKind, Head


class RewardModel(Trainer):
    """Learns to give chosen completions more than rejected ones; `reward` scores rows with it.

    Attributes:
        rows: pairs; those of several nodes are put together in the order given.
        init: a language model, which gets a new head in place of its own, or a reward model to train on.
        center: weight of a term that keeps rewards around 0 (arXiv:2312.09244); without it only differences mean something.
        margin: a column by which the chosen completion's reward must lead (arXiv:2307.09288, equation 2).
        ends: whether an end follows each completion, as for `dpo`; `reward` then says the same.
    """

    rows: RowsRef
    init: AnyModelRef
    margin: Weight = None
    ends: EndsSetting = True
    center: Factor | None = None
    learning_rate: LearningRate = Field(default=1e-4)

    def needs(self) -> dict[str, Columns]:
        return {"rows": pair_columns(self.margin)}

    def outputs(self, inputs: Mapping[str, Columns]) -> dict[str, Output]:
        return {"": Output(ArtifactKind.MODEL, head=Head.REWARD)}

    def run(self, workspace: Workspace) -> None:
        """Trains from `init`."""
        from lineal.engines.training.preference_training import train_reward_model

        rows, settings = (
            preferences(workspace, ends=self.ends, margin=self.margin),
            self.training_settings(workspace),
        )
        init = checkpoint_in(workspace, "init")
        self.learn(
            workspace, len(rows), init, settings, lambda job: train_reward_model(job, rows, self.center)
        )
