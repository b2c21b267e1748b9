"""Prompts from a file of the project, or from a dataset on the Hub at a fixed revision."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import nullcontext
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

import pydantic

from lineal.components.base import Awaited, Columns, Output, Surroundings, Workspace, missing_package
from lineal.components.sources.arriving import ROUND, awaited, is_pattern, matching, place_inside, placed_path
from lineal.components.sources.base import Row, Source, counted, in_split, tables_of
from lineal.components.sources.dataset_rows import CHATS, PAIR, LastTurn, RowReader, RowShape, own_kinds
from lineal.components.sources.files import GZIP, Located, read_file, saved_files
from lineal.components.sources.picture_files import PictureFiles, digest_of_directory, directory_inside
from lineal.components.sources.pictured import PACKS, packed
from lineal.components.verifiers.base import Pattern
from lineal.data.ids import digest_of, file_digest
from lineal.data.media import IMAGES, MEDIA
from lineal.data.schema import COLUMNS, arrow_type
from lineal.data.tracked import tracked
from lineal.errors import DataError, MissingFile, did_you_mean
from lineal.recipe.compute import Positive
from lineal.recipe.references import NAME

if TYPE_CHECKING:
    import pyarrow as pa

COMMIT = re.compile(r"^[0-9a-f]{40}$")
LOADABLE = frozenset(
    {
        "prompt_id",
        "prompt",
        "messages",
        "tools",
        "images",
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
)
"""Known columns that a dataset may fill; the others say where a row came from, which only lineal knows."""

NEEDED = ("prompt_id", "prompt", "messages", *PAIR)
"""Columns without which a row is none."""


class Dataset(Source):
    """Rows of a local file (`path`) or of the Hub (`id` and `revision`), their columns renamed; docs/datasets.md.

    Attributes:
        path: a json, jsonl, csv, tsv or parquet file inside the project; all but parquet may be compressed (`.gz`). A path with
            `*` or `?` stands for all files that it matches, in the order of their names; or a directory that `save_to_disk` of
            `datasets` wrote. In a round, `{round}` in it stands for
            the round's two digits; such a file may arrive after the run began.
        id: the Hub's name of the dataset.
        revision: the commit's SHA, 40 hex digits: a branch would give other rows tomorrow.
        name: the Hub dataset's configuration.
        hub_split: the Hub dataset's split.
        columns: our name to the file's name. It says what the prompt is: `prompt` a text, `messages` a conversation, or
            `chosen` and `rejected` alone two conversations that begin alike. `images` are pictures: docs/media.md. Names that
            lineal doesn't know are columns of the user's own. Without `prompt_id`, ids are made from the text.
        last_turn: for conversations that end with the assistant: its last turn becomes `completion` or `answer`, or the
            conversation is kept whole ('keep').
        extract: by column, an RE2 regular expression; its first group is the value.
        optional: columns that may have no value in some rows.
        pictures: the directory inside the project that paths of pictures start from; the bytes of its files are identity.
        size: how many rows, from the beginning; None: all.
        split: keeps only the prompts that hash to this split; None: all.
        system, template: as for every source.
    """

    path: str | None = None
    id: str | None = None
    revision: str | None = None
    name: str | None = None
    hub_split: str = "train"
    mapping: dict[str, str] = pydantic.Field(
        default={"prompt": "prompt", "answer": "answer"}, alias="columns"
    )
    last_turn: Annotated[LastTurn | None, pydantic.Field(exclude_if=lambda value: value is None)] = None
    extract: Annotated[dict[str, Pattern], pydantic.Field(exclude_if=lambda value: not value)] = {}
    optional: Annotated[list[str], pydantic.Field(exclude_if=lambda value: not value)] = []
    pictures: Annotated[str | None, pydantic.Field(exclude_if=lambda value: value is None)] = None
    size: Positive | None = None
    _files: tuple[Path, ...] = pydantic.PrivateAttr(default=())
    _project: Path = pydantic.PrivateAttr(default=Path())
    _pictures: Path | None = pydantic.PrivateAttr(default=None)
    _awaited: bool = pydantic.PrivateAttr(default=False)

    model_config = pydantic.ConfigDict(serialize_by_alias=True)
    columns: ClassVar[Columns] = ()

    @classmethod
    def parse(cls, settings: Mapping[str, Any], surroundings: Surroundings) -> Self:
        """Makes the component; a local file must be there (or be tracked by DVC) and inside the project.

        Raises:
            pydantic.ValidationError: the settings don't fit.
            ValueError: neither or both of path and id, a path that cannot be, or settings that exclude each other.
        """
        component = super().parse(settings, surroundings)
        component._check_origin()
        component._check_columns()
        component._project = surroundings.project
        if component.pictures is not None:
            component._pictures = directory_inside(surroundings.project, component.pictures)
        if component.path is not None:
            component._files = component._found(surroundings.project)
        return component

    def _found(self, project: Path) -> tuple[Path, ...]:
        """Returns the files that `path` names."""
        path = str(self.path)
        file = place_inside(project, path)
        if is_pattern(path) and self._arrives:
            raise ValueError(
                f"path {path!r} names the round and matches several files; name one file of each round"
            )
        if is_pattern(path):
            found = tuple(matching(project.absolute(), path))
        else:
            found = (file,) if self._arrives or file.exists() or tracked(project, file) else ()
        if not found:
            raise MissingFile(f"path {path!r}: no such file in the project")
        return found

    @property
    def _arrives(self) -> bool:
        """True if each round has a file of its own, which may not be there yet."""
        return self.path is not None and ROUND in self.path

    def placed(self, round_number: int | None, seed: int) -> Self:
        """Returns the data set of a round, where the path names it."""
        if self.path is None or not self._arrives:
            return self
        path = placed_path(self.path, round_number, seed)
        made = self.model_copy(update={"path": path})
        made._files, made._awaited = (place_inside(self._project, path),), True
        return made

    def awaited(self, key: str) -> Awaited | None:
        """Returns the round's file."""
        return awaited(self._project, str(self.path), "Put it there") if self._awaited else None

    def resolved(self, values: Mapping[str, Any]) -> Self:
        """Returns the same dataset with controllers' values filled in."""
        checked = type(self).model_validate({**self.model_dump(exclude_none=True), **values})
        return self.model_copy(update={name: getattr(checked, name) for name in values})

    def _check_origin(self) -> None:
        if (self.path is None) == (self.id is None):
            raise ValueError(
                "a dataset needs either path (a file of the project) or id and revision (the Hub)"
            )
        hub_only = [key for key in ("revision", "name") if getattr(self, key) is not None]
        if self.path is not None and hub_only:
            raise ValueError(f"{hub_only[0]} belongs to id, not to path; delete it")
        if self.id is not None and not COMMIT.match(self.revision or ""):
            raise ValueError(
                f"revision must be a commit's SHA of 40 hex digits, got {self.revision!r}; a branch may move"
            )

    def _check_columns(self) -> None:
        """Checks that settings about columns name existing columns, and each column once."""
        shape = self._shape
        texts = [
            name
            for name in shape.columns
            if name not in CHATS and COLUMNS.get(name, ("string",))[0] == "string"
        ]
        _require_known(
            "extract", self.extract, [name for name in texts if name in (*self.mapping, self.last_turn)]
        )
        _require_known("optional", self.optional, [name for name in self.mapping if name not in NEEDED])
        if self.last_turn is not None and "messages" not in self.mapping:
            raise ValueError("last_turn is about conversations: columns: {messages: ...}")
        if self.last_turn in self.mapping:
            raise ValueError(f"both last_turn and columns say what becomes {self.last_turn}; leave one out")
        if self.pictures is not None and IMAGES not in self.mapping:
            raise ValueError("pictures is about a column of pictures: columns: {images: ...}")

    @pydantic.field_validator("mapping")
    @classmethod
    def _names_columns(cls, value: Any) -> Any:
        if isinstance(value, dict):
            for name in value:
                if name in COLUMNS and name not in LOADABLE:
                    raise ValueError(
                        f"a dataset cannot fill {name!r}, which only lineal knows; give it a name of your own"
                    )
                if not NAME.match(name):
                    raise ValueError(f"{name!r} must be a lower-case word, such as 'source'")
            if not {"prompt", "messages"} & value.keys() and not set(PAIR) <= value.keys():
                raise ValueError(
                    "columns must say what the prompt is: {prompt: question}, or {messages: conversations}"
                )
        return value

    def lacks(self) -> list[str]:
        return missing_package("PIL", "pillow", "vision") if IMAGES in self.mapping else []

    def outputs(self, inputs: Mapping[str, Columns]) -> dict[str, Output]:
        """Returns the rows, and where they have pictures these."""
        return {**super().outputs(inputs), **({MEDIA: PACKS} if IMAGES in self.mapping else {})}

    def files(self) -> dict[str, Path]:
        """Returns the local files, whose bytes are identity, and the template's."""
        pattern = is_pattern(str(self.path))
        pictures = {str(self.pictures): self._pictures} if self._pictures is not None else {}
        rows = {self._shown(file) if pattern else str(self.path): file for file in self._files}
        return {**super().files(), **rows, **pictures}

    def file_identity(self, path: Path) -> str:
        """Returns a file's digest; of a saved dataset that of its rows' files: the files beside them vary with each saving."""
        if not path.is_dir():
            return super().file_identity(path)
        if path == self._pictures:
            return digest_of_directory(path)
        return digest_of([[file.name, file_digest(file)] for file in saved_files(path)])

    def _shown(self, file: Path) -> str:
        return file.relative_to(self._project.absolute()).as_posix()

    @property
    def _shape(self) -> RowShape:
        name = "" if self.path is None else self.path.removesuffix(GZIP)
        fills_nulls = not name.lower().endswith((".json", ".jsonl", ".csv", ".tsv"))
        has_header = not name.lower().endswith((".json", ".jsonl"))
        optional = frozenset(self.optional)
        return RowShape(
            self._origin, self.mapping, self.last_turn, self.extract, optional, fills_nulls, has_header
        )

    @property
    def made_columns(self) -> Columns:
        """The columns that `columns` and `last_turn` name."""
        return self._shape.columns

    def run(self, workspace: Workspace) -> None:
        """Writes the rows.

        Raises:
            DataError: a column is missing, a value is null or of a wrong type, an id comes twice, or there are no rows.
        """
        kinds = own_kinds(self._shape, self._located(workspace)) if self._shape.own else {}
        reader = RowReader(self._shape, kinds, lambda: self._located(workspace), PictureFiles(self._pictures))
        rows = reader.rows() if self.split is None else self._own(reader.rows())
        framed = islice(map(self.framed, rows) if self.frames else rows, self.size)
        with (
            workspace.progress(self.size or 0, "rows") as progress,
            workspace.packs() if IMAGES in self.mapping else nullcontext() as packs,
        ):
            shown = framed if packs is None else packed(packs, framed)
            count = workspace.write_rows(counted(tables_of(shown, self._schema(kinds)), progress))
        reader.finish()
        if count == 0:
            among = "" if self.split is None else f" of split {self.split!r}"
            raise DataError(f"{workspace.step}: {self._origin} has no rows{among}")
        workspace.counts.update(out=count)

    def _own(self, rows: Iterator[Row]) -> Iterator[Row]:
        return (row for row in rows if in_split(row["prompt_id"], self.split))

    def _schema(self, kinds: Mapping[str, str]) -> pa.Schema:
        import pyarrow as pa

        types = {"truth": pa.bool_(), "integer": pa.int64(), "number": pa.float64()}
        own = {name: types.get(kind, pa.string()) for name, kind in kinds.items()}
        return pa.schema(
            [(name, own[name] if name in own else arrow_type(name)) for name in self.written_columns]
        )

    @property
    def _origin(self) -> str:
        return self.path or f"{self.id}@{(self.revision or '')[:12]}"

    def _located(self, workspace: Workspace) -> Iterable[Located]:
        if not self._files:
            return self._from_hub(workspace)
        if not is_pattern(str(self.path)):
            return read_file(self._files[0], str(self.path), self.mapping.values())
        return self._from_files()

    def _from_files(self) -> Iterator[Located]:
        for file in self._files:
            name = self._shown(file)
            yield from (
                (f"{name}: {place}", values) for place, values in read_file(file, name, self.mapping.values())
            )

    def _from_hub(self, workspace: Workspace) -> Iterator[Located]:
        from datasets import load_dataset
        from datasets.exceptions import DatasetsError

        try:
            loaded = load_dataset(str(self.id), self.name, split=self.hub_split, revision=self.revision)
        except (DatasetsError, OSError, ValueError) as error:
            raise DataError(f"{workspace.step}: cannot load {self._origin} from the Hub: {error}") from error
        for number, values in enumerate(_undecoded(loaded, self.mapping.get(IMAGES)), start=1):
            yield f"row {number}", values


def _undecoded(loaded: Any, column: str | None) -> Any:
    """Returns a Hub dataset whose pictures come as the bytes of their files."""
    from datasets import Image, List

    if column is None or column not in loaded.features:
        return loaded
    several = isinstance(loaded.features[column], List)
    return loaded.cast_column(column, List(Image(decode=False)) if several else Image(decode=False))


def _require_known(setting: str, names: Iterable[str], known: list[str]) -> None:
    for name in names:
        if name not in known:
            raise ValueError(
                f"{setting}: {name!r} is no column that it can be about. {did_you_mean(name, known)}"
            )
