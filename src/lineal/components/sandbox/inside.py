"""The program's sandbox: `python inside.pyc CPU_SECONDS MEMORY_BYTES FILE_BYTES`, one process for one program.

It says `ready`, reads a job (one line), runs the program and answers with one line of JSON:

    {"raised": null, "output": "printed", "results": [[true, VALUE], [false, "ZeroDivisionError: division by zero"]]}

A job with `"serves": True` has no calls of its own. Its answer is one result, of the program itself; then comes one request per
line, `(OBJECT, NAME, ARGUMENTS, KEYWORDS)`, and each is answered by one result. OBJECT is the number of a value that had no plain
form, or None for the program's own names; NAME is the attribute that is asked for, or None for a call.

The program shares this process and may change everything in it, so whoever reads the line takes it as the program's own
words. No expected answer ever comes in here.

Nothing of lineal can be imported here. The modules `json`, `typing` and `re` would take 5 ms each of every start, `os` takes 1.3
and `_json` 0.3: so the system calls come from `posix`, and texts are quoted below.
"""

import posix
import resource
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

PLAIN_INT = 1 << 63
MOST_LETTERS = 300


def main(cpu_seconds: int, memory_bytes: int, file_bytes: int) -> None:
    """Runs one job. The process ends here, whatever threads or exit handlers the program has left."""
    channel = posix.dup(1)
    posix.dup2(2, 1)
    posix.write(channel, b"ready\n")
    job = eval(read_line(0))  # noqa: S307 - a dict of texts, as repr writes it
    requests = posix.dup(0) if job.get("serves") else -1
    feed(job["input"])
    capture = scratch()
    posix.dup2(capture, 1)
    limit(cpu_seconds, memory_bytes, file_bytes)
    if requests < 0:
        write_to_end(channel, answer(job, capture))
    else:
        serve(job, requests, channel)
    posix._exit(0)


def read_line(descriptor: int) -> str:
    """Reads a pipe up to the first line's end, or its own end. The writer waits for an answer after each line."""
    parts = []
    while part := posix.read(descriptor, 1 << 16):
        parts.append(part)
        if part.endswith(b"\n"):
            break
    return b"".join(parts).decode("utf-8", "surrogatepass")


def scratch() -> int:
    """Opens a file without a name."""
    descriptor = posix.open("/tmp/scratch", posix.O_RDWR | posix.O_CREAT)  # noqa: S108 - the sandbox's own
    posix.unlink("/tmp/scratch")  # noqa: S108
    return descriptor


def feed(text: str) -> None:
    """Makes a text the standard input."""
    source = scratch()
    write_to_end(source, text.encode("utf-8", "surrogatepass"))
    posix.lseek(source, 0, 0)  # from the start: posix has no SEEK_SET
    posix.dup2(source, 0)


def write_to_end(descriptor: int, data: bytes) -> None:
    """Writes all of some data."""
    sent = 0
    while sent < len(data):
        sent += posix.write(descriptor, data[sent:])


def limit(cpu_seconds: int, memory_bytes: int, file_bytes: int) -> None:
    """Sets the kernel's limits. The process has no privilege to raise them, and cannot start another."""
    limits = {
        resource.RLIMIT_CPU: (cpu_seconds, cpu_seconds + 1),
        resource.RLIMIT_AS: (memory_bytes, memory_bytes),
        resource.RLIMIT_FSIZE: (file_bytes, file_bytes),
        resource.RLIMIT_NOFILE: (64, 64),
        resource.RLIMIT_CORE: (0, 0),
        resource.RLIMIT_MEMLOCK: (0, 0),
        resource.RLIMIT_MSGQUEUE: (0, 0),
    }
    for name, values in limits.items():
        resource.setrlimit(name, values)


