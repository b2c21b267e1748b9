"""A headless Chromium without a network: in namespaces of its own, spoken to over its debugging pipe, and nothing else."""

from __future__ import annotations

import json
import os
import selectors
import shutil
import subprocess
import time
from collections import deque
from typing import IO, Any

from lineal.components.sandbox.bubblewrap import end, require
from lineal.errors import MachineError

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
START_SECONDS = 60.0
"""How long a browser may take to come up on a machine that is busy with others."""
_SEEN = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/opt", "/etc")
_APART = tuple(f"--unshare-{name}" for name in ("user", "ipc", "pid", "net", "uts"))
_FLAGS = (
    "--headless",
    "--no-sandbox",  # bubblewrap's walls are around all of it
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-extensions",
    "--disable-sync",
    "--allow-pre-commit-input",
    "--window-size=1000,1000",
    "--lang=en-US",
    "--user-data-dir=/tmp/profile",
    "--remote-debugging-pipe",
)
_PIPE = 'exec "$@" 3<&0 4>&1 </dev/null >/dev/null'
"""Chromium reads commands from descriptor 3 and writes replies to 4."""


class PageFailure(Exception):
    """Says why a page could not be shown, or something not be done in it."""


class BrowserGone(PageFailure):
    """The browser does not answer any more: another one may."""


def lacking() -> list[str]:
    """Returns what a browser needs and is not here, a sentence each with what to install."""
    there = {"chromium": any(map(shutil.which, NAMES)), "bubblewrap": shutil.which("bwrap")}
    return [
        f"needs {name}, which is not here. Install it: apt install {name} (Debian), or your system's package"
        for name, found in there.items()
        if not found
    ]


class Chromium:
    """One browser with one page, in which no script runs.

    Attributes:
        deadline: until when it may answer.
        expects: whether a request for a page is an event (`Fetch.requestPaused`); all others fail.

    Raises:
        MachineError: it does not start here; says what to install.
    """

    def __init__(self) -> None:
        missing = lacking()
        if missing:
            raise MachineError(f"an environment that is played in a browser {'; and '.join(missing)}")
        self._number, self._page, self._unread = 0, "", b""
        self._events: deque[dict[str, Any]] = deque()
        self.deadline, self.expects = time.monotonic() + START_SECONDS, False
        self._process = _start()
        self._input, self._output = _pipe(self._process.stdin), _pipe(self._process.stdout)
        os.set_blocking(self._input.fileno(), False)
        try:
            self._open_page()
        except PageFailure as error:
            self.close()
            require()
            raise MachineError(
                f"{_program()} does not start in bubblewrap: {error}. Start it by hand to see why"
            ) from error

    def _open_page(self) -> None:
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._page = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.send("Page.enable")
        self.send("DOM.enable")
        self.send("Emulation.setScriptExecutionDisabled", value=True)
        self.send("Fetch.enable", patterns=[{"urlPattern": "*"}])

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Sends a command and returns its result.

        Raises:
            PageFailure: the browser refuses it.
            BrowserGone: it does not answer.
        """
        number = self.post(method, **parameters)
        while True:
            reply = self._read()
            if reply.get("id") == number:
                if "error" in reply:
                    raise PageFailure(f"the browser refuses {method}: {reply['error'].get('message')}")
                result: dict[str, Any] = reply["result"]
                return result
            self._note(reply)

    def post(self, method: str, **parameters: Any) -> int:
        """Sends a command whose result nobody waits for; returns its number."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._page:
            message["sessionId"] = self._page
        self._write(json.dumps(message).encode() + b"\0")
        return self._number

    def event(self, *methods: str) -> dict[str, Any]:
        """Waits for an event of one of these kinds; returns it."""
        while True:
            while self._events:
                event = self._events.popleft()
                if event["method"] in methods:
                    return event
            self._note(self._read())

    def forget(self) -> None:
        """Forgets the events so far."""
        self._events.clear()

    def close(self) -> None:
        """Ends the browser and all its processes, whatever they do."""
        end(self._process)

    def _note(self, message: dict[str, Any]) -> None:
        paused = message["params"] if message.get("method") == "Fetch.requestPaused" else None
        if paused is not None and not (self.expects and paused["resourceType"] == "Document"):
            self.post("Fetch.failRequest", requestId=paused["requestId"], errorReason="Aborted")
        elif "method" in message:
            self._events.append(message)

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._unread:
            self._wait(self._output, selectors.EVENT_READ)
            data = os.read(self._output.fileno(), 1 << 16)
            if not data:
                raise BrowserGone("the browser is gone")
            self._unread += data
        message, self._unread = self._unread.split(b"\0", 1)
        read: dict[str, Any] = json.loads(message)
        return read

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        try:
            while view:
                self._wait(self._input, selectors.EVENT_WRITE)
                view = view[os.write(self._input.fileno(), view) :]
        except BrokenPipeError as error:
            raise BrowserGone("the browser is gone") from error

    def _wait(self, pipe: IO[bytes], event: int) -> None:
        with selectors.PollSelector() as selector:
            selector.register(pipe, event)
            if not selector.select(max(0.0, self.deadline - time.monotonic())):
                raise BrowserGone("the browser did not answer in time")


def _program() -> str:
    return next(path for name in NAMES if (path := shutil.which(name)))


def _start() -> subprocess.Popen[bytes]:
    """Starts the browser in namespaces of its own: it sees programs and libraries, no network, and ends with this process."""
    seen = [part for path in _SEEN for part in ("--ro-bind-try", path, path)]
    inside = ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--chdir", "/tmp", "--clearenv"]  # noqa: S108 - its own
    names = ["--setenv", "HOME", "/tmp", "--setenv", "PATH", "/usr/bin:/bin", "--setenv", "LANG", "C.UTF-8"]  # noqa: S108
    walls = [
        shutil.which("bwrap") or "bwrap",
        *_APART,
        "--die-with-parent",
        "--new-session",
        "--cap-drop",
        "ALL",
    ]
    return subprocess.Popen(  # noqa: S603 - pages come in later, as data
        [*walls, *seen, *inside, *names, "--", "sh", "-c", _PIPE, "sh", _program(), *_FLAGS],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        bufsize=0,
        process_group=0,
    )


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None
    return stream
