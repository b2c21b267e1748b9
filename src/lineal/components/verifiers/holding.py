"""The common part of components that have a verifier judge their samples, and keep its verdicts on the rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

from pydantic import PrivateAttr

from lineal.components.base import Component, Surroundings
from lineal.components.verifiers.base import VERDICT, AddsColumns
from lineal.components.verifiers.embedded import embedded_verifier, identity_of

if TYPE_CHECKING:
    import pyarrow as pa

    from lineal.data.progress import Progress

VERIFIER = "verifier"


class HoldsVerifier(Component):
    """Base of components that have their samples judged.

    Attributes:
        verifier: the judge: a verifier's name, or its settings with `use:`.
    """

    verifier: str | dict[str, Any] = "exact_match"
    _judge: AddsColumns = PrivateAttr()

    @classmethod
    def parse(cls, settings: Mapping[str, Any], surroundings: Surroundings) -> Self:
        made = super().parse(settings, surroundings)
        made._judge = embedded_verifier(made.verifier, VERIFIER, surroundings, adds=VERDICT)
        return made

    def embedded(self) -> dict[str, AddsColumns]:
        """Returns the verifier."""
        return {VERIFIER: self._judge}

    def identity(self) -> dict[str, Any]:
        return {**super().identity(), VERIFIER: identity_of(self._judge)}


def judged_rows(judge: AddsColumns, rows: pa.Table, progress: Progress) -> pa.Table:
    """Returns the rows with verdict, score and detail."""
    judged = judge.judged(rows, progress)
    for name in VERDICT:
        rows = rows.append_column(name, judged[name])
    return rows