def run(job: dict[str, object]) -> tuple[dict[str, object], str]:
    """Runs the program; returns its names, and what it raised."""
    module = type(sys)(str(job["name"]))
    sys.modules[module.__name__] = module
    builtins = sys.modules["builtins"]
    builtins.exit = builtins.quit = sys.exit  # type: ignore[attr-defined]  # as `site` does, which is not loaded here
    sys.argv = [module.__name__]
    source = str(job["source"])
    if "random" in source:
        import random

        random.seed(0)
    if "asyncio" in source:
        replace_socket_pairs()
    raised = attempt(str(job.get("imports", "")), module.__dict__) or attempt(source, module.__dict__)
    return module.__dict__, raised


def answer(job: dict[str, object], capture: int) -> bytes:
    """Runs the program and the calls; returns the reply's line."""
    space, raised = run(job)
    calls = job["calls"]
    results = [] if raised else [result(call, space) for call in calls]  # type: ignore[attr-defined]
    if raised == "SystemExit: 0" and not calls:
        raised = ""
    if sys.stdout is not None:
        sys.stdout.flush()
    output = posix.pread(capture, posix.fstat(capture).st_size, 0).decode("utf-8", "surrogateescape")
    error = quoted(raised) if raised else "null"
    return f'{{"raised": {error}, "output": {quoted(output)}, "results": [{", ".join(results)}]}}\n'.encode()


KEPT: list[object] = []
"""Values without a plain form that requests may name, by their number."""
ARGUMENTS = {
    "__builtins__": {"set": set, "frozenset": frozenset, "bytearray": bytearray, "range": range},
    "inf": float("inf"),
    "nan": float("nan"),
    "kept": KEPT.__getitem__,
}
"""The names that requests are written with."""


def serve(job: dict[str, object], requests: int, channel: int) -> None:
    """Runs the program, then answers requests until there are no more."""
    space, raised = run(job)
    write_to_end(channel, (f"[false, {quoted(raised)}]" if raised else "[true, null]").encode() + b"\n")
    while not raised and (line := read_line(requests)):
        write_to_end(channel, served(line, space).encode() + b"\n")


def served(line: str, space: dict[str, object]) -> str:
    """Returns the result of one request as JSON."""
    try:
        number, name, arguments, keywords = eval(line, ARGUMENTS)  # noqa: S307 - written by `examiner.py`
        if name is None:
            value = KEPT[number](*arguments, **keywords)
        else:
            value = space[name] if number is None else getattr(KEPT[number], name)
        return f"[true, {plain(value)}]"
    except BaseException as error:
        return f"[false, {quoted(told(error))}]"


def replace_socket_pairs() -> None:
    """Gives asyncio a pipe to wake its loop with: the pair of sockets that it would take is refused."""
    import socket

    class End:
        def __init__(self, descriptor: int) -> None:
            self._descriptor = descriptor
            self.fileno = lambda: descriptor
            self.send = lambda data: posix.write(descriptor, data)
            self.recv = lambda size: posix.read(descriptor, size)
            self.close = lambda: posix.close(descriptor)

        def setblocking(self, blocks: bool) -> None:
            posix.set_blocking(self._descriptor, blocks)

    socket.socketpair = lambda *_: tuple(map(End, posix.pipe()))


def attempt(source: str, space: dict[str, object]) -> str:
    """Runs a source text; returns what it raised, or nothing. The first `compile` of a process would take 1.3 ms."""
    try:
        exec(source, space)  # noqa: S102 - this is what the sandbox is for
    except BaseException as error:
        if isinstance(error, SyntaxError) and error.__traceback__ and not error.__traceback__.tb_next:
            error.filename = "<program>"  # the text's own error, not one that it raised
        return told(error)
    return ""


def result(call: str, space: dict[str, object], items: "type[list[object]]" = list) -> str:
    """Returns a call's value or exception as JSON; the items of a value without a plain form, where a `*` is before the call."""
    try:
        value = eval(call.lstrip("*"), space)  # noqa: S307 - this is what the sandbox is for
        if call.startswith("*") and writer(value) is None:
            value = items(value)
        return f"[true, {plain(value)}]"
    except BaseException as error:
        return f"[false, {quoted(told(error))}]"


