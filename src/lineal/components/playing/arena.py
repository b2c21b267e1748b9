"""Games in worker processes. A process that dies costs no other game anything: its games are replayed, move by move."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import Any, Self

from lineal.components.isolated.pool import KeepingPool, Worker
from lineal.components.playing.browser import Browser
from lineal.components.playing.chromium import PageFailure
from lineal.components.playing.described import FUNCTION
from lineal.components.playing.programs import Programs
from lineal.environments.base import Answer
from lineal.environments.sessions import BROWSE, LOST, PROGRAM

_DIED = ("its process died", "MemoryError")
"""Errors that may be another game's fault; in a process of its own the game shows whether it is."""
_MOST_JOBS = 8
"""What an environment may have done for one move."""


@dataclass
class Game:
    """One environment as it is played.

    Attributes:
        session: a name of its own among all games.
        location: `module:class` of the environment.
        seed: the seed for `reset`.
        row: the task, as `reset` takes it.
        moves: so far.
        answers: to `reset`, and to each move.
        outcomes: by the number of a move, 0 for `reset`, what came of what the environment wanted done, in order.
        problem: why it cannot continue; None while it can.
        entry: the keys of the task's entry, each of which `reset` must take.
    """

    session: str
    location: str
    seed: int
    row: Mapping[str, Any]
    moves: list[str] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    outcomes: dict[int, list[Any]] = field(default_factory=dict)
    problem: str | None = None
    entry: tuple[str, ...] = ()

    @property
    def seen(self) -> str:
        """The player's present observation."""
        return self.answers[-1].observation

    def asks(self, do: str, **more: Any) -> dict[str, Any]:
        """Makes a request about this game."""
        return {"do": do, "session": self.session, **more}

    def begins(self) -> dict[str, Any]:
        """Makes the request that begins it."""
        return self.asks(
            "reset", environment=self.location, seed=self.seed, row=dict(self.row), entry=list(self.entry)
        )


class _Unplayable(Exception):
    """Says why a game cannot go on."""


class OutsideWork:
    """The work that environments have done outside their processes: programs in the sandbox, pages in a browser.

    Args:
        workers: how many programs at a time.
    """

    def __init__(self, workers: int) -> None:
        self._programs, self._browser = Programs(workers), Browser()

    def __call__(self, job: Mapping[str, Any], what: str) -> Any:
        """Does what an environment wants done, for a message's beginning `what`; returns what came of it.

        Raises:
            SandboxError, MachineError: there is no working sandbox, or no browser, here.
        """
        try:
            return self._programs(job[PROGRAM]) if PROGRAM in job else self._browser(job[BROWSE])
        except PageFailure as error:
            raise _Unplayable(f"{what}: {error}") from error

    def close(self) -> None:
        """Ends what runs."""
        self._programs.close()
        self._browser.close()


class Arena:
    """Worker processes that hold games.

    Args:
        locations: the environments that will be asked for, as `module:class`.
        workers: how many processes.
        seconds: processor time that one answer may take.
    """

    def __init__(self, locations: Iterable[str], workers: int, seconds: float) -> None:
        modules = sorted({location.partition(":")[0] for location in locations})
        self._pool, self._outside = KeepingPool(FUNCTION, workers, seconds, modules), OutsideWork(workers)

    def __enter__(self) -> Self:
        self._pool.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.__exit__(kind, error, trace)
        self._outside.close()

    def begin(self, games: Mapping[int, Game]) -> None:
        """Begins games, by number: from then on a number identifies its game.

        Raises:
            DataError: the processes cannot start, since an environment's module cannot be imported, for one.
            SandboxError, MachineError: as for `move`.
        """
        self._pool.each(partial(_settled, partial(_begin, outside=self._outside)), games)

    def move(self, moves: Mapping[int, tuple[Game, str]]) -> None:
        """Makes a move in each game, which then holds its answer or its problem.

        Raises:
            SandboxError, MachineError: an environment asked for a program or a page, and there is no working sandbox, or no
                browser, here.
        """
        self._pool.each(
            lambda worker, item: _settled(
                partial(_move, text=item[1], outside=self._outside), worker, item[0]
            ),
            moves,
        )

    def expert(self, games: Mapping[int, Game]) -> dict[int, str]:
        """Returns by number the expert's next move; empty where it has none: a problem of the game."""
        return {
            number: move or "" for number, move in self._pool.each(partial(_settled, _expert), games).items()
        }

    def end(self, games: Mapping[int, Game]) -> None:
        """Frees games that are over."""
        self._pool.each(lambda worker, game: worker.ask(game.asks("end")), games)


