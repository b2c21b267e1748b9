"""Fans work on rows out over replicas with Ray Data: blocks of rows go out, answers come back as blocks are finished.

Rows and answers travel as JSON text in Arrow tables. A replica's own errors come back as values, so that the person reads
them and not Ray's stack; Ray retries only after a process died.
"""

from __future__ import annotations

import json
import queue
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lineal import errors
from lineal.data.progress import say
from lineal.engines.ray.cluster import Cluster, join
from lineal.errors import EngineError, LinealError
from lineal.recipe.compute import Compute

if TYPE_CHECKING:
    import pyarrow as pa

ROWS_PER_START = 1 << 15
"""Rows per replica that are worth its start: Ray Data starts replicas again for each call, a large model takes a minute."""
WATCH_SECONDS = 5.0
_PROBLEM = -1
_STARTED_AGAIN = -2
"""Places that are no row's: an error, and a replica that replaces one that died."""

Work = Callable[[list[Any]], Sequence[Any]]
"""A replica's work on a block of rows: one answer for each, in order; both are plain JSON values."""


def slice_rows(compute: Compute) -> int:
    """Returns how many rows a step should pass at once, so that starting the replicas costs little."""
    return compute.replicas * ROWS_PER_START


def fan_out(
    compute: Compute,
    make: Callable[..., Work],
    arguments: Mapping[str, Any],
    rows: Sequence[Any],
    gpus: float = 0.0,
    log: Path | None = None,
) -> Iterator[tuple[int, Any]]:
    """Yields each row's place and its answer, block by block as replicas finish them.

    Args:
        compute: how many replicas, where, and how many rows they get at once.
        make: makes the work on blocks, once in each replica; an importable function.
        arguments: plain values for `make`.
        rows: JSON values.
        gpus: what each replica reserves besides its cores.
        log: the step's progress file, which gets a line for each replica that died.

    Raises:
        EngineError: the cluster is gone, or replicas died again and again; earlier answers remain valid.
        LinealError: raised by `make` or the work, with its own type.
    """
    blocks = _blocks(rows, compute.ray.block_rows)
    cluster = join(compute, gpus)
    dataset = _dataset(cluster, compute, make, arguments, blocks, gpus)
    waiting = set(range(len(rows)))
    stand_ins: set[str] = set()
    trouble: Exception | None = None
    for found in _watched(dataset, cluster):
        if isinstance(found, Exception):
            trouble = found
            break
        for place, text in zip(found["place"].to_pylist(), found["reply"].to_pylist(), strict=True):
            if place == _PROBLEM:
                raise _problem(text)
            if place == _STARTED_AGAIN:
                if text not in stand_ins:
                    say(
                        "a replica died (killed, or out of memory): it was started again, and its block given out again",
                        log,
                    )
                stand_ins.add(text)
                continue
            waiting.discard(place)
            yield place, json.loads(text)
    if waiting:
        raise EngineError(_unanswered(rows, waiting, compute, trouble, cluster)) from trouble


class Replica:
    """A worker in a process of the cluster: made there, for as long as one call of `fan_out` takes.

    Args:
        make: makes the work, when the first block comes.
        arguments: for `make`.
    """

    def __init__(self, make: Callable[..., Work], arguments: Mapping[str, Any]) -> None:
        self._make, self._arguments = make, arguments
        self._work: Work | None = None
        self._stands_in = _stands_in()

    def __call__(self, block: pa.Table) -> pa.Table:
        """Answers a block of rows: the columns `place` and `row` in, `place` and `reply` out."""
        import pyarrow as pa

        rows = [json.loads(text) for text in block["row"].to_pylist()]
        try:
            self._work = self._work or self._make(**self._arguments)
            replies = [json.dumps(answer) for answer in self._work(rows)]
            places = block["place"].to_pylist()
            if self._stands_in:
                places, replies = [_STARTED_AGAIN, *places], [self._stands_in, *replies]
            return pa.table({"place": places, "reply": pa.array(replies, pa.string())})
        except LinealError as error:
            problem = [type(error).__name__, str(error)]
        except Exception:  # of any kind, so that it reaches the person as it was
            problem = [EngineError.__name__, f"a replica failed:\n{traceback.format_exc()}"]
        return pa.table({"place": [_PROBLEM], "reply": [json.dumps(problem)]})


