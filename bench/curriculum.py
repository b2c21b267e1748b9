"""Rollouts that a bandit needs beside uniform sampling, on a mixture of three difficulties; docs/curriculum.json.

    python bench/curriculum.py [--seeds 0] [--rounds 5] [--directory DIR] [--write]

Both ways start from the same checkpoint and have the same settings but for `explore`, the share of draws that all difficulties
have alike: 0.1 for the bandit, 1.0 for uniform sampling. A way's rollouts are counted at the round from which it holds an
accuracy to its end. The run fails where the bandit needs more than `MOST` of uniform sampling's rollouts to the
last of `TARGETS`.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from scratch import ROOT, lineal, scratch_project

from lineal.components.evaluators.reading import read_evaluation
from lineal.data.manifest import read_manifest

HERE = Path(__file__).resolve().parent
RESULTS = ROOT / "docs" / "curriculum.json"
BANDIT, UNIFORM = "curriculum", "uniform"
MOST = 0.7
TARGETS = (0.8, 0.85, 0.9)


def measure(seed: int, rounds: int, directory: Path) -> dict[str, Any]:
    """By way of drawing, accuracy and rollouts by round."""
    if not directory.exists():
        scratch_project(directory, seed=seed, rounds=rounds, profile="paper", active=f"[{BANDIT}, {UNIFORM}]")
        declared = (HERE / "curriculum" / "curriculum.yaml").read_text(encoding="utf-8")
        for name, text in ((BANDIT, declared), (UNIFORM, declared.replace("explore: 0.1", "explore: 1.0"))):
            (directory / "pipelines" / f"{name}.yaml").write_text(text, encoding="utf-8")
    lineal(directory, "run", quiet=False)
    return {name: _figures(directory / "artifacts" / name) for name in (BANDIT, UNIFORM)}


def _figures(artifacts: Path) -> dict[str, Any]:
    rounds = sorted(path for path in artifacts.glob("round_*"))
    measured = [read_evaluation(path / "evaluation") for path in (artifacts / "start", *rounds)]
    rollouts = [read_manifest(path / "checkpoint.rollouts", path.name).counts["out"] for path in rounds]
    return {
        "accuracy": [round(one.numbers["accuracy"], 4) for one in measured],
        "rollouts": [sum(rollouts[:number]) for number in range(len(rollouts) + 1)],
    }


def needed(way: dict[str, Any], target: float) -> int | None:
    """After how many rollouts an accuracy is reached and not lost again; None: never."""
    held = [min(way["accuracy"][number:]) >= target for number in range(len(way["accuracy"]))]
    return next((rollouts for rollouts, holds in zip(way["rollouts"], held, strict=True) if holds), None)


def compared(result: dict[str, Any]) -> dict[str, Any]:
    """By target, the rollouts that each way needs, and the bandit's as a share of uniform sampling's.

    Where uniform sampling never comes to the target it needs more than it had, and the share is at most the one that is given.
    """
    found = {}
    for target in TARGETS:
        bandit, uniform = needed(result[BANDIT], target), needed(result[UNIFORM], target)
        share = bandit / (uniform or result[UNIFORM]["rollouts"][-1]) if bandit is not None else None
        found[str(target)] = {BANDIT: bandit, UNIFORM: uniform, "share": share and round(share, 3)}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--directory", type=Path, help="keeps the projects there; a stopped run goes on")
    parser.add_argument("--write", action="store_true", help=f"writes {RESULTS.relative_to(ROOT)}")
    arguments = parser.parse_args()
    results: dict[str, Any] = {}
    place = nullcontext(str(arguments.directory)) if arguments.directory else tempfile.TemporaryDirectory()
    with place as directory:
        for seed in arguments.seeds:
            result = measure(seed, arguments.rounds, Path(directory) / f"seed_{seed}")
            results[str(seed)] = {**result, "needed": compared(result)}
    print(json.dumps(results, indent=1))
    if arguments.write:
        RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    shares = [each["needed"][str(TARGETS[-1])]["share"] for each in results.values()]
    if any(share is None or share > MOST for share in shares):
        raise SystemExit(
            f"rollouts to {TARGETS[-1]:.0%}: shares {shares}, expected at most {MOST} of uniform sampling's"
        )


if __name__ == "__main__":
    main()
