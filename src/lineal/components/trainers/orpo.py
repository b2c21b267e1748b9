"""`orpo`: odds ratio preference optimization (arXiv:2403.07691), without a reference."""

from __future__ import annotations

from lineal.components.base import Columns, Workspace
from lineal.components.trainers.preference import Beta, PreferenceTrainer, checkpoint_in, pair_columns, preferences


class Orpo(PreferenceTrainer):
    """Learns the chosen completions and, with them, that they are likelier than the rejected ones by their odds.

    Attributes:
        beta: weight of the odds ratio, the paper's lambda.
    """

    beta: Beta = 0.1

    def needs(self) -> dict[str, Columns]:
        return {"rows": pair_columns()}

    def run(self, step: Workspace) -> None:
        """Trains from `init`."""
        from lineal.engines.preference_losses import OrpoLoss
        from lineal.engines.preference_training import train_without_reference

        rows, settings, loss = preferences(step, ends=self.ends), self.settings(step), OrpoLoss(self.beta)
        init, execution = checkpoint_in(step, "init"), self.execution(step)
        self.learn(
            step, len(rows),
            lambda output, advance: train_without_reference(init, rows, settings, loss, output, advance, execution),
        )  # fmt: skip
