"""Verifiers that call a scoring function on each row, in child processes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from math import isfinite
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import pydantic
from annotated_types import Gt

from lineal.components.base import Columns, Workspace
from lineal.components.isolated.pool import WorkerPool
from lineal.components.isolated.replicated import RowPool, replicated
from lineal.components.verifiers.base import ERROR, FAIL, PASS, Judged, RowVerifier, Share
from lineal.engines.ray.fan_out import Work

if TYPE_CHECKING:
    import pyarrow as pa

    from lineal.data.progress import Progress

Seconds = Annotated[float, Gt(0.0), pydantic.Strict(False)]


class ScoredVerifier(RowVerifier):
    """A verifier whose function runs in child processes.

    Attributes:
        timeout: seconds of processor time for one row; more is an error of that row alone.
    """

    function: ClassVar[str]
    _pool: RowPool[dict[str, Any]] | None = pydantic.PrivateAttr(default=None)

    timeout: Seconds = 5.0

    def passes(self, score: float) -> bool:
        """Tells whether a score is a pass."""
        return score >= 1.0

    @contextmanager
    def ready(self, workspace: Workspace) -> Iterator[None]:
        """Opens a pool of `workspace.compute.worker_count` processes, or one in each of `workspace.compute.replicas`."""
        with WorkerPool(self.function, workspace.compute.worker_count, self.timeout) as local:
            arguments = {
                "function": self.function,
                "workers": workspace.compute.ray.cpus_per_replica,
                "seconds": self.timeout,
            }
            self._pool = replicated(workspace, local, scoring_work, arguments, dict)
            yield
        self._pool = None

    def score(self, table: pa.Table, progress: Progress) -> Judged:
        """Scores each row in the pool."""
        assert self._pool is not None
        rows = table.select([name for name in self._sent if name in table.column_names]).to_pylist()
        return _judged(
            self._told(answer, progress)
            for answer in self._pool.map({**row, **self.also_sent()} for row in rows)
        )

    def also_sent(self) -> dict[str, Any]:
        """Returns further arguments of the function beside the row's own columns."""
        return {}

    @property
    def _sent(self) -> Columns:
        return (*self.reads, "task")

    def _told(self, answer: dict[str, Any], progress: Progress) -> tuple[str, float | None, str | None]:
        progress.advance()
        if "error" in answer:
            return ERROR, None, str(answer["error"])
        score, detail = answer["answer"]
        if not isinstance(score, int | float) or not isfinite(score):
            return ERROR, None, f"the score is {score!r}"
        return (PASS if self.passes(score) else FAIL), float(score), detail


class ThresholdVerifier(ScoredVerifier):
    """A scored verifier that passes a row from a threshold on.

    Attributes:
        threshold: the least score, of at most 1, that is a pass.
    """

    threshold: Share = 1.0

    def passes(self, score: float) -> bool:
        """Tells whether a score reaches the threshold."""
        return score >= self.threshold


def scoring_work(**pool: Any) -> Work:
    """Makes a replica's work on rows to score. Runs on the cluster."""
    workers = WorkerPool(**pool)
    return lambda rows: list(workers.map(rows))


def _judged(told: Iterable[tuple[str, float | None, str | None]]) -> Judged:
    import pyarrow as pa

    verdicts, scores, details = zip(*told, strict=True)
    return Judged(
        pa.array(verdicts, pa.string()), pa.array(scores, pa.float64()), pa.array(details, pa.string())
    )
