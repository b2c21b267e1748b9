"""Prompts from a file of the project, or from a dataset on the Hub at a fixed revision."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, Self

import pydantic

from lineal.components.base import MAIN, Columns, Output, Surroundings, Workspace
from lineal.components.sources.base import Row, Source, in_split, tables
from lineal.components.sources.files import SUFFIXES, Located, read_file
from lineal.data.ids import canonical_json, row_id
from lineal.data.schema import COLUMNS
from lineal.errors import DataError, MissingFile, did_you_mean
from lineal.recipe.compute import Positive
from lineal.recipe.references import ArtifactKind

COMMIT = re.compile(r"^[0-9a-f]{40}$")
LOADABLE = frozenset(
    {
        "prompt_id",
        "prompt",
        "answer",
        "difficulty",
        "task",
        "entry",
        "tests",
        "input",
        "options",
        "completion",
        "chosen",
        "rejected",
        "label",
    }
)  # fmt: skip
"""Columns that a dataset may fill; the others say where a row came from, which only lineal knows."""

RECORDS = frozenset({"entry", "options", "tests"})
"""Columns of JSON text; a file may give their values as they are."""


class Dataset(Source):
    """Rows of a local file (`path`) or of the Hub (`id` and `revision`), their columns named anew.

    Attributes:
        path: a json, jsonl, csv or parquet file inside the project.
        id: the Hub's name of the dataset.
        revision: the commit's SHA, 40 hex digits: a branch would give other rows tomorrow.
        name: the Hub dataset's configuration.
        hub_split: the Hub dataset's split.
        columns: our name to the file's name; `prompt` must be among them. Without `prompt_id`, ids are made from the text.
        size: how many rows, from the beginning; None: all.
        split: keeps only the prompts that hash to this split; None: all.
    """

    path: str | None = None
    id: str | None = None
    revision: str | None = None
    name: str | None = None
    hub_split: str = "train"
    mapping: dict[str, str] = pydantic.Field(default={"prompt": "prompt", "answer": "answer"}, alias="columns")
    size: Positive | None = None
    _file: Path | None = pydantic.PrivateAttr(default=None)

    model_config = pydantic.ConfigDict(serialize_by_alias=True)
    columns: ClassVar[Columns] = ()

    @classmethod
    def parse(cls, settings: Mapping[str, Any], surroundings: Surroundings) -> Self:
        """Makes the component; a local file must be there (or be tracked by DVC) and inside the project.

        Raises:
            pydantic.ValidationError: the settings don't fit.
            ValueError: neither or both of path and id, or a path that cannot be.
        """
        component = cls.model_validate(dict(settings))
        component._check_origin()
        if component.path is not None:
            component._file = _inside(surroundings.project, component.path)
        return component

    def resolved(self, values: Mapping[str, Any]) -> Self:
        """The same dataset with controllers' values filled in."""
        component = type(self).model_validate({**self.model_dump(exclude_none=True), **values})
        component._file = self._file
        return component

    def _check_origin(self) -> None:
        if (self.path is None) == (self.id is None):
            raise ValueError("a dataset needs either path (a file of the project) or id and revision (the Hub)")
        hub_only = [key for key in ("revision", "name") if getattr(self, key) is not None]
        if self.path is not None and hub_only:
            raise ValueError(f"{hub_only[0]} belongs to id, not to path; delete it")
        if self.id is not None and not COMMIT.match(self.revision or ""):
            raise ValueError(f"revision must be a commit's SHA of 40 hex digits, got {self.revision!r}; a branch may move")

    @pydantic.field_validator("mapping")
    @classmethod
    def _names_columns(cls, value: Any) -> Any:
        if isinstance(value, dict):
            for name in value:
                if name not in LOADABLE:
                    raise ValueError(f"a dataset cannot fill column {name!r}. {did_you_mean(name, LOADABLE)}")
            if "prompt" not in value:
                raise ValueError("columns must say which column is the prompt: {prompt: question}")
        return value

    def files(self) -> dict[str, Path]:
        """The local file, whose bytes are identity."""
        return {} if self._file is None else {str(self.path): self._file}

    def outputs(self, inputs: Mapping[str, Columns]) -> dict[str, Output]:
        """One artifact of rows."""
        return {MAIN: Output(ArtifactKind.ROWS, self._written())}

    def _written(self) -> Columns:
        rest = tuple(name for name in COLUMNS if name in self.mapping and name not in ("prompt_id", "prompt"))
        return ("prompt_id", "prompt", *rest)

    def run(self, step: Workspace) -> None:
        """Writes the rows.

        Raises:
            DataError: a column is missing, a value is null or of a wrong type, an id comes twice, or there are no rows.
        """
        count = step.write_rows(tables(islice(self._rows(step), self.size), self._written()))
        if count == 0:
            among = "" if self.split is None else f" of split {self.split!r}"
            raise DataError(f"{step.step}: {self._origin} has no rows{among}")
        step.counts.update(out=count)

    @property
    def _origin(self) -> str:
        return self.path or f"{self.id}@{(self.revision or '')[:12]}"

    def _rows(self, step: Workspace) -> Iterator[Row]:
        located = read_file(self._file, str(self.path)) if self._file is not None else self._from_hub(step)
        reader = _Reader(self._origin, self.mapping)
        for place, values in located:
            row = reader.row(place, values)
            if in_split(row["prompt_id"], self.split):
                yield row

    def _from_hub(self, step: Workspace) -> Iterator[Located]:
        from datasets import load_dataset
        from datasets.exceptions import DatasetsError

        try:
            loaded = load_dataset(str(self.id), self.name, split=self.hub_split, revision=self.revision)
        except (DatasetsError, OSError, ValueError) as error:
            raise DataError(f"{step.step}: cannot load {self._origin} from the Hub: {error}") from error
        for number, values in enumerate(loaded, start=1):
            yield f"row {number}", values


