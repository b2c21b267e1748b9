"""What the tiny base can do: every role of `letter_skills` by length, and what its judge says of its own samples.

    python bench/skills.py [--seeds 0 1 2] [--lengths 4 6 8 10 12] [--rows 200] [--recipe FILE | --pipeline NAME] [--json FILE]

Trains the recipe that docs/tasks.md shows (its first YAML block) as a pipeline's `start:` in a scratch project, or the base
of a shipped pipeline's laptop profile, then asks the checkpoint about held-out problems. Own samples are drawn at
temperature 1, everything else greedily.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from scratch import ROOT, lineal, scratch_project

from lineal.components.sources.base import in_split
from lineal.components.sources.letter_roles import ROLES
from lineal.components.sources.letter_sort import sort_problem, sort_problem_id
from lineal.engines.sampling.sampler import Request, Sampler, SamplingSettings

NAME = "skills_base"
HEAD = f"method: {NAME}\nsummary: The recipe of docs/tasks.md.\n"
ROUND = "round:\n  generated: {use: sample, model: start.checkpoint, prompts: tasks.base}\nprofiles: {laptop: {}}\n"
Table = dict[str, dict[int, float]]


def shown_recipe() -> str:
    """The first YAML block of docs/tasks.md."""
    found = re.search(
        r"```yaml\n(.*?)```", (ROOT / "docs" / "tasks.md").read_text(encoding="utf-8"), re.DOTALL
    )
    if found is None:
        raise SystemExit("docs/tasks.md has no YAML block")
    return found[1]


def trained(name: str, declared: str, seed: int, directory: Path) -> tuple[Path, float]:
    """The checkpoint that a pipeline starts from, and the seconds of its training step."""
    scratch_project(directory, seed=seed, profile="laptop", active=f"[{name}]")
    (directory / "pipelines" / f"{name}.yaml").write_text(declared, encoding="utf-8")
    lineal(directory, "run", f"{name}/start/checkpoint")
    log = json.loads((directory / "runs" / name / "start" / "checkpoint.json").read_text())
    return directory / "artifacts" / name / "start" / "checkpoint", log["seconds"]


class Checkpoint:
    """A checkpoint that answers prompts."""

    def __init__(self, path: Path) -> None:
        self._sampler = Sampler(path, device="cpu")

    def answers(self, prompts: list[str], temperature: float = 0.0) -> list[str]:
        """One completion for each prompt, of at most 64 tokens."""
        settings = SamplingSettings(temperature, max_tokens=64)
        return [
            one.text
            for one in self._sampler.sample(
                [Request(text, seed) for seed, text in enumerate(prompts)], settings
            )
        ]


def problems(length: int, count: int) -> list[tuple[str, str]]:
    """Held-out prompts of one length with their answers."""
    draw, found = random.Random(length), []
    while len(found) < count:
        prompt, answer = sort_problem(draw, (length, length))
        if in_split(sort_problem_id(prompt, answer), "test"):
            found.append((prompt, answer))
    return found


def _easier_is_right(prompt: str, written: str, _: str) -> bool:
    asked, kept = prompt[1:].partition("=")[0], written.removesuffix("=")
    return (
        bool(kept) and written.endswith("=") and [letter for letter in asked if letter in kept] == list(kept)
    )


def _posed_is_right(_: str, written: str, expected: str) -> bool:
    return (
        written.endswith("=")
        and len(written) == len(expected) == len(set(written))
        and written[:-1].isalpha()
    )


RIGHT: dict[str, Callable[[str, str, str], bool]] = {"easier": _easier_is_right, "pose": _posed_is_right}
"""Roles with more than one right completion; the others must write the example's."""


def examples(checkpoint: Checkpoint, skills: list[str], length: int, count: int) -> dict[str, float]:
    """By skill, the share of drawn examples that are completed rightly."""
    shares = {}
    for skill in skills:
        draw = random.Random(length)
        asked = [ROLES[skill](draw, *problem) for problem in problems(length, count)]
        written = checkpoint.answers([prompt for prompt, _ in asked])
        right = RIGHT.get(skill, lambda _, text, expected: text == expected)
        shares[skill] = share(
            right(prompt, text, expected) for (prompt, expected), text in zip(asked, written, strict=True)
        )
    return shares


