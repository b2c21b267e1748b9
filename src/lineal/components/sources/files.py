"""Rows of json, jsonl, csv, tsv and parquet files, each with its place for messages."""

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
"""Where a row stands (`line 3`, `row 3`), and its values by column."""
Read = Callable[[Path, str, frozenset[str]], Iterator[Located]]

GZIP, TAB = ".gz", "\t"


def read_file(path: Path, shown: str, columns: Iterable[str]) -> Iterator[Located]:
    """The rows of a file, by its ending; further columns than those asked for may come along.

    Numbers with a fraction come from JSON as `Decimal`, so that no digit is lost. An empty cell of a CSV is null.

    Raises:
        DataError: it cannot be read as what its name says; names the file and, where known, the line.
    """
    import pyarrow as pa

    read = reader_of(path.name)
    assert read is not None
    try:
        yield from read(path, shown, frozenset(columns))
    except UnicodeDecodeError as error:
        fix = "Save it as UTF-8"
        raise DataError(f"{shown}: not UTF-8 text ({error.reason} at byte {error.start}). {fix}") from error
    except (OSError, EOFError, zlib.error, pa.ArrowException, ValueError, OverflowError) as error:
        raise DataError(f"{shown}: cannot be read: {error}") from error


def reader_of(name: str) -> Read | None:
    """What reads files of this name; None where its ending is not one of `ENDINGS`."""
    ending = next((ending for ending in ENDINGS if name.lower().endswith(ending)), None)
    return None if ending is None else _READERS[ending.removesuffix(GZIP)]


def parse_json(text: str) -> Any:
    """The value of a JSON text, fractions as `Decimal`.

    Raises:
        ValueError: it is not valid JSON, nests too deep, or names a key twice in one object.
    """
    try:
        return _JSON.decode(text)
    except RecursionError as error:
        raise ValueError("it nests too deep") from error


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"key {next(name for name in names if names.count(name) > 1)!r} comes twice in one object")
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
    """The file as text, without its byte order mark."""
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
            yield f"line {number}", _object(_parsed(text, shown, number), shown, f"line {number}")


def _json(path: Path, shown: str, columns: frozenset[str]) -> Iterator[Located]:
    """A list of objects; one object per line is understood too, since many such files end in .json."""
    with _open(path) as stream:
        text = stream.read()
    if text.lstrip().startswith("["):
        for number, item in enumerate(_parsed(text, shown, 1), start=1):
            yield f"row {number}", _object(item, shown, f"row {number}")
        return
    if text.lstrip().partition("\n")[0].strip() == "{":
        raise DataError(f"{shown}: got one object over several lines, expected a list of objects or one object per line")
    yield from _lines(io.StringIO(text), shown)


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
    csv.field_size_limit(sys.maxsize)  # Python's own limit of 131,072 characters is shorter than many solutions
    with _open(path, newline="") as stream:
        reader = csv.reader(stream, strict=True, delimiter=delimiter)
        try:
            header = next(reader, [])
            _require_different(header, columns, shown)
            for fields in reader:
                if fields and len(fields) != len(header):
                    counts = f"{len(fields)} fields, but the header has {len(header)}"
                    held = "a tab" if delimiter == TAB else "commas"
                    raise DataError(f"{shown}: line {reader.line_num}: has {counts}. Quote fields that hold {held}")
                if fields:
                    yield f"line {reader.line_num}", {name: value or None for name, value in zip(header, fields, strict=True)}
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


def _require_different(names: list[str], columns: frozenset[str], shown: str) -> None:
    for name in columns:
        if names.count(name) > 1:
            raise DataError(f"{shown}: has {names.count(name)} columns {name!r}, expected one. Rename or remove the others")


_READERS: dict[str, Read] = {
    ".json": _json, ".jsonl": _json_lines, ".csv": _csv, ".tsv": partial(_csv, delimiter=TAB), ".parquet": _parquet
}  # fmt: skip
ENDINGS = (*_READERS, *(ending + GZIP for ending in _READERS if ending != ".parquet"))
"""The names that files of rows may end in."""
