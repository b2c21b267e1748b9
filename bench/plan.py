"""How long planning takes: 50 rounds of 8 nodes, and that it loads nothing heavy. Run: python bench/plan.py

The first plan pays for importing the components that the pipeline uses; the best of the others is what planning itself
takes on a machine that does other things too. Exit status 1 when that is over the limit, or something heavy was imported.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

HEAVY = ("torch", "transformers", "trl", "peft", "datasets", "dagster", "dvc", "ray", "vllm")
LIMIT_SECONDS = 0.2
SELECTORS = Path(__file__).parents[1] / "pipelines" / "selectors"
PIPELINE = """
method: Benchmark
summary: Eight nodes a round, with a pool and a moving range, so that edges grow with the rounds.
tasks:
  base:  {use: letter_sort, length: [2, 6], size: 64, split: train}
  train: {use: letter_sort, per_round: {length: [2, 6], step: 0}, size: 64}
  test:  {use: letter_sort, length: [12, 22], size: 16}
start:
  checkpoint: {use: pretrain, rows: tasks.base, steps: 10}
  evaluation: {use: accuracy, model: checkpoint, prompts: tasks.test}
round:
  generated:  {use: sample, model: previous.checkpoint, prompts: tasks.train, samples: 4}
  verified:   {use: exact_match, rows: generated}
  filtered:   {use: select, rows: verified, sql: keep_correct, max_per_prompt: 1}
  pool:       {use: select, rows: history.filtered, sql: keep_all}
  mixed:      {use: select, rows: pool, replay: tasks.base, sql: with_replay}
  checkpoint: {use: sft, init: previous.checkpoint, rows: mixed, steps: 10}
  evaluation: {use: accuracy, model: checkpoint, prompts: tasks.test}
  easy:       {use: accuracy, model: checkpoint, prompts: tasks.base}
"""


def write_project(root: Path, rounds: int) -> None:
    """A project with the benchmark's pipeline and the shipped selectors."""
    (root / "pipelines").mkdir(parents=True)
    (root / "pipelines" / "selectors").symlink_to(SELECTORS)
    (root / "pipelines" / "bench.yaml").write_text(PIPELINE, encoding="utf-8")
    (root / "params.yaml").write_text(f"rounds: {rounds}\nactive: [bench]\n", encoding="utf-8")


def measure(rounds: int, repeats: int) -> tuple[list[float], int]:
    """Seconds of each repeat, everything read anew, and the number of steps planned."""
    from lineal.plan import make_plan
    from lineal.recipe.project import open_project

    seconds, steps = [], 0
    with tempfile.TemporaryDirectory() as directory:
        write_project(Path(directory) / "project", rounds)
        for _ in range(repeats):
            began = time.perf_counter()
            steps = len(make_plan(open_project(Path(directory) / "project")).steps)
            seconds.append(time.perf_counter() - began)
    return seconds, steps


def main() -> int:
    """Prints the figures; 1 when a limit is broken."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args()
    seconds, steps = measure(arguments.rounds, arguments.repeats)
    best = min(seconds)
    heavy = [name for name in HEAVY if name in sys.modules]
    print(f"{steps} steps of {arguments.rounds} rounds: first {seconds[0]:.3f} s, best {best:.3f} s")
    print(f"limit {LIMIT_SECONDS} s; heavy modules imported: {', '.join(heavy) or 'none'}")
    return int(best > LIMIT_SECONDS or bool(heavy))


if __name__ == "__main__":
    sys.exit(main())
