"""The Dagster metadata of an artifact: counts, columns, a sample of rows, timings, and the round's numbers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg

from lineal.components.base import Role
from lineal.data.curves import STEP, curve_of, shortened
from lineal.data.file_names import METRICS_FILE
from lineal.data.schema import COLUMNS
from lineal.data.store import Artifact
from lineal.data.values import read_object
from lineal.errors import ArtifactError
from lineal.plan import Step

OUTCOME = "lineal/outcome"
SAMPLE_ROWS = 5
CELL_CHARACTERS = 300
TRAINING_ROWS = 20
WHOLE = (STEP, "tokens")
_FIRST_COLUMNS = ("prompt", "completion", "answer", "verdict", "decision", "reason", "chosen", "rejected")

Metadata = dict[str, Any]


def artifact_metadata(step: Step, artifact: Artifact, log: Mapping[str, Any], outcome: str) -> Metadata:
    """Returns all metadata of one artifact of a step.

    Args:
        step: the step that made it.
        artifact: the opened artifact.
        log: the run log of the run that made it; empty when it was restored.
        outcome: whether it was made now, restored, or there already.
    """
    main = artifact.manifest.output == ""
    return {
        **_rows(artifact),
        **(_counts(step, artifact) if main else {}),
        **(_metrics(artifact.directory / METRICS_FILE) if main else {}),
        **(_timings(log) if main else {}),
        **(_training(log) if main else {}),
        OUTCOME: outcome,
        "lineal/digest": artifact.digest,
        "lineal/size_bytes": sum(entry.size_bytes for entry in artifact.manifest.files.values()),
        "lineal/path": dg.MetadataValue.path(str(artifact.directory)),
    }


def _rows(artifact: Artifact) -> Metadata:
    manifest = artifact.manifest
    if not manifest.columns:
        return {}
    columns = [
        dg.TableColumn(name, type=kind, description=COLUMNS[name][1] if name in COLUMNS else None)
        for name, kind in manifest.columns.items()
    ]
    return {
        "dagster/row_count": sum(entry.rows or 0 for entry in manifest.files.values()),
        "dagster/column_schema": dg.TableSchema(columns=columns),
        "sample": _sample(artifact),
    }


def _sample(artifact: Artifact) -> dg.TableMetadataValue:
    """Shows the first rows, their text columns first; long cells are visibly truncated."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = [name for name in _FIRST_COLUMNS if name in artifact.manifest.columns]
    names += [
        name for name, kind in artifact.manifest.columns.items() if name not in names and kind != "binary"
    ]
    rows: list[dict[str, Any]] = []
    for path in artifact.parquet_files()[:1]:
        try:
            batch = next(pq.ParquetFile(path).iter_batches(SAMPLE_ROWS, columns=names), None)
        except (pa.ArrowException, OSError) as error:
            raise ArtifactError(f"{artifact.key}: {path} cannot be read as Parquet ({error})") from error
        rows = batch.to_pylist() if batch is not None else []
    records = [dg.TableRecord({name: _cell(row[name]) for name in names}) for row in rows]
    schema = dg.TableSchema(
        columns=[dg.TableColumn(name, type=artifact.manifest.columns[name]) for name in names]
    )
    return dg.TableMetadataValue(records, schema)


def _cell(value: Any) -> str | int | float | bool:
    """Formats a value for the table. Text of models is shown literally, with unprintable characters escaped."""
    if isinstance(value, bool | int | float):
        return value
    text = (
        ""
        if value is None
        else value
        if isinstance(value, str)
        else json.dumps(value, ensure_ascii=False, default=str)
    )
    cut = f" ... (+{len(text) - CELL_CHARACTERS:,} characters)" if len(text) > CELL_CHARACTERS else ""
    shown = text[:CELL_CHARACTERS]
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in shown) + cut


def _counts(step: Step, artifact: Artifact) -> Metadata:
    counts = artifact.manifest.counts
    found: Metadata = {f"rows/{name}": count for name, count in counts.items()}
    if artifact.manifest.nothing_to_learn:
        found["nothing_to_learn"] = artifact.manifest.nothing_to_learn
    total = counts.get("in", 0)
    if total and step.component.role is Role.SELECTOR and "kept" in counts:
        found["kept_share"] = counts["kept"] / total
    if total and step.component.role is Role.VERIFIER and "pass" in counts:
        found["pass_share"] = counts["pass"] / total
    return found


def _metrics(path: Path) -> Metadata:
    """Returns the numbers of `metrics.json`, nested ones with a slash: `by_difficulty/12`."""
    if not path.exists():
        return {}
    return dict(_numbers("", read_object(path)))


def _numbers(prefix: str, values: Mapping[str, Any]) -> list[tuple[str, float | int]]:
    found: list[tuple[str, float | int]] = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            found += _numbers(f"{prefix}{name}/", value)
        elif isinstance(value, int | float):
            found.append((f"{prefix}{name}", value))
    return found


def _training(log: Mapping[str, Any]) -> Metadata:
    """Makes a table of a training's optimizer steps: loss, gradient norm, rate and tokens."""
    curve = shortened(curve_of(log.get("facts", {})), TRAINING_ROWS)
    if not curve:
        return {}
    records = [
        dg.TableRecord(dict(zip(curve, row, strict=True))) for row in zip(*curve.values(), strict=True)
    ]
    schema = dg.TableSchema(
        columns=[dg.TableColumn(name, type="int" if name in WHOLE else "float") for name in curve]
    )
    return {"training": dg.TableMetadataValue(records, schema)}


def _timings(log: Mapping[str, Any]) -> Metadata:
    """Returns numbers of the run that made it, under their names in the run log."""
    facts = log.get("facts", {})
    found: Metadata = {
        name: log[name] for name in ("seconds", "cpu_seconds", "peak_memory_bytes") if name in log
    }
    found |= {f"seconds/{phase}": seconds for phase, seconds in facts.get("seconds_by_phase", {}).items()}
    found |= {name: value for name, value in facts.items() if isinstance(value, int | float | str)}
    return found