def _settled(act: Callable[[Worker, Game], Any], worker: Worker, game: Game) -> Any:
    """Does something in a game without a problem; an exception becomes its problem."""
    if game.problem is None:
        try:
            return act(worker, game)
        except _Unplayable as error:
            game.problem = str(error)
    return None


def _begin(worker: Worker, game: Game, outside: OutsideWork) -> None:
    reply = _told(worker, game.begins())
    if reply is None:
        reply = worker.ask(game.begins())
    game.answers, game.outcomes = [], {}
    game.answers = [_finished(worker, game, _given(reply, "reset"), "", "reset", outside)]


def _move(worker: Worker, game: Game, text: str, outside: OutsideWork) -> None:
    what = f"move {len(game.moves) + 1}"
    given = _asked(worker, game, game.asks("step", text=text), what)
    answer = _finished(worker, game, given, text, what, outside)
    game.moves.append(text)
    game.answers.append(answer)


def _finished(
    worker: Worker, game: Game, given: Mapping[str, Any], text: str, what: str, outside: OutsideWork
) -> Answer:
    """Returns the answer to a move, once all is done that the environment wants done before."""
    place = len(game.answers)
    while _has_jobs(given):
        outcomes = game.outcomes.setdefault(place, [])
        if len(outcomes) == _MOST_JOBS:
            raise _Unplayable(f"{what}: it asked for more than {_MOST_JOBS} things before it answered")
        outcomes.append(outside(given, what))
        given = _asked(worker, game, _outcomes_told(game, text, place), what)
    return Answer(**given)


def _has_jobs(given: Mapping[str, Any]) -> bool:
    return PROGRAM in given or BROWSE in given


def _outcomes_told(game: Game, text: str, place: int) -> dict[str, Any]:
    return game.asks("told", text=text, outcomes=game.outcomes[place])


def _expert(worker: Worker, game: Game) -> Any:
    return _asked(worker, game, game.asks("expert"), "expert")


def _asked(worker: Worker, game: Game, request: Mapping[str, Any], what: str) -> Any:
    """Returns the game's answer; in a process that does not hold it, the game is replayed first."""
    reply = _told(worker, request)
    if reply is None or reply.get("answer") == LOST:
        _replay(worker, game)
        reply = worker.ask(request)
    return _given(reply, what)


def _told(worker: Worker, request: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Sends a request to a process; None where it died of it, or had no memory left, and is replaced."""
    reply = worker.ask(request)
    if not reply.get("error", "").startswith(_DIED):
        return reply
    worker.stop()
    return None


def _replay(worker: Worker, game: Game) -> None:
    again = Game(game.session, game.location, game.seed, game.row, entry=game.entry)
    requests = [again.begins(), *(again.asks("step", text=text) for text in game.moves)]
    if not game.answers:  # lost while it began; the outcomes so far are sent next
        _given(worker.ask(requests[0]), "reset")
    for turn, before in enumerate(game.answers):
        what = f"replay of move {turn}" if turn else "replay of reset"
        found = _given(worker.ask(requests[turn]), what)
        if _has_jobs(found) and turn in game.outcomes:
            text = game.moves[turn - 1] if turn else ""
            found = _given(worker.ask(_outcomes_told(game, text, turn)), what)
        if _has_jobs(found):
            raise _Unplayable(f"the environment is not deterministic: {what} asked for more than before")
        answer = Answer(**found)
        if answer != before:
            raise _Unplayable(f"the environment is not deterministic: {difference(before, answer, turn)}")


def difference(first: Answer, second: Answer, turn: int) -> str:
    """Describes how two answers to one move differ, for messages."""
    name = next(name for name in vars(first) if getattr(first, name) != getattr(second, name))
    what = f"move {turn}" if turn else "reset"
    return f"{what} gave {name} {getattr(first, name)!r:.80}, and {getattr(second, name)!r:.80} when it was played again"


def _given(reply: Mapping[str, Any], what: str) -> Any:
    if "error" in reply:
        raise _Unplayable(f"{what}: {reply['error']}")
    return reply["answer"]
