"""Verifiers that run a completion as a program, in a sandbox, and judge what it answered from outside."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import pydantic

from lineal.components.base import Columns, Workspace, merged
from lineal.components.isolated.replicated import RowPool, replicated
from lineal.components.isolated.worker import WALL_FACTOR
from lineal.components.sandbox.bubblewrap import Limits, require
from lineal.components.sandbox.pool import Reply, SandboxPool
from lineal.components.sandbox.values import Answer, read_answer
from lineal.components.verifiers.base import ERROR, FAIL, VERDICT, Judged, RowVerifier
from lineal.data.schema import arrow_type
from lineal.engines.ray_fan_out import Work
from lineal.recipe.compute import Positive

if TYPE_CHECKING:
    import pyarrow as pa

    from lineal.data.progress import Progress

_PLACE = re.compile(r"\{(prompt|completion)\}")


@dataclass(frozen=True)
class Outcome:
    """What is said of one row.

    Attributes:
        verdict, score, detail: as in the columns.
        output: what the program wrote, where it came to its end.
    """

    verdict: str
    score: float | None
    detail: str | None
    output: str | None = None


class ProgramVerifier(RowVerifier):
    """A verifier of programs. Each runs in a sandbox of its own; `docs/sandbox.md` says what that promises.

    Attributes:
        template: the program's text; {completion} and {prompt} are filled in.
        timeout: whole seconds of processor time for one program; it may wait 10 times as long.
        memory_mb: its memory, in MiB.
        output_kb: the most that it may write, and its longest answer, in KiB.
    """

    name_inside: ClassVar[str] = "program"
    _pool: RowPool[Reply] | None = pydantic.PrivateAttr(default=None)

    template: str = "{completion}"
    timeout: Positive = 4
    memory_mb: Positive = 512
    output_kb: Positive = 64

    @pydantic.field_validator("template")
    @classmethod
    def _holds_the_completion(cls, template: str) -> str:
        if "{completion}" not in template:
            raise ValueError("template must hold {completion}")
        return template

    def needs(self) -> dict[str, Columns]:
        """What it reads; the prompt only where the template asks for it."""
        return {"rows": merged(self.reads, ("prompt",) if "{prompt}" in self.template else ())}

    @contextmanager
    def ready(self, step: Workspace) -> Iterator[None]:
        """Holds sandboxes for `step.compute.worker_count` programs at a time, or some in each of `step.compute.replicas`.

        Raises:
            SandboxError: there is no working sandbox here.
        """
        require()
        limits = Limits(self.timeout, self.timeout * WALL_FACTOR, self.memory_mb << 20, self.output_kb << 10)
        with SandboxPool(step.compute.worker_count, limits) as local:
            arguments = {"workers": step.compute.ray.cpus_per_replica, "limits": asdict(limits)}
            self._pool = replicated(step, local, sandbox_work, arguments, _reply_from)
            yield
        self._pool = None

    def calls(self, row: Mapping[str, Any]) -> tuple[str, ...]:
        """Expressions to evaluate after the program has run.

        Raises:
            ValueError: the row's tests cannot be used.
        """
        return ()

    def outcome(self, row: Mapping[str, Any], answer: Answer) -> Outcome:
        """What is said of a row whose program answered."""
        raise NotImplementedError

    def score(self, table: pa.Table, progress: Progress) -> Judged:
        """Runs the rows' programs."""
        rows = table.to_pylist()
        asked: list[tuple[str, ...] | str] = [self._calls(row) for row in rows]
        jobs = [self._job(row, calls) for row, calls in zip(rows, asked, strict=True) if not isinstance(calls, str)]
        assert self._pool is not None
        replies = self._pool.map(jobs)
        outcomes = []
        for row, calls in zip(rows, asked, strict=True):
            outcomes.append(Outcome(ERROR, None, calls) if isinstance(calls, str) else self._said(row, calls, next(replies)))
            progress.advance()
        return _judged(outcomes)

    def _calls(self, row: Mapping[str, Any]) -> tuple[str, ...] | str:
        try:
            return self.calls(row)
        except ValueError as error:
            return str(error)

    def _job(self, row: Mapping[str, Any], calls: tuple[str, ...]) -> dict[str, Any]:
        source = _PLACE.sub(lambda place: str(row[place[1]]), self.template)
        return {"name": self.name_inside, "source": source, "input": row.get("input") or "", "calls": calls}

    def _said(self, row: Mapping[str, Any], calls: tuple[str, ...], reply: Reply) -> Outcome:
        if reply.broken:
            return Outcome(ERROR, None, reply.problem)
        if reply.line is None:
            return Outcome(FAIL, 0.0, reply.problem)
        try:
            answer = read_answer(reply.line, len(calls))
        except ValueError as error:
            return Outcome(FAIL, 0.0, str(error))
        if answer.raised is not None:
            return Outcome(FAIL, 0.0, told(answer.raised))
        return self.outcome(row, answer)


def sandbox_work(workers: int, limits: dict[str, Any]) -> Work:
    """What a replica does with programs, in sandboxes of its own. Runs on the cluster."""
    require()
    pool = SandboxPool(workers, Limits(**limits))
    return lambda jobs: [_plain(reply) for reply in pool.map(jobs)]


def _plain(reply: Reply) -> list[Any]:
    return [None if reply.line is None else reply.line.decode("latin-1"), reply.problem, reply.broken]


def _reply_from(plain: list[Any]) -> Reply:
    line, problem, broken = plain
    return Reply(None if line is None else line.encode("latin-1"), problem, broken)


_ADDRESS = re.compile(r"\b0x[0-9a-f]{6,}")


def told(text: str) -> str:
    """A program's own words for a detail, without the addresses that differ from run to run."""
    return _ADDRESS.sub("0x...", text)[:300]


def _judged(outcomes: Iterable[Outcome]) -> Judged:
    import pyarrow as pa

    columns = {
        name: pa.array([getattr(outcome, name) for outcome in outcomes], arrow_type(name)) for name in (*VERDICT, "output")
    }
    return Judged(**{name: columns[name] for name in VERDICT}, further={"output": columns["output"]})
