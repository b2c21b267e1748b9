"""`orpo`: odds ratio preference optimization (arXiv:2403.07691), without a reference."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lineal.components.trainers.preference import Beta, UnmeasuredTrainer

if TYPE_CHECKING:
    from lineal.engines.training.preference_losses import OrpoLoss


class Orpo(UnmeasuredTrainer):
    """Learns the chosen completions and, with them, that they are likelier than the rejected ones by their odds.

    Attributes:
        beta: weight of the odds ratio, the paper's lambda.
    """

    beta: Beta = 0.1

    def loss(self) -> OrpoLoss:
        from lineal.engines.training.preference_losses import OrpoLoss

        return OrpoLoss(self.beta)
