"""The common part of preference trainers: a checkpoint to start from, and a reference to measure against."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar

from annotated_types import Ge, Gt
from pydantic import Field

from lineal.components.base import Columns, ModelRef, Output, RowsRef, Workspace, merged
from lineal.components.trainers.base import (
    EQUAL,
    LearningRate,
    Trainer,
    answers_of,
    checkpoint_in,
    complete_rows,
    weights_of,
)
from lineal.components.trainers.ends import Ends, EndsSetting
from lineal.components.trainers.lora import Lora
from lineal.data.conversations import prompts_of
from lineal.data.progress import say
from lineal.errors import DataError
from lineal.recipe.references import ArtifactKind

if TYPE_CHECKING:
    from lineal.engines.training.job import Checkpoint
    from lineal.engines.training.preference_losses import OrpoLoss, SimpoLoss
    from lineal.engines.training.preference_training import Preference
    from lineal.engines.training.settings import TrainingSettings

Factor = Annotated[float, Ge(0)]
Beta = Annotated[float, Gt(0)]


class PreferenceTrainer(Trainer):
    """Base of the trainers that make language models prefer.

    Attributes:
        rows: what to learn from; several nodes' rows are put together in the order given.
        init: the checkpoint to start from; written every time, since results depend on it.
        ends: whether an end follows each completion: true, false, or `{unless: TEXTS}`, see `Unless`.
        lora: trains an adapter instead of the full weights.
    """

    sees: ClassVar[Columns] = ("rows",)

    rows: RowsRef
    init: ModelRef
    ends: EndsSetting = True
    lora: Lora | None = None
    learning_rate: LearningRate = Field(default=1e-4)

    def outputs(self, inputs: Mapping[str, Columns]) -> dict[str, Output]:
        return {"": Output(ArtifactKind.MODEL, adapter_of="init" if self.lora else None)}

    def settings(self, workspace: Workspace) -> TrainingSettings:
        """Returns the engine's settings."""
        return self.training_settings(workspace, self.lora.settings() if self.lora else None)


class MeasuredTrainer(PreferenceTrainer):
    """Base of the trainers with a reference.

    Attributes:
        reference: the checkpoint whose likelihoods the model is measured against; `init` where it is left out.
        beta: how strongly the model is kept near the reference.
    """

    reference: ModelRef | None = None
    beta: Beta = 0.1

    def checkpoints(self, workspace: Workspace) -> tuple[Checkpoint, Checkpoint]:
        """Returns the initial checkpoint and the reference."""
        init = checkpoint_in(workspace, "init")
        return init, checkpoint_in(workspace, "reference") if self.reference else init


class UnmeasuredTrainer(PreferenceTrainer):
    """Base of the trainers without a reference."""

    def needs(self) -> dict[str, Columns]:
        return {"rows": pair_columns()}

    def loss(self) -> OrpoLoss | SimpoLoss:
        """Returns the loss to minimise."""
        raise NotImplementedError

    def run(self, workspace: Workspace) -> None:
        """Trains from `init`."""
        from lineal.engines.training.preference_training import train_without_reference

        rows, loss, init = (
            preferences(workspace, ends=self.ends),
            self.loss(),
            checkpoint_in(workspace, "init"),
        )
        settings = self.settings(workspace)
        self.learn(workspace, len(rows), init, settings, lambda job: train_without_reference(job, rows, loss))


def preferences(
    workspace: Workspace, weight: str | None = None, ends: Ends = True, margin: str | None = None
) -> list[Preference]:
    """Returns the pairs of the input `rows`, with the weights and margins of two columns.

    Pairs whose sides are equal prefer nothing: they are left out, counted as `equal`, and reported.

    Raises:
        DataError: there are no pairs, or all have equal sides.
    """
    from lineal.engines.training.preference_training import Preference

    table = complete_rows(workspace, pair_columns(weight, margin))
    columns = [answers_of(table, name, ends) for name in ("chosen", "rejected")]
    numbers = [weights_of(table, column) for column in (weight, margin)]
    pairs = [
        Preference(*row)
        for row in zip(prompts_of(table), *columns, *numbers, workspace.shown(table), strict=True)
    ]
    different = [pair for pair in pairs if pair.chosen != pair.rejected]
    equal = len(pairs) - len(different)
    if not different:
        raise DataError(
            f"{workspace.step}: all {equal:,} pairs have equal sides, which prefer nothing. Look at what made the pairs"
        )
    if equal:
        say(
            f"warning: {workspace.step}: {equal:,} of {len(pairs):,} pairs have equal sides; they are left out",
            workspace.progress_file,
        )
        workspace.counts[EQUAL] = equal
    return different


def pair_columns(*more: str | None) -> Columns:
    """Returns the columns that pairs must have."""
    return merged(("prompt", "chosen", "rejected"), tuple(name for name in more if name))
