"""Writes rows for people to label, and their labels into the file that a step waits for."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TextIO

from lineal.components.sources.files import read_file, reader_of
from lineal.components.verifiers.labels import Labels
from lineal.data.schema import row_key
from lineal.data.store import Rows
from lineal.errors import UsageError
from lineal.plan import Plan, Step
from lineal.recipe.whole_files import written_whole
from lineal.step.runner import open_inputs

SHOWN = ("sample_id", "prompt_id", "prompt", "messages", "completion", "answer", "verdict", "detail")
"""The columns that a person sees first, where a row has them; columns of the user's own follow."""
_FORMULA = re.compile(r"[=@\t\r]|[+-](?!\d)")

Write = Callable[[TextIO, list[str], Iterable[Mapping[str, Any]]], None]


def labels_step(plan: Plan, key: str) -> tuple[Step, Labels]:
    """Returns the step with this key, which must be one that takes labels.

    Raises:
        UsageError: it is another one; names the step that labels its rows, or how to declare one.
    """
    step = plan.step(key)
    if isinstance(step.component, Labels):
        return step, step.component
    takers = [each.key for each in plan.consumers(step) if isinstance(each.component, Labels)]
    example = "{use: labels, rows: NODE, path: 'labels/round_{round}.csv', columns: {verdict: verdict}}"
    fix = (
        f"Its rows are labelled by {takers[0]}: lineal label {takers[0]}"
        if takers
        else f"Declare a node that does: {example}"
    )
    raise UsageError(f"{key} is made by {step.component.use!r}, which takes no labels. {fix}")


def write_to_label(plan: Plan, step: Step, labels: Labels, target: Path) -> int:
    """Writes the rows that a step labels, with empty columns to fill in; returns how many.

    Raises:
        UsageError: the file is there already, or its ending is not one of a format to write.
        ArtifactError: the rows are not made yet, or damaged.
    """
    write = _writer(target)
    if target.exists():
        raise UsageError(f"{target} is there already. Name a new file, or move it away")
    rows = _rows(plan, step)
    empty = list(dict.fromkeys(labels.mapping.values()))
    shown = [name for name in _shown(rows) if name not in labels.mapping or labels.mapping[name] != name]
    both = [name for name in empty if name in shown]
    if both:
        raise UsageError(
            f"{step.key}: the file would have two columns {both[0]!r}, one to read and one to fill. Rename it in columns"
        )
    cell = _no_formula if target.suffix == ".csv" else _as_it_is
    lines = (
        {**{name: cell(value) for name, value in _plain(row).items()}, **dict.fromkeys(empty)}
        for row in rows.read(shown).to_pylist()
    )
    _put(target, lambda stream: write(stream, [*shown, *empty], lines))
    return rows.count


def take_labels(plan: Plan, step: Step, labels: Labels, filled: Path) -> int:
    """Checks a filled file and writes its ids and labels to where the step reads them; returns how many.

    Raises:
        UsageError: there is no such file, or it cannot be one of labels.
        DataError: it has unknown ids, lacks rows, or a value is none.
    """
    write, rows = _writer(labels.file), _rows(plan, step)
    if not filled.is_file() or reader_of(filled.name) is None:
        raise UsageError(f"{filled}: no file of labels there, as csv, jsonl, json or parquet")
    key = row_key(rows.columns)
    ids, columns = rows.read([key])[key].to_pylist(), list(dict.fromkeys(labels.mapping.values()))
    located = list(read_file(filled, str(filled), [key, *columns]))
    labels.labels(located, key, ids, str(filled))
    given = {str(values[key]): values for _, values in located}
    lines = ({key: name, **{column: given[name][column] for column in columns}} for name in ids)
    _put(labels.file, lambda stream: write(stream, [key, *columns], lines))
    return len(ids)


def _rows(plan: Plan, step: Step) -> Rows:
    return Rows(open_inputs(plan, step, verify=True)["rows"])


def _shown(rows: Rows) -> list[str]:
    from lineal.data.schema import COLUMNS

    own = [name for name in rows.columns if name not in COLUMNS]
    return [name for name in (*SHOWN, *own) if name in rows.columns]


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """Converts a row to a file's values: conversations as JSON text."""
    return {
        name: json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else value
        for name, value in row.items()
    }


def _as_it_is(value: Any) -> Any:
    return value


def _put(target: Path, write: Callable[[TextIO], None]) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(target) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        write(stream)


def _writer(path: Path) -> Write:
    writers: dict[str, Write] = {".csv": _write_csv, ".jsonl": _write_json_lines}
    if path.suffix not in writers:
        raise UsageError(
            f"{path}: labels are written as .csv or .jsonl, got {path.suffix or 'no ending'!r}. Rename the file"
        )
    return writers[path.suffix]


def _write_csv(stream: TextIO, columns: list[str], rows: Iterable[Mapping[str, Any]]) -> None:
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([row[name] for name in columns] for row in rows)


def _no_formula(value: Any) -> Any:
    """Makes a cell that no spreadsheet runs as a formula: a model's text may be one."""
    return f"'{value}" if isinstance(value, str) and _FORMULA.match(value) else value


def _write_json_lines(stream: TextIO, columns: list[str], rows: Iterable[Mapping[str, Any]]) -> None:
    stream.writelines(
        json.dumps({name: row[name] for name in columns}, ensure_ascii=False, default=str) + "\n"
        for row in rows
    )
