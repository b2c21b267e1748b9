"""Labels of rows by people or another program: columns from a file that names the rows by their ids."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

import pydantic

from lineal.components.base import MAIN, Awaited, Columns, Output, Surroundings, Workspace, merged
from lineal.components.selectors.query import with_columns
from lineal.components.sources.arriving import ROUND, awaited, place_inside, placed_path
from lineal.components.sources.files import Located, read_file
from lineal.components.sources.values import known_value
from lineal.components.verifiers.base import ERROR, FAIL, PASS, VERDICT, Verifier
from lineal.data.schema import COLUMNS, arrow_types, row_key, types_of
from lineal.errors import DataError, did_you_mean
from lineal.recipe.references import NAME, ArtifactKind

if TYPE_CHECKING:
    import pyarrow as pa

    from lineal.data.progress import Progress

FILLABLE = (*VERDICT, "answer", "completion", "label")
"""Known columns that a label may fill; a column of any other name is a text of the user's own."""
SCORES = {PASS: 1.0, FAIL: 0.0, ERROR: None}
MOST_SHOWN = 3


class Labels(Verifier):
    """Adds the columns of a file to every row; `lineal label` writes the rows to fill in and reads them back.

    Attributes:
        path: a json, jsonl, csv or parquet file with the rows' ids, one line for each row. In a round, `{round}` in it stands for
            the round's two digits; `{seed}` for the seed. The file may arrive after the run began.
        columns: our name to the file's name: `verdict` (pass, fail or error), `score`, `detail`, `label`, `answer`,
            `completion`, or a text of the user's own.
        optional: columns that may be empty in some rows. `score` and `detail` may always be: the score then follows from the
            verdict.
    """

    path: Annotated[str, pydantic.Field(exclude=True)]  # the file's digest is identity, not its place
    mapping: dict[str, str] = pydantic.Field(alias="columns", min_length=1)
    optional: list[str] = []
    _project: Path = pydantic.PrivateAttr(default=Path())

    model_config = pydantic.ConfigDict(serialize_by_alias=True)

    @classmethod
    def parse(cls, settings: Mapping[str, Any], surroundings: Surroundings) -> Self:
        """Makes the component; the file need not be there.

        Raises:
            pydantic.ValidationError: the settings don't fit.
            ValueError: the path leads out of the project, or a column cannot be filled.
        """
        made = cls.model_validate(dict(settings))
        made._project = surroundings.project
        place_inside(surroundings.project, made.path)
        for name in made.optional:
            if name not in made.mapping:
                raise ValueError(
                    f"optional: {name!r} is none of the columns. {did_you_mean(name, made.mapping)}"
                )
        return made

    @pydantic.field_validator("mapping")
    @classmethod
    def _can_be_filled(cls, value: Any) -> Any:
        for name in value if isinstance(value, dict) else ():
            if not NAME.match(name) or (name in COLUMNS and name not in FILLABLE):
                raise ValueError(
                    f"{name!r} cannot be filled by labels. Known: {', '.join(FILLABLE)}, or a name of your own"
                )
        return value

    def placed(self, round_number: int | None, seed: int) -> Self:
        """Returns the labels of a round, which have a file of their own."""
        if round_number is not None and ROUND not in self.path:
            raise ValueError(
                f"path {self.path!r} is the same in all rounds, but each has other rows. Put {ROUND} into it"
            )
        return self.model_copy(update={"path": placed_path(self.path, round_number, seed)})

    def awaited(self, key: str) -> Awaited:
        """Returns the file with the labels."""
        fix = f"Write the rows to a file: lineal label {key} -o FILE. Fill it in and take it back: lineal label {key} --take FILE"
        return awaited(self._project, self.path, fix)

    def files(self) -> dict[str, Path]:
        """Returns the file, whose bytes are identity."""
        return {"labels": self.file}

    @property
    def file(self) -> Path:
        """The file of the labels."""
        return place_inside(self._project, self.path)

    @property
    def filled(self) -> dict[str, str]:
        """The columns that it adds, with their types; a verdict brings score and detail along."""
        names = merged(VERDICT if "verdict" in self.mapping else (), tuple(self.mapping))
        return {name: types_of(name)[name] if name in COLUMNS else "string" for name in names}

    def needs(self) -> dict[str, Columns]:
        return {}

    def outputs(self, inputs: Mapping[str, Columns]) -> dict[str, Output]:
        added = tuple(self.column(name) for name in self.filled)
        for name in added:
            if name in inputs["rows"]:
                raise ValueError(
                    f"{self.use}: the rows have a column {name!r} already. Fill one of another name, or set name: WORD"
                )
        return {MAIN: Output(ArtifactKind.ROWS, merged(inputs["rows"], added))}

    def run(self, workspace: Workspace) -> None:
        """Adds the labels, row by row.

        Raises:
            DataError: the file has unknown ids, lacks rows, or a value is none.
        """
        rows = workspace.rows("rows")
        key = row_key(rows.columns)
        ids = rows.read([key])[key].to_pylist()
        labels = self.labels(
            read_file(self.file, self.path, [key, *self.mapping.values()]), key, ids, self.path
        )

        def transform(table: pa.Table, progress: Progress) -> pa.Table:
            progress.advance(table.num_rows)
            return with_columns(table, self._columns([labels[name] for name in table[key].to_pylist()]))

        out = workspace.map_rows(rows, transform)
        workspace.counts.update({"in": rows.count, "out": out})
        if "verdict" in self.mapping:
            self.finish(workspace)

    def labels(
        self, located: Iterable[Located], key: str, ids: list[str], shown: str
    ) -> dict[str, dict[str, Any]]:
        """Returns by row id the values of the filled columns.

        Args:
            located: the file's rows.
            key: the column of ids.
            ids: the ids of the rows to label.
            shown: the file, for messages.

        Raises:
            DataError: they are not labels of just these rows; says how many are unknown, missing or empty.
        """
        found: dict[str, dict[str, Any]] = {}
        for place, values in located:
            name = str(_cell(values, key, f"{shown}: {place}"))
            if name in found:
                raise DataError(f"{shown}: {place} labels {name} a second time. Keep one line for each row")
            found[name] = self._label(f"{shown}: {place}", values)
        _require_the_rows(found, ids, shown)
        self._require_values(found, shown)
        return found

    def _label(self, where: str, values: Mapping[str, Any]) -> dict[str, Any]:
        label: dict[str, Any] = {}
        for name, source in self.mapping.items():
            value, place = _cell(values, source, where), f"{where}, column {source!r}"
            label[name] = None if value is None else _value(place, name, value)
        if "verdict" in label and label.get("score") is None:
            label["score"] = SCORES.get(label["verdict"])
        return label

    def _require_values(self, found: Mapping[str, Mapping[str, Any]], shown: str) -> None:
        for name in self.mapping:
            empty = [key for key, label in found.items() if label[name] is None]
            if empty and name not in (*self.optional, "score", "detail"):
                got = f"column {self.mapping[name]!r} is empty in {len(empty):,} of {len(found):,} rows ({_shown(empty)})"
                raise DataError(f"{shown}: {got}. Fill it in, or allow it: optional: [{name}]")

    def _columns(self, labels: list[dict[str, Any]]) -> pa.Table:
        import pyarrow as pa

        types = arrow_types()
        columns = {
            name: pa.array([label.get(name) for label in labels], types[kind])
            for name, kind in self.filled.items()
        }
        return pa.table({self.column(name): values for name, values in columns.items()})