class _Reader:
    """Turns a file's values into rows, and refuses what cannot be one; every message names file, row and column."""

    def __init__(self, origin: str, mapping: Mapping[str, str]) -> None:
        self._origin, self._mapping = origin, mapping
        self._types: dict[str, tuple[type, str]] = {}
        self._seen: dict[str, str] = {}

    def row(self, place: str, values: Mapping[str, Any]) -> Row:
        row = {name: self._value(place, name, theirs, values) for name, theirs in self._mapping.items()}
        if "prompt_id" not in row:
            row["prompt_id"] = row_id("dataset", row["prompt"], str(row.get("answer") or row.get("completion") or ""))
        first = self._seen.setdefault(row["prompt_id"], place)
        if first != place:
            own = "prompt_id" in self._mapping
            fix = "Give each its own" if own else "Remove one, or name an id column: columns: {prompt_id: ...}"
            raise DataError(f"{self._origin}: {place} has the same prompt id as {first} ({row['prompt_id']!r}). {fix}")
        return row

    def _value(self, place: str, name: str, theirs: str, values: Mapping[str, Any]) -> Any:
        where = f"{self._origin}: {place}, column {theirs!r}"
        if theirs not in values:
            raise DataError(f"{where} (for {name}) is missing. {did_you_mean(theirs, [str(key) for key in values])}")
        value = values[theirs]
        if value is None:
            raise DataError(f"{where} (for {name}) is null; every row needs a value")
        kind, first = self._types.setdefault(name, (type(value), place))
        if type(value) is not kind and {type(value), kind} != {int, float}:
            raise DataError(f"{where} is a {_kind(value)} here but a {kind.__name__} in {first}; make all of one type")
        return _typed(where, name, value)


def _kind(value: Any) -> str:
    return type(value).__name__


def _typed(where: str, name: str, value: Any) -> Any:
    """The value in its column's type: whole numbers may stand for text, digits for numbers (CSV knows only text)."""
    wanted = COLUMNS[name][0]
    if wanted == "string" and (isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool))):
        return str(value)
    if name in RECORDS and isinstance(value, list | dict):
        return canonical_json(value)
    if wanted == "bool" and isinstance(value, bool):
        return value
    if wanted == "double" and isinstance(value, int | float | str) and not isinstance(value, bool):
        try:
            return float(value)
        except ValueError:
            pass
    raise DataError(f"{where} must be a {wanted}, got {value!r}"[:300])


def _inside(project: Path, path: str) -> Path:
    """The file's place, if it is inside the project."""
    root = os.path.normpath(project.absolute())
    full = os.path.normpath(os.path.join(root, path))  # noqa: PTH118 - lexical: a link into DVC's cache is fine
    if Path(path).is_absolute() or not Path(full).is_relative_to(root):
        raise ValueError(f"path {path!r} leads out of the project; put the file inside it (dvc add keeps it out of git)")
    if Path(full).suffix.lower() not in SUFFIXES:
        raise ValueError(f"path {path!r}: the name must end in {', '.join(SUFFIXES)}")
    if not Path(full).is_file() and not Path(full + ".dvc").is_file():
        raise MissingFile(f"path {path!r}: no such file in the project")
    return Path(full)
