"""`process_reward_model`: a model that rates each step of a completion (arXiv:2305.20050, arXiv:2312.08935)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from annotated_types import MinLen
from pydantic import Field

from lineal.components.base import AnyModelRef, Columns, Output, RowsRef, Workspace
from lineal.components.generators.drawing import written_by
from lineal.components.trainers.base import LearningRate, Trainer, checkpoint_in
from lineal.components.trainers.base import weights_of as numbers_of
from lineal.data.conversations import prompts_of
from lineal.data.steps import LINE_BREAK
from lineal.errors import DataError
from lineal.recipe.references import ArtifactKind, Head

if TYPE_CHECKING:
    import pyarrow as pa

    from lineal.engines.training.process_training import Rated

Separator = Annotated[str, MinLen(1)]
UNRATED = "without a value"
"""In a training's counts: steps without a known value, which are not learnt."""


class ProcessRewardModel(Trainer):
    """Learns the values of steps, read at each step's last token; `process_reward` and `tree_search` score with it.

    It is a reward model: `reward` scores a completion with it as well, by its last step.

    Attributes:
        rows: steps with a `prefix` and a value, as `step_values` and `tree_search` make them; those of several nodes are put
            together in the order given. Steps without a value are left out and counted.
        init: a language model, which gets a new head in place of its own, or a reward model to train on.
        label: the column of the values, from 0 to 1.
        separator: what ends a step. An end follows a text that it does not end.
        batch_size: counts texts; the steps of one completion, or of one path in a tree, are one.
    """

    rows: RowsRef
    init: AnyModelRef
    label: str = "value"
    separator: Separator = LINE_BREAK
    learning_rate: LearningRate = Field(default=1e-4)

    def needs(self) -> dict[str, Columns]:
        return {"rows": ("prompt", "completion", self.label)}

    def outputs(self, inputs: Mapping[str, Columns]) -> dict[str, Output]:
        return {"": Output(ArtifactKind.MODEL, head=Head.REWARD)}

    def run(self, workspace: Workspace) -> None:
        """Trains from `init`."""
        from lineal.engines.training.process_training import train_process_reward

        rows, settings, init = (
            self._rated(workspace),
            self.training_settings(workspace),
            checkpoint_in(workspace, "init"),
        )
        count = len(rows) + workspace.counts.get(UNRATED, 0)
        self.learn(
            workspace, count, init, settings, lambda job: train_process_reward(job, rows, self.separator)
        )

    def _rated(self, workspace: Workspace) -> list[Rated]:
        """Returns the steps that have a value.

        Raises:
            DataError: none has, a step has no text, or a value is none from 0 to 1.
        """
        from lineal.engines.training.process_training import Rated

        table = workspace.rows("rows").read()
        known = table.filter(table[self.label].is_valid())
        if not known.num_rows:
            raise DataError(
                f"{workspace.step}: none of {table.num_rows:,} rows has a {self.label!r} to learn. Look at what made them"
            )
        if known.num_rows < table.num_rows:
            workspace.counts[UNRATED] = table.num_rows - known.num_rows
        texts = [self._text(row) for row in _texts(known)]
        values = [value for value in numbers_of(known, self.label) if value is not None]
        wrong = [value for value in values if not 0 <= value <= 1]
        if wrong:
            raise DataError(
                f"{workspace.step}: {len(wrong):,} values in {self.label!r} are not from 0 to 1, such as {wrong[0]}"
            )
        return [Rated(*row) for row in zip(prompts_of(known), texts, values, strict=True)]

    def _text(self, row: Mapping[str, Any]) -> str:
        if row["completion"] is None:
            raise DataError("a step to learn has no completion. Leave such rows out with a selector")
        return written_by(row)


def _texts(table: pa.Table) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = table.select(
        [name for name in ("prefix", "completion") if name in table.column_names]
    ).to_pylist()
    return rows
