"""The console script. A step that a fork server can run is handed over before anything is imported for it."""

from __future__ import annotations

import io
import os
import sys

from lineal.engines.arithmetic import pin_arithmetic


def main() -> None:
    """Runs the command line of this process and exits with its status."""
    prepare_torch()
    os.environ.setdefault(
        "HF_HUB_DISABLE_TELEMETRY", "1"
    )  # TRL tells its maker of every trainer that is built
    if sys.argv[1:2] == ["step"]:
        _hand_over()
    from lineal.cli.main import run_command

    outlive_readers()
    sys.exit(run_command())


class _Outliving(io.TextIOWrapper):
    """A stream whose reader may leave, as `head` does: unread output is dropped and the command still ends normally."""

    def write(self, text: str) -> int:
        try:
            return super().write(text)
        except BrokenPipeError:
            self._drop_the_rest()
            return len(text)

    def flush(self) -> None:
        try:
            super().flush()
        except BrokenPipeError:
            self._drop_the_rest()

    def _drop_the_rest(self) -> None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.fileno())
        os.close(nowhere)


def outlive_readers() -> None:
    """Lets a command that is piped into `head` or `less` finish, with its own exit status."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper):
            encoding, errors, buffering = stream.encoding, stream.errors, stream.line_buffering
            setattr(sys, name, _Outliving(stream.detach(), encoding, errors, line_buffering=buffering))


def prepare_torch() -> None:
    """Sets what torch reads from the environment when it is loaded; the environment's own choice wins.

    Kernels are those that give the same bits on all processors. OpenMP's threads sleep while they wait for each other: by
    default they spin, which slows down the thread that they wait for. Two trainings at once on two cores took 5 to 20 times
    as long.
    """
    pin_arithmetic()
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def _hand_over() -> None:
    """Runs `lineal step` in the fork server and exits with its status; returns when there is no server."""
    from lineal.step.handover import find_server_of_dvc, run_in_server
    from lineal.step.parent_watch import stop_when_orphaned

    if "DVC_STAGE" in os.environ:
        stop_when_orphaned()
        find_server_of_dvc()
    status = run_in_server(sys.argv[1:])
    if status is not None:
        sys.exit(status)
