"""Canonical digests, row ids and seeds: pure functions of provenance, the same on every machine."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from json.encoder import encode_basestring
from pathlib import Path
from typing import Any

ID_DIGITS = 20
"""Hex digits of a row id: 80 bits, so 1e9 rows collide with a chance below 1e-6."""


def canonical_json(value: Any) -> str:
    """Writes the one JSON text of a value: keys sorted, no spaces, floats by their shortest form.

    Raises:
        TypeError: the value has no canonical form (NaN, infinities, sets, objects).
    """
    try:
        return _written(value)
    except TypeError:
        raise TypeError(next(_formless(value, "value"))) from None


def _written(value: Any) -> str:
    """Writes a value; the types that rows mostly hold (texts, whole numbers, lists of them) are tried first."""
    if isinstance(value, str):
        return encode_basestring(value)
    if isinstance(value, int):
        return int.__repr__(value) if not isinstance(value, bool) else "true" if value else "false"
    if isinstance(value, list | tuple):
        return f"[{','.join(map(_written, value))}]"
    return (
        "null"
        if value is None
        else _written_number(value)
        if isinstance(value, float)
        else _written_mapping(value)
    )


def _written_number(value: float) -> str:
    if not math.isfinite(value):
        raise TypeError
    return repr(int(value)) if value.is_integer() and abs(value) < 2**53 else float.__repr__(value)


def _written_mapping(value: Any) -> str:
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise TypeError
    return f"{{{','.join([f'{encode_basestring(key)}:{_written(value[key])}' for key in sorted(value)])}}}"


def _formless(value: Any, where: str) -> Iterator[str]:
    """Yields the parts of a value that have no canonical form, with their places."""
    if isinstance(value, float):
        if not math.isfinite(value):
            yield f"{where} is {value}: a digest needs finite numbers"
    elif isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            yield f"{where} has keys that are not strings"
        for key, item in value.items():
            yield from _formless(item, f"{where}.{key}")
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _formless(item, f"{where}[{index}]")
    elif value is not None and not isinstance(value, bool | str | int):
        yield f"{where} is a {type(value).__name__}, which has no canonical form"


def digest_of(value: Any) -> str:
    """Returns SHA-256 of a value's canonical JSON, as 64 hex digits."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def file_digest(path: Path) -> str:
    """Returns SHA-256 of a file's bytes, as 64 hex digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def row_id(*provenance: str | int | float | list[str]) -> str:
    """Returns the id of a row made from this provenance."""
    return hashlib.sha256(canonical_json(provenance).encode()).hexdigest()[:ID_DIGITS]


def row_ids(
    start: Sequence[str], parents: Iterable[list[str]], content: Mapping[str, list[Any]]
) -> list[str]:
    """Returns `row_id(*start, parents, canonical_json(content))` of each row, from columns: four times as fast as from dicts.

    Args:
        start: the first parts, which all share.
        parents: by row.
        content: by column, the rows' values.

    Raises:
        TypeError: a value has no canonical form.
    """
    head = "".join(f"{canonical_json(part)}," for part in start)
    names = sorted(content)
    frame = ",".join(f"{canonical_json(name)}:".replace("%", "%%") + "%s" for name in names)
    values = zip(*(_all_written(content[name]) for name in names), strict=True)
    told = (encode_basestring(f"{{{frame % row}}}") for row in values)
    texts = (
        f"[{head}[{','.join(map(encode_basestring, own))}],{one}]"
        for own, one in zip(parents, told, strict=True)
    )
    return [hashlib.sha256(text.encode()).hexdigest()[:ID_DIGITS] for text in texts]


def _all_written(values: list[Any]) -> list[str]:
    """Writes the canonical JSON of each value; most columns hold only texts."""
    try:
        return list(map(encode_basestring, values))
    except TypeError:
        return list(map(_written, values))


def row_seed(run_seed: int, step: str, *which: str | int) -> int:
    """Derives the 64-bit seed of one row's randomness from the run's seed, the step and the row."""
    return seed_of_list([canonical_json(part) for part in (run_seed, step, *which)])


def digest_of_list(texts: Iterable[str]) -> str:
    """Returns the `digest_of` a list, given its items' canonical JSON: items that many lists share are written only once."""
    return hashlib.sha256(f"[{','.join(texts)}]".encode()).hexdigest()


def id_of_list(texts: Iterable[str]) -> str:
    """Returns the `row_id`, given the canonical JSON of its parts."""
    return digest_of_list(texts)[:ID_DIGITS]


def seed_of_list(texts: Iterable[str]) -> int:
    """Returns the `row_seed`, given the canonical JSON of its parts."""
    return int.from_bytes(hashlib.sha256(f"[{','.join(texts)}]".encode()).digest()[:8], "big")
