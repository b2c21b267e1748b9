"""Rows of json, jsonl, csv, tsv and parquet files and of saved `datasets`, each with its place for messages."""

from __future__ import annotations

import csv
import gzip
import io
import json
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal, InvalidOperation
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from lineal.errors import DataError

Located = tuple[str, dict[str, Any]]
"""A row's place (`line 3`, `row 3`), and its values by column."""
Read = Callable[[Path, str, frozenset[str]], Iterator[Located]]

GZIP, TAB = ".gz", "\t"
STATE, SPLITS = "state.json", "dataset_dict.json"
"""Files that `save_to_disk` of `datasets` writes beside a dataset's files, and beside several splits' directories."""


def read_file(path: Path, shown: str, columns: Iterable[str]) -> Iterator[Located]:
    """Reads the rows of a file, by its ending, or of a directory of `save_to_disk`; it may yield more columns than requested.

    Numbers with a fraction come from JSON as `Decimal`, so that no digit is lost. An empty cell of a CSV is null.

    Raises:
        DataError: it cannot be read as what its name says; names the file and, where known, the line.
    """
    import pyarrow as pa

    read = _saved if path.is_dir() else reader_of(path.name)
    assert read is not None
    try:
        yield from read(path, shown, frozenset(columns))
    except UnicodeDecodeError as error:
        fix = "Save it as UTF-8"
        raise DataError(f"{shown}: not UTF-8 text ({error.reason} at byte {error.start}). {fix}") from error
    except (OSError, EOFError, zlib.error, pa.ArrowException, ValueError, OverflowError) as error:
        raise DataError(f"{shown}: cannot be read: {error}") from error


def reader_of(name: str) -> Read | None:
    """Returns the reader of files of this name; None where its ending is not one of `ENDINGS`."""
    ending = next((ending for ending in ENDINGS if name.lower().endswith(ending)), None)
    return None if ending is None else _READERS[ending.removesuffix(GZIP)]


def parse_json(text: str) -> Any:
    """Parses a JSON text, fractions as `Decimal`.

    Raises:
        ValueError: it is not valid JSON, nests too deep, or names a key twice in one object.
    """
    try:
        if text.startswith(
            "{"
        ):  # `decode` also looks for spaces at both ends, which takes as long as a short object
            value, end = _JSON.raw_decode(text)
            if end == len(text):
                return value
        return _JSON.decode(text)
    except RecursionError as error:
        raise ValueError("it nests too deep") from error


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(
            f"key {next(name for name in names if names.count(name) > 1)!r} comes twice in one object"
        )
    return found


