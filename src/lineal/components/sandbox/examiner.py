"""The judge's sandbox: `python examiner.pyc CPU_SECONDS MEMORY_BYTES FILE_BYTES`, one process for one program.

It says `ready`, reads a job (one line), and runs the tests' text, in which each assertion has been wrapped (`rewriting.py`). What
the tests ask of the program it writes as lines that begin with `?`; each is answered by a line of the program's sandbox. So
the program sees what it is called with and nothing else, and nothing of it is here but plain values. The last line tells the
outcome:

    !{"failed": {"0": "got 3"}, "reached": 2, "ended": null, "answers": 2}

`reached` is how many of the assertions were worked out at least once, `ended` what ended the tests before their end, and
`answers` how many values had come from the program.
"""

import builtins
import posix
import sys
from contextlib import suppress

from lineal.components.sandbox.inside import feed, limit, quoted, read_line, write_to_end
from lineal.components.sandbox.values import NotPlain, Raised, read_result

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType
    from typing import Any

MOST_SHOWN = 80
CONTROL = frozenset({"StopIteration", "StopAsyncIteration"})
"""Exceptions that mean an end to Python: a program that raises one in the midst of `all(map(f, xs))` would cut the test short."""


class ProgramError(Exception):
    """The program's exception, where Python has no such exception or where it would mean something to the tests."""


class CannotAsk(Exception):
    """The tests give the program something that only they know."""


class Program:
    """The program, as the tests see it: a channel to its sandbox.

    Attributes:
        answers: how many values came back.
        recent: those since the present assertion began.
    """

    def __init__(self, channel: int, replies: int) -> None:
        self._channel, self._replies = channel, replies
        self.answers = 0
        self.recent: list[object] = []

    def ask(
        self, number: int | None, name: str | None, arguments: tuple[object, ...], keywords: dict[str, object]
    ) -> object:
        """Returns a value of the program.

        Raises:
            Exception: the program raised it.
        """
        given = f"({number}, {name!r}, {written(arguments)}, {written(keywords)})"
        write_to_end(self._channel, f"?{given}\n".encode("utf-8", "surrogatepass"))
        self.answers += 1
        value = read_result(read_line(self._replies).encode())
        if isinstance(value, Raised):
            raise exception(value.text)
        if number is not None:
            self.recent.append(value)
        return value

    def name(self, name: str) -> object:
        """Returns the value of a name in the program. Names with a capital are classes, whose objects stay where they are."""
        return self._held(self.ask(None, name, (), {}), name[:1].isupper())

    def call(self, held: "Held", arguments: tuple[object, ...], keywords: dict[str, object]) -> object:
        """Returns the value of a call."""
        return self._held(self.ask(held.number, None, arguments, keywords), held.open)

    def attribute(self, held: "Held", name: str) -> object:
        """Returns an attribute of an object whose attributes are open."""
        return self._held(self.ask(held.number, name, (), {}), True)

    def items(self, held: "Held") -> "Iterator[object]":
        """Yields the items of a generator, a range, a deque: as good as the list that the program could have returned.

        Raises:
            TypeError: it has none.
        """
        iterator = self._special(held, "__iter__")
        if not isinstance(iterator, NotPlain):
            raise TypeError(f"{held.type_name!r} has no items")
        while True:
            try:
                item = self._special(iterator, "__next__")
            except ProgramError as error:
                if str(error).partition(":")[0] == "StopIteration":
                    return
                raise
            yield self._held(item, False)

    def _special(self, value: NotPlain, name: str) -> object:
        method = self.ask(value.number, name, (), {})
        self.recent.pop()
        return self.ask(method.number, None, (), {}) if isinstance(method, NotPlain) else method

    def _held(self, value: object, is_open: bool) -> object:
        return Held(self, value, is_open) if isinstance(value, NotPlain) else value


class Held(NotPlain):
    """A value that stays in the program: the tests may call it, go through its items, and, if it is open, ask for its attributes.

    What a function returned is closed: `f(1).isupper()` of a class of the program's would be whatever the program likes.
    """

    __slots__ = ("_program", "open")

    def __init__(self, program: Program, value: NotPlain, is_open: bool) -> None:
        super().__init__(value.type_name, value.number)
        self._program, self.open = program, is_open

    def __call__(self, *arguments: object, **keywords: object) -> object:
        return self._program.call(self, arguments, keywords)

    def __iter__(self) -> "Iterator[object]":
        return self._program.items(self)

    def __getattr__(self, name: str) -> object:
        if name.startswith("_") or not self.open:
            raise TypeError(f"{self.type_name!r} is no plain value, so it has no {name!r} here")
        return self._program.attribute(self, name)


