"""The client of the fork server: hands a command line over and waits for its exit status. Imports next to nothing."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from pathlib import Path

SOCKET = "LINEAL_FORK_SERVER"
"""The environment variable that names the server's socket."""
MARK = ".preflight"
"""The file in `runs/` that names the DVC process whose run was checked, and the socket of the server beside it."""
KEYS = "models"
"""A file beside the socket: the keys of the steps that need a model, one a line."""
MODELLED = ".models"
"""The ending of their socket's path."""


def process_name(process: int) -> tuple[str, int] | None:
    """Identifies a process by its number and start time, which no other process shares; and gives its parent's number."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return None
    return f"{process} {fields[19]}", int(fields[1])


def find_server_of_dvc() -> None:
    """Under a `dvc repro` whose first step started a server, names its socket in the environment."""
    if SOCKET in os.environ or "DVC_STAGE" not in os.environ:
        return
    try:
        name, address = Path("runs", MARK).read_text(encoding="utf-8").split("\n")
    except (OSError, ValueError):
        return
    process = os.getppid()
    for _ in range(3):
        found = process_name(process)
        if found is None:
            return
        if found[0] == name:
            os.environ[SOCKET] = address
            return
        process = found[1]


def run_in_server(arguments: list[str]) -> int | None:
    """Runs `lineal` with these arguments in a forked child that writes to this process's output streams.

    Returns:
        its exit status, or None when there is no server to ask.
    """
    address = os.environ.get(SOCKET)
    if not address:
        return None
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(socket_of(Path(address), arguments))
        except OSError:
            return None
        request = {"arguments": arguments, "directory": str(Path.cwd()), "environment": dict(os.environ)}
        body = json.dumps(request).encode()
        socket.send_fds(connection, [len(body).to_bytes(8, "big")], [1, 2])
        connection.sendall(body)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C reaches the child too, which answers for both
        answer = connection.recv(16)
    if not answer:
        sys.stderr.write("error: the step's process died without an answer: killed, or out of memory\n")
        return 1
    return int(answer)


def socket_of(address: Path, arguments: list[str]) -> str:
    """Returns the socket of the server that has imported what a step needs."""
    keys = address.with_name(KEYS).read_text(encoding="utf-8").split("\n")
    return (
        f"{address}{MODELLED}"
        if any(argument in keys for argument in arguments if argument)
        else str(address)
    )
