"""The demo, measured: accuracy per round over seeds, its time, and which share of that is sampling, training, evaluation.

    python bench/quickstart.py [--seeds 0 1 2] [--json FILE] [--plot FILE]
    python bench/quickstart.py --together [--seeds 0 1 2]
    python bench/quickstart.py --start
    python bench/quickstart.py --views
    python bench/quickstart.py --measures

Every seed runs in a scratch copy of the project, with the control beside it. Imports, process starts, Dagster, DVC and
the lineal code around the models all count as overhead. `--together` compares the processor time of all seeds in one
project (`seeds:` in params.yaml), where they share their task sets, with that of the first one alone. `--start` compares
`lineal run` of one small step without a model with `lineal step` of it and bare Dagster. `--views` compares `lineal run`
of 15 small steps with the same in Dagster and in `dvc repro`. `--measures` runs the demo with every measure whose inputs
it has in every round, and says which share of its time they take.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from scratch import LINEAL, lineal, scratch_project

MODEL_PHASES = (
    "load",
    "sample",
    "train",
)  # loading is reading the checkpoint; imports and process starts are outside


def measure(seed: int, directory: Path) -> dict[str, Any]:
    """Runs the demo once and reads its metrics and run logs."""
    scratch_project(directory, seed=seed)
    started = time.monotonic()
    lineal(directory, "run")
    wall = time.monotonic() - started
    started = time.monotonic()
    lineal(directory, "run")
    again = time.monotonic() - started
    logs = [json.loads(path.read_text()) for path in sorted((directory / "runs").rglob("*.json"))]
    phases: dict[str, float] = {}
    for log in logs:
        for name, seconds in log.get("facts", {}).get("seconds_by_phase", {}).items():
            phases[name] = phases.get(name, 0.0) + seconds
    metrics = {
        str(path.parent.relative_to(directory / "artifacts")): json.loads(path.read_text())["accuracy"]
        for path in sorted((directory / "artifacts").rglob("metrics.json"))
    }
    return {
        "seed": seed,
        "wall_seconds": wall,
        "finished_run_seconds": again,
        "phases": phases,
        "inside_steps_seconds": sum(log["seconds"] for log in logs),
        "steps": len(logs),
        "accuracy": metrics,
    }


def curve(result: dict[str, Any], pipeline: str, node: str) -> list[float]:
    """Accuracy of one node per round, round 0 first."""
    found = {
        key: value
        for key, value in result["accuracy"].items()
        if key.startswith(f"{pipeline}/") and key.endswith(f"/{node}")
    }
    rounds = sorted(key for key in found if "/round_" in key)
    return [found[f"{pipeline}/start/{node}"], *(found[key] for key in rounds)]


def report(results: list[dict[str, Any]]) -> bool:
    """Prints the tables and whether the claims hold."""
    holds = True
    print("\naccuracy on held-out hard prompts per round (%), and on easy ones")
    for pipeline, node in (
        ("rest_em", "evaluation"),
        ("rest_em", "easy"),
        ("control_unfiltered", "evaluation"),
    ):
        curves = [curve(result, pipeline, node) for result in results]
        print(
            f"  {pipeline:<20} {node:<11}"
            + "".join(f"  round {r}: {_spread([100 * c[r] for c in curves])}" for r in range(len(curves[0])))
        )
    for result in results:
        hard, easy = curve(result, "rest_em", "evaluation"), curve(result, "rest_em", "easy")
        inside = sum(result["phases"].get(name, 0.0) for name in MODEL_PHASES)
        checks = {
            "gain of at least 30 points": hard[-1] - hard[0] >= 0.30,
            "climbs in every round": all(
                after > before for before, after in zip(hard, hard[1:], strict=False)
            ),
            "easy split kept (95%)": all(value >= 0.95 * easy[0] for value in easy),
            "at most 180 s": result["wall_seconds"] <= 180,
            "60% inside sampling, training, evaluation": inside >= 0.6 * result["wall_seconds"],
            "a finished run returns in 3 s": result["finished_run_seconds"] < 3,
        }
        holds &= all(checks.values())
        print(
            f"seed {result['seed']}: {result['wall_seconds']:.0f} s for {result['steps']} steps, "
            f"{inside / result['wall_seconds']:.0%} inside "
            f"models, {result['inside_steps_seconds']:.0f} s inside steps, again {result['finished_run_seconds']:.1f} s"
        )
        print(
            "  " + ", ".join(f"{name} {seconds:.0f} s" for name, seconds in sorted(result["phases"].items()))
        )
        for name, held in checks.items():
            print(f"  {'holds ' if held else 'FAILS '} {name}")
    return holds


def _spread(values: list[float]) -> str:
    return f"{statistics.mean(values):5.1f} ({min(values):.1f}-{max(values):.1f})"


def plot(results: list[dict[str, Any]], path: Path) -> None:
    """Draws accuracy per round, one thin line per seed."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "lineal"
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 3.4))
    for pipeline, colour, label in (
        ("rest_em", "#0072b2", "ReST-EM"),
        ("control_unfiltered", "#d55e00", "control: no filter"),
    ):
        for index, result in enumerate(results):
            values = [100 * value for value in curve(result, pipeline, "evaluation")]
            axes.plot(
                range(len(values)),
                values,
                color=colour,
                marker="o",
                alpha=0.8,
                label=label if index == 0 else None,
            )
    axes.set(xlabel="round", ylabel="accuracy on hard prompts (%)", ylim=(0, 101), xticks=range(len(values)))
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="center right")
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def together(seeds: list[int], directory: Path) -> bool:
    """Prints what several seeds in one project cost beside one, in processor seconds of all processes; whether it is less."""
    costs = []
    for chosen in (seeds[:1], seeds):
        root = directory / f"seeds_{len(chosen)}"
        scratch_project(root, seed=seeds[0])
        if len(chosen) > 1:
            params = root / "params.yaml"
            params.write_text(params.read_text().replace(f"seed: {seeds[0]}", f"seeds: {chosen}", 1))
        before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        lineal(root, "run")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        logs = [json.loads(path.read_text()) for path in (root / "runs").rglob("*.json")]
        costs.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        reused = sum(log["status"] == "reused" for log in logs)
        print(
            f"{len(chosen)} seeds: {costs[-1]:.0f} processor seconds, {time.monotonic() - started:.0f} s, {len(logs)} steps, "
            f"{reused} of them linked"
        )
    print(f"{len(seeds)} seeds cost {costs[1] / costs[0]:.2f} times one")
    return costs[1] < len(seeds) * costs[0]


