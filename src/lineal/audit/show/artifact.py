"""`lineal show`: one artifact, described by its manifest and its rows or values."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lineal.audit.catalog import Catalog, Link
from lineal.audit.keys import not_here, require_here
from lineal.audit.query import Row, matching_rows
from lineal.audit.terminal import GAP, display_width, facts_text, printable, show_value, table
from lineal.audit.terminal import shown as shown_value
from lineal.components.verifiers.base import VERDICT
from lineal.data.file_names import METRICS_FILE, SETTINGS_FILE
from lineal.data.manifest import Manifest
from lineal.data.store import Artifact, Rows
from lineal.data.values import read_object
from lineal.errors import UsageError, number_of
from lineal.recipe.compute import Compute

FIRST_COLUMNS = (
    "sample_id",
    "prompt_id",
    "round",
    "prompt",
    "completion",
    "chosen",
    "rejected",
    "answer",
    "verdict",
    "score",
    "detail",
    "decision",
    "reason",
    "weight",
    "sample_index",
    "difficulty",
    "finish_reason",
)
"""The order in which columns get a terminal's space."""
WIDEST = 40
"""Cells of one value; the rest of it stands in --json."""
VALUE_FILES = (METRICS_FILE, SETTINGS_FILE)


@dataclass(frozen=True)
class Shown:
    """One artifact as `lineal show` prints it.

    Attributes:
        artifact: the artifact.
        links: its inputs.
        values: what its `metrics.json` or `settings.json` holds.
        matching: how many rows fulfil the condition; None when it has no rows.
        rows: the first of them.
    """

    artifact: Artifact
    links: tuple[Link, ...]
    values: dict[str, Any]
    matching: int | None
    rows: list[Row]


def look_at(catalog: Catalog, artifact: Artifact, where: str | None, limit: int, compute: Compute) -> Shown:
    """Reads an artifact's rows or values.

    Raises:
        UsageError: there is a condition, but it is wrong or the artifact has no rows.
        ArtifactError: its files cannot be read, or its rows are asked for and are not here.
    """
    if where is not None:
        require_here(artifact)
    links, values = catalog.links(artifact), values_of_artifact(artifact)
    if not artifact.parquet_files():
        if where is not None:
            raise UsageError(
                f"{artifact.key} is a {artifact.manifest.kind} artifact without rows; leave out --where"
            )
        return Shown(artifact, links, values, None, [])
    matching, rows = matching_rows(artifact, where, limit, compute)
    return Shown(artifact, links, values, matching, rows)


def values_of_artifact(artifact: Artifact) -> dict[str, Any]:
    """Reads the values' files of an artifact."""
    values: dict[str, Any] = {}
    for name in VALUE_FILES:
        if name in artifact.manifest.files:
            values.update(read_object(artifact.directory / name))
    return values


def as_json(shown: Shown) -> dict[str, Any]:
    """Returns everything, for programs."""
    found: dict[str, Any] = {
        "key": shown.artifact.key,
        "here": shown.artifact.here,
        "manifest": shown.artifact.manifest.model_dump(mode="json", exclude_none=True),
        "inputs": [
            {
                "field": link.field,
                "step": link.step,
                "digest": link.digest,
                "key": link.artifact.key if link.artifact else None,
            }
            for link in shown.links
        ],
    }
    if shown.values:
        found["values"] = shown.values
    if shown.matching is not None:
        found |= {"matching": shown.matching, "rows": shown.rows}
    return found


def as_text(shown: Shown, width: int) -> str:
    """Formats the artifact for a terminal of `width` cells."""
    lines = [*_head(shown, width), *values_text(shown), *_files_text(shown.artifact.manifest)]
    if not shown.artifact.here:
        lines += ["", f"known by its record: {not_here(shown.artifact.key)}"]
    if shown.matching is not None:
        lines += ["", *rows_text(shown, width)]
    return "\n".join(lines)


