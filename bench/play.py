"""A small policy learns a game by playing: `play` and its control without a filter, over seeds.

    python bench/play.py [--seeds 0 1 2] [--directory DIR]     results to docs/play.json (seeds add up), and the table of them

Each seed runs in a scratch copy of the project; with `--directory` it stays there, and a stopped run goes on where it was.
The run fails unless each seed's gain over round 0 is at least 20 points, its 95% interval above 0, and above the control's gain.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from scratch import ROOT, lineal, scratch_project

from lineal.components.evaluators.reading import compare, read_evaluation

RESULTS = ROOT / "docs" / "play.json"
PLAY, CONTROL = "play", "control_play"
LEAST_GAIN = 0.20


def measure(seed: int, directory: Path) -> dict[str, Any]:
    """By pipeline, success by round with intervals, the gain over round 0, success on the easy games, turns; and seconds."""
    if not directory.exists():
        scratch_project(directory, seed=seed, profile="laptop", active=f"[{PLAY}, {CONTROL}]")
    lineal(directory, "run", quiet=False)
    logs = [json.loads(path.read_text()) for path in sorted((directory / "runs").rglob("*.json"))]
    figures = {name: _figures(directory / "artifacts" / name) for name in (PLAY, CONTROL)}
    return {
        **figures,
        "cpu_seconds": round(sum(log["cpu_seconds"] for log in logs if log["status"] == "done")),
    }


def _figures(artifacts: Path) -> dict[str, Any]:
    groups = ["start", *sorted(path.name for path in artifacts.glob("round_*"))]
    measured = [read_evaluation(artifacts / group / "evaluation") for group in groups]
    gain = compare(measured[0], measured[-1])
    assert gain is not None
    estimates = [one.estimates["success_rate"] for one in measured]
    return {
        "success": [[round(number, 3) for number in (one.value, one.low, one.high)] for one in estimates],
        "gain": [
            round(number, 3) for number in (gain.difference.value, gain.difference.low, gain.difference.high)
        ],
        "turns": [round(one.numbers["turns"], 1) for one in measured],
        "by_level": [
            {level: round(part["success_rate"], 2) for level, part in one.breakdown["by_difficulty"].items()}
            for one in measured
        ],
        "easy": [
            round(read_evaluation(artifacts / group / "easy").numbers["success_rate"], 2) for group in groups
        ],
    }


def table(results: dict[str, Any]) -> str:
    """The results as a table for people."""
    lines = [
        "| pipeline | seed | success by round (%) | gain (points, 95%) | easy games (%) | turns |",
        "|---|---|---|---|---|---|",
    ]
    for name in (PLAY, CONTROL):
        for seed, result in results.items():
            found = result[name]
            curve = " → ".join(f"{100 * value:.0f}" for value, _, _ in found["success"])
            gain, low, high = (100 * number for number in found["gain"])
            easy, turns = (f"{found[key][0]:g} → {found[key][-1]:g}" for key in ("easy", "turns"))
            lines.append(
                f"| {name} | {seed} | {curve} | {gain:+.0f} ({low:+.0f} to {high:+.0f}) | {easy} | {turns} |"
            )
    return "\n".join(lines)


def holds(results: dict[str, Any]) -> bool:
    """Tells whether every seed's gain is large enough, certain, and more than the control's."""
    gains = [(result[PLAY]["gain"], result[CONTROL]["gain"]) for result in results.values()]
    return all(own[0] >= LEAST_GAIN and own[1] > 0 and own[0] > control[0] for own, control in gains)


def main() -> None:
    """Parses the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument(
        "--json", type=Path, default=RESULTS, help="the file of results (default: docs/play.json)"
    )
    parser.add_argument(
        "--directory", type=Path, help="keep the projects here, and go on with those that are here"
    )
    arguments = parser.parse_args()
    results = json.loads(arguments.json.read_text()) if arguments.json.exists() else {}
    for seed in arguments.seeds:
        with (
            nullcontext(arguments.directory)
            if arguments.directory
            else tempfile.TemporaryDirectory() as place
        ):
            results[str(seed)] = measure(seed, Path(place).resolve() / f"seed_{seed}")
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(dict(sorted(results.items())), indent=1) + "\n")
        print(table(results), flush=True)
    raise SystemExit(0 if holds(results) else 1)


if __name__ == "__main__":
    main()
