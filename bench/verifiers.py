"""How often verifiers are wrong, on labelled pairs. Run: python bench/verifiers.py

The pairs lie in tests/labelled: some made by hand, some by rule (bench/labelled_pairs.py). For each verifier it prints how many
unequal pairs pass (false passes), how many equal ones don't (false fails, errors included), and how many verdicts are errors,
with 95% Wilson intervals. `--markdown` prints the tables of docs/verifiers.md. Exit status 1 when an unequal pair passes, or
when `math` misses more than 2% of the equal ones.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lineal.components.isolated.pool import WorkerPool
from lineal.components.registry import Registry
from lineal.components.sources.reasoning_gym import REFUSED
from lineal.components.verifiers.base import RowVerifier
from lineal.components.verifiers.math import marked, prepare
from lineal.components.verifiers.scored import ScoredVerifier
from lineal.data.estimates import Estimate, wilson
from lineal.data.progress import Progress

FOLDER = Path(__file__).parents[1] / "tests" / "labelled"
VERIFIERS = ("math", "exact_match", "choice", "structured_match")
MOST_FALSE_FAILS = 0.02
Pair = dict[str, Any]


def math_verify_alone(row: dict[str, str]) -> float:
    """Returns math-verify's verdict without the second comparison. Runs in a child process."""
    from math_verify import parse, verify

    gold = parse(marked(row["answer"]), parsing_timeout=0) or parse(row["answer"], parsing_timeout=0)
    return float(verify(gold, parse(row["completion"], parsing_timeout=0), timeout_seconds=None))


@dataclass
class Tally:
    """Verdicts of some pairs."""

    unequal: int = 0
    passed: int = 0
    equal: int = 0
    missed: int = 0
    errors: int = 0

    def add(self, equal: bool, verdict: str) -> None:
        """Counts one pair."""
        self.errors += verdict == "error"
        if equal:
            self.equal, self.missed = self.equal + 1, self.missed + (verdict != "pass")
        else:
            self.unequal, self.passed = self.unequal + 1, self.passed + (verdict == "pass")


__all__ = ["prepare"]  # what a child process that calls `math_verify_alone` does first
NONSENSE = (
    "",
    "I do not know",
    "0",
    "1",
    "42",
    "-1",
    "3.5",
    "yes",
    "no",
    "True",
    "False",
    "xyzzy plugh",
    "nan",
    "inf",
    "None",
    "x",
    "??",
    "[]",
    "{}",
    "()",
    "[[]]",
    "[1, 2, 3]",
    "a, b, c",
    "1 2 3\n4 5 6",
    "\\boxed{}",
    "<answer></answer>",
    "```\n```",
)
ITEMS = 8


def task_scores() -> Tally:
    """All tasks of reasoning-gym in their default settings: 8 items each, their own answers, nonsense, the next item's answer."""
    from reasoning_gym.factory import DATASETS

    tally = Tally()
    workers = len(os.sched_getaffinity(0))
    made = "lineal.components.sources.reasoning_gym:make_item"
    judged = "lineal.components.verifiers.task_score:score_entry"
    with WorkerPool(made, workers, 60.0) as items, WorkerPool(judged, workers, 5.0) as scores:
        for task in sorted(set(DATASETS) - set(REFUSED) - {"composite"}):
            asked = ({"task": task, "config": {}, "seed": 1, "index": index} for index in range(ITEMS))
            cases = list(_task_cases([item["answer"]["entry"] for item in items.map(asked)]))
            for (equal, _), told in zip(cases, scores.map(row for _, row in cases), strict=True):
                tally.add(
                    equal, ("pass" if told["answer"][0] >= 1.0 else "fail") if "answer" in told else "error"
                )
    return tally


def _task_cases(entries: list[str]) -> Iterator[tuple[bool, dict[str, str]]]:
    answers = [json.loads(entry)["answer"] for entry in entries]
    for index, (entry, answer) in enumerate(zip(entries, answers, strict=True)):
        if answer is not None:
            yield True, {"entry": entry, "completion": str(answer)}
        for text in (*NONSENSE, answers[(index + 1) % len(answers)]):
            if text is not None and not _same(str(text), str(answer)):
                yield False, {"entry": entry, "completion": str(text)}


def _same(text: str, answer: str) -> bool:
    try:
        return float(text) == float(answer)
    except ValueError:
        return text.strip().lower() == answer.strip().lower()


