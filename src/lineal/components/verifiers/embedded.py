"""Verifiers inside other components: an evaluator has its draws judged, an online trainer has its samples rewarded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lineal.components.base import Columns, Workspace
from lineal.components.registry import Registry
from lineal.components.verifiers.base import ERROR, RowVerifier
from lineal.errors import CheckFailure

if TYPE_CHECKING:
    import pyarrow as pa


def row_verifier(verifier: str | Mapping[str, Any], setting: str = "verifier", name: str = "") -> RowVerifier:
    """The verifier that a component's setting names.

    Args:
        verifier: a row-wise verifier's name, or its settings with `use:`.
        setting: the setting's own name, for messages.
        name: put before the names of the columns that the verifier adds.

    Raises:
        ValueError: it is unknown, or judges no single rows.
    """
    settings = {"use": verifier} if isinstance(verifier, str) else dict(verifier)
    try:
        found = Registry().find(str(settings.get("use")))
    except KeyError as error:
        raise ValueError(f"{setting}: {error.args[0]}") from None
    if not issubclass(found, RowVerifier):
        raise ValueError(f"{setting}: {settings['use']!r} does not judge single rows; take one such as 'exact_match'")
    return found.model_validate({**settings, "rows": "completions", **({"name": name} if name else {})})


def identity_of(judge: RowVerifier) -> dict[str, Any]:
    """What of an embedded verifier decides the bytes."""
    return {"use": judge.use, "version": judge.version, **judge.identity()}


def columns_read(judge: RowVerifier) -> Columns:
    """What an embedded verifier reads of the prompts."""
    return tuple(name for name in judge.reads if name != "completion")


def refuse_errors(step: Workspace, judge: RowVerifier, verdicts: pa.ChunkedArray) -> None:
    """Counts the verdicts that are errors.

    Raises:
        CheckFailure: they are more than the verifier's limit.
    """
    import pyarrow.compute as pc

    errors = pc.sum(pc.equal(verdicts, ERROR)).as_py() or 0
    step.counts["error"] = errors
    if errors > judge.max_error_rate * len(verdicts):
        raise too_many_errors(step, judge, errors, len(verdicts))


def too_many_errors(step: Workspace, judge: RowVerifier, errors: int, judged: int, example: str = "") -> CheckFailure:
    """The failure of a step whose embedded verifier could not judge too many completions."""
    said = f", such as: {example}" if example else ""
    message = f"{step.step}: {judge.use} could not judge {errors:,} of {judged:,} completions{said}"
    return CheckFailure("verifier_errors", f"{message} (limit {judge.max_error_rate:.0%}); they are no wrong answers")
