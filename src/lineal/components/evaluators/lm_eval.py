"""`lm_eval`: tasks of EleutherAI's evaluation harness, by name or from the project's own task files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

import pydantic
from pydantic import PrivateAttr

from lineal.components.base import MAIN, Columns, ModelRef, Output, Surroundings, Workspace, missing_package
from lineal.components.evaluators.base import Evaluator
from lineal.components.evaluators.metrics import Asked, Numbers, write_evaluation
from lineal.data.estimates import mean
from lineal.data.ids import row_id
from lineal.engines.harness import run_harness
from lineal.errors import DataError, DeclarationError
from lineal.recipe.compute import Positive
from lineal.recipe.document import read_document
from lineal.recipe.references import ArtifactKind

COLUMNS: Columns = ("prompt_id", "prompt", "answer", "completion", "score", "task")
TASK_KEYS = frozenset(
    {
        "task",
        "dataset_path",
        "dataset_kwargs",
        "training_split",
        "validation_split",
        "test_split",
        "fewshot_split",
        "doc_to_text",
        "doc_to_target",
        "doc_to_choice",
        "description",
        "target_delimiter",
        "fewshot_delimiter",
        "fewshot_config",
        "num_fewshot",
        "metric_list",
        "output_type",
        "generation_kwargs",
        "filter_list",
        "repeats",
        "metadata",
    }
)
"""Keys of a project's own task. None of them runs code; YAML tags, so `!function` too, are refused when the file is read."""
DATASETS = ("json", "csv", "parquet")
Scored = tuple[str, float]
"""A document's task and score."""


class LmEval(Evaluator):
    """Asks a checkpoint the harness's tasks; writes `metric` over all documents, and over each task's where there are several.

    Every document is one row, and one prompt of the interval. A task's own `num_fewshot`, prompts and filters apply.

    Attributes:
        model: the checkpoint, a full model or an adapter.
        tasks: names that the harness knows (their data are downloaded), or task files of the project: `tasks/mine.yaml`.
        metric: which of the tasks' per-document numbers: `acc`, `acc_norm`, `exact_match`, ...
        num_fewshot: examples before each question; None leaves it to the tasks.
        limit: asks only the first documents of each task.
        filter: which of a task's filters scores, where it has several.
    """

    version: ClassVar[int] = 1
    loads_model: ClassVar[bool] = True
    kinds: ClassVar[tuple[str, ...]] = ("huggingface",)

    model: ModelRef
    tasks: Annotated[list[str], pydantic.Field(min_length=1)]
    metric: str = "acc"
    num_fewshot: Annotated[int, pydantic.Field(ge=0)] | None = None
    limit: Positive | None = None
    filter: str | None = None
    _own: dict[str, dict[str, Any]] = PrivateAttr(default_factory=dict)
    _files: dict[str, Path] = PrivateAttr(default_factory=dict)

    @property
    def headline(self) -> str:
        return self.metric

    @classmethod
    def parse(cls, settings: Mapping[str, Any], surroundings: Surroundings) -> Self:
        made = cls.model_validate(dict(settings))
        for name in made.tasks:
            if name.endswith((".yaml", ".yml")):
                made._own[name], files = _own_task(surroundings.project, name)
                made._files.update(files)
        return made

    def files(self) -> dict[str, Path]:
        return dict(self._files)

    def lacks(self) -> list[str]:
        return missing_package("lm_eval", "lm-eval", "lm-eval")

    def outputs(self, inputs: Mapping[str, Columns]) -> dict[str, Output]:
        return {MAIN: Output(ArtifactKind.METRICS, COLUMNS)}

    def run(self, workspace: Workspace) -> None:
        """Runs the harness, and writes a row for each document, and metrics."""
        import pyarrow as pa

        tasks = [self._own.get(name, name) for name in self.tasks]
        found = run_harness(workspace, "model", tasks, self.num_fewshot, self.limit)
        rows = [
            self._row(workspace, task, sample)
            for task, samples in sorted(found.items())
            for sample in self._chosen(workspace, task, samples)
        ]
        workspace.counts.update({"in": len(rows), "expected": len(rows), "out": len(rows)})
        workspace.write_rows([pa.Table.from_pylist(rows)])
        asked = [Asked(row["prompt_id"], None, (row["task"], row["score"])) for row in rows]
        write_evaluation(workspace, self.headline, asked, self._metrics)

    def _chosen(
        self, workspace: Workspace, task: str, samples: Sequence[Mapping[str, Any]]
    ) -> list[Mapping[str, Any]]:
        """Returns a task's samples under one filter, one for each document."""
        filters = sorted({str(sample.get("filter", "none")) for sample in samples})
        if self.filter is None and len(filters) > 1:
            raise DataError(
                f"{workspace.step}: task {task} scores with several filters ({', '.join(filters)}); choose one with filter:"
            )
        chosen = self.filter or next(iter(filters), "")
        if chosen not in filters:
            raise DataError(
                f"{workspace.step}: task {task} has no filter {chosen!r}, only {', '.join(filters) or 'no documents'}"
            )
        return sorted(
            (one for one in samples if str(one.get("filter", "none")) == chosen),
            key=lambda one: int(one["doc_id"]),
        )

    def _row(self, workspace: Workspace, task: str, sample: Mapping[str, Any]) -> dict[str, Any]:
        score = sample.get(self.metric)
        if not isinstance(score, int | float):
            known = ", ".join(map(str, sample.get("metrics", ())))
            raise DataError(
                f"{workspace.step}: task {task} has no number {self.metric!r} for each document, only {known}. Set metric:"
            )
        return {
            "prompt_id": row_id("lm_eval", task, int(sample["doc_id"]), str(sample["doc_hash"])),
            "prompt": _prompt(sample),
            "answer": str(sample["target"]),
            "completion": json.dumps(sample["filtered_resps"], ensure_ascii=False, default=str),
            "score": float(score),
            "task": task,
        }

    def _metrics(self, scored: list[Scored]) -> Numbers:
        tasks: dict[str, list[float]] = {}
        for task, score in scored:
            tasks.setdefault(task, []).append(score)
        scores = [score for _, score in scored]
        own = {
            f"{self.metric} of {name}": mean(part, is_share=_are_shares(part)) for name, part in tasks.items()
        }
        return {
            "count": len(scored),
            self.metric: mean(scores, is_share=_are_shares(scores)),
            **(own if len(own) > 1 else {}),
        }


