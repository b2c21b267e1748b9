"""Every method on the laptop profile: accuracy per round over seeds, its cost, and the pages that show them.

    python bench/methods.py run [NAME ...] [--seeds 0 1 2]     results to docs/methods/NAME.json (seeds add up)
    python bench/methods.py pages [--check]                    docs/methods.md and .svg, docs/methods/NAME.md, pipelines/README.md

`run` makes each pipeline in a scratch copy of the project, so that its cost is all its own. The pages are written from
the pipelines and the results; `--check` fails when they are not what these say.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

from scratch import ROOT, lineal, scratch_project

PIPELINES = ROOT / "pipelines"
RESULTS = ROOT / "docs" / "methods"
MODEL_PHASES = ("load", "sample", "train")


def measure(name: str, seed: int, directory: Path) -> dict[str, Any]:
    """Runs one pipeline's laptop profile and reads its evaluations and run logs.

    Returns:
        `accuracy`: by evaluating node, the headline number of round 0, 1, ...; `trainers`: their last version; what the
        rounds cost: `tokens` sampled, `model_seconds` in loading, sampling and training, `wall_seconds` from first to last step.
    """
    scratch_project(directory, seed=seed, profile="laptop", active=f"[{name}]")
    started = time.monotonic()
    lineal(directory, "run", quiet=False)
    wall = time.monotonic() - started
    logs = [json.loads(path.read_text()) for path in sorted((directory / "runs" / name).rglob("*.json"))]
    facts = [log.get("facts", {}) for log in logs]
    phases = [fact.get("seconds_by_phase", {}) for fact in facts]
    return {
        "accuracy": _curves(directory / "artifacts" / name),
        "trainers": max(_versions(directory / "artifacts" / name), default=0),
        "tokens": sum(fact.get("tokens", 0) for fact in facts),
        "model_seconds": round(sum(phase.get(key, 0.0) for phase in phases for key in MODEL_PHASES), 1),
        "wall_seconds": round(wall, 1),
        "steps": len(logs),
    }


def _versions(artifacts: Path) -> list[int]:
    """The component versions that made the checkpoints of the rounds."""
    manifests = [json.loads(path.read_text()) for path in artifacts.glob("round_*/**/manifest.json")]
    return [manifest["version"] for manifest in manifests if manifest["kind"] == "model"]


def _curves(artifacts: Path) -> dict[str, list[float]]:
    """By evaluating node, its headline number in round 0, 1, ...; a node of the last round only has one number."""
    found: dict[str, list[float]] = {}
    groups = ["start", *sorted(path.name for path in artifacts.glob("round_*")), "finish"]
    for group in groups:
        for path in sorted((artifacts / group).rglob("metrics.json")):
            metrics = json.loads(path.read_text())
            headline = json.loads(path.with_name("details.json").read_text())["headline"]
            if headline in metrics:
                found.setdefault(str(path.parent.relative_to(artifacts / group)), []).append(
                    metrics[headline]
                )
    return found


def run(names: list[str], seeds: list[int]) -> None:
    """Measures and adds the results to the files."""
    RESULTS.mkdir(exist_ok=True)
    for name in names or [path.stem for path in sorted(PIPELINES.glob("*.yaml"))]:
        for seed in seeds:
            with tempfile.TemporaryDirectory() as directory:
                result = measure(name, seed, Path(directory) / "project")
            path = RESULTS / f"{name}.json"
            results = json.loads(path.read_text()) if path.exists() else {}
            results[str(seed)] = result
            path.write_text(json.dumps(dict(sorted(results.items())), indent=1) + "\n")
            curve = " -> ".join(f"{100 * value:.1f}" for value in result["accuracy"].get("evaluation", []))
            print(f"{name} seed {seed}: {curve}, {result['wall_seconds']:.0f} s", flush=True)


def main() -> None:
    """Parses the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    runner = commands.add_parser("run", help="measure pipelines")
    runner.add_argument("names", nargs="*")
    runner.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    pages = commands.add_parser("pages", help="write the pages")
    pages.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    if arguments.command == "run":
        run(arguments.names, arguments.seeds)
    else:
        from method_pages import pages as write_or_check

        raise SystemExit(write_or_check(arguments.check))


if __name__ == "__main__":
    main()
