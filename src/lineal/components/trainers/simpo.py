"""`simpo`: simple preference optimization (arXiv:2405.14734), without a reference."""

from __future__ import annotations

from lineal.components.base import Columns, Workspace
from lineal.components.trainers.preference import Beta, Factor, PreferenceTrainer, checkpoint_in, pair_columns, preferences


class Simpo(PreferenceTrainer):
    """Makes chosen completions likelier per token than rejected ones, by a margin.

    Attributes:
        beta: what the lead per token is multiplied by; the paper tunes it, and gamma, by the model.
        gamma: by how much that must lead.
        nll_weight: weight of the chosen completions' loss per token beside it, as for `dpo`.
    """

    beta: Beta = 2.0
    gamma: Factor = 0.5
    nll_weight: Factor = 0.0

    def needs(self) -> dict[str, Columns]:
        return {"rows": pair_columns()}

    def run(self, step: Workspace) -> None:
        """Trains from `init`."""
        from lineal.engines.preference_losses import SimpoLoss
        from lineal.engines.preference_training import train_without_reference

        rows, settings, loss = (
            preferences(step, ends=self.ends),
            self.settings(step),
            SimpoLoss(self.beta, self.gamma, self.nll_weight),
        )
        init, execution = checkpoint_in(step, "init"), self.execution(step)
        self.learn(
            step, len(rows),
            lambda output, advance: train_without_reference(init, rows, settings, loss, output, advance, execution),
        )  # fmt: skip
