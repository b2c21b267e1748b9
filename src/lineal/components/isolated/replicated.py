"""Pools for single rows on the replicas of a Ray cluster: each replica has a local pool of its own, with the same limits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from lineal.data.workspace import Workspace
from lineal.engines.ray.fan_out import Work, fan_out, slice_rows
from lineal.recipe.compute import Compute

Answer = TypeVar("Answer")
Answer_co = TypeVar("Answer_co", covariant=True)


class RowPool(Protocol[Answer_co]):
    """The interface of pools that answer many rows at once; see `isolated.pool.WorkerPool` and `sandbox.pool.SandboxPool`."""

    def map(self, rows: Iterable[Mapping[str, Any]], /) -> Iterator[Answer_co]:
        """Returns the answer to each row, in order."""
        ...


def replicated(
    workspace: Workspace,
    local: RowPool[Answer],
    make: Callable[..., Work],
    arguments: Mapping[str, Any],
    read: Callable[[Any], Answer],
) -> RowPool[Answer]:
    """Returns the pool for a step's rows: the local one, or replicas with pools like it where `compute.replicas` asks for them.

    Args:
        workspace: the running step; it gets slices that are worth starting replicas for.
        local: the pool in this process.
        make: makes, in a replica, what answers rows as the local pool would, in plain values.
        arguments: for `make`.
        read: an answer from its plain value.
    """
    if not workspace.compute.replicas:
        return local
    workspace.slice_rows = max(workspace.slice_rows, slice_rows(workspace.compute))
    return _ReplicatedPool(workspace.compute, local, make, arguments, read, workspace.progress_file)


@dataclass(frozen=True)
class _ReplicatedPool(Generic[Answer]):
    """See `replicated`."""

    compute: Compute
    local: RowPool[Answer]
    make: Callable[..., Work]
    arguments: Mapping[str, Any]
    read: Callable[[Any], Answer]
    log: Path | None

    def map(self, rows: Iterable[Mapping[str, Any]], /) -> Iterator[Answer]:
        """Answers as the local pool, which also takes rows that fit into one block: there is nothing to distribute."""
        asked = list(rows)
        if len(asked) <= self.compute.ray.block_rows:
            return self.local.map(asked)
        return self._in_order(asked)

    def _in_order(self, rows: list[Mapping[str, Any]]) -> Iterator[Answer]:
        """Yields answers as their blocks come back, held until their turn."""
        early: dict[int, Answer] = {}
        following = 0
        for place, answer in fan_out(self.compute, self.make, self.arguments, rows, log=self.log):
            early[place] = self.read(answer)
            while following in early:
                yield early.pop(following)
                following += 1
