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
X86_64 = ("x86_64", "AMD64")


def pin_arithmetic() -> None:
    """Chooses the AVX2 kernels for this process and its children, unless the environment chooses already.

    To be called before torch is imported. Processors without AVX2 keep their own kernels.
    """
    if _has_avx2():
        for name, value in PORTABLE.items():
            os.environ.setdefault(name, value)


def chosen_kernels() -> dict[str, str]:
    """Returns the choices in this process's environment, for processes that don't inherit it."""
    return {name: os.environ[name] for name in PORTABLE if name in os.environ}


def arithmetic(device: str) -> str | None:
    """Describes how bytes were computed, for a manifest; None for the portable way, whose bits any processor gives.

    Args:
        device: where the model ran, by torch's name, or 'auto'.
    """
    if device == "cuda" or (device == "auto" and _finds_gpu()):
        return "cuda"
    chosen = chosen_kernels()
    if _has_avx2() and chosen == PORTABLE and _torch_agrees():
        return None
    own = [f"{name}={value}" for name, value in chosen.items() if value != PORTABLE[name]]
    return " ".join([platform.machine(), *own])


def _finds_gpu() -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and bool(torch.cuda.is_available())


def _torch_agrees() -> bool:
    """Tells whether torch, if it is loaded, was loaded under the setting."""
    torch = sys.modules.get("torch")
    return torch is None or torch.backends.cpu.get_cpu_capability() == "AVX2"


@cache
def _has_avx2() -> bool:
    if platform.machine() not in X86_64:
        return False
    try:
        return (
            "avx2"
            in Path("/proc/cpuinfo")
            .read_text(encoding="utf-8")
            .split("flags", 1)[-1]
            .split("\n", 1)[0]
            .split()
        )
    except OSError:  # no Linux; torch's own builds for x86-64 elsewhere ask for AVX2
        return True
