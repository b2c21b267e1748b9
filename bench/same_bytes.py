"""Same bytes: the demo in two scratch copies with different execution settings gives the same MD5 for every artifact.

python bench/same_bytes.py [--seed 0]
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from agreement import digests
from scratch import lineal, scratch_project

SETTINGS = (
    {"batch_size": 64, "shard_rows": 96, "workers": 1, "processes": "fork"},
    {"batch_size": 1024, "shard_rows": 4096, "workers": 2, "processes": "spawn"},
)


def main() -> None:
    """Runs both and exits with 1 when a digest differs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=0)
    seed = parser.parse_args().seed
    found = []
    with tempfile.TemporaryDirectory() as directory:
        for number, settings in enumerate(SETTINGS):
            project = Path(directory) / str(number)
            scratch_project(
                project, seed=seed, **{f"compute_{name}": value for name, value in settings.items()}
            )
            print("running with", settings, flush=True)
            lineal(project, "run")
            found.append(digests((project / "dvc.lock").read_text(encoding="utf-8")))
    first, second = found
    differing = [path for path in first if first[path] != second.get(path)]
    print(f"{len(first) - len(differing)} of {len(first)} artifacts have the same MD5")
    for path in differing:
        print("  differs:", path)
    raise SystemExit(1 if differing or set(first) != set(second) else 0)


if __name__ == "__main__":
    main()
