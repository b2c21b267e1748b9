"""Processor arithmetic: settings under which all x86-64 processors with AVX2 give the same bits.

torch, oneDNN and MKL choose kernels by the instruction sets that they find, and kernels for AVX2 and AVX-512 round
differently. The choice is made when they are loaded, so it has to be pinned before torch is imported.
"""

from __future__ import annotations

import os
import platform
import sys
from functools import cache
from pathlib import Path

PORTABLE = {"MKL_CBWR": "AVX2", "ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}
"""Environment variables and values. Measured to cost nothing on an AVX-512 machine (docs/reproducibility.md)."""
INTEL = {**PORTABLE, "MKL_CBWR": "AVX2,STRICT"}
"""The values on Intel's processors, for which MKL has other kernels: unless they are strict, a row's bits depend on its place."""
X86_64 = ("x86_64", "AMD64")


def pin_arithmetic() -> None:
    """Chooses the AVX2 kernels for this process and its children, unless the environment chooses already.

    To be called before torch is imported. Processors without AVX2 keep their own kernels.
    """
    if _has_avx2():
        for name, value in _kernels_for_here().items():
            os.environ.setdefault(name, value)


def is_pinned() -> bool:
    """Tells whether this process has the kernels that `pin_arithmetic` chooses."""
    return _has_avx2() and chosen_kernels() == _kernels_for_here() and _torch_agrees()


def _kernels_for_here() -> dict[str, str]:
    return INTEL if is_intel() else PORTABLE


def chosen_kernels() -> dict[str, str]:
    """Returns the choices in this process's environment, for processes that don't inherit it."""
    return {name: os.environ[name] for name in PORTABLE if name in os.environ}


def arithmetic(device: str) -> str | None:
    """Describes how bytes were computed, for a manifest; None for the portable way, whose bits any processor but Intel's gives.

    Args:
        device: where the model ran, by torch's name, or 'auto'.
    """
    if device == "cuda" or (device == "auto" and _finds_gpu()):
        return "cuda"
    if is_pinned() and not is_intel():
        return None
    own = [f"{name}={value}" for name, value in chosen_kernels().items() if value != PORTABLE[name]]
    return " ".join([platform.machine(), *(["Intel"] if is_intel() else []), *own])


def _finds_gpu() -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and bool(torch.cuda.is_available())


def _torch_agrees() -> bool:
    """Tells whether torch, if it is loaded, was loaded under the setting."""
    torch = sys.modules.get("torch")
    return torch is None or torch.backends.cpu.get_cpu_capability() == "AVX2"


def _has_avx2() -> bool:
    if platform.machine() not in X86_64:
        return False
    flags = _processor("flags")
    # No Linux: torch's own builds for x86-64 elsewhere ask for AVX2.
    return flags is None or "avx2" in flags.split()


def is_intel() -> bool:
    """Tells whether this is one of Intel's processors, on which MKL's kernels round like on no other."""
    return _processor("vendor_id") == "GenuineIntel"


@cache
def _processor(name: str) -> str | None:
    """Returns what Linux says of the first processor; None where it is another system."""
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8") as stream:
            entries = (line.partition(":") for line in stream)
            return next((value.strip() for key, _, value in entries if key.strip() == name), "")
    except OSError:
        return None