MEASURES: dict[str, Callable[[], Tally]] = {"task_score": task_scores}
"""Further tallies, of verifiers that judge by running something."""


def pairs_of(verifier: str) -> list[Pair]:
    """A verifier's labelled pairs, by hand and by rule."""
    files = sorted(FOLDER.glob(f"{verifier}_by_*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text(encoding="utf-8").splitlines()]


def verdicts(verifier: str, pairs: list[Pair], workers: int, seconds: float) -> list[str]:
    """Returns a verifier's verdicts on its pairs."""
    import pyarrow as pa

    component = Registry().find(verifier).model_validate({"use": verifier, "rows": "pairs"})
    assert isinstance(component, RowVerifier)
    rows = pa.table(
        {
            name: [json.dumps(pair[name]) if name == "options" else pair[name] for pair in pairs]
            for name in component.reads
        }
    )
    if not isinstance(component, ScoredVerifier):
        told: list[str] = component.judge(rows, Progress(verifier, len(pairs), "pairs", None))[
            "verdict"
        ].to_pylist()
        return told
    with WorkerPool(component.function, workers, seconds) as pool:
        component._pool = pool
        scored: list[str] = component.judge(rows, Progress(verifier, len(pairs), "pairs", None))[
            "verdict"
        ].to_pylist()
    return scored


def rate(count: int, total: int) -> str:
    """A share with its interval."""
    found = wilson(count / total, total) if total else Estimate(0.0, 0.0, 1.0)
    return f"{count} of {total}: {100 * found.value:.1f}% ({100 * found.low:.1f}-{100 * found.high:.1f})"


def alone(pairs: list[Pair], workers: int, seconds: float) -> list[str]:
    """Verdicts of math-verify by itself."""
    words = {1.0: "pass", 0.0: "fail"}
    with WorkerPool("verifiers:math_verify_alone", workers, seconds) as pool:
        return [words[told["answer"]] if "answer" in told else "error" for told in pool.map(pairs)]


def table(title: str, tallies: Iterable[tuple[str, Tally]], markdown: bool) -> None:
    """Prints the rates."""
    if markdown:
        print(f"| {title} | false passes | false fails | errors |\n|---|---|---|---|")
    for name, one in tallies:
        cells = (rate(one.passed, one.unequal), rate(one.missed, one.equal), str(one.errors))
        print(
            f"| {name} | {' | '.join(cells)} |"
            if markdown
            else f"{name:38} pass {cells[0]:32} fail {cells[1]:32} errors {cells[2]}"
        )
    print()


def main() -> int:
    """Prints the tables; 1 when a goal is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--markdown", action="store_true")
    parser.add_argument(
        "--seconds", type=float, default=10.0, help="a row's limit of processor time (default: %(default)s)"
    )
    parser.add_argument(
        "--wrong", action="store_true", help="print every pair on which a verifier is wrong or does not say"
    )
    arguments = parser.parse_args()
    totals: dict[str, Tally] = defaultdict(Tally)
    kinds: dict[str, Tally] = defaultdict(Tally)
    workers = len(os.sched_getaffinity(0))
    for verifier in VERIFIERS:
        pairs = pairs_of(verifier)
        for pair, verdict in zip(pairs, verdicts(verifier, pairs, workers, arguments.seconds), strict=True):
            totals[verifier].add(pair["equal"], verdict)
            if verifier == "math":
                kinds[pair["kind"]].add(pair["equal"], verdict)
            if arguments.wrong and (verdict == "pass") != pair["equal"]:
                truth = "equal" if pair["equal"] else "not equal"
                print(f"{verifier}: {verdict} where {truth}: {json.dumps(pair, ensure_ascii=False)[:300]}")
    pairs = pairs_of("math")
    for pair, verdict in zip(pairs, alone(pairs, workers, arguments.seconds), strict=True):
        totals["math-verify alone"].add(pair["equal"], verdict)
    for name, measure in MEASURES.items():
        totals[name] = measure()
    table("verifier", totals.items(), arguments.markdown)
    table("math, by kind", kinds.items(), arguments.markdown)
    missed = totals["math"].missed / totals["math"].equal
    return int(
        any(one.passed for name, one in totals.items() if name != "math-verify alone")
        or missed > MOST_FALSE_FAILS
    )


if __name__ == "__main__":
    sys.exit(main())
