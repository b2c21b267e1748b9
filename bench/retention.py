"""20 rounds with `retain: {checkpoints: {last: 2}}`, pruned after each: disk, audits, a fresh clone, and a checkpoint made again.

    python bench/retention.py [--rounds 20] [--directory DIR]

Real models of a few thousand parameters on one core; prints one line a round and fails when a claim does not hold.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import mkdtemp

ROOT = Path(__file__).parents[1]
FIXTURE = ROOT / "tests" / "fixtures" / "format_1"
LINEAL = Path(sys.executable).with_name("lineal")
RETAIN = "retain: {checkpoints: {last: 2}}\n"
MOST_ROUNDS = 3


def run(root: Path, *arguments: str) -> str:
    environment = os.environ | {"PATH": f"{LINEAL.parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(arguments, cwd=root, env=environment, text=True, capture_output=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(arguments)}: {done.stdout}{done.stderr}")
    return done.stdout


def lineal(root: Path, *arguments: str) -> str:
    return run(root, str(LINEAL), *arguments)


def git(root: Path, *arguments: str) -> str:
    return run(root, "git", "-c", "user.name=bench", "-c", "user.email=bench@localhost", *arguments)


def make_project(root: Path) -> None:
    shutil.copytree(FIXTURE / "pipelines", root / "pipelines")
    (root / ".gitignore").write_text("/artifacts/\n/runs/\n/reports/\n")
    set_rounds(root, 1)
    git(root, "init", "-q")
    run(root, "dvc", "init", "-q")
    for name in ("plots", "config"):
        source = ROOT / ".dvc" / name
        (shutil.copytree if source.is_dir() else shutil.copyfile)(source, root / ".dvc" / name)
    (root / ".dagster").mkdir()
    for name in ("dagster.yaml", ".gitignore"):
        shutil.copyfile(ROOT / ".dagster" / name, root / ".dagster" / name)


def set_rounds(root: Path, rounds: int) -> None:
    text = (FIXTURE / "params.yaml").read_text().replace("rounds: 1", f"rounds: {rounds}")
    (root / "params.yaml").write_text(text + RETAIN)


def checkpoints(root: Path) -> int:
    """Counts the checkpoints in `artifacts/`, or in the cache if it has more; where the disk can link, the two share bytes."""
    here = list(root.glob("artifacts/*/*/checkpoint/model.safetensors"))
    cached = [
        path
        for path in (root / ".dvc/cache/files").rglob("*")
        if path.is_file() and path.stat().st_size == size_of(here[0])
    ]
    return max(len(here), len(cached))


def size_of(path: Path) -> int:
    return path.stat().st_size


def require(claim: bool, what: str) -> None:
    print(f"{'ok  ' if claim else 'FAIL'} {what}", flush=True)
    if not claim:
        sys.exit(1)


def told(root: Path, rounds: int) -> tuple[str, ...]:
    """Returns the parts of audits that do not depend on where bytes are."""
    last, before = f"letters/round_{rounds:02d}", f"letters/round_{rounds - 1:02d}"
    proof = json.loads(lineal(root, "show", last, "--verify", "--json"))
    require(
        proof["verified"]["problems"] == {},
        f"round --verify of {last}: {proof['verified']['artifacts']} artifacts",
    )
    chain = {
        node["id"] for node in json.loads(lineal(root, "trace", f"{last}/checkpoint", "--json"))["nodes"]
    }
    expected = {f"letters/round_{number:02d}/checkpoint" for number in range(1, rounds)}
    require(expected <= chain, f"trace: {rounds - 1} checkpoints to the base")
    lineal(root, "report")
    first = lineal(root, "diff", "letters/round_01", "letters/round_02")
    return json.dumps(proof["checkpoints"]), lineal(root, "diff", before, last), first


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--rounds", type=int, default=20)
    arguments.add_argument("--directory", type=Path)
    asked = arguments.parse_args()
    place = asked.directory or Path(mkdtemp(prefix="lineal-retention-"))
    root, most = place / "project", 0
    root.mkdir(parents=True)
    make_project(root)
    for rounds in range(1, asked.rounds + 1):
        set_rounds(root, rounds)
        lineal(root, "run")
        lineal(root, "prune")
        most = max(most, checkpoints(root))
        print(f"round {rounds:2}: {checkpoints(root)} checkpoints on disk", flush=True)
    require(
        most <= MOST_ROUNDS, f"at most {MOST_ROUNDS} rounds of checkpoints on disk (base included): {most}"
    )
    git(root, "add", ".")
    git(root, "commit", "-qm", "Rounds")
    run(root, "dvc", "remote", "add", "-q", "-d", "store", str(place / "store"))
    push(root)
    git(root, "commit", "-qam", "A remote")
    here = told(root, asked.rounds)
    git(place, "clone", "-q", str(root), "clone")
    lineal(place / "clone", "run", "--pull")
    require(told(place / "clone", asked.rounds) == here, "a fresh clone tells the same")
    lock = (root / "dvc.lock").read_bytes()
    lineal(root, "run", "--remake", "letters/round_03/checkpoint")
    require(
        (root / "artifacts/letters/round_03/checkpoint/manifest.json").is_file(),
        "a pruned checkpoint is made again",
    )
    require((root / "dvc.lock").read_bytes() == lock, "and has its digest")
    shutil.rmtree(place)


def push(root: Path) -> None:
    """Pushes what is here; `dvc push` without names would ask for what was pruned."""
    here = [
        path.parent.relative_to(root).as_posix()
        for path in sorted(root.glob("artifacts/*/*/*/manifest.json"))
    ]
    run(root, "dvc", "push", "-q", *here)


if __name__ == "__main__":
    main()