def _require_the_rows(found: Mapping[str, Any], ids: list[str], shown: str) -> None:
    known = set(ids)
    unknown = [name for name in found if name not in known]
    missing = [name for name in ids if name not in found]
    if unknown:
        got = (
            f"{len(unknown):,} of {len(found):,} ids are of none of the {len(ids):,} rows ({_shown(unknown)})"
        )
        raise DataError(
            f"{shown}: {got}. The rows were made again since, or the file is of another round or seed"
        )
    if missing:
        got = f"labels {len(found):,} of {len(ids):,} rows; {len(missing):,} are missing ({_shown(missing)})"
        fix = "Label them too, or have a selector before this step keep only those that are to be labelled"
        raise DataError(f"{shown}: {got}. {fix}")


def _value(where: str, name: str, value: Any) -> Any:
    if name not in COLUMNS:
        return known_value(where, "detail", value)
    if name != "verdict":
        return known_value(where, name, value)
    verdict = str(value).strip().lower()
    if verdict not in SCORES:
        raise DataError(f"{where} must be {PASS}, {FAIL} or {ERROR}, got {value!r}")
    return verdict


def _cell(values: Mapping[str, Any], column: str, where: str) -> Any:
    if column not in values:
        raise DataError(f"{where} has no column {column!r}. {did_you_mean(column, values)}")
    value = values[column]
    return None if isinstance(value, str) and not value.strip() else value


def _shown(ids: list[str]) -> str:
    rest = f" and {len(ids) - MOST_SHOWN} more" if len(ids) > MOST_SHOWN else ""
    return ", ".join(ids[:MOST_SHOWN]) + rest
