"""Verifiers that run a completion as a program, in a sandbox, and judge its answers from outside."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import pydantic

from lineal.components.base import Columns, Workspace, merged
from lineal.components.isolated.replicated import RowPool, replicated
from lineal.components.isolated.worker import WALL_FACTOR
from lineal.components.sandbox.bubblewrap import Limits, require
from lineal.components.sandbox.conversation import Reply
from lineal.components.sandbox.pool import SandboxPool
from lineal.components.sandbox.values import ProgramAnswer, read_answer
from lineal.components.verifiers.base import ERROR, FAIL, VERDICT, Judged, RowVerifier
from lineal.data.schema import arrow_type
from lineal.engines.ray.fan_out import Work
from lineal.recipe.compute import Positive

if TYPE_CHECKING:
    import pyarrow as pa

    from lineal.data.progress import Progress

_PLACE = re.compile(r"\{(prompt|completion)\}")


@dataclass(frozen=True)
class ProgramVerdict:
    """The verdict on one row.

    Attributes:
        verdict, score, detail: as in the columns.
        output: what the program wrote, where it came to its end.
    """

    verdict: str
    score: float | None
    detail: str | None
    output: str | None = None


@dataclass(frozen=True)
class Answered:
    """A row whose program answered.

    Attributes:
        row: the row.
        asked: what `asks` gave for it.
        line: what came out of the sandbox.
    """

    row: Mapping[str, Any]
    asked: Mapping[str, Any]
    line: bytes


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
        """Returns the columns that it reads; the prompt only where the template uses it."""
        return {"rows": merged(self.reads, ("prompt",) if "{prompt}" in self.template else ())}

    @contextmanager
    def ready(self, workspace: Workspace) -> Iterator[None]:
        """Opens sandboxes for `compute.worker_count` programs at a time, or some in each of `compute.replicas`.

        Raises:
            SandboxError: there is no working sandbox here.
        """
        require()
        limits = Limits(self.timeout, self.timeout * WALL_FACTOR, self.memory_mb << 20, self.output_kb << 10)
        with SandboxPool(workspace.compute.worker_count, limits) as local:
            arguments = {"workers": workspace.compute.ray.cpus_per_replica, "limits": asdict(limits)}
            self._pool = replicated(workspace, local, sandbox_work, arguments, _reply_from)
            yield
        self._pool = None

    def asks(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the requests to a program after it has run: the part of a job (`SandboxPool.map`) from the row's tests.

        Raises:
            ValueError: the row's tests cannot be used.
        """
        return {"calls": ()}

    def outcomes(self, answered: Iterable[Answered]) -> Iterator[ProgramVerdict]:
        """Yields the verdicts on rows whose program came to its end."""
        raise NotImplementedError

    def score(self, table: pa.Table, progress: Progress) -> Judged:
        """Runs the rows' programs."""
        rows = table.to_pylist()
        asked = [self._asked(row) for row in rows]
        said = [ProgramVerdict(ERROR, None, ask) if isinstance(ask, str) else None for ask in asked]
        progress.advance(len(rows) - said.count(None))
        assert self._pool is not None
        pairs = [(row, ask) for row, ask in zip(rows, asked, strict=True) if not isinstance(ask, str)]
        replies = self._pool.map([self._job(row, ask) for row, ask in pairs])
        early: list[ProgramVerdict | None] = []

        def answered() -> Iterator[Answered]:
            for (row, ask), reply in zip(pairs, replies, strict=True):
                progress.advance()
                early.append(_cut_short(reply))
                if reply.line is not None:
                    yield Answered(row, ask, reply.line)

        late = list(self.outcomes(answered()))
        return _judged(_filled(said, _filled(early, late)), self.added)

    def _asked(self, row: Mapping[str, Any]) -> dict[str, Any] | str:
        try:
            return self.asks(row)
        except ValueError as error:
            return str(error)

    def _job(self, row: Mapping[str, Any], asked: Mapping[str, Any]) -> dict[str, Any]:
        source = _PLACE.sub(lambda place: str(row[place[1]]), self.template)
        return {"name": self.name_inside, "source": source, "input": row.get("input") or "", **asked}


def ended(line: bytes) -> ProgramAnswer | ProgramVerdict:
    """Returns the answer of a program that came to its end; else a fail with the reason."""
    try:
        answer = read_answer(line, 0)
    except ValueError as error:
        return ProgramVerdict(FAIL, 0.0, str(error))
    if answer.raised is not None:
        return ProgramVerdict(FAIL, 0.0, told(answer.raised))
    return answer


def _cut_short(reply: Reply) -> ProgramVerdict | None:
    if reply.line is not None:
        return None
    return (
        ProgramVerdict(ERROR, None, reply.problem)
        if reply.broken
        else ProgramVerdict(FAIL, 0.0, told(reply.problem))
    )


def _filled(places: list[ProgramVerdict | None], outcomes: Iterable[ProgramVerdict]) -> list[ProgramVerdict]:
    """Merges the existing outcomes with the others in the gaps."""
    others = iter(outcomes)
    return [next(others) if outcome is None else outcome for outcome in places]


def sandbox_work(workers: int, limits: dict[str, Any]) -> Work:
    """Makes a replica's work on programs, in sandboxes of its own. Runs on the cluster."""
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
    """Returns a program's own words for a detail, without the addresses that differ from run to run."""
    return _ADDRESS.sub("0x...", text)[:300]


def _judged(outcomes: Sequence[ProgramVerdict], added: Collection[str]) -> Judged:
    import pyarrow as pa

    columns = {
        name: pa.array([getattr(outcome, name) for outcome in outcomes], arrow_type(name)) for name in added
    }
    return Judged(
        **{name: columns[name] for name in VERDICT},
        further={name: columns[name] for name in added if name not in VERDICT},
    )
