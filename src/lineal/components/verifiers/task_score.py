"""A reasoning-gym task's own scorer, which knows every right answer where a task has several."""

from __future__ import annotations

import ast
import builtins
import re
import sys
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from typing import Any, ClassVar

from lineal.components.base import Columns, missing_package
from lineal.components.sources import reasoning_gym as source
from lineal.components.verifiers.base import Share
from lineal.components.verifiers.scored import ScoredVerifier

EVALUATING = ("string_insertion", "spiral_matrix", "binary_matrix", "number_sorting")
"""Modules of `reasoning_gym.algorithmic` whose scorers evaluate a completion as Python (as does `games.n_queens`)."""


class TaskScore(ScoredVerifier):
    """Scores completions by the task that made the prompt.

    Attributes:
        threshold: the least score, of at most 1, that is a pass.
    """

    function: ClassVar[str] = "lineal.components.verifiers.task_score:score_entry"
    reads: ClassVar[Columns] = ("completion", "entry")

    threshold: Share = 1.0

    def lacks(self) -> list[str]:
        return missing_package("reasoning_gym", "reasoning-gym", "reasoning-gym")

    def passes(self, score: float) -> bool:
        """Whether a score reaches the threshold."""
        return score >= self.threshold


def score_entry(row: Mapping[str, str]) -> tuple[float, None]:
    """Score of one row. Runs in a child process."""
    entry = source.entry_of(row["entry"])
    return float(_scorer(entry["metadata"]["source_dataset"])(answer=row["completion"].strip(), entry=entry)), None


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
    """SymPy's `parse_expr`, which evaluates Python, only for texts that are formulas."""

    def parse_formula(text: str, *arguments: Any, **settings: Any) -> Any:
        if not is_formula(text):
            raise ValueError("not a formula")
        return parse(text, *arguments, **settings)

    return parse_formula


_PLAIN = re.compile(r"[A-Za-z0-9_+\-*/^().,\s|=!]*")
_ATTRIBUTE = re.compile(r"__|[A-Za-z_)]\s*\.\s*[A-Za-z_]")
_HARMLESS = frozenset({"abs", "max", "min", "pow", "round", "sum"})


def is_formula(text: str) -> bool:
    """Whether a text has only numbers, names, operators and calls: no strings, attributes or Python built-ins."""
    names = set(re.findall(r"[A-Za-z_]\w*", text))
    forbidden = names & (set(dir(builtins)) - _HARMLESS)
    return _PLAIN.fullmatch(text) is not None and _ATTRIBUTE.search(text) is None and not forbidden
