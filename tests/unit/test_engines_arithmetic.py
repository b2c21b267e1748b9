"""Which kernels torch is loaded with, and what manifests say of it."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from lineal.engines import arithmetic as kernels
from lineal.engines.arithmetic import INTEL, PORTABLE, arithmetic, pin_arithmetic

pytestmark = pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64"), reason="the setting is for x86-64 processors with AVX2"
)


def test_arithmetic_of_the_command_line_is_pinned_before_torch_is_loaded():
    code = (
        "import sys; from lineal.cli.entry import prepare_torch; prepare_torch(); assert 'torch' not in sys.modules; "
        "import torch; print(torch.backends.cpu.get_cpu_capability())"
    )
    clean = {name: value for name, value in os.environ.items() if name not in PORTABLE}
    done = subprocess.run([sys.executable, "-c", code], env=clean, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "AVX2"


def test_pin_arithmetic_leaves_the_environments_own_choice(monkeypatch):
    monkeypatch.setenv("MKL_CBWR", "COMPATIBLE")
    monkeypatch.delenv("ATEN_CPU_CAPABILITY", raising=False)
    pin_arithmetic()
    assert os.environ["MKL_CBWR"] == "COMPATIBLE"
    assert os.environ["ATEN_CPU_CAPABILITY"] == PORTABLE["ATEN_CPU_CAPABILITY"]


@pytest.mark.parametrize(
    ("vendor", "pinned", "told"), [("AuthenticAMD", PORTABLE, []), ("GenuineIntel", INTEL, ["Intel"])]
)
def test_arithmetic_in_a_manifest_is_absent_when_portable_and_named_otherwise(
    monkeypatch, vendor, pinned, told
):
    monkeypatch.setattr(kernels, "_processor", {"vendor_id": vendor, "flags": "fpu avx2"}.get)
    for name in PORTABLE:
        monkeypatch.delenv(name, raising=False)
    pin_arithmetic()
    assert kernels.chosen_kernels() == pinned and kernels.is_pinned()
    named = " ".join([platform.machine(), *told, "MKL_CBWR=AVX2,STRICT"])
    assert arithmetic("cpu") == (named if told else None)
    monkeypatch.setenv("MKL_CBWR", "COMPATIBLE")
    assert arithmetic("cpu") == " ".join([platform.machine(), *told, "MKL_CBWR=COMPATIBLE"])
    assert not kernels.is_pinned() and arithmetic("cuda") == "cuda"
    monkeypatch.setenv("MKL_CBWR", "AVX2")
    assert kernels.is_pinned() is not bool(told)
