"""A policy that is its own label collapses while its reward stays high; the best step is kept. docs/collapse.json and .svg.

    python bench/collapse.py [--seeds 0 1] [--directory DIR] [--write]

`whole` is one long training that a majority vote rewards while the truth only watches; `kept` has the same settings and
`keep_best`. The run fails unless every seed's truth falls in `whole` while its vote does not, as the check `reward_held` says,
and `kept` is better on held-out prompts than the last step of `whole`, and not worse than the checkpoint that both start from by
more than noise.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from scratch import ROOT, lineal, scratch_project

from lineal.components.evaluators.reading import read_evaluation
from lineal.components.trainers.rollout_means import step_means
from lineal.data.manifest import read_manifest
from lineal.data.store import Rows, open_artifact
from lineal.step.rewards import LEVEL, parted

HERE = Path(__file__).resolve().parent
DOCS = ROOT / "docs"
NAME = "collapse"
VOTE, TRUTH = "agreed_score", "truth_score"
SMOOTH = 5
"""Generations whose mean is drawn."""


def measure(seed: int, directory: Path) -> dict[str, Any]:
    """Measures both trainings."""
    if not directory.exists():
        scratch_project(directory, seed=seed, rounds=1, profile="paper", active=f"[{NAME}]")
        shutil.copy(HERE / NAME / f"{NAME}.yaml", directory / "pipelines")
    lineal(directory, "run", quiet=False)
    artifacts = directory / "artifacts" / NAME
    accuracy = {
        name: _accuracy(artifacts / place)
        for name, place in (
            ("start", "start/evaluation"),
            ("whole", "round_01/evaluation"),
            ("kept", "round_01/evaluation_kept"),
        )
    }
    whole, kept = (_curve(artifacts / "round_01" / f"{name}.rollouts") for name in ("whole", "kept"))
    falls, said = parted(whole[VOTE], whole[TRUTH], tuple(range(len(whole[VOTE]))))
    counts = read_manifest(artifacts / "round_01" / "kept", "kept").counts
    return {
        "accuracy": accuracy,
        "whole": whole,
        "kept": kept,
        "best_step": counts["best_step"],
        "steps": counts["steps"],
        "p_value": falls,
        "said": said,
    }


def _accuracy(place: Path) -> list[float]:
    found = read_evaluation(place).estimates["accuracy"]
    return [round(number, 4) for number in (found.value, found.low, found.high)]


def _curve(place: Path) -> dict[str, list[float]]:
    table = Rows((open_artifact(place.name, place),)).read(["optimizer_step", VOTE, TRUTH])
    return {
        name: [round(value, 4) for value in values]
        for name, values in step_means(table, [VOTE, TRUTH]).whole().items()
    }


def holds(result: Mapping[str, Any]) -> bool:
    """Tells whether the collapse is there, is reported, and is escaped."""
    accuracy = result["accuracy"]
    escaped = accuracy["kept"][1] > accuracy["whole"][2] and accuracy["kept"][2] >= accuracy["start"][0]
    return bool(result["p_value"] < LEVEL and escaped)


def smoothed(values: list[float]) -> list[float]:
    """The mean of each value and of those just before it."""
    return [
        sum(part) / len(part)
        for end in range(1, len(values) + 1)
        if (part := values[max(0, end - SMOOTH) : end])
    ]


def plot(results: Mapping[str, Any], path: Path) -> None:
    """Vote and truth over optimizer steps, a panel for each seed; a dot where the kept checkpoint stands."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "lineal"
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(
        1, len(results), figsize=(3.6 * len(results) + 0.6, 3.2), sharey=True, squeeze=False
    )
    for axes, (seed, result) in zip(panels[0], results.items(), strict=True):
        axes.plot(smoothed(result["whole"][VOTE]), color="#7f7f7f", label="reward: the vote")
        axes.plot(smoothed(result["whole"][TRUTH]), color="#d62728", label="probe: the truth")
        kept = smoothed(result["kept"][TRUTH])
        axes.plot(kept, color="#1f77b4", label="probe with keep_best")
        axes.plot([result["best_step"]], [kept[result["best_step"]]], "o", color="#1f77b4")
        axes.set(xlabel="optimizer steps", title=f"seed {seed}", ylim=(0, 1.02))
    panels[0][0].set(ylabel="share of rollouts")
    panels[0][0].legend(frameon=False, fontsize=7)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    """Makes, reads, prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--directory", type=Path, help="keeps the projects there; a stopped run goes on")
    parser.add_argument("--write", action="store_true", help="docs/collapse.json and docs/collapse.svg")
    arguments = parser.parse_args()
    place = nullcontext(str(arguments.directory)) if arguments.directory else tempfile.TemporaryDirectory()
    with place as directory:
        results = {str(seed): measure(seed, Path(directory) / f"seed_{seed}") for seed in arguments.seeds}
    shown = {
        seed: {key: value for key, value in result.items() if key not in ("whole", "kept")}
        for seed, result in results.items()
    }
    print(json.dumps(shown, indent=1))
    if arguments.write:
        (DOCS / "collapse.json").write_text(json.dumps(results) + "\n", encoding="utf-8")
        plot(results, DOCS / "collapse.svg")
    if not all(map(holds, results.values())):
        raise SystemExit("a seed's collapse is missing, was not warned of, or was not escaped")


if __name__ == "__main__":
    main()
