"""Search with process rewards against best-of-n and majority at equal sampled tokens, on countdowns; docs/search.json and .svg.

    python bench/search.py [--project DIR] [--write]

A scratch project (or the one in DIR, as far as it is made) trains a small decoder on solutions drawn at random, values steps by
Monte Carlo, trains a process reward model on them, and searches 200 held-out prompts with three seeds. Best-of-n and majority get
the next larger number of samples, so that they have at least as many tokens as the search. `oracle` is the search `wide` with the
truth in the model's place: what a perfect model of values would be worth.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import pyarrow.parquet as pq
from scratch import lineal, scratch_project

from lineal.components.evaluators.best_of_n import Candidate, best_of_k
from lineal.components.evaluators.pass_at_k import pass_at_k

HERE = Path(__file__).resolve().parent
DOCS = HERE.parent / "docs"
PIPELINES = ("search", "search__seed_1", "search__seed_2")
TREES = ("narrow", "wide", "best_first", "oracle")
PARAMS = """\
seeds: [0, 1, 2]
active: [countdown, labels, search]
pipelines:
  countdown: {seed: 0}
  labels: {seed: 0}
compute:
  executor: in_process
"""
Rows = list[dict[str, Any]]
ByPrompt = Mapping[str, Rows]


def made(directory: Path) -> Path:
    """The project with everything made."""
    if not directory.exists():
        scratch_project(directory)
        for path in (HERE / "search").glob("*.yaml"):
            shutil.copy(path, directory / "pipelines")
        (directory / "params.yaml").write_text(PARAMS, encoding="utf-8")
    lineal(directory, "run", quiet=False)
    return directory


def rows_of(directory: Path, key: str, columns: Sequence[str]) -> Rows:
    """Some columns of an artifact's rows."""
    files = sorted((directory / "artifacts" / key).glob("part-*.parquet"))
    return [row for path in files for row in pq.ParquetFile(path).read(columns=list(columns)).to_pylist()]


def by_prompt(rows: Rows) -> ByPrompt:
    """Rows by their prompt, in order."""
    found: dict[str, Rows] = {}
    for row in rows:
        found.setdefault(row["prompt_id"], []).append(row)
    return found


def majority(rows: Rows, k: int) -> float:
    """Returns the share of disjoint choices of k completions whose commonest is right."""
    groups = [rows[start : start + k] for start in range(0, len(rows) - k + 1, k)]
    return fmean(_majority(group) for group in groups)


def _majority(rows: Rows) -> float:
    votes = Counter(row["completion"] for row in rows)
    leaders = {text for text, count in votes.items() if count == max(votes.values())}
    return len(leaders & {row["completion"] for row in rows if row["verdict"] == "pass"}) / len(leaders)


def sampling(directory: Path, pipeline: str) -> tuple[float, ByPrompt]:
    """Tokens of one sample, and the samples by prompt."""
    names = ("prompt_id", "completion", "verdict", "scorer_score", "tokens")
    rows = rows_of(directory, f"{pipeline}/round_01/samples", names)
    return fmean(row["tokens"] for row in rows), by_prompt(rows)


def sampled_at(samples: ByPrompt, k: int) -> dict[str, list[float]]:
    """By method, for each prompt how often k samples solve it."""
    found: dict[str, list[float]] = {"best of n": [], "majority": [], "any of n": []}
    for _, rows in sorted(samples.items()):
        right = [row["verdict"] == "pass" for row in rows]
        candidates = [Candidate(ok, row["scorer_score"], None) for ok, row in zip(right, rows, strict=True)]
        found["best of n"].append(best_of_k(candidates, k))
        found["majority"].append(majority(rows, k))
        found["any of n"].append(_any_of(len(right), sum(right), k))
    return found


def _any_of(count: int, right: int, k: int) -> float:
    found = pass_at_k([(count, right)], k)
    return float(getattr(found, "value", found))


def searched(directory: Path, pipeline: str, tree: str) -> tuple[float, dict[str, list[float]]]:
    """Tokens that a search spends on a prompt, and for each prompt whether its answer, and any of its ends, is right."""
    names = ("prompt_id", "terminal", "best", "verdict", "spent")
    trees = by_prompt(rows_of(directory, f"{pipeline}/round_01/{tree}", names))
    tokens = fmean(sum(row["spent"] for row in rows) for rows in trees.values())
    answer, anywhere = [], []
    for _, rows in sorted(trees.items()):
        ends = [row for row in rows if row["terminal"]]
        answer.append(float(any(row["best"] and row["verdict"] == "pass" for row in ends)))
        anywhere.append(float(any(row["verdict"] == "pass" for row in ends)))
    return tokens, {"answer": answer, "any": anywhere}


def interval(values: Sequence[float]) -> list[float]:
    """A mean with its 95% interval."""
    mean = fmean(values)
    half = 1.96 * stdev(values) / math.sqrt(len(values))
    return [round(mean, 4), round(mean - half, 4), round(mean + half, 4)]


def over_seeds(figures: Sequence[Sequence[float]]) -> list[float]:
    """For each prompt the mean over the seeds."""
    return [fmean(own) for own in zip(*figures, strict=True)]


