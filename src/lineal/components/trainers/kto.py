"""`kto`: learning from single completions that are marked as desirable or not, with TRL (arXiv:2402.01306)."""

from __future__ import annotations

from typing import Literal

from lineal.components.base import Columns, Workspace
from lineal.components.trainers.base import answers_of, complete_rows
from lineal.components.trainers.preference import Factor, MeasuredTrainer
from lineal.data.conversations import prompts_of
from lineal.errors import DataError


class Kto(MeasuredTrainer):
    """Makes desirable completions likelier than under the reference, and undesirable ones less likely.

    Attributes:
        loss: 'kto' is the paper's; 'apo_zero_unpaired' leaves out its estimate of the divergence.
        desirable_weight, undesirable_weight: the paper's lambda_D and lambda_U, which also balance unequal numbers.
    """

    loss: Literal["kto", "apo_zero_unpaired"] = "kto"
    desirable_weight: Factor = 1.0
    undesirable_weight: Factor = 1.0

    def needs(self) -> dict[str, Columns]:
        return {"rows": ("prompt", "completion", "label")}

    def run(self, workspace: Workspace) -> None:
        """Trains from `init`.

        Raises:
            DataError: all rows have the same label.
        """
        from lineal.engines.training.preference_training import KtoLoss, Labelled, train_kto

        table = complete_rows(workspace, self.needs()["rows"])
        answers, labels = answers_of(table, ends=self.ends), table["label"].to_pylist()
        rows = [
            Labelled(*row)
            for row in zip(prompts_of(table), answers, labels, workspace.shown(table), strict=True)
        ]
        desirable = sum(row.desirable for row in rows)
        if desirable in (0, len(rows)):
            message = f"{workspace.step}: {desirable:,} of {len(rows):,} rows are desirable, expected some of both kinds"
            raise DataError(f"{message}. Look at the verdicts, or learn from one kind with sft")
        init, reference = self.checkpoints(workspace)
        settings = self.settings(workspace)
        loss = KtoLoss(
            beta=self.beta,
            type=self.loss,
            desirable_weight=self.desirable_weight,
            undesirable_weight=self.undesirable_weight,
        )
        self.learn(workspace, len(rows), init, settings, lambda job: train_kto(job, reference, rows, loss))
