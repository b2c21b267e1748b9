"""Croissant 1.0 metadata of rows: their files with digests, their columns with types (mlcommons.org/croissant/1.0)."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

from lineal.data.schema import COLUMNS
from lineal.data.store import Artifact

CONFORMS_TO = "http://mlcommons.org/croissant/1.0"
FILE_SET = "row-files"
_TERMS = (
    "citeAs",
    "column",
    "equivalentProperty",
    "extract",
    "field",
    "fileProperty",
    "fileObject",
    "fileSet",
    "format",
    "includes",
    "isLiveDataset",
    "jsonPath",
    "key",
    "md5",
    "parentField",
    "path",
    "recordSet",
    "references",
    "regex",
    "repeated",
    "replace",
    "samplingRate",
    "separator",
    "source",
    "subField",
    "transform",
)
CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    **{name: f"cr:{name}" for name in _TERMS},
}
_LIST = re.compile(r"^(?:large_)?list<\w+: (.*)>$")
_STRUCT = re.compile(r"^struct<((?:\w+: \w+)(?:, \w+: \w+)*)>$")
_PICTURE = {"bytes": "binary", "path": "string"}
"""The parts of a picture as `datasets` has it."""
_TYPES = (
    (r"(large_)?string|large_utf8|utf8", "sc:Text"),
    (r"u?int\d+", "sc:Integer"),
    (r"double|float|half_?float", "sc:Float"),
    (r"decimal\d*\(.*\)", "sc:Float"),
    (r"bool", "sc:Boolean"),
    (r"date\d+\[.*\]", "sc:Date"),
    (r"timestamp\[.*\]", "sc:DateTime"),
)


def croissant(artifact: Artifact, description: str, paper: str | None) -> dict[str, Any]:
    """Builds the JSON-LD document of an artifact's rows, whose files lie under `data/`.

    Args:
        artifact: the rows.
        description: one line of text.
        paper: what to cite.

    Returns:
        the document; it has no date and no license, which the rows' makers add when they publish.
    """
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": CONFORMS_TO,
        "name": re.sub(r"[^A-Za-z0-9_-]+", "-", artifact.key),
        "description": description,
        **({"citeAs": paper} if paper else {}),
        "version": f"{artifact.manifest.version}.0.0",
        "identifier": f"sha256:{artifact.digest}",
        "distribution": _distribution(artifact),
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": "rows",
                "name": "rows",
                "description": "One record per row.",
                "field": [_field(artifact, name, kind) for name, kind in artifact.manifest.columns.items()],
            }
        ],
    }


def _distribution(artifact: Artifact) -> list[dict[str, Any]]:
    names = _names(artifact)
    files: list[dict[str, Any]] = [_file(artifact, name) for name in names]
    if len(names) > 1:
        kind = {"@type": "cr:FileSet", "@id": FILE_SET, "name": FILE_SET, "description": "All row files."}
        files.append(kind | {"encodingFormat": "application/x-parquet", "includes": "data/*.parquet"})
    return files


def _names(artifact: Artifact) -> list[str]:
    return [path.relative_to(artifact.directory).as_posix() for path in artifact.parquet_files()]


def _file(artifact: Artifact, name: str) -> dict[str, Any]:
    entry = artifact.manifest.files[name]
    return {
        "@type": "cr:FileObject",
        "@id": f"data/{name}",
        "name": name,
        "description": f"{entry.rows or 0} rows.",
        "contentUrl": f"data/{name}",
        "contentSize": f"{entry.size_bytes} B",
        "encodingFormat": "application/x-parquet",
        "sha256": entry.sha256,
    }


def _field(artifact: Artifact, name: str, kind: str) -> dict[str, Any]:
    names = _names(artifact)
    where = {"fileObject": {"@id": f"data/{names[0]}"}} if len(names) == 1 else {"fileSet": {"@id": FILE_SET}}
    listed = _LIST.match(kind)
    described = COLUMNS[name][1] if name in COLUMNS else "a column of the user's own"
    place, source = f"rows/{quote(name, safe='')}", where | {"extract": {"column": name}}
    field = {"@type": "cr:Field", "@id": place, "name": name, "description": described}
    repeated, of = ({"repeated": True}, listed[1]) if listed else ({}, kind)
    parts = _parts(of)
    if parts == _PICTURE:
        source = where | {"extract": {"column": name}, "transform": {"jsonPath": "$[*].bytes"}}
        return field | {"dataType": "sc:ImageObject"} | repeated | {"source": source}
    if not parts:
        return field | {"dataType": data_type(of)} | repeated | {"source": source}
    path = "$[*]" if listed else "$"
    inside = [
        {
            "@type": "cr:Field",
            "@id": f"{place}/{quote(part, safe='')}",
            "name": part,
            "description": f"{part} of {name}",
            "dataType": data_type(kind),
            "source": source | {"transform": {"jsonPath": f"{path}.{part}"}},
        }
        for part, kind in parts.items()
    ]
    return field | repeated | {"subField": inside}


def _parts(arrow: str) -> dict[str, str]:
    """Returns the types of a struct's parts by name, except those that are structs themselves; empty for other types."""
    found = _STRUCT.match(arrow)
    return dict(part.split(": ", 1) for part in found[1].split(", ")) if found else {}


def data_type(arrow: str) -> str:
    """Returns the schema.org type of an Arrow type; text where there is none."""
    return next((found for pattern, found in _TYPES if re.fullmatch(pattern, arrow)), "sc:Text")
