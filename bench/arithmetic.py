"""Prints digests of a few torch operations on this processor, and compares them with those of the portable setting.

    python bench/arithmetic.py            with the AVX2 kernels, as `lineal` runs
    python bench/arithmetic.py --native   with the kernels that torch chooses by itself

Results and what they mean: docs/reproducibility.md. The inputs come from raw words of a counter-based generator, since
torch's own normal numbers depend on the instruction set.
"""

from __future__ import annotations

import hashlib
import os
import sys
import time

from lineal.engines.arithmetic import PORTABLE, is_intel, pin_arithmetic

EXPECTED = {
    "matmul": "6450db2554",
    "linear": "6450db2554",
    "batched": "e0ec347f45",
    "softmax": "31fd49803b",
    "exp": "42e62b3404",
    "gelu": "eec01c9775",
    "silu": "ca2ad86b9e",
    "layer_norm": "b4322b420a",
    "attention": "8a83c5c6dd",
    "sum": "764aacc5a2",
    "rsqrt": "f552d5bf2e",
}
"""What AMD's AVX2 and AVX-512 machines gave under the portable setting (torch 2.13.0, two threads)."""
INTEL = {"matmul": "e4bf938f7f", "linear": "e4bf938f7f", "exp": "955921bf72"}
"""What differs on an Intel machine."""


def digests() -> dict[str, str]:
    """The first ten hex digits of each operation's result."""
    import numpy
    import torch

    torch.set_num_threads(2)
    words = numpy.random.Generator(numpy.random.PCG64(0))

    def tensor(*shape: int) -> torch.Tensor:
        return torch.from_numpy(words.random(shape, dtype=numpy.float32) * 2 - 1)

    a, b, x = tensor(512, 256), tensor(256, 1024), tensor(8, 4, 64, 64)
    f = torch.nn.functional
    results = {
        "matmul": a @ b,
        "linear": f.linear(a, b.t().contiguous()),
        "batched": torch.matmul(x, x),
        "softmax": x.softmax(-1),
        "exp": x.exp(),
        "gelu": f.gelu(x),
        "silu": f.silu(x),
        "layer_norm": f.layer_norm(x, (64,)),
        "attention": f.scaled_dot_product_attention(x, x, x),
        "sum": x.sum(),
        "rsqrt": (x.abs() + 1).rsqrt(),
    }
    started = time.perf_counter()
    for _ in range(200):
        a @ b
    print(f"torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}; ", end="")
    print(f"a 512x256 by 256x1024 product takes {(time.perf_counter() - started) * 5:.2f} ms")
    return {
        name: hashlib.sha256(value.contiguous().reshape(-1).numpy().tobytes()).hexdigest()[:10]
        for name, value in results.items()
    }


def main() -> None:
    """Prints one line per operation."""
    if "--native" not in sys.argv[1:]:
        pin_arithmetic()
    print(" ".join(f"{name}={os.environ.get(name)}" for name in PORTABLE))
    found, known = digests(), {**EXPECTED, **(INTEL if is_intel() else {})}
    for name, digest in found.items():
        print(
            f"{name:10} {digest}  {'as expected' if digest == known[name] else 'differs from ' + known[name]}"
        )
    print(f"{sum(found[name] == digest for name, digest in known.items())} of {len(known)} operations agree")


if __name__ == "__main__":
    main()
