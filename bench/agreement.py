"""Says which artifacts of this run have the digests that the repository claims in its committed `dvc.lock`.

    python bench/agreement.py

Another processor family may round floating-point numbers differently; then checkpoints differ, and all that follows.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]


def digests(text: str) -> dict[str, str]:
    """By artifact directory, the MD5 that a `dvc.lock` records."""
    stages = (yaml.safe_load(text) or {}).get("stages", {})
    return {out["path"]: out["md5"] for stage in stages.values() for out in stage.get("outs", [])}


def in_running_order(paths: set[str]) -> list[str]:
    """Artifact directories in the order in which `dvc.yaml` makes them."""
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    outs = [
        out if isinstance(out, str) else next(iter(out))
        for stage in stages.values()
        for out in stage.get("outs", [])
    ]
    return sorted(paths, key=lambda path: outs.index(path) if path in outs else len(outs))


def main() -> None:
    """Compares the working tree's lock file with the committed one."""
    committed = subprocess.run(
        ["git", "show", "HEAD:./dvc.lock"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if committed.returncode:
        print("no committed dvc.lock to compare with")
        return
    claimed, made = digests(committed.stdout), digests((ROOT / "dvc.lock").read_text(encoding="utf-8"))
    differing = in_running_order(
        {path for path, digest in claimed.items() if made.get(path, digest) != digest}
    )
    same = sum(made.get(path) == digest for path, digest in claimed.items())
    print(f"{same} of {len(claimed)} artifacts have the committed digests")
    for path in differing[:8]:
        print(f"  differs: {path}  {claimed[path]} -> {made[path]}")
    if differing:
        print(
            "  another processor family or other package versions round differently; the first one above is where it begins"
        )


if __name__ == "__main__":
    main()
