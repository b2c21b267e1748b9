"""Completions from outside that join the groups of an online training: an expert's, a reformulation, a hinted solution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lineal.components.base import Workspace
from lineal.components.trainers.base import AS_SAMPLED, answers_of
from lineal.data.schema import row_key
from lineal.errors import DataError

if TYPE_CHECKING:
    from lineal.engines.text.tokens import Answer

BESIDE = "beside"
OUTSIDE = "outside"
"""A column of rollouts: whether the completion was not drawn by the model in training."""


class BesideRows:
    """The rows of the input `beside`, by the place of their prompt.

    Attributes:
        answers: by a prompt's place, its completions in the rows' order.
        parents: the ids of their rows.

    Raises:
        DataError: a row has no completion, or its prompt is none of the training's.
    """

    def __init__(self, workspace: Workspace, prompt_ids: Sequence[str]) -> None:
        rows, places = (
            workspace.rows(BESIDE),
            {prompt_id: place for place, prompt_id in enumerate(prompt_ids)},
        )
        table = rows.read(
            [name for name in rows.columns if name in {"prompt_id", "completion", "sample_id", *AS_SAMPLED}]
        )
        keys, prompts = table[row_key(table.column_names)].to_pylist(), table["prompt_id"].to_pylist()
        strange = [key for key, prompt_id in zip(keys, prompts, strict=True) if prompt_id not in places]
        _require_own(workspace, table["completion"].null_count, strange)
        self.answers: dict[int, list[Answer]] = {}
        self.parents: dict[int, list[str]] = {}
        for key, prompt_id, answer in zip(keys, prompts, answers_of(table), strict=True):
            self.answers.setdefault(places[prompt_id], []).append(answer)
            self.parents.setdefault(places[prompt_id], []).append(key)


def _require_own(workspace: Workspace, missing: int, strange: Sequence[str]) -> None:
    if missing:
        raise DataError(
            f"{workspace.step}: {missing:,} rows of {BESIDE} have no completion. Leave them out with a selector"
        )
    if strange:
        said = f"{len(strange):,} rows of {BESIDE} have a prompt_id that none of the prompts has, the first of them {strange[0]}"
        raise DataError(f"{workspace.step}: {said}. Give it rows of the prompts that are trained on")
