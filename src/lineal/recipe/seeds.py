"""Names of a pipeline's further seeds."""

from __future__ import annotations

SEED_MARK = "__seed_"
"""Between a pipeline's name and a further seed of it: `rest_em__seed_1`. The first seed's keys have the name alone.

Dagster, DVC and paths all allow it, so that a key is spelled alike everywhere."""


def declared_name(pipeline: str) -> str:
    """Returns the name of a pipeline's file, whichever of its seeds is meant: `rest_em` for `rest_em__seed_1`."""
    return pipeline.partition(SEED_MARK)[0]