START_STEP, START_TIMES = "rest_em/tasks/train", 1.3
BARE_DAGSTER = """
import tempfile
from dagster import DagsterInstance, asset, materialize
with tempfile.TemporaryDirectory() as directory:
    materialize([asset(name="empty")(lambda: None)], instance=DagsterInstance.local_temp(directory))
"""


def start(directory: Path) -> bool:
    """Compares `lineal run` of one step without a model with the step by itself and bare Dagster; best of three turns.

    Bare Dagster materializes one asset that does nothing. By processor seconds, since parts of it go on beside each other.
    """
    scratch_project(directory)
    commands = {
        "lineal step": [str(LINEAL), "step", START_STEP],
        "bare Dagster": [sys.executable, "-c", BARE_DAGSTER],
        "lineal run": [str(LINEAL), "run", START_STEP],
    }
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    for _ in range(3):
        for name, command in commands.items():
            for made in ("artifacts", "runs", ".dvc/cache"):
                shutil.rmtree(directory / made, ignore_errors=True)
            (directory / "dvc.lock").unlink(missing_ok=True)
            before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
            subprocess.run(command, cwd=directory, check=True, capture_output=True)
            after, wall = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic() - began
            taken[name].append((wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime))
    best = {name: [min(column) for column in zip(*turns, strict=True)] for name, turns in taken.items()}
    for name, (wall, cpu) in best.items():
        print(f"{name}: {wall:.1f} s, {cpu:.1f} s of processor time")
    times = best["lineal run"][1] / (best["lineal step"][1] + best["bare Dagster"][1])
    print(f"lineal run costs {times:.2f} times the step and bare Dagster together (goal: {START_TIMES})")
    return times <= START_TIMES


SMALL = """\
method: Small
summary: Fifteen small steps with a real model.
tasks:
  base:  {use: letter_sort, length: [2, 3], size: 64, split: train}
  train: {use: letter_sort, length: [4, 6], size: 24}
  test:  {use: letter_sort, length: [4, 6], size: 12}
start:
  checkpoint: {use: pretrain, rows: tasks.base, steps: 20, hidden_size: 32, layers: 1, heads: 2, intermediate_size: 64}
  evaluation: {use: accuracy, model: checkpoint, prompts: tasks.test, max_tokens: 8}
round:
  generated:  {use: sample, model: previous.checkpoint, prompts: tasks.train, samples: 2, max_tokens: 8}
  verified:   {use: exact_match, rows: generated}
  filtered:   {use: select, rows: verified, sql: keep_all}
  checkpoint: {use: sft, init: previous.checkpoint, rows: filtered, steps: 2}
  evaluation: {use: accuracy, model: checkpoint, prompts: tasks.test, max_tokens: 8}
"""
VIEWS = {
    "lineal run": ("lineal", "run"),
    "Dagster": ("dagster", "asset", "materialize", "-m", "assets.definitions", "--select", "*"),
    "dvc repro": ("dvc", "repro"),
}
MOST_TIMES = {"Dagster": 1.3, "dvc repro": 2.0}


