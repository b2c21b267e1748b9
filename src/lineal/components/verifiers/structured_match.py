"""`structured_match`: JSON, or the call of a function, equal as a value, with a score per field."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from lineal.components.base import Columns
from lineal.components.verifiers.base import NO_ANSWER
from lineal.components.verifiers.scored import ThresholdVerifier
from lineal.components.verifiers.structures import Missing, Unusable, fields_of, structure_in, structure_of

MOST_NAMED = 3


class StructuredMatch(ThresholdVerifier):
    """Passes a completion that holds the same JSON value, or the same call, as the answer.

    Order of keys, white space and the form of numbers (`1`, `1.0`, `1e0`) don't count; types do: `"1"` is not `1`, and `true`
    is not `1`. A call `f(x, y=1)` equals the object `{"name": "f", "arguments": {...}}`. The value is the last one in a fenced
    block, else the whole completion, else the last that stands in it. The score is the share of equal
    fields among those that either side has.

    Attributes:
        threshold: the least score that is a pass.
    """

    function: ClassVar[str] = "lineal.components.verifiers.structured_match:score_structure"
    reads: ClassVar[Columns] = ("completion", "answer")


def score_structure(row: Mapping[str, str]) -> tuple[float, str | None]:
    """Returns score and detail of one row. Runs in a child process.

    Raises:
        ValueError: the reference is neither JSON nor a call.
    """
    try:
        wanted = fields_of(structure_of(row["answer"]))
    except Unusable as error:
        raise ValueError(f"the reference answer is no JSON value and no call: {error}") from error
    try:
        told = fields_of(structure_in(row["completion"]))
    except Missing:
        return 0.0, NO_ANSWER
    except Unusable as error:
        return 0.0, str(error)
    paths = dict.fromkeys([*wanted, *told])
    differing = [path for path in paths if wanted.get(path) != told.get(path)]
    if not differing:
        return 1.0, None
    named = ", ".join("/".join(map(str, path))[:40] or "the value" for path in differing[:MOST_NAMED])
    return (len(paths) - len(differing)) / len(
        paths
    ), f"{len(differing)} of {len(paths)} fields differ: {named}"
