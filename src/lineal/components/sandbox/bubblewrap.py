"""The sandbox's walls: the bubblewrap command line, and a trial that shows what is missing on this machine."""

from __future__ import annotations

import os
import py_compile
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from lineal.components.sandbox.syscalls import refusals
from lineal.errors import SandboxError

READY = b"ready\n"
TMP_BYTES = 32 << 20
_NOBODY = "65534"
PROGRAM, JUDGE = "inside", "examiner"
"""The purpose of a sandbox: the script of this package that runs in it."""
_FILES = {
    PROGRAM: {"inside": "/inside.pyc"},
    JUDGE: {
        name: f"/judge/lineal/components/sandbox/{name}.pyc" for name in ("examiner", "inside", "values")
    },
}
_ENVIRONMENT = {"PYTHONHASHSEED": "0", "PYTHONUTF8": "1", "HOME": "/tmp", "PATH": ""}  # noqa: S108 - the sandbox's own
_LIBRARIES = ("/lib", "/lib32", "/lib64", "/usr/lib", "/usr/lib64")
_INSTALL = "Install it: apt install bubblewrap (Debian, Ubuntu) or dnf install bubblewrap (Fedora)"
_NAMESPACES = (
    "It needs user namespaces: in a container allow them (Docker: --security-opt seccomp=unconfined --security-opt "
    "apparmor=unconfined); on Ubuntu: sysctl kernel.apparmor_restrict_unprivileged_userns=0; on Debian before 11: "
    "sysctl kernel.unprivileged_userns_clone=1"
)


@dataclass(frozen=True)
class Limits:
    """Limits of one program.

    Attributes:
        cpu_seconds: processor time, the start of Python (about 0.02 s) included.
        wall_seconds: time from getting the job to the answer.
        memory_bytes: address space of its one process.
        output_bytes: its longest answer, and its longest file.
    """

    cpu_seconds: int
    wall_seconds: float
    memory_bytes: int
    output_bytes: int


def start(limits: Limits, script: str = PROGRAM, stderr: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
    """Starts a sandbox that waits for a job on its standard input.

    Raises:
        SandboxError: bubblewrap is not installed.
    """
    arguments = [str(number) for number in (limits.cpu_seconds, limits.memory_bytes, limits.output_bytes)]
    environment = {**_ENVIRONMENT, "PYTHONPATH": "/judge"} if script == JUDGE else _ENVIRONMENT
    with ExitStack() as stack:
        filters = stack.enter_context(_readable(refusals()))
        sources = {
            path: stack.enter_context(_readable(_compiled(name))) for name, path in _FILES[script].items()
        }
        files = [part for path, source in sources.items() for part in ("--file", str(source), path)]
        return subprocess.Popen(  # noqa: S603 - the program itself is data, which comes in later
            [
                *_walls(),
                *files,
                "--remount-ro",
                "/",
                "--seccomp",
                str(filters),
                "--",
                _interpreter(),
                "-s",
                "-S",
                "-P",
                "-B",
                _FILES[script][script],
                *arguments,
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            pass_fds=(*sources.values(), filters),
            bufsize=0,
            env=environment,
            process_group=0,
        )


def end(process: subprocess.Popen[bytes]) -> None:
    """Ends a sandbox, however far it has come, and waits for it.

    bubblewrap's inner process asks the kernel to die with the outer one only when it is nearly up. Ended before that, the outer
    one would leave it waiting for ever, so all of their process group is ended; the inner one leaves the group later.
    """
    kill(process)
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()


def kill(process: subprocess.Popen[bytes]) -> None:
    """Ends a sandbox without waiting for it."""
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


@contextmanager
def _readable(data: bytes) -> Iterator[int]:
    """Makes a descriptor that gives some data once: a pipe, which holds 64 KiB."""
    reading, writing = os.pipe()
    try:
        os.write(writing, data)
        os.close(writing)
        yield reading
    finally:
        os.close(reading)


def require() -> None:
    """Starts one sandbox, as a trial.

    Raises:
        SandboxError: it doesn't come up; says what to install or to allow.
    """
    process = start(Limits(10, 100.0, 1 << 29, 1 << 16), stderr=subprocess.PIPE)
    with process:
        _, complaint = process.communicate(b'{"name": "probe", "source": "", "input": "", "calls": []}\n')
    if process.returncode:
        told = complaint.decode("utf-8", "replace").strip().replace("\n", "; ")[:300]
        fix = (
            _NAMESPACES
            if "namespace" in told or "uid map" in told or "permitted" in told.lower()
            else _INSTALL
        )
        raise SandboxError(f"bubblewrap does not start here, and programs run only inside it: {told}. {fix}")


@cache
def _walls() -> tuple[str, ...]:
    """Returns bubblewrap's own arguments: only libraries and Python are visible, and nothing is reachable."""
    program = shutil.which("bwrap")
    if program is None:
        raise SandboxError(
            f"programs that a model wrote run only inside bubblewrap (bwrap), which is not here. {_INSTALL}"
        )
    apart = [f"--unshare-{name}" for name in ("user", "ipc", "pid", "net", "uts", "cgroup-try")]
    identity = ["--uid", _NOBODY, "--gid", _NOBODY, "--hostname", "sandbox", "--cap-drop", "ALL"]
    writable = ["--size", str(TMP_BYTES), "--tmpfs", "/tmp", "--chdir", "/tmp"]  # noqa: S108 - its own
    return (program, *apart, *identity, "--die-with-parent", "--new-session", *_seen(), *writable)


def _seen() -> list[str]:
    """Returns the parts of this machine's file system that Python needs, read-only; other packages are hidden."""
    shown: list[str] = []
    libraries = Path(sys.base_prefix) / "lib"
    directories = [Path(name) for name in _LIBRARIES if Path(name).is_dir()]
    if not libraries.resolve().is_relative_to("/usr/lib"):
        directories.append(libraries)
    for path in directories:
        if path.is_symlink() and path.resolve() in directories:
            shown += ["--symlink", str(path.readlink()), str(path)]
        else:
            shown += ["--ro-bind", str(path), str(path)]
    packages = Path(sysconfig.get_path("stdlib")) / "site-packages"
    hidden = ["--tmpfs", str(packages)] if packages.is_dir() else []
    return [*shown, *hidden, "--ro-bind", _interpreter(), _interpreter()]


@cache
def _interpreter() -> str:
    """Returns the Python that this environment was made from; the environment itself stays outside."""
    return os.path.realpath(getattr(sys, "_base_executable", sys.executable))


@cache
def _compiled(name: str) -> bytes:
    """Compiles a module of this package to Python's bytecode: compiling `inside.py` would take 4 ms of every start."""
    with tempfile.TemporaryDirectory() as directory:
        target = Path(directory) / f"{name}.pyc"
        mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
        py_compile.compile(
            str(Path(__file__).with_name(f"{name}.py")), str(target), doraise=True, invalidation_mode=mode
        )
        return target.read_bytes()
