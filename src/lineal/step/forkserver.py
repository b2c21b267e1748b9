"""A server that has done the imports and forks a child for every step: this saves a second per step, 6 s with a model.

`lineal run` and `lineal ui` start it and name its socket in LINEAL_FORK_SERVER. A `dvc repro` or a Dagster run has one
started by its first step; it ends with them. `lineal step`, which DVC starts, passes its own output streams over the socket;
the forked child runs the step and answers with an exit status.
Where steps need torch, the server forks a second one, which imports it meanwhile and has a socket of its own for these steps.
When the client dies the child sees the connection close and stops; when the server's parent dies, so does the server.
The server never touches a device or starts a thread pool, so forking it is safe (GPU memory dies with each child).
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lineal.components.base import Role
from lineal.components.registry import BUILT_IN
from lineal.step.handover import KEYS, MODELLED, SOCKET

if TYPE_CHECKING:
    from lineal.plan import Step

PRELOADED = (
    "duckdb",
    "pyarrow.compute",
    "pyarrow.parquet",
    "lineal.orchestrate.dvc_lock",
    "lineal.step.runner",
)
MODELS = ("transformers.models.llama.modeling_llama", "lineal.engines.sampling.sampler")
SERVER = "lineal.cli.fork_server"
"""The module that the server runs: commands are a layer above, so this one names it only."""
STARTED_SECONDS = 20.0
"""How long to wait for a server's socket; a step that finds none runs by itself."""
TRAININGS = ("trl.trainer.sft_trainer", "lineal.engines.training.train")


@contextlib.contextmanager
def fork_server(steps: Iterable[Step], engine: str) -> Iterator[None]:
    """Runs a fork server for the block; steps started meanwhile find it by the environment.

    Args:
        steps: those that may be started, as far as they are known: torch is imported if one needs it, TRL if one trains.
        engine: `compute.engine`.
    """
    with tempfile.TemporaryDirectory(prefix="lineal-") as directory:
        address = str(Path(directory) / "socket")
        command = _command(address, steps, engine)
        server = subprocess.Popen(command, stdin=subprocess.PIPE)  # noqa: S603
        os.environ[SOCKET] = address
        try:
            yield
        finally:
            del os.environ[SOCKET]
            assert server.stdin is not None
            server.stdin.close()
            server.wait()


def serve_beside(process: int, steps: Iterable[Step], engine: str) -> str:
    """Starts a fork server that ends with another process; see `fork_server`.

    Returns:
        its address.
    """
    directory = tempfile.mkdtemp(prefix="lineal-")
    command = _command(str(Path(directory) / "socket"), steps, engine)
    ends = os.pidfd_open(process)
    try:
        subprocess.Popen(  # noqa: S603
            command, stdin=ends, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
    finally:
        os.close(ends)
    until = time.monotonic() + STARTED_SECONDS
    while not Path(command[3]).exists() and time.monotonic() < until:
        time.sleep(0.02)
    return command[3]


def _command(address: str, steps: Iterable[Step], engine: str) -> list[str]:
    """Writes the list of steps with a model beside the socket, and returns the server's command line."""
    modelled = [step for step in steps if step.component.loads_model and engine != "fake"]
    Path(address).with_name(KEYS).write_text("\n".join(step.key for step in modelled), encoding="utf-8")
    return [sys.executable, "-m", SERVER, address, *modules_for(modelled)]


def modules_for(modelled: Sequence[Step]) -> tuple[str, ...]:
    """Returns the modules to import for steps with a model: none where there is no model, and TRL only where one trains."""
    trains = any(step.component.role is Role.TRAINER for step in modelled)
    return (*(MODELS if modelled else ()), *(TRAININGS if trains else ()))


def serve(address: str, heavy: Sequence[str], run: Callable[[list[str]], int]) -> None:
    """Answers requests until standard input closes. The sockets are bound before the imports, so clients just wait.

    Args:
        address: the socket's path.
        heavy: modules for steps with a model; a second process imports them, and answers at a socket of its own.
        run: runs a command line.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps the children
    listener, modelled = _listening(address), _listening(address + MODELLED) if heavy else None
    preload()
    second = os.fork() if modelled is not None else None
    if second == 0:
        listener.close()
        preload(heavy)
    _answer(modelled if modelled is not None and second == 0 else listener, run)
    if second:
        os.kill(second, signal.SIGKILL)  # it may still be importing


def _listening(address: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen()
    return listener


def _answer(listener: socket.socket, run: Callable[[list[str]], int]) -> None:
    while True:
        ready, _, _ = select.select([listener, sys.stdin], [], [])
        if sys.stdin in ready:
            return
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            _child(connection, run)
        connection.close()


def preload(modules: Iterable[str] = PRELOADED) -> None:
    """Imports what steps need, without starting a thread or touching a device; other packages' components are left out."""
    for name in modules:
        import_module(name)
    for location in BUILT_IN.values():
        import_module(location.partition(":")[0])


def _child(connection: socket.socket, run: Callable[[list[str]], int]) -> None:
    status = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        request = _receive(connection)
        threading.Thread(target=_die_with_client, args=(connection,), daemon=True).start()
        os.chdir(request["directory"])
        os.environ.clear()
        os.environ.update(request["environment"])
        status = run(request["arguments"])
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        with contextlib.suppress(OSError):
            connection.sendall(str(status).encode())
        os._exit(status)


def _receive(connection: socket.socket) -> dict[str, Any]:
    head, descriptors, _, _ = socket.recv_fds(connection, 8, 2)
    for descriptor, standard in zip(descriptors, (1, 2), strict=True):
        os.dup2(descriptor, standard)
        os.close(descriptor)
    with connection.makefile("rb") as stream:
        request: dict[str, Any] = json.loads(stream.read(int.from_bytes(head, "big")))
    return request


def _die_with_client(connection: socket.socket) -> None:
    if connection.recv(1) == b"":
        os._exit(1)