class Assertions:
    """The outcomes of the tests' assertions.

    Attributes:
        failed: by number, why it does not hold; the first time counts.
        reached: the numbers of those that were worked out.
    """

    def __init__(self, program: Program) -> None:
        self._program = program
        self.failed: dict[int, str] = {}
        self.reached: set[int] = set()

    def __call__(self, number: int) -> "AssertionScope":
        self._program.recent.clear()
        self.reached.add(number)
        return AssertionScope(self, number)

    def fail(self, number: int, error: BaseException | None) -> None:
        """Notes that an assertion does not hold: it is false, or cannot be computed."""
        if isinstance(error, CannotAsk):
            raise error
        if error is not None and not (isinstance(error, TypeError) and "is no plain value" in str(error)):
            self.failed.setdefault(number, told(error))
        else:
            self.failed.setdefault(number, f"got {', '.join(map(shown, self._program.recent)) or 'False'}")


class AssertionScope:
    """One assertion that is being worked out: `with assertion(3) as holds: holds(CONDITION)`."""

    def __init__(self, assertions: Assertions, number: int) -> None:
        self._assertions, self._number = assertions, number

    def __enter__(self) -> "AssertionScope":
        return self

    def __call__(self, condition: object) -> None:
        if not condition:
            self._assertions.fail(self._number, None)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: "TracebackType | None"
    ) -> bool:
        if not isinstance(error, Exception):
            return False
        self._assertions.fail(self._number, error)
        return True


def same(left: object, right: object) -> bool:
    """Tests `is`, for plain values only."""
    for side in (left, right):
        if isinstance(side, NotPlain):
            raise TypeError(f"{side.type_name!r} is no plain value")
    return left is right


def written(value: "Any") -> str:
    """Writes a value for the program's sandbox.

    Raises:
        CannotAsk: it is of a type that does not exist there.
    """
    kind = type(value)
    if isinstance(value, NotPlain):
        return f"kept({value.number})"
    if kind is dict:
        return f"{{{', '.join(f'{written(key)}: {written(item)}' for key, item in value.items())}}}"
    if kind is tuple:
        return f"({''.join(f'{written(item)}, ' for item in value)})"
    if kind in (list, set, frozenset):
        items = f"[{', '.join(map(written, value))}]"
        return items if kind is list else f"{kind.__name__}({items})"
    if value is None or kind in (bool, int, float, complex, str, bytes, bytearray, range):
        return repr(value)
    raise CannotAsk(f"the tests give the program a {kind.__name__}, and only plain values can be given to it")


def exception(text: str) -> Exception:
    """Returns the program's exception, as one of Python's own where there is one."""
    name, _, message = text.partition(": ")
    kind = getattr(builtins, name, None)
    plain = isinstance(kind, type) and issubclass(kind, Exception) and name not in CONTROL
    try:
        return kind(message) if plain else ProgramError(text)  # type: ignore[misc]
    except Exception:
        return ProgramError(text)


def told(error: BaseException) -> str:
    """Formats an exception in one short line."""
    text = str(error) if isinstance(error, ProgramError | CannotAsk) else f"{type(error).__name__}: {error}"
    return text.partition("\n")[0][:300]


def shown(value: object) -> str:
    """Formats a value for a detail."""
    try:
        return repr(value)[:MOST_SHOWN]
    except Exception:
        return f"a long {type(value).__name__}"


def bind(names: "tuple[str, ...]", program: Program, space: dict[str, object]) -> bool:
    """Gives the tests the program's names; returns whether it defines them all."""
    for name in names:
        with suppress(Exception):
            space[name] = program.name(name)
    return set(names) <= set(space)


def examine(job: dict[str, object], program: Program) -> str:
    """Runs the tests and returns the outcome as JSON."""
    assertions = Assertions(program)
    space: dict[str, object] = {"__name__": "__main__", job["assertion"]: assertions, job["same"]: same}  # type: ignore[dict-item]
    ended = None
    try:
        program.answers = 0 if bind(job["names"], program, space) else 1  # type: ignore[arg-type]
        exec(str(job["tests"]), space)  # noqa: S102 - this is what the judge's sandbox is for
    except BaseException as error:
        ended = told(error)
        if isinstance(error, CannotAsk):
            program.answers = 0
    failed = ", ".join(f'"{number}": {quoted(text)}' for number, text in assertions.failed.items())
    told_end = quoted(ended) if ended else "null"
    counts = f'"reached": {len(assertions.reached)}, "ended": {told_end}, "answers": {program.answers}'
    return f'{{"failed": {{{failed}}}, {counts}}}'


def main(cpu_seconds: int, memory_bytes: int, file_bytes: int) -> None:
    """Examines one program."""
    channel, replies = posix.dup(1), posix.dup(0)
    posix.dup2(2, 1)
    posix.write(channel, b"ready\n")
    job = eval(read_line(replies))  # noqa: S307 - a dict, as repr writes it
    feed("")
    limit(cpu_seconds, memory_bytes, file_bytes)
    if "random" in job["tests"]:
        import random

        random.seed(0)
    write_to_end(channel, f"!{examine(job, Program(channel, replies))}\n".encode())
    posix._exit(0)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