def own_samples(checkpoint: Checkpoint, skills: list[str], length: int, count: int) -> dict[str, float]:
    """Applies the taught roles to the checkpoint's own samples, `count` prompts with two samples each."""
    asked = problems(length, count)
    prompts, truth = [prompt for prompt, _ in asked], [answer for _, answer in asked]
    pairs = checkpoint.answers([prompt for prompt in prompts for _ in range(2)], temperature=1.0)
    written, others = pairs[::2], pairs[1::2]
    right = [text == answer for text, answer in zip(written, truth, strict=True)]
    found = {
        "solved at temperature 1": share(right),
        "solved greedily": agreement(checkpoint.answers(prompts), truth),
    }
    for skill, tag, end in (("judge", "?", "y"), ("critique", "!", ".")):
        if skill in skills:
            said = checkpoint.answers(
                [f"{tag}{prompt}{text}:" for prompt, text in zip(prompts, written, strict=True)]
            )
            accepted = [text.endswith(end) for text in said]
            found |= _accepted(skill, accepted, right)
    if "compare" in skills:
        found["compare: picks the right one"] = _compared(checkpoint, prompts, truth, pairs)
    revisions = {
        "refine": [f"+{prompt}{text}:" for prompt, text in zip(prompts, written, strict=True)],
        "debate": [
            f"+{prompt}{text}|{other}:" for prompt, text, other in zip(prompts, written, others, strict=True)
        ],
        "hinted": [f"({answer[: len(answer) // 2]}){prompt}" for prompt, answer in asked],
    }
    for skill in sorted(revisions.keys() & set(skills)):
        said = checkpoint.answers(revisions[skill])
        now = [text == answer for text, answer in zip(said, truth, strict=True)]
        found |= {
            f"{skill}: right then": share(now),
            f"{skill}: of the right ones, still right": among(now, right),
        }
        if skill == "refine":
            found |= _accepted(
                "judge by revising", [one == text for one, text in zip(said, written, strict=True)], right
            )
    return found


def _accepted(skill: str, accepted: list[bool], right: list[bool]) -> dict[str, float]:
    wrong = [not one for one in right]
    sensitivity, mistaken = among(accepted, right), among(accepted, wrong)
    return {
        f"{skill}: right ones accepted": sensitivity,
        f"{skill}: wrong ones accepted": mistaken,
        f"{skill}: right among the accepted": among(right, accepted),
        f"{skill}: agreement with the truth, balanced": (sensitivity + 1 - mistaken) / 2,
    }


def _compared(checkpoint: Checkpoint, prompts: list[str], truth: list[str], pairs: list[str]) -> float:
    """Of the prompts with one right and one wrong sample, how often both orders name the right one; half for one order."""
    questions, named = [], []
    for prompt, answer, first, second in zip(prompts, truth, pairs[::2], pairs[1::2], strict=True):
        if (first == answer) != (second == answer):
            questions += [f"<{prompt}{first}|{second}:", f"<{prompt}{second}|{first}:"]
            named += ["1", "2"] if first == answer else ["2", "1"]
    return agreement(checkpoint.answers(questions), named) if questions else float("nan")


def share(flags: Any) -> float:
    """Share of true ones; NaN of none."""
    values = list(flags)
    return sum(values) / len(values) if values else float("nan")


def among(flags: list[bool], chosen: list[bool]) -> float:
    """Share of true ones among the chosen."""
    return share(flag for flag, one in zip(flags, chosen, strict=True) if one)


def agreement(texts: list[str], expected: list[str]) -> float:
    """Share of equal ones."""
    return share(one == other for one, other in zip(texts, expected, strict=True))


def report(results: list[dict[str, Any]], lengths: list[int]) -> None:
    """Prints mean and range over the seeds as Markdown tables."""
    for part, title in (("examples", "Drawn examples"), ("own", "Own samples")):
        print(f"\n| {title} (%) | " + " | ".join(map(str, lengths)) + " |\n|---|" + "---|" * len(lengths))
        for name in results[0][part][str(lengths[0])]:
            cells = [[100 * result[part][str(length)][name] for result in results] for length in lengths]
            print(f"| {name} | " + " | ".join(_cell(values) for values in cells) + " |")
    print("\ntraining step: " + ", ".join(f"{result['seconds']:.0f} s" for result in results))


def _cell(values: list[float]) -> str:
    known = [value for value in values if value == value]
    return f"{statistics.mean(known):.0f} ({min(known):.0f}-{max(known):.0f})" if known else "-"


def main() -> None:
    """Trains and asks, seed by seed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--lengths", type=int, nargs="+", default=[4, 6, 8, 10, 12])
    parser.add_argument("--rows", type=int, default=200)
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--recipe", type=Path, help="another recipe: YAML with tasks.base and start.checkpoint"
    )
    source.add_argument("--pipeline", help="the base of a shipped pipeline, on its laptop profile")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    name = arguments.pipeline or NAME
    if arguments.pipeline:
        declared = (ROOT / "pipelines" / f"{name}.yaml").read_text(encoding="utf-8")
    else:
        declared = (
            HEAD
            + (arguments.recipe.read_text(encoding="utf-8") if arguments.recipe else shown_recipe())
            + ROUND
        )
    taught = set(re.findall(r"\w+", " ".join(re.findall(r"skills: \[(.*?)\]", declared))))
    skills = [skill for skill in ROLES if skill in taught]
    results = []
    for seed in arguments.seeds:
        with tempfile.TemporaryDirectory() as directory:
            path, seconds = trained(name, declared, seed, Path(directory) / "project")
            checkpoint, began = Checkpoint(path), time.monotonic()
            results.append(
                {
                    "seed": seed,
                    "seconds": seconds,
                    "examples": {
                        str(n): examples(checkpoint, skills, n, arguments.rows) for n in arguments.lengths
                    },
                    "own": {
                        str(n): own_samples(checkpoint, skills, n, arguments.rows) for n in arguments.lengths
                    },
                }
            )
        print(
            f"seed {seed}: trained in {seconds:.0f} s, asked in {time.monotonic() - began:.0f} s", flush=True
        )
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2) + "\n")
    report(results, arguments.lengths)


if __name__ == "__main__":
    main()