def views(directory: Path, turns: int = 2) -> bool:
    """Checks that Dagster and DVC take about as long for the same 15 steps as `lineal run`; the best of some turns."""
    best = dict.fromkeys(VIEWS, float("inf"))
    for turn in range(turns):
        for name, command in VIEWS.items():
            root = scratch_project(directory / f"{name.replace(' ', '_')}_{turn}", rounds=2)
            (root / "pipelines" / "small.yaml").write_text(SMALL)
            (root / "params.yaml").write_text(
                "seed: 0\nrounds: 2\nactive: [small]\ncompute: {executor: in_process}\n"
            )
            lineal(root, "plan", "--write")
            environment = os.environ | {
                "DAGSTER_HOME": str(root / ".dagster"),
                "PATH": f"{LINEAL.parent}:{os.environ['PATH']}",
            }
            began = time.monotonic()
            program = str(LINEAL.with_name(command[0]))
            done = subprocess.run(
                [program, *command[1:]],
                cwd=root,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                raise SystemExit(f"{name} failed:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
            best[name] = min(best[name], time.monotonic() - began)
            made = len(list((root / "runs").rglob("*.json")))
            print(f"turn {turn + 1}, {name}: {time.monotonic() - began:.1f} s, {made} steps", flush=True)
    times = {name: best[name] / best["lineal run"] for name in MOST_TIMES}
    for name, most in MOST_TIMES.items():
        print(f"{name} takes {times[name]:.2f} times as long as lineal run (goal: {most})")
    return all(times[name] <= most for name, most in MOST_TIMES.items())


MEASURES = """
      coverage:   {use: measure, rows: verified, sql: coverage}
      texts:      {use: measure, rows: generated, sql: texts}
      habits:     {use: measure, rows: generated, sql: habits}
      progress:   {use: measure, rows: evaluation, before: start.evaluation, sql: gained}
      gain:       {use: measure, rows: history.evaluation, sql: gain}
      lifelong:   {use: measure, rows: history.evaluation, trained: history.filtered, sql: lifelong}
      diversity:  {use: diversity, rows: verified}
      passes:     {use: pass_at_k, rows: verified, k: [1, 4]}
      tail:       {use: head_tail, rows: verified}
      changes:    {use: transitions, before: previous.evaluation, after: evaluation}
"""
MOST_MEASURING = 0.15


def measures(directory: Path) -> bool:
    """Checks that the measures of the demo's rounds together take less than 15% of its time; from one run's logs."""
    root = scratch_project(directory, seed=0, active="[rest_em]")
    path = root / "pipelines" / "rest_em.yaml"
    head, found, tail = path.read_text().partition("\n\n  real:")
    path.write_text(f"{head}{MEASURES.rstrip()}{found}{tail}")
    lineal(root, "plan", "--write")
    started = time.monotonic()
    lineal(root, "run")
    wall = time.monotonic() - started
    names = [line.split(":")[0].strip() for line in MEASURES.strip().splitlines()]
    seconds = {
        name: sum(
            json.loads(path.read_text())["seconds"]
            for path in (root / "runs" / "rest_em").rglob(f"{name}.json")
        )
        for name in names
    }
    share = sum(seconds.values()) / wall
    print(", ".join(f"{name} {taken:.2f} s" for name, taken in seconds.items()))
    print(
        f"{len(names)} measures in every round take {share:.1%} of the run's {wall:.0f} s (goal: under {MOST_MEASURING:.0%})"
    )
    return share < MOST_MEASURING


def main() -> None:
    """Runs, prints, and exits with 1 when a claim fails."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--together", action="store_true")
    parser.add_argument("--start", action="store_true")
    parser.add_argument("--views", action="store_true")
    parser.add_argument("--measures", action="store_true")
    arguments = parser.parse_args()
    if arguments.start:
        with tempfile.TemporaryDirectory() as directory:
            raise SystemExit(0 if start(Path(directory) / "project") else 1)
    if arguments.views:
        with tempfile.TemporaryDirectory() as directory:
            raise SystemExit(0 if views(Path(directory)) else 1)
    if arguments.measures:
        with tempfile.TemporaryDirectory() as directory:
            raise SystemExit(0 if measures(Path(directory) / "project") else 1)
    if arguments.together:
        with tempfile.TemporaryDirectory() as directory:
            raise SystemExit(0 if together(arguments.seeds, Path(directory)) else 1)
    with tempfile.TemporaryDirectory() as directory:
        results = [measure(seed, Path(directory) / f"seed_{seed}") for seed in arguments.seeds]
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2) + "\n")
    if arguments.plot:
        plot(results, arguments.plot)
    raise SystemExit(0 if report(results) else 1)


if __name__ == "__main__":
    main()
