"""System calls that a sandboxed program may not make, as a seccomp filter: no second process, no new namespaces.

A program is one process, so the kernel's limits on a process's memory and processor time are limits on the program. The calls
that would hold memory outside a process, or look into others, are refused too. Everything else a namespace already hides.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping

from lineal.errors import SandboxError

ARCHITECTURES: Mapping[str, tuple[int, int, int, tuple[int, ...]]] = {
    # audit number, clone, clone3, and the refused: fork vfork; ptrace process_vm_readv process_vm_writev; socket socketpair;
    # unshare setns mount umount2 pivot_root chroot; shmget msgget semget memfd_create; keyctl add_key request_key; bpf
    # perf_event_open userfaultfd io_uring_setup
    "x86_64": (
        0xC000003E,
        56,
        435,
        (
            57,
            58,
            101,
            310,
            311,
            41,
            53,
            272,
            308,
            165,
            166,
            155,
            161,
            29,
            68,
            64,
            319,
            250,
            248,
            249,
            321,
            298,
            323,
            425,
        ),
    ),
    "aarch64": (
        0xC00000B7,
        220,
        435,
        (
            117,
            270,
            271,
            198,
            199,
            97,
            268,
            40,
            39,
            41,
            51,
            194,
            186,
            190,
            279,
            219,
            217,
            218,
            280,
            241,
            282,
            425,
        ),
    ),
}
"""By machine: how Linux numbers these calls. aarch64 has no fork and no vfork."""

_LOAD, _EQUAL, _AT_LEAST, _BITS, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL, _NOT_PERMITTED, _NOT_THERE = 0x7FFF0000, 0x80000000, 0x00050001, 0x00050026
_NUMBER, _MACHINE, _FIRST_ARGUMENT = 0, 4, 16
_CLONE_THREAD = 0x00010000
_X32 = 0x40000000


def refusals() -> bytes:
    """Returns the filter for this machine, as `bwrap --seccomp` reads it.

    Raises:
        SandboxError: this machine's system calls are not in the table.
    """
    machine = os.uname().machine
    if machine not in ARCHITECTURES:
        known = " and ".join(ARCHITECTURES)
        raise SandboxError(
            f"programs cannot be shut in on {machine}: the filter of system calls knows {known}. Use one of these"
        )
    audit, clone, clone3, refused = ARCHITECTURES[machine]
    tests = [(number, _NOT_PERMITTED) for number in refused] + [
        (clone3, _NOT_THERE)
    ]  # libc then uses clone for its threads
    program = [
        (_LOAD, 0, 0, _MACHINE),
        (_EQUAL, 1, 0, audit),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
        (_AT_LEAST, 0, 1, _X32),
        (_RETURN, 0, 0, _KILL),
    ]
    for number, verdict in tests:
        program += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, verdict)]
    program += [
        (_EQUAL, 0, 3, clone),
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        (_BITS, 1, 0, _CLONE_THREAD),
        (_RETURN, 0, 0, _NOT_PERMITTED),
        (_RETURN, 0, 0, _ALLOW),
    ]
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
