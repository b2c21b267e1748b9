"""A pretrained model improves itself: ReST-EM and Iterative RPO on the profile `real`, beside the control, over seeds.

    python bench/real.py [NAME ...] [--seeds 0 1] [--directory DIR]   results to docs/real.json (seeds add up)
    python bench/real.py --page [--check]                             docs/real.md and docs/real.svg from them

Each seed runs in a scratch copy of the project. With `--directory` it stays there, and a run that was stopped goes on
where it was. The run fails when a claim doesn't hold: the gain's 95% interval above 0 and the gain at least 20 points for
each method, more than the control's. Costs are processor seconds, since other work on the machine changes the time only.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from scratch import ROOT, lineal, scratch_project, set_params

RESULTS = ROOT / "docs" / "real.json"
METHODS = ("rest_em", "irpo")
CONTROL = "control_unfiltered"
NAMES = (METHODS[0], CONTROL, METHODS[1])
LEAST_GAIN = 0.20


def measure(names: list[str], seed: int, directory: Path) -> dict[str, Any]:
    """By pipeline: what became of the held-out prompts in round 0, 1, ...; what the rounds sampled, kept and cost."""
    if not directory.exists():
        scratch_project(directory, seed=seed, profile="real")
    set_params(directory, active=f"[{', '.join(names)}]")
    started = time.monotonic()
    lineal(directory, "run", quiet=False)
    print(f"seed {seed}: {time.monotonic() - started:.0f} s")
    return {name: _figures(directory, name) for name in names}


def _figures(directory: Path, name: str) -> dict[str, Any]:
    artifacts, runs = directory / "artifacts" / name, directory / "runs" / name
    logs = [json.loads(path.read_text()) for path in sorted(runs.rglob("*.json"))]
    rounds = [path.name for path in sorted(artifacts.glob("round_*"))]
    return {
        "solved": [_solved(artifacts / part / "evaluation") for part in ("start", *rounds)],
        "passed": [_shares(artifacts / part / "verified") for part in rounds],
        "rows": [_trained(artifacts / part) for part in rounds],
        "cpu_seconds": round(sum(log["cpu_seconds"] for log in logs if log["status"] == "done")),
        "seconds": round(sum(log["seconds"] for log in logs if log["status"] == "done")),
    }


def _rows(artifact: Path, *columns: str) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    return [
        row
        for path in sorted(artifact.glob("*.parquet"))
        for row in pq.read_table(path, columns=list(columns)).to_pylist()
    ]


def _solved(evaluation: Path) -> str:
    """A digit for each held-out prompt, in the order of their ids: 1 is right."""
    rows = sorted(_rows(evaluation, "prompt_id", "verdict"), key=lambda row: row["prompt_id"])
    return "".join(str(int(row["verdict"] == "pass")) for row in rows)


def _shares(verified: Path) -> float:
    """The share of samples that the verifier accepts."""
    verdicts = [row["verdict"] for row in _rows(verified, "verdict")]
    return round(verdicts.count("pass") / len(verdicts), 4)


def _trained(group: Path) -> int:
    """Counts the rows, or pairs, that the round trained on."""
    (manifest,) = [
        path
        for path in (group / "filtered" / "manifest.json", group / "pairs" / "manifest.json")
        if path.exists()
    ]
    return sum(file["rows"] or 0 for file in json.loads(manifest.read_text())["files"].values())


def run(names: list[str], seeds: list[int], directory: Path | None, path: Path) -> bool:
    """Measures, adds the results to the file, prints them; whether all claims hold."""
    from real_page import holds, lines

    results = json.loads(path.read_text()) if path.exists() else {}
    for seed in seeds:
        with nullcontext(directory) if directory else tempfile.TemporaryDirectory() as place:
            found = measure(names, seed, Path(place).resolve() / f"seed_{seed}")
        for name, figures in found.items():
            results[name] = dict(sorted({**results.get(name, {}), str(seed): figures}.items()))
        path.write_text(json.dumps(results, indent=1) + "\n")
        print("\n".join(lines(results)), flush=True)
    return holds(results)


def main() -> None:
    """Parses the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", help=f"pipelines to measure (default: {', '.join(NAMES)})")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument(
        "--json", type=Path, default=RESULTS, help="the file of results (default: docs/real.json)"
    )
    parser.add_argument(
        "--directory", type=Path, help="keep the projects here, and go on with those that are here"
    )
    parser.add_argument(
        "--page", action="store_true", help="write the page from the results, and measure nothing"
    )
    parser.add_argument("--check", action="store_true", help="with --page: fail if the page is not current")
    arguments = parser.parse_args()
    if arguments.page:
        from real_page import page

        raise SystemExit(page(arguments.check))
    names = arguments.names or list(NAMES)
    raise SystemExit(0 if run(names, arguments.seeds, arguments.directory, arguments.json) else 1)


if __name__ == "__main__":
    main()
