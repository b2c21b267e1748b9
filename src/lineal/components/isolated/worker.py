"""A child process that calls one function on rows: `-m lineal.components.isolated.worker MODULE:FUNCTION SECONDS [MODULE ...]`.

Further modules are those that the function will import; what a module's `prepare` does is done before the first row.

It reads one JSON object per line and answers each with one. A row that takes too long ends the process by a timer
signal whose default action is to kill: no Python code has to run for it, so a row that hangs inside C ends too, and
so does one whose parent has died.

Scorers of other people evaluate completions in places, so the process also gives up what it doesn't need before it
sees a row: writing files, starting processes, the network. This is a second wall, not a sandbox.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import signal
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any, TextIO

READY = "ready"
WALL_FACTOR = 10.0
"""A sleeping row uses no processor time; it may sleep for this many times its limit."""
MEMORY_BYTES = 4 << 30
_REFUSED_GROUPS = ("socket.", "subprocess.", "ctypes.", "shutil.", "sqlite3.", "pty.")
_REFUSED = frozenset(
    f"os.{name}"
    for name in (
        "system",
        "exec",
        "fork",
        "forkpty",
        "posix_spawn",
        "spawn",
        "startfile",
        "kill",
        "killpg",
        "remove",
        "rename",
        "rmdir",
        "mkdir",
        "link",
        "symlink",
        "chmod",
        "chown",
        "chflags",
        "lockf",
        "truncate",
        "utime",
        "setxattr",
        "removexattr",
        "putenv",
        "unsetenv",
        "chdir",
        "fchdir",
    )
)


def main() -> None:
    """Serves until standard input ends."""
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(
        sys.stderr.fileno(), sys.stdout.fileno()
    )  # what the function prints must not mix with the replies
    rows = os.fdopen(os.dup(sys.stdin.fileno()), encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_RDONLY), sys.stdin.fileno())  # nor may it read the rows of others
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    logging.disable(logging.CRITICAL)
    location, _, name = sys.argv[1].partition(":")
    try:
        modules = [import_module(one) for one in (location, *sys.argv[3:])]
        function = getattr(modules[0], name)
        for module in modules:
            getattr(
                module, "prepare", _nothing
            )()  # slow imports, so that they don't count as the first row's time
    except Exception as error:
        _reply(replies, f"{type(error).__name__}: {error}")
        return
    _reply(replies, READY)
    resource.setrlimit(
        resource.RLIMIT_FSIZE, (0, 0)
    )  # not before: Python caches what it compiles of the imports
    sys.addaudithook(_refuse)
    _serve(function, float(sys.argv[2]), rows, replies)


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    """Refuses, as Python's audit hook, what a scorer has no business doing.

    Raises:
        PermissionError: always, for the refused events.
    """
    writes = event == "open" and bool(_is_write(arguments[1], arguments[2]))
    if writes or event.startswith(_REFUSED_GROUPS) or event in _REFUSED:
        raise PermissionError(f"a process that works on rows may not do this: {event}")


def _is_write(mode: str | None, flags: int | None) -> bool:
    if mode is not None:
        return any(letter in mode for letter in "wax+")
    return bool((flags or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND))


def _nothing() -> None:
    """Prepares nothing, for a module without `prepare`."""


def _serve(function: Callable[[dict[str, Any]], Any], seconds: float, rows: TextIO, replies: TextIO) -> None:
    for line in rows:
        row = json.loads(line)
        _set_timers(seconds)
        try:
            answer = {"answer": function(row)}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        finally:
            _set_timers(0.0)
        _reply(replies, answer)


def _set_timers(seconds: float) -> None:
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.setitimer(signal.ITIMER_REAL, seconds * WALL_FACTOR)


def _reply(replies: TextIO, value: Any) -> None:
    replies.write(json.dumps(value) + "\n")
    replies.flush()


if __name__ == "__main__":
    main()