def _stands_in() -> str:
    """Returns the name of this process of the cluster, if it replaces one that died."""
    import ray

    context = ray.get_runtime_context()
    return str(context.get_worker_id()) if context.was_current_actor_reconstructed else ""


def _blocks(rows: Sequence[Any], size: int) -> list[pa.Table]:
    import pyarrow as pa

    tables = []
    for start in range(0, len(rows), size):
        texts = [json.dumps(row) for row in rows[start : start + size]]
        tables.append(
            pa.table({"place": range(start, start + len(texts)), "row": pa.array(texts, pa.string())})
        )
    return tables


def _dataset(
    cluster: Cluster,
    compute: Compute,
    make: Callable[..., Work],
    arguments: Mapping[str, Any],
    blocks: list[pa.Table],
    gpus: float,
) -> Any:
    data = cluster.ray.data
    # One block may be lost and the others are still finished; a second one means that it isn't the block's fault.
    data.DataContext.get_current().max_errored_blocks = 1
    with warnings.catch_warnings():
        # Ray 2.60 has no other way to bound retries, whose default is without end
        warnings.filterwarnings("ignore", ".*ray_remote_args.* is deprecated", DeprecationWarning)
        return data.from_arrow(blocks).map_batches(
            Replica,
            fn_constructor_args=(make, dict(arguments)),
            batch_size=None,
            batch_format="pyarrow",
            # a block that waits in another one's process would share its death, and its retries
            compute=data.ActorPoolStrategy(
                size=min(compute.replicas, len(blocks)), max_tasks_in_flight_per_actor=1
            ),
            num_cpus=compute.ray.cpus_per_replica,
            num_gpus=gpus,
            max_task_retries=compute.ray.retries,
        )


def _watched(dataset: Any, cluster: Cluster) -> Iterator[pa.Table | Exception]:
    """Yields the finished blocks as they come, and the exception that ended them.

    Raises:
        EngineError: the cluster is gone. Waiting for a block would not say so.
    """
    found: queue.SimpleQueue[pa.Table | Exception | None] = queue.SimpleQueue()
    left = threading.Event()
    threading.Thread(target=_pump, args=(dataset, found, left), daemon=True).start()
    try:
        while True:
            try:
                item = found.get(timeout=WATCH_SECONDS)
            except queue.Empty:
                if cluster.is_lost():
                    raise EngineError(_LOST.format(":".join(map(str, cluster.head)))) from None
                continue
            if item is None:
                return
            yield item
    finally:
        left.set()


_LOST = (
    "the Ray cluster is gone: its head at {} no longer answers. What was finished is saved. "
    "Start the cluster (or leave out compute.ray.address), then run again"
)


def _pump(dataset: Any, found: queue.SimpleQueue[Any], left: threading.Event) -> None:
    try:
        for table in dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
            found.put(table)
            if left.is_set():
                return
    except (
        Exception
    ) as error:  # Ray's errors have many types; they are raised where the blocks are waited for
        found.put(error)
    found.put(None)


def _problem(text: str) -> LinealError:
    """Recreates a replica's error, with the type that it had there."""
    name, message = json.loads(text)
    kind = getattr(errors, name)
    problem: LinealError = kind(message)
    return problem


def _unanswered(
    rows: Sequence[Any], waiting: set[int], compute: Compute, trouble: Exception | None, cluster: Cluster
) -> str:
    size = compute.ray.block_rows
    start = min(waiting) // size * size
    stop = min(start + size, len(rows))
    why = f" Ray says: {str(trouble).splitlines()[0]}" if trouble else ""
    return (
        f"{len(waiting):,} of {len(rows):,} rows have no answer: the process of the replica that worked on rows {start:,} to "
        f"{stop - 1:,} of this slice died, {compute.ray.retries + 1} times in turn (the block begins with "
        f"{json.dumps(rows[start])[:80]}).{why} What was finished is saved. Look for the reason in {cluster.logs}; a process "
        "that is out of memory dies like this: lower compute.ray.block_rows or compute.replicas"
    )