def told(error: BaseException) -> str:
    """Formats an exception in one short line."""
    if isinstance(error, SystemExit):
        return f"SystemExit: {error.code or 0}"[:MOST_LETTERS]
    return f"{type(error).__name__}: {error}".partition("\n")[0][:MOST_LETTERS]


class Escapes(dict[int, int | str]):
    """By letter's number, how JSON in ASCII writes it."""

    def __missing__(self, number: int) -> int | str:
        if 0x20 <= number < 0x7F:
            return number
        if number < 0x10000:
            return f"\\u{number:04x}"
        return f"\\u{0xD7C0 + (number >> 10):04x}\\u{0xDC00 + (number & 0x3FF):04x}"


ESCAPES = Escapes({8: "\\b", 9: "\\t", 10: "\\n", 12: "\\f", 13: "\\r", 34: '\\"', 92: "\\\\"})


def quoted(text: str) -> str:
    """Writes a text as JSON in ASCII."""
    return f'"{str.translate(text, ESCAPES)}"'


def plain(value: object) -> str:
    """Writes a value of Python's own types as JSON. Lists are arrays, the others objects that name their type."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    write = writer(value)
    if write is not None:
        return write(value)
    KEPT.append(value)
    return f'{{"other": [{quoted(type(value).__name__)}, {len(KEPT) - 1}]}}'


def writer(value: object) -> "Callable[[Any], str] | None":
    """Returns the writer of values of such a type; None if they have no plain form."""
    for kind, write in WRITERS:
        if isinstance(value, kind):
            return write
    for module, name, write in LIBRARY_WRITERS:
        if isinstance(value, getattr(sys.modules.get(module), name, ())):
            return write
    return None


def whole(value: int) -> str:
    """Writes an int; a large one in hexadecimal, which is read in linear time and without Python's limit on digits."""
    number = int.__index__(value)
    return repr(number) if -PLAIN_INT < number < PLAIN_INT else f'{{"int": "{number:x}"}}'


def real(value: float) -> str:
    """Writes a float, with JSON's usual words for infinity and NaN."""
    text = repr(float.__float__(value))
    return {"inf": "Infinity", "-inf": "-Infinity", "nan": "NaN"}.get(text, text)


def listed(values: object) -> str:
    """Writes values as a JSON array."""
    return f"[{', '.join(map(plain, values))}]"  # type: ignore[call-overload]


WRITERS: "tuple[tuple[type, Callable[[Any], str]], ...]" = (
    (str, quoted),
    (int, whole),
    (float, real),
    (list, lambda value: listed(list.__iter__(value))),
    (complex, lambda value: f'{{"complex": [{real(value.real)}, {real(value.imag)}]}}'),
    (bytes, lambda value: f'{{"bytes": "{bytes.hex(value)}"}}'),
    (bytearray, lambda value: f'{{"bytearray": "{bytearray.hex(value)}"}}'),
    (dict, lambda value: f'{{"dict": {listed(list(pair) for pair in dict.items(value))}}}'),
    (tuple, lambda value: f'{{"tuple": {listed(tuple.__iter__(value))}}}'),
    (set, lambda value: f'{{"set": {listed(set.__iter__(value))}}}'),
    (frozenset, lambda value: f'{{"frozenset": {listed(frozenset.__iter__(value))}}}'),
)
LIBRARY_WRITERS: "tuple[tuple[str, str, Callable[[Any], str]], ...]" = (
    (
        "fractions",
        "Fraction",
        lambda value: f'{{"fraction": [{whole(value.numerator)}, {whole(value.denominator)}]}}',
    ),
    ("decimal", "Decimal", lambda value: f'{{"decimal": {quoted(str(value))}}}'),
)
"""The same for numbers of modules that only the program imports."""


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
