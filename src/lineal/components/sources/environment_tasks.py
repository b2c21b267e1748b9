"""`environment_tasks`: tasks of an environment, by level."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import count
from typing import Annotated, Any, ClassVar

import pydantic
from pydantic import Field

from lineal.components.base import Columns, Workspace, merged, missing_package
from lineal.components.isolated.pool import WorkerPool
from lineal.components.playing.described import FUNCTION, described
from lineal.components.sources.base import Row, SyntheticSource
from lineal.components.sources.letter_sort import Range
from lineal.data.ids import canonical_json, row_id, row_seed
from lineal.environments.registry import BUILT_IN, NEEDS, PACKAGE, location_of, package_of
from lineal.errors import DataError

BLOCK = 64
"""Tasks that are asked for together."""
TASK_SECONDS = 60.0


class EnvironmentTasks(SyntheticSource):
    """Tasks of one environment, their levels drawn evenly from `level: [low, high]`; a row's difficulty is its level.

    Tasks of an installed package's environment name it and its version: another version makes them, and what is played on them,
    again.

    Attributes:
        environment: one of lineal's or of an installed package (entry points `lineal.environments`); it must make tasks.
        level: the lowest and the highest. What it means is the environment's: rows of a maze, moves to the goal.
        entry: values that every task's entry has too: `{opponent: random}`.
        size: how many tasks.
        split: which split's tasks; default: the task set's name.
    """

    columns: ClassVar[Columns] = ("prompt_id", "prompt", "difficulty", "task", "entry")
    made: ClassVar[str] = "games"

    environment: str
    level: Range
    entry: Annotated[dict[str, Any], Field(exclude_if=lambda value: not value)] = Field(default_factory=dict)

    @pydantic.field_validator("environment")
    @classmethod
    def _is_known(cls, value: Any) -> Any:
        if isinstance(value, str):
            try:
                location_of(value)
            except KeyError as error:
                raise ValueError(error.args[0]) from error
        return value

    @pydantic.field_validator("level")
    @classmethod
    def _is_range(cls, value: Any) -> Any:
        if isinstance(value, tuple) and not 1 <= value[0] <= value[1]:
            raise ValueError("must be [low, high] with 1 <= low <= high")
        return value

    @pydantic.field_validator("entry")
    @classmethod
    def _is_taken(cls, value: Any, info: pydantic.ValidationInfo) -> Any:
        """Checks the keys for lineal's own environments; a package's class is loaded before a run only."""
        name = info.data.get("environment")
        if name in BUILT_IN and isinstance(value, dict) and (problem := described(name).unknown(value)):
            raise ValueError(problem.removeprefix("entry: "))
        return value

    @property
    def made_columns(self) -> Columns:
        """The columns, with the package of another's environment: what is played on its tasks is rerun with another version."""
        return merged(self.columns, (PACKAGE,) if self.code_package() else ())

    def code_package(self) -> str:
        return package_of(self.environment)

    def identity(self) -> dict[str, Any]:
        """Returns the settings, and another's package with its version."""
        return {**super().identity(), **({"package": self.code_package()} if self.code_package() else {})}

    def more_variety(self) -> str:
        return "widen level, or give the games more variety: a game is its entry"

    def lacks(self) -> list[str]:
        package = NEEDS.get(self.environment)
        return self.unplayable() if package is None else missing_package(package, package, package)

    def unplayable(self) -> list[str]:
        """Returns the problem of the environment's class, for what makes its tasks or plays them."""
        try:
            found = described(self.environment)
        except DataError as error:
            return [f"cannot run: {error}"]
        if not found.task:
            return [
                f"cannot run: environment {self.environment!r} makes no tasks: give its class a static method task(seed, level)"
            ]
        problem = found.unknown(self.entry)
        return [f"cannot run: environment {self.environment!r}: {problem}"] if problem else []

    def candidates(self, workspace: Workspace) -> Iterator[Row]:
        """Yields tasks, made in child processes.

        Raises:
            DataError: the environment cannot make one, or gives one entry two prompts.
        """
        prompts: dict[str, str] = {}
        location = location_of(self.environment)
        modules = [location.partition(":")[0]]
        with WorkerPool(FUNCTION, workspace.compute.worker_count, TASK_SECONDS, modules) as pool:
            for block in count():
                indices = range(block * BLOCK, (block + 1) * BLOCK)
                asked = [
                    self._asked(row_seed(workspace.seed, workspace.step, index), location)
                    for index in indices
                ]
                for request, reply in zip(asked, pool.map(asked), strict=True):
                    row = self._row(workspace, request, reply)
                    if prompts.setdefault(row["entry"], row["prompt"]) != row["prompt"]:
                        raise DataError(self._two_prompts(workspace, row, prompts[row["entry"]]))
                    yield row

    def _two_prompts(self, workspace: Workspace, row: Row, other: str) -> str:
        got = f"two prompts for the entry {row['entry'][:200]}: {other[:100]!r} and {row['prompt'][:100]!r}"
        fix = "A game is its entry: put what makes it another into it"
        return f"{workspace.step}: task of {self.environment!r} gave {got}. {fix}"

    def _asked(self, drawn: int, location: str) -> dict[str, Any]:
        low, high = self.level
        return {
            "do": "task",
            "environment": location,
            "seed": drawn >> 32,
            "level": low + drawn % 2**32 % (high - low + 1),
        }

    def _row(self, workspace: Workspace, request: Mapping[str, Any], reply: Mapping[str, Any]) -> Row:
        if "error" in reply:
            what = f"a task of {self.environment!r} at level {request['level']}"
            raise DataError(f"{workspace.step}: cannot make {what}: {reply['error']}")
        prompt, entry = reply["answer"]["prompt"], canonical_json({**reply["answer"]["entry"], **self.entry})
        return {
            "prompt_id": row_id(self.use, self.environment, entry),
            "prompt": prompt,
            "difficulty": float(request["level"]),
            "task": self.environment,
            "entry": entry,
            PACKAGE: package_of(self.environment),
        }
