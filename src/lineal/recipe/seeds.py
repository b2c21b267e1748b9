"""Names of a pipeline's variants: its further seeds, and itself without one of its parts."""

from __future__ import annotations

SEED_MARK = "__seed_"
"""Between a pipeline's name and a further seed of it: `rest_em__seed_1`. The first seed's keys have the name alone.

Dagster, DVC and paths all allow it, so that a key is spelled alike everywhere."""
WITHOUT_MARK = "__without_"
"""Between a pipeline's name and the part that it is made without: `rest_em__without_filtered`, before a further seed."""


def declared_name(pipeline: str) -> str:
    """Returns the name of a pipeline's file, whichever of its variants is meant: `rest_em` for `rest_em__seed_1`."""
    return series_name(pipeline).partition(WITHOUT_MARK)[0]


def series_name(pipeline: str) -> str:
    """Returns the name that all seeds of a pipeline share: `rest_em__without_filtered` for that with a seed behind it."""
    return pipeline.partition(SEED_MARK)[0]


def name_without(pipeline: str, part: str) -> str:
    """Returns the name of a pipeline's variant without a part, a node or a setting: `generated.hint`."""
    return f"{pipeline}{WITHOUT_MARK}{part.replace('.', '_')}"