def _are_shares(scores: Sequence[float]) -> bool:
    return all(0 <= score <= 1 for score in scores)


def _prompt(sample: Mapping[str, Any]) -> str:
    """Returns the model's first input; the harness keeps requests as lists or as mappings of arguments."""
    first: Any = sample["arguments"]
    while isinstance(first, Mapping | list | tuple) and first:
        first = next(iter(first.values())) if isinstance(first, Mapping) else first[0]
    return str(first)


def _own_task(project: Path, name: str) -> tuple[dict[str, Any], dict[str, Path]]:
    """Reads a task of the project, its data files by absolute path, and the files that it reads.

    Raises:
        DeclarationError: the file is missing, or asks for what could run code or fetch data.
    """
    path = _inside(project, name, name)
    document = read_document(path, name)
    if not isinstance(document.value, dict):
        raise document.error((), "expected a task: keys with values")
    task = dict(document.value)
    for key in task.keys() - TASK_KEYS:
        raise document.error(
            (key,), f"is refused in a project's own task; known are {', '.join(sorted(TASK_KEYS))}"
        )
    kwargs = task.get("dataset_kwargs")
    if (
        task.get("dataset_path") not in DATASETS
        or not isinstance(kwargs, dict)
        or kwargs.keys() != {"data_files"}
    ):
        raise document.error(
            ("dataset_path",),
            f"expected one of {', '.join(DATASETS)}, with dataset_kwargs: {{data_files: ...}}",
        )
    files: dict[str, Path] = {name: path}
    task["dataset_kwargs"] = {"data_files": _located(project, name, kwargs["data_files"], files)}
    return task, files


def _located(project: Path, name: str, data_files: Any, files: dict[str, Path]) -> Any:
    """Makes data files' paths absolute; all are added to `files`."""
    if isinstance(data_files, dict):
        return {split: _located(project, name, part, files) for split, part in data_files.items()}
    if isinstance(data_files, list):
        return [_located(project, name, part, files) for part in data_files]
    files[str(data_files)] = _inside(project, name, str(data_files))
    return str(files[str(data_files)])


def _inside(project: Path, task: str, name: str) -> Path:
    path = (project / name).resolve()
    if not path.is_relative_to(project.resolve()) or not path.is_file():
        raise DeclarationError(
            f"{task}: {name!r} is no file of the project ({path}). Put it there; paths begin at the project's root"
        )
    return path
