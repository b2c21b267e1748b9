"""A reasoning-gym task's own scorer, which knows every right answer where a task has several."""

from __future__ import annotations

import ast
import builtins
import re
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from fractions import Fraction
from functools import cache
from importlib import import_module
from typing import Any, ClassVar

from lineal.components.base import Columns, missing_package
from lineal.components.sources import reasoning_gym as source
from lineal.components.verifiers.scored import ThresholdVerifier

EVALUATING = ("string_insertion", "spiral_matrix", "binary_matrix", "number_sorting")
"""Modules of `reasoning_gym.algorithmic` whose scorers evaluate a completion as Python (as does `games.n_queens`)."""


class TaskScore(ThresholdVerifier):
    """Scores completions by the task that made the prompt.

    An answer that a scorer cannot read scores 0. Four scorers give 1 to wrong answers; RIGHT checks these again.

    Attributes:
        threshold: the least score, of at most 1, that is a pass.
    """

    version: ClassVar[int] = 2
    function: ClassVar[str] = "lineal.components.verifiers.task_score:score_entry"
    reads: ClassVar[Columns] = ("completion", "entry")

    def lacks(self) -> list[str]:
        return missing_package("reasoning_gym", "reasoning-gym", "reasoning-gym")


def score_entry(row: Mapping[str, str]) -> tuple[float, str | None]:
    """Scores one row, and says why it is 0 where the scorer disagrees. Runs in a child process."""
    entry, answer = source.entry_of(row["entry"]), row["completion"].strip()
    task = entry["metadata"]["source_dataset"]
    try:
        score = float(_scorer(task)(answer=answer, entry=entry))
    except Exception as error:
        _require_sound_entry(task, entry)
        return 0.0, f"not an answer to {task}: {type(error).__name__}: {error}"
    if score >= 1.0 and task in RIGHT and not RIGHT[task](answer, entry):
        return 0.0, f"the scorer of {task} accepts this answer, but it is wrong"
    return score, None


def _require_sound_entry(task: str, entry: Mapping[str, Any]) -> None:
    """Raises the scorer's error on the task's own answer, or on an empty one where the task has none."""
    _scorer(task)(answer="" if entry["answer"] is None else str(entry["answer"]), entry=entry)


def _is_same_word(answer: str, entry: Mapping[str, Any]) -> bool:
    return answer.lower() == str(entry["answer"]).lower()


def _is_same_number(answer: str, entry: Mapping[str, Any]) -> bool:
    with suppress(ValueError, ZeroDivisionError):
        truth = Fraction(entry["answer"].replace(",", ""))
        return abs(Fraction(answer.replace(",", "")) - truth) <= min(Fraction(1, 10_000), abs(truth) / 50)
    return False


def _is_finite(answer: str, entry: Mapping[str, Any]) -> bool:
    return "nan" not in answer.lower()


def _uses_its_numbers(answer: str, entry: Mapping[str, Any]) -> bool:
    return sorted(map(int, re.findall(r"\d+", answer))) == sorted(entry["metadata"]["numbers"])


RIGHT: dict[str, Callable[[str, Mapping[str, Any]], bool]] = {
    "coin_flip": _is_same_number,  # a number that begins like the right one ("0" for 0.3125) scores 1, as does 0 for 0.00003
    "complex_arithmetic": _is_finite,  # min(1, nan) is 1
    "game_of_life_halting": _is_same_word,  # bool("False") is True, so that any text scores 1
    "puzzle24": _uses_its_numbers,  # any four numbers that make 24 score 1
}
"""Checks of full scores, for tasks whose scorers (reasoning-gym 0.1.25) accept wrong answers."""


@cache
def _scorer(task: str) -> Any:
    import reasoning_gym

    return reasoning_gym.get_score_answer_fn(task)


def prepare() -> None:
    """Imports what scoring needs, and puts safe readers where scorers would evaluate what a model wrote."""
    source.prepare()
    for name in (*(f"algorithmic.{module}" for module in EVALUATING), "games.n_queens"):
        import_module(f"reasoning_gym.{name}").__dict__["eval"] = ast.literal_eval
    unsafe = import_module("sympy").parse_expr
    for name, module in list(sys.modules.items()):
        if name.startswith(("sympy", "reasoning_gym")) and getattr(module, "parse_expr", None) is unsafe:
            module.__dict__["parse_expr"] = _careful(unsafe)


def _careful(parse: Any) -> Any:
    """Makes SymPy's `parse_expr`, which evaluates Python, accept only texts that are formulas."""

    def parse_formula(text: str, *arguments: Any, **settings: Any) -> Any:
        if not is_formula(text):
            raise ValueError("not a formula")
        return parse(text, *arguments, **settings)

    return parse_formula


_PLAIN = re.compile(r"[A-Za-z0-9_+\-*/^().,\s|=!]*")
_ATTRIBUTE = re.compile(r"__|[A-Za-z_)]\s*\.\s*[A-Za-z_]")
_HARMLESS = frozenset({"abs", "max", "min", "pow", "round", "sum"})


def is_formula(text: str) -> bool:
    """Tells whether a text has only numbers, names, operators and calls: no strings, attributes or Python built-ins."""
    names = set(re.findall(r"[A-Za-z_]\w*", text))
    forbidden = names & (set(dir(builtins)) - _HARMLESS)
    return _PLAIN.fullmatch(text) is not None and _ATTRIBUTE.search(text) is None and not forbidden