def compared(directory: Path, tree: str) -> dict[str, Any]:
    """A search beside sampling at equal tokens: means over prompts and seeds, and paired differences."""
    found: dict[str, list[list[float]]] = {}
    spent, counts = [], []
    for pipeline in PIPELINES:
        tokens, own = searched(directory, pipeline, tree)
        each, samples = sampling(directory, pipeline)
        k = math.ceil(tokens / each)
        for name, values in (own | sampled_at(samples, k)).items():
            found.setdefault(name, []).append(values)
        spent.append(tokens)
        counts.append(k)
    means = {name: over_seeds(values) for name, values in found.items()}
    return {
        "tokens": round(fmean(spent), 1),
        "n": counts,
        **{name: interval(values) for name, values in means.items()},
        "by seed": {name: [round(fmean(own), 4) for own in values] for name, values in found.items()},
        "answer - best of n": _difference(means["answer"], means["best of n"]),
        "answer - majority": _difference(means["answer"], means["majority"]),
        "any - any of n": _difference(means["any"], means["any of n"]),
    }


def _difference(first: Sequence[float], second: Sequence[float]) -> list[float]:
    return interval([one - other for one, other in zip(first, second, strict=True)])


def auc(scores: Sequence[float], truths: Sequence[bool]) -> float:
    """Returns how often a solvable step is scored above an unsolvable one; equal scores count half."""
    ordered = sorted(zip(scores, truths, strict=True))
    rank_sum, place = 0.0, 0
    while place < len(ordered):
        end = place
        while end < len(ordered) and ordered[end][0] == ordered[place][0]:
            end += 1
        rank_sum += (place + end + 1) / 2 * sum(truth for _, truth in ordered[place:end])
        place = end
    good = sum(truths)
    return (rank_sum - good * (good + 1) / 2) / (good * (len(truths) - good))


def labels(directory: Path) -> dict[str, Any]:
    """Compares the labels, and what was learnt from them, with the truth: by step, each different beginning once."""
    names = ("prompt_id", "prefix", "completion", "step_index", "terminal")
    marked = rows_of(directory, "labels/round_01/truth", (*names, "value", "verdict"))
    learnt = [
        row
        for pipeline in PIPELINES
        for row in rows_of(directory, f"{pipeline}/round_01/truth", (*names, "score", "truth_verdict"))
    ]
    return {
        "monte carlo": agreement(marked, "value", "verdict"),
        "process reward": agreement(learnt, "score", "truth_verdict"),
    }


def agreement(rows: Rows, score: str, verdict: str) -> dict[str, Any]:
    """AUC, number and share of good ones: of the steps that something follows, together and by their place, and of last ones."""
    different = list({(row["prompt_id"], row["prefix"] + row["completion"]): row for row in rows}.values())
    parts = {
        "followed": [row for row in different if not row["terminal"]],
        **{
            f"step {place + 1}": [r for r in different if not r["terminal"] and r["step_index"] == place]
            for place in (0, 1)
        },
        "last": [row for row in different if row["terminal"]],
    }
    return {
        name: _agreement([row[score] for row in own], [row[verdict] == "pass" for row in own])
        for name, own in parts.items()
    }


def _agreement(scores: Sequence[float], truths: Sequence[bool]) -> dict[str, Any]:
    return {"auc": round(auc(scores, truths), 4), "count": len(truths), "good": round(fmean(truths), 4)}


def curve(directory: Path, most: int = 24) -> dict[str, Any]:
    """Returns the result of sampling at each number of samples: tokens, and the mean over prompts and seeds."""
    found: dict[str, list[Any]] = {"tokens": [], "best of n": [], "majority": [], "any of n": []}
    drawn = [sampling(directory, pipeline) for pipeline in PIPELINES]
    for k in (1, 2, 4, 8, 12, 16, 20, most):
        figures = [sampled_at(samples, k) for _, samples in drawn]
        found["tokens"].append(round(k * fmean(each for each, _ in drawn), 1))
        for name in figures[0]:
            found[name].append(round(fmean(fmean(own[name]) for own in figures), 4))
    return found


def plot(results: Mapping[str, Any], path: Path) -> None:
    """Solved prompts over sampled tokens."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "lineal"
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6.4, 3.6))
    for name, colour in (("best of n", "#1f77b4"), ("majority", "#7f7f7f")):
        axes.plot(results["sampling"]["tokens"], results["sampling"][name], color=colour, label=name)
    for name, marker in zip(TREES, "osD*", strict=True):
        own = results["searches"][name]
        mean, low, high = own["answer"]
        axes.errorbar(
            own["tokens"],
            mean,
            [[mean - low], [high - mean]],
            fmt=marker,
            color="#d62728",
            label=name.replace("_", "-"),
        )
    axes.set(xlabel="sampled tokens per prompt", ylabel="prompts solved", ylim=(0, None))
    axes.legend(frameon=False, fontsize=8)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    """Makes, reads, prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--project", type=Path)
    parser.add_argument("--write", action="store_true", help="docs/search.json and docs/search.svg")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        directory = made(arguments.project or Path(scratch) / "project")
        searches = {tree: compared(directory, tree) for tree in TREES}
        results = {"searches": searches, "labels": labels(directory), "sampling": curve(directory)}
    print(json.dumps(results, indent=1))
    if arguments.write:
        (DOCS / "search.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        plot(results, DOCS / "search.svg")


if __name__ == "__main__":
    main()
