"""How verifiers use the cores, and what a sandboxed program costs. Run: python bench/verify.py

Three comparisons, each in turns in one run, so that what else the machine does hits both sides: the pool of scoring processes
against the same function in this process; sandboxes on all cores against one at a time; a sandboxed program against bubblewrap
with the same walls that runs /bin/true. Last, one program that never ends among others. Exit status 1 when a goal is missed.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from lineal.components.isolated.pool import WorkerPool
from lineal.components.sandbox import bubblewrap
from lineal.components.sandbox.pool import SandboxPool
from lineal.components.verifiers.math import prepare, score_math

LEAST_SHARE = 0.8
MOST_STARTS = 3.0
LIMITS = bubblewrap.Limits(1, 10.0, 1 << 29, 1 << 16)
JOB = {
    "name": "program",
    "source": "def add(a, b):\n    return a + b\n",
    "calls": ("add(1, 2)", "add('a', 'b')"),
    "input": "",
}
ENDLESS = {**JOB, "source": "while True: pass"}
FORMULAS = ("\\frac{%d}{7}", "%d x^2 + 3", "\\sqrt{%d}", "(%d, 5)", "%d")


def math_rows(count: int, first: int = 0) -> list[dict[str, str]]:
    """Rows of short solutions; about half of them are right. Others for each `first`, since SymPy remembers what it has seen."""
    made = []
    for number in range(first, first + count):
        formula = FORMULAS[number % len(FORMULAS)]
        told = formula % (number + number // len(FORMULAS) % 2)
        made.append(
            {
                "completion": f"We add both sides and find that the answer is $\\boxed{{{told}}}$.",
                "answer": formula % number,
            }
        )
    return made


def rate(work: Callable[[], Any], count: int) -> float:
    """Rows per second."""
    began = time.perf_counter()
    work()
    return count / (time.perf_counter() - began)


def in_turns(turns: int, *sides: Callable[[], float]) -> list[list[float]]:
    """Each side's measurements, one side after the other in every turn."""
    measured: list[list[float]] = [[] for _ in sides]
    for _ in range(turns):
        for side, values in zip(sides, measured, strict=True):
            values.append(side())
    return measured


def report(what: str, ours: list[float], single: list[float], cores: int) -> bool:
    """Prints a comparison of rates; whether the goal is met."""
    shares = sorted(all_cores / (cores * one) for all_cores, one in zip(ours, single, strict=True))
    middle = statistics.median(shares)
    print(
        f"{what:12} {statistics.median(single):8,.0f} rows/s in one, {statistics.median(ours):8,.0f} on {cores} cores: "
        f"{middle:.2f} of {cores} times one ({shares[0]:.2f}-{shares[-1]:.2f}; goal {LEAST_SHARE})"
    )
    return middle >= LEAST_SHARE


def measure_math(turns: int, cores: int, count: int) -> bool:
    """The pool of processes against this process."""
    numbers = itertools.count(step=count)
    prepare()
    with WorkerPool("lineal.components.verifiers.math:score_math", cores, 30.0) as pool:
        list(pool.map(math_rows(4 * cores, next(numbers))))

        def in_pool() -> float:
            rows = math_rows(count, next(numbers))
            return rate(lambda: list(pool.map(rows)), count)

        def here() -> float:
            rows = math_rows(count // cores, next(numbers))
            return rate(lambda: [score_math(row) for row in rows], len(rows))

        ours, single = in_turns(turns, in_pool, here)
    return report("math", ours, single, cores)


def measure_programs(turns: int, cores: int, count: int) -> bool:
    """Sandboxes on all cores against one at a time."""
    with SandboxPool(cores, LIMITS) as pool, SandboxPool(1, LIMITS) as alone:
        ours, single = in_turns(
            turns,
            lambda: rate(lambda: list(pool.map([JOB] * count)), count),
            lambda: rate(lambda: pinned(lambda: list(alone.map([JOB] * (count // cores)))), count // cores),
        )
    return report("unit_tests", ours, single, cores)


def pinned(work: Callable[[], Any]) -> None:
    """Runs something on one core: a sandbox that starts beside a program that runs would use two."""
    before = os.sched_getaffinity(0)
    threads = [int(name) for name in os.listdir("/proc/self/task")]
    for thread in threads:
        os.sched_setaffinity(thread, {min(before)})
    try:
        work()
    finally:
        for thread in [int(name) for name in os.listdir("/proc/self/task")]:
            os.sched_setaffinity(thread, before)


def measure_start(turns: int, count: int) -> bool:
    """One program against one bare start, on one core."""
    walls = [*bubblewrap._walls(), "--ro-bind", "/bin/true", "/bin/true", "--remount-ro", "/", "/bin/true"]
    with SandboxPool(1, LIMITS) as pool:
        list(pool.map([JOB]))
        bare, ours = in_turns(
            turns,
            lambda: (
                1e3
                / rate(
                    lambda: pinned(lambda: [subprocess.run(walls, check=True) for _ in range(count)]), count
                )
            ),
            lambda: 1e3 / rate(lambda: pinned(lambda: list(pool.map([JOB] * count))), count),
        )
    ratios = sorted(program / start for program, start in zip(ours, bare, strict=True))
    middle = statistics.median(ratios)
    print(
        f"a program: {statistics.median(ours):.1f} ms, a bare start of bubblewrap: {statistics.median(bare):.1f} ms; "
        f"{middle:.2f} times ({ratios[0]:.2f}-{ratios[-1]:.2f}; goal {MOST_STARTS:g})"
    )
    return middle <= MOST_STARTS


def measure_hang(cores: int, count: int) -> bool:
    """Measures the cost of one endless program among many others."""
    with SandboxPool(cores, LIMITS) as pool:
        began = time.perf_counter()
        list(pool.map([JOB] * count))
        without = time.perf_counter() - began
        began = time.perf_counter()
        replies = list(pool.map([ENDLESS, *[JOB] * count]))
        added = time.perf_counter() - began - without
    fine = sum(reply.line is not None for reply in replies)
    print(
        f"an endless program among {count}: {added:+.1f} s for a limit of 1 s; {fine} others answered; {replies[0].problem}"
    )
    return fine == count and replies[0].line is None


def main() -> int:
    """Prints the figures; 1 when a goal is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=400, help="rows of a turn (default: %(default)s)")
    parser.add_argument("--turns", type=int, default=7)
    arguments = parser.parse_args()
    bubblewrap.require()
    cores = len(os.sched_getaffinity(0))
    met = [
        measure_math(arguments.turns, cores, arguments.rows),
        measure_programs(arguments.turns, cores, arguments.rows // 2),
        measure_start(arguments.turns, arguments.rows // 10),
        measure_hang(cores, arguments.rows // 2),
    ]
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
