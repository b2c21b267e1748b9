"""`dpo`: direct preference optimization and its kin, with TRL."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from annotated_types import Ge, Lt
from pydantic import model_validator

from lineal.components.base import Columns, Workspace
from lineal.components.trainers.base import Weight
from lineal.components.trainers.preference import Factor, MeasuredTrainer, pair_columns, preferences

Loss = Literal[
    "sigmoid",
    "sigmoid_norm",
    "hinge",
    "ipo",
    "robust",
    "exo_pair",
    "nca_pair",
    "bco_pair",
    "sppo_hard",
    "apo_zero",
    "apo_down",
]
SMOOTHED = ("robust", "exo_pair")


class Dpo(MeasuredTrainer):
    """Learns to prefer chosen to rejected completions more than the reference does (arXiv:2305.18290).

    Attributes:
        loss: by TRL's name; 'sigmoid' is DPO's own, 'sigmoid_norm' divides log-ratios by the completions' lengths.
        nll_weight: weight of the chosen completions' loss per token beside it (Iterative RPO, arXiv:2404.19733).
        label_smoothing: share of pairs taken to be the wrong way round, for the losses 'robust' and 'exo_pair'.
        weight: a column that a pair's loss is multiplied by (ScPO, arXiv:2411.04109); for the loss 'sigmoid'.
        margin: a column that is subtracted inside the sigmoid: beta times the chosen completion's lead must be above it (ODPO,
            arXiv:2402.10571; made of lengths, iLR-DPO, arXiv:2406.11817); for the loss 'sigmoid'.
    """

    loss: Loss = "sigmoid"
    nll_weight: Factor = 0.0
    label_smoothing: Annotated[float, Ge(0), Lt(0.5)] = 0.0
    weight: Weight = None
    margin: Weight = None

    @model_validator(mode="after")
    def _settings_fit_the_loss(self) -> Self:
        if (self.label_smoothing > 0) != (self.loss in SMOOTHED):
            raise ValueError(f"label_smoothing above 0 and the losses {', '.join(SMOOTHED)} need each other")
        for name in ("weight", "margin"):
            if getattr(self, name) and self.loss != "sigmoid":
                raise ValueError(f"{name} works with the loss 'sigmoid' only")
        return self

    def needs(self) -> dict[str, Columns]:
        return {"rows": pair_columns(self.weight, self.margin)}

    def run(self, workspace: Workspace) -> None:
        """Trains from `init`."""
        from lineal.engines.training.preference_training import DpoLoss, train_dpo

        rows, settings = preferences(workspace, self.weight, self.ends, self.margin), self.settings(workspace)
        init, reference = self.checkpoints(workspace)
        loss = DpoLoss(
            beta=self.beta, type=self.loss, nll_weight=self.nll_weight, label_smoothing=self.label_smoothing
        )
        self.learn(workspace, len(rows), init, settings, lambda job: train_dpo(job, reference, rows, loss))