def _decimal(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation as error:
        raise ValueError(f"number {text[:40]} is out of range") from error


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is no JSON number; write null, or leave the row out")


_JSON = json.JSONDecoder(object_pairs_hook=_members, parse_float=_decimal, parse_constant=_no_number)


def _open(path: Path, newline: str | None = None) -> TextIO:
    """Opens the file as text, without its byte order mark."""
    if path.suffix.lower() == GZIP:
        return gzip.open(path, "rt", encoding="utf-8-sig", newline=newline)
    return path.open(encoding="utf-8-sig", newline=newline)


def _json_lines(path: Path, shown: str, columns: frozenset[str]) -> Iterator[Located]:
    with _open(path) as stream:
        yield from _lines(stream, shown)


def _lines(stream: Iterable[str], shown: str) -> Iterator[Located]:
    for number, line in enumerate(stream, start=1):
        text = line.strip()
        if text:
            place = f"line {number}"
            yield place, _object(_parsed(text, shown, number), shown, place)


def _json(path: Path, shown: str, columns: frozenset[str]) -> Iterator[Located]:
    """Reads a list of objects, or an object of columns; one object per line is understood too: many such files end in .json."""
    with _open(path) as stream:
        text = stream.read()
    if text.lstrip().startswith("["):
        for number, item in enumerate(_parsed(text, shown, 1), start=1):
            yield f"row {number}", _object(item, shown, f"row {number}")
        return
    whole = _only_object(text)
    by_column = None if whole is None else _by_column(whole, columns)
    if by_column is not None:
        yield from by_column
        return
    if whole is not None and len(text.strip().splitlines()) > 1:
        shapes = "a list of objects, one object per line, or an object of columns, each a list with a value for every row"
        raise DataError(f"{shown}: got one object over several lines, expected {shapes}")
    yield from _lines(io.StringIO(text), shown)


def _only_object(text: str) -> dict[str, Any] | None:
    """Returns the object that is all of a text; None where it is something else."""
    if not text.lstrip().startswith("{"):
        return None
    try:
        value = parse_json(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _by_column(whole: dict[str, Any], columns: frozenset[str]) -> Iterator[Located] | None:
    """Reads the rows of an object that holds all values by column: a list, or an object by row, as pandas writes it.

    A list of objects is none: it may be the conversation of a single row.
    """
    asked = [whole[name] for name in columns if name in whole]
    if asked and all(isinstance(values, dict) and values.keys() == asked[0].keys() for values in asked):
        rows = list(asked[0])
        return _rows_of(
            {
                name: [values.get(row) for row in rows]
                for name, values in whole.items()
                if isinstance(values, dict)
            }
        )
    lists = all(
        isinstance(values, list) and not any(isinstance(value, dict) for value in values) for values in asked
    )
    if asked and lists and len({len(values) for values in asked}) == 1:
        return _rows_of(
            {
                name: values
                for name, values in whole.items()
                if isinstance(values, list) and len(values) == len(asked[0])
            }
        )
    return None


def _rows_of(by_column: dict[str, list[Any]]) -> Iterator[Located]:
    for number, values in enumerate(zip(*by_column.values(), strict=True), start=1):
        yield f"row {number}", dict(zip(by_column, values, strict=True))


def _parsed(text: str, shown: str, first_line: int) -> Any:
    try:
        return parse_json(text)
    except ValueError as error:
        line = first_line + (error.lineno - 1 if isinstance(error, json.JSONDecodeError) else 0)
        raise DataError(f"{shown}: line {line}: not valid JSON: {error}") from error


def _object(value: Any, shown: str, place: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise DataError(f"{shown}: {place}: must be an object with columns as keys, got {str(value)[:80]!r}")
    return value


def _csv(path: Path, shown: str, columns: frozenset[str], delimiter: str = ",") -> Iterator[Located]:
    csv.field_size_limit(
        sys.maxsize
    )  # Python's own limit of 131,072 characters is shorter than many solutions
    with _open(path, newline="") as stream:
        reader = csv.reader(stream, strict=True, delimiter=delimiter)
        try:
            header = next(reader, [])
            _require_different(header, columns, shown)
            for fields in reader:
                if fields and len(fields) != len(header):
                    counts = f"{len(fields)} fields, but the header has {len(header)}"
                    held = "a tab" if delimiter == TAB else "commas"
                    raise DataError(
                        f"{shown}: line {reader.line_num}: has {counts}. Quote fields that hold {held}"
                    )
                if fields:
                    yield (
                        f"line {reader.line_num}",
                        {name: value or None for name, value in zip(header, fields, strict=True)},
                    )
        except csv.Error as error:
            fix = "Every quoted field needs its closing quote; a quote inside is written twice"
            raise DataError(f"{shown}: line {reader.line_num}: not valid CSV: {error}. {fix}") from error


def _parquet(path: Path, shown: str, columns: frozenset[str]) -> Iterator[Located]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        names = file.schema_arrow.names
        _require_different(names, columns, shown)
        wanted = [name for name in names if name in columns] if columns <= set(names) else None
        number = 0
        for batch in file.iter_batches(columns=wanted):
            for row in batch.to_pylist():
                number += 1
                yield f"row {number}", row


def saved_files(directory: Path) -> list[Path]:
    """Returns the Arrow files of a directory that `save_to_disk` of `datasets` wrote, in their order.

    Raises:
        ValueError: it wrote no such directory, or wrote several splits.
    """
    if (directory / SPLITS).is_file():
        splits = sorted(path.name for path in directory.iterdir() if (path / STATE).is_file())
        raise ValueError(f"holds the splits {', '.join(splits)}; name the directory of one")
    if not (directory / STATE).is_file():
        raise ValueError(
            f"is a directory without {STATE}, so not of save_to_disk; name its files: '*.parquet' takes several"
        )
    try:
        named = [
            str(entry["filename"]) for entry in json.loads((directory / STATE).read_bytes())["_data_files"]
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"has a {STATE} that names no files; save the dataset again") from error
    return [directory / Path(name).name for name in sorted(named)]


def _saved(path: Path, shown: str, columns: frozenset[str]) -> Iterator[Located]:
    import pyarrow as pa

    for file in saved_files(path):
        number = 0
        with pa.OSFile(str(file)) as stream, pa.ipc.open_stream(stream) as reader:
            names = reader.schema.names
            wanted = [name for name in names if name in columns] if columns <= set(names) else names
            for batch in reader:
                for row in batch.select(wanted).to_pylist():
                    number += 1
                    yield f"{file.name}: row {number}", row


def _require_different(names: list[str], columns: frozenset[str], shown: str) -> None:
    for name in columns:
        if names.count(name) > 1:
            raise DataError(
                f"{shown}: has {names.count(name)} columns {name!r}, expected one. Rename or remove the others"
            )


_READERS: dict[str, Read] = {
    ".json": _json,
    ".jsonl": _json_lines,
    ".csv": _csv,
    ".tsv": partial(_csv, delimiter=TAB),
    ".parquet": _parquet,
}
ENDINGS = (*_READERS, *(ending + GZIP for ending in _READERS if ending != ".parquet"))
"""The names that files of rows may end in."""
