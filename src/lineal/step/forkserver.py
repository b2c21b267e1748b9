"""A server that has the heavy imports done and forks a child for every step: 6 s saved per model step.

`lineal run` and `lineal ui` start it and name its socket in LINEAL_FORK_SERVER. `lineal step`, which DVC starts,
passes its own output streams over the socket; the forked child runs the step and answers with an exit status.
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
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from lineal.components.registry import BUILT_IN
from lineal.step.handover import SOCKET

PRELOADED = (
    "duckdb", "pyarrow.compute", "pyarrow.parquet", "transformers.models.llama.modeling_llama", "trl.trainer.sft_trainer",
    "lineal.engines.sampling", "lineal.engines.training", "lineal.orchestrate.dvc_lock", "lineal.step.runner",
)  # fmt: skip


@contextlib.contextmanager
def fork_server() -> Iterator[None]:
    """Runs a fork server for the block; steps started meanwhile find it by the environment."""
    with tempfile.TemporaryDirectory(prefix="lineal-") as directory:
        address = str(Path(directory) / "socket")
        server = subprocess.Popen([sys.executable, "-m", "lineal.step.forkserver", address], stdin=subprocess.PIPE)  # noqa: S603
        os.environ[SOCKET] = address
        try:
            yield
        finally:
            del os.environ[SOCKET]
            assert server.stdin is not None
            server.stdin.close()
            server.wait()


def serve(address: str, run: Callable[[list[str]], int]) -> None:
    """Answers requests until standard input closes. The socket is bound before the imports, so clients just wait."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps the children
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        preload()
        while True:
            ready, _, _ = select.select([listener, sys.stdin], [], [])
            if sys.stdin in ready:
                return
            connection, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                _child(connection, run)
            connection.close()


def preload() -> None:
    """Imports what model steps need, without starting a thread or touching a device; other packages' components are left out."""
    for name in PRELOADED:
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


def main() -> None:
    """Serves at the address given as the only argument."""
    from lineal.cli.main import run_command

    serve(sys.argv[1], run_command)


if __name__ == "__main__":
    main()
