"""`simpo`: simple preference optimization (arXiv:2405.14734), without a reference."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lineal.components.trainers.preference import Beta, Factor, UnmeasuredTrainer

if TYPE_CHECKING:
    from lineal.engines.training.preference_losses import SimpoLoss


class Simpo(UnmeasuredTrainer):
    """Makes chosen completions likelier per token than rejected ones, by a margin.

    Attributes:
        beta: what the lead per token is multiplied by; the paper tunes it, and gamma, by the model.
        gamma: by how much that must lead.
        nll_weight: weight of the chosen completions' loss per token beside it, as for `dpo`.
    """

    beta: Beta = 2.0
    gamma: Factor = 0.5
    nll_weight: Factor = 0.0

    def loss(self) -> SimpoLoss:
        from lineal.engines.training.preference_losses import SimpoLoss

        return SimpoLoss(self.beta, self.gamma, self.nll_weight)