def _head(shown: Shown, width: int) -> list[str]:
    manifest = shown.artifact.manifest
    engine = f" with {manifest.engine}" if manifest.engine else ""
    lines = [
        f"{shown.artifact.key}  {manifest.kind}",
        f"  made by   {manifest.component}@{manifest.version}{engine}, seed {manifest.seed}",
        f"  digest    {manifest.digest}",
        f"  identity  {manifest.identity}",
    ]
    facts = {"settings": manifest.settings, "counts": manifest.counts, "reads": _short(manifest.files_read)}
    for name, values in facts.items():
        lines += [
            f"  {name if not number else '':<8}  {line}"
            for number, line in enumerate(_wrapped(values, width - 12))
        ]
    lines += [
        f"  {'input' if not number else '':<8}  {_link(link)}" for number, link in enumerate(shown.links)
    ]
    return lines


def _wrapped(values: Mapping[str, Any], width: int) -> list[str]:
    """Writes names and values in as many lines as they need; values that nobody set are left out."""
    text = "; ".join(facts_text({name: value}, WIDEST) for name, value in values.items() if value is not None)
    return textwrap.wrap(text, max(20, width), break_on_hyphens=False)


def _link(link: Link) -> str:
    where = link.artifact.key if link.artifact else f"{link.step} (no longer here with these bytes)"
    return f"{link.field}: {where}  {link.digest[:12]}"


def _short(digests: dict[str, str]) -> dict[str, str]:
    return {name: digest[:12] for name, digest in digests.items()}


def values_text(shown: Shown) -> list[str]:
    """Writes the values, a line for each."""
    if not shown.values:
        return []
    width = max(len(name) for name in shown.values)
    return [
        "",
        *(f"  {printable(name):<{width}}  {_value_text(value)}" for name, value in shown.values.items()),
    ]


def _value_text(value: Any) -> str:
    return facts_text(value, 10_000) if isinstance(value, dict) else show_value(value)


def _files_text(manifest: Manifest) -> list[str]:
    if manifest.columns:
        return []
    rows = [
        [printable(name), f"{entry.size_bytes:,}", entry.sha256[:12]]
        for name, entry in manifest.files.items()
    ]
    return ["", *(f"  {line}" for line in table(["file", "bytes", "sha256"], rows))]


def rows_text(shown: Shown, width: int) -> list[str]:
    """Writes the rows as lines of a terminal with `width` cells."""
    total = Rows((shown.artifact,)).count
    counted = (
        f"{shown.matching:,} of {number_of(total, 'row')} match"
        if shown.matching != total
        else number_of(total, "row")
    )
    head = (
        f"{counted}; the first {len(shown.rows)}:"
        if shown.matching and shown.matching > len(shown.rows)
        else f"{counted}"
    )
    if not shown.rows:
        return [head]
    columns = list(shown.artifact.manifest.columns)
    ordered = _ordered(shown.artifact.manifest)
    cells = {name: [shown_value(row.get(name), WIDEST) for row in shown.rows] for name in ordered}
    fitting = _fitting(cells, width)
    hidden = [name for name in columns if name not in fitting]
    lines = [
        head,
        *table(
            [printable(name) for name in fitting], list(zip(*(cells[name] for name in fitting), strict=True))
        ),
    ]
    return (
        [*lines, f"({len(hidden)} more columns in --json: {', '.join(map(printable, hidden))})"]
        if hidden
        else lines
    )


def _ordered(manifest: Manifest) -> list[str]:
    """Returns the columns in the order in which they get space.

    A verifier's own columns stand behind its score; a named verifier's verdict takes the place of `verdict`.
    """
    own: dict[str, tuple[str, ...]] = {}
    if "pass" in manifest.counts:
        own = {name: (manifest.column(name), name) for name in VERDICT}
        own["score"] += _added_beside(manifest)
    first = [one for name in FIRST_COLUMNS for one in own.get(name, (name,)) if one in manifest.columns]
    return list(dict.fromkeys([*first, *manifest.columns]))


def _added_beside(manifest: Manifest) -> tuple[str, ...]:
    """Returns what a verifier added to its verdict, score and detail: the columns behind them."""
    columns = list(manifest.columns)
    told = (columns.index(name) for name in map(manifest.column, VERDICT) if name in columns)
    last = max(told, default=len(columns))
    return tuple(columns[last + 1 :])


def _fitting(cells: dict[str, list[str]], width: int) -> list[str]:
    """Returns the columns that fit side by side, in the order in which they get space; at least one."""
    found: list[str] = []
    used = -len(GAP)
    for name, values in cells.items():
        own = max(display_width(text) for text in (name, *values)) + len(GAP)
        if not found or used + own <= width:
            found.append(name)
            used += own
    return found
