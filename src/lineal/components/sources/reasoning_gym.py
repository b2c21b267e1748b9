"""Tasks of reasoning-gym: puzzles made by rule, each with its own scorer (arXiv:2505.24760)."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping
from functools import lru_cache
from importlib import import_module
from itertools import count
from typing import Any, ClassVar

import pydantic

from lineal.components.base import Columns, Workspace, missing_package
from lineal.components.isolated.pool import WorkerPool
from lineal.components.sources.base import PROMPT_COLUMNS, Row, SyntheticSource
from lineal.data.ids import canonical_json, row_id, row_seed
from lineal.errors import DataError, did_you_mean

BLOCK = 64
"""Items of one seed: some tasks load word lists when they are set up, and some need to know how many items will come."""
ITEM_SECONDS = 60.0
REFUSED = {"codeio": "it runs programs from its data file, and not twice with the same result"}


class ReasoningGym(SyntheticSource):
    """Items of one task, with the task's own record (`entry`) for the verifier `task_score`.

    Items are made in a child process: some tasks draw from Python's global generator or walk sets, which there are
    seeded and hashed the same on every machine.

    Attributes:
        task: any of reasoning-gym's tasks but those in REFUSED.
        config: the task's own settings, without seed and size.
        difficulty_from: which number of the item's metadata becomes `difficulty`: `difficulty.length`; none if empty.
        size: how many prompts.
        split: which split's prompts; default: the task set's name.
    """

    version: ClassVar[int] = 2
    columns: ClassVar[Columns] = (*PROMPT_COLUMNS, "entry")

    task: str
    config: dict[str, Any] = {}
    difficulty_from: str = ""

    @pydantic.field_validator("task")
    @classmethod
    def _may_run(cls, value: Any) -> Any:
        if isinstance(value, str) and value in REFUSED:
            raise ValueError(f"task {value!r} is not offered: {REFUSED[value]}")
        return value

    @pydantic.field_validator("config")
    @classmethod
    def _leaves_seed_and_size(cls, value: Any) -> Any:
        if isinstance(value, dict) and {"seed", "size"} & set(value):
            raise ValueError("seed and size are not the task's: set size beside it, and seed in params.yaml")
        return value

    def lacks(self) -> list[str]:
        return missing_package("reasoning_gym", "reasoning-gym", "reasoning-gym")

    def candidates(self, workspace: Workspace) -> Iterator[Row]:
        """Yields items, in blocks of one seed each.

        Raises:
            DataError: the task is unknown, its config is wrong, or an item cannot be made.
        """
        function = f"{__name__}:make_item"
        with WorkerPool(function, workspace.compute.worker_count, ITEM_SECONDS) as pool:
            for block in count():
                seed = row_seed(workspace.seed, workspace.step, block) % 2**32
                asked = (
                    {"task": self.task, "config": self.config, "seed": seed, "index": index}
                    for index in range(BLOCK)
                )
                for reply in pool.map(asked):
                    yield self._row(workspace, reply)

    def _row(self, workspace: Workspace, reply: Mapping[str, Any]) -> Row:
        if "error" in reply:
            what = f"an item of {self.task!r} with config {self.config}"
            raise DataError(f"{workspace.step}: reasoning-gym cannot make {what}: {reply['error']}")
        item = reply["answer"]
        if "known" in item:
            raise DataError(
                f"{workspace.step}: reasoning-gym has no task {self.task!r}. {did_you_mean(self.task, item['known'])}"
            )
        entry = entry_of(item["entry"])
        return {
            "prompt_id": row_id(self.use, self.task, entry["question"]),
            "prompt": entry["question"],
            "answer": entry["answer"],
            "difficulty": self._difficulty(workspace, entry),
            "task": self.task,
            "entry": item["entry"],
        }

    def _difficulty(self, workspace: Workspace, entry: Mapping[str, Any]) -> float | None:
        if not self.difficulty_from:
            return None
        value: Any = entry["metadata"]
        for part in self.difficulty_from.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if isinstance(value, bool) or not isinstance(value, int | float):
            known = ", ".join(_numbers(entry["metadata"], "")) or "none"
            wrong = f"difficulty_from {self.difficulty_from!r} is no number of {self.task!r}"
            raise DataError(f"{workspace.step}: {wrong}. Numbers: {known}")
        return float(value)


def _numbers(value: Mapping[str, Any], prefix: str) -> Iterator[str]:
    for key, item in value.items():
        if isinstance(item, dict):
            yield from _numbers(item, f"{prefix}{key}.")
        elif isinstance(item, int | float) and not isinstance(item, bool):
            yield f"{prefix}{key}"


def prepare() -> None:
    """Imports what a child process needs.

    Raises:
        ModuleNotFoundError: reasoning-gym is not installed; says how to.
    """
    try:
        import_module("reasoning_gym")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"{error}; install it: pip install 'lineal[reasoning-gym]'") from error


def make_item(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Makes one item as the JSON of its entry; for an unknown task, lists the known ones. Runs in a child process."""
    from reasoning_gym.factory import DATASETS

    if asked["task"] not in DATASETS:
        return {"known": sorted(DATASETS)}
    random.seed(asked["seed"])
    dataset = _dataset(asked["task"], canonical_json(asked["config"]), asked["seed"])
    random.seed(asked["seed"] + asked["index"])
    return {"entry": canonical_json(_tagged(dataset[asked["index"]]))}


@lru_cache(maxsize=1)
def _dataset(task: str, config: str, seed: int) -> Any:
    import reasoning_gym

    return reasoning_gym.create_dataset(task, **json.loads(config), seed=seed, size=BLOCK)


def entry_of(text: str) -> dict[str, Any]:
    """Reads the entry in a JSON text, tuples and keys as the task made them."""
    entry = _untagged(json.loads(text))
    assert isinstance(entry, dict)
    return entry


_TUPLE, _PAIRS = "__tuple__", "__pairs__"


def _tagged(value: Any) -> Any:
    """Tags tuples and dicts with other keys than strings, so that JSON can restore them: scorers compare them by type."""
    if isinstance(value, tuple):
        return {_TUPLE: [_tagged(item) for item in value]}
    if isinstance(value, list):
        return [_tagged(item) for item in value]
    if isinstance(value, dict):
        if all(isinstance(key, str) for key in value):
            return {key: _tagged(item) for key, item in value.items()}
        return {_PAIRS: [[_tagged(key), _tagged(item)] for key, item in value.items()]}
    return value


def _untagged(value: Any) -> Any:
    if isinstance(value, list):
        return [_untagged(item) for item in value]
    if not isinstance(value, dict):
        return value
    if set(value) == {_TUPLE}:
        return tuple(_untagged(item) for item in value[_TUPLE])
    if set(value) == {_PAIRS}:
        return {_untagged(key): _untagged(item) for key, item in value[_PAIRS]}
    return {key: _untagged(item) for key, item in value.items()}
