"""Time, processor seconds and size of the core's installation (`make core`) against that of everything (`make setup`).

    python bench/install.py

Both start from an empty environment and an empty cache of pip's, one after the other. `everything, compiled` is what `make demo`
installed before the two were split.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WAYS = {
    "core": (".", ["--no-compile"]),
    "everything": (".[dev]", ["--no-compile"]),
    "everything, compiled": (".[dev]", []),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=WAYS, help="one of them")
    only = parser.parse_args().only
    print(f"{'what':<22} {'seconds':>8} {'processor seconds':>18} {'MB':>6}")
    for name in [only] if only else WAYS:
        with tempfile.TemporaryDirectory() as directory:
            seconds, work, size = installed(Path(directory) / "venv", *WAYS[name])
        print(f"{name:<22} {seconds:>8.0f} {work:>18.0f} {size:>6}", flush=True)


def installed(venv: Path, what: str, options: list[str]) -> tuple[float, float, int]:
    """Installs into a new environment; seconds, processor seconds and megabytes."""
    began, before = time.monotonic(), _work()
    subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    pip = [
        venv / "bin" / "pip",
        "install",
        "--quiet",
        "--no-cache-dir",
        "--constraint",
        "constraints.txt",
        *options,
    ]
    for one in (["torch"], ["--editable", what]):
        subprocess.run([*pip, *one], cwd=ROOT, check=True)
    took = time.monotonic() - began, _work() - before
    size = subprocess.run(["du", "-sm", venv], check=True, text=True, stdout=subprocess.PIPE).stdout.split()[
        0
    ]
    return *took, int(size)


def _work() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
