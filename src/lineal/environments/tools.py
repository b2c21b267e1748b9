"""`tools`: a question that is answered with a search over documents, a calculator and Python, in ReAct's notation."""

from __future__ import annotations

import ast
import random
import re
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from math import log
from operator import add, mul, neg, pos, sub, truediv
from typing import Any

MOST_SIGNS = 200
"""Letters of an expression, and digits of a result."""
SYLLABLES = [f"{first}{second}" for first in "bdfgklmnprstvz" for second in "aeiou"]
MORE = 4
"""Documents of a made task beside those that its answer needs."""
_CALL = re.compile(r"(search|calculate|finish)\[([^\[\]]*)\]", re.IGNORECASE)
_PYTHON = re.compile(r"python\[(.*)\]\s*$", re.IGNORECASE | re.DOTALL)
"""A program has brackets and lines of its own, so it is the end of a text."""
_WORD = re.compile(r"\w+")
_DO: dict[type[ast.AST], Any] = {
    ast.Add: add,
    ast.Sub: sub,
    ast.Mult: mul,
    ast.Div: truediv,
    ast.UAdd: pos,
    ast.USub: neg,
}


class Tools:
    """`search[words]` shows the document that fits best, the same words again the next one; `calculate[2 * (3 + 4)]` computes;
    `finish[answer]` answers, and ends the episode. Where the task has `python: true`, a text may end with `python[program]`: what
    the program prints is shown, or why it failed.

    The last such call in a text counts, so that a thought may stand before it. `documents` are the task's own, a list of texts in
    its entry or in a column.
    """

    def reset(
        self,
        *,
        seed: int,
        answer: str,
        documents: Sequence[str] = (),
        steps: Sequence[str] = (),
        python: bool = False,
    ) -> str:
        """Takes the documents and the right answer; `steps` are the expert's moves, `python` whether programs may be run."""
        self._answer, self._documents, self._steps = str(answer), list(documents or ()), list(steps or ())
        self._asked: Counter[str] = Counter()
        self._done: set[str] = set()
        self._python = python is True
        return f"Tools: search[words], calculate[2 * (3 + 4)], {'python[program], ' if self._python else ''}finish[answer]."

    def step(self, text: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Calls a tool, or takes the answer."""
        program = _PYTHON.search(text) if self._python else None
        if program is not None:
            self._done.add(program[0].strip())
            return "", 0.0, False, False, {"program": program[1]}
        calls = _CALL.findall(text)
        if not calls:
            return (
                "Write search[words], calculate[...] or finish[answer].",
                0.0,
                False,
                False,
                {"invalid": f"{text!r:.20} calls no tool"},
            )
        tool, given = calls[-1][0].lower(), calls[-1][1].strip()
        self._done.add(f"{tool}[{given}]")
        if tool == "finish":
            right = _plain(given) == _plain(self._answer)
            return "Right." if right else "Wrong.", float(right), True, False, {"success": right}
        return (self._found(given) if tool == "search" else calculated(given)), 0.0, False, False, {}

    def ran(self, output: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Shows what a program printed."""
        return output, 0.0, False, False, {}

    def expert(self) -> str:
        """Returns the first of the task's steps that was not made yet.

        Raises:
            LookupError: the task has no steps.
        """
        left = [step for step in self._steps if step not in self._done]
        if not left:
            raise LookupError("the task's entry has no steps for an expert")
        return left[0]

    def _found(self, words: str) -> str:
        asked = " ".join(sorted(set(_words(words))))
        ranked = ranking(self._documents, asked)
        self._asked[asked] += 1
        return (
            self._documents[ranked[self._asked[asked] - 1]]
            if self._asked[asked] <= len(ranked)
            else "Nothing more found."
        )

    @staticmethod
    def task(seed: int, level: int) -> dict[str, Any]:
        """Makes documents that lead from one to the next, with a number each; the answer adds the numbers of `level` of them."""
        draw = random.Random(seed)  # noqa: S311 - reproducible on purpose
        names = sorted(SYLLABLES, key=lambda _: draw.random())[: level + MORE + 1]
        numbers = [1 + int(9 * draw.random()) for _ in names]
        told = [
            f"{name} has {number} and leads to {after}."
            for name, number, after in zip(names, numbers, names[1:], strict=False)
        ]
        documents = sorted(told, key=lambda _: draw.random())
        terms = " + ".join(map(str, numbers[:level]))
        steps = [
            *(f"search[{name}]" for name in names[:level]),
            f"calculate[{terms}]",
            f"finish[{sum(numbers[:level])}]",
        ]
        prompt = f"Begin at {names[0]} and go where it leads, until you have {level}. What do their numbers add up to?"
        return {
            "prompt": prompt,
            "entry": {"answer": str(sum(numbers[:level])), "documents": documents, "steps": steps},
        }


def ranking(documents: Sequence[str], words: str) -> list[int]:
    """Returns the places of the documents that hold some of the words, those with the rarest and the most of them first."""
    held = [set(_words(text)) for text in documents]
    asked = sorted(set(_words(words)))
    weights = {
        word: log(1 + len(held) / count) for word in asked if (count := sum(word in own for own in held))
    }
    worth = [sum(weight for word, weight in weights.items() if word in own) for own in held]
    return sorted(
        (place for place, value in enumerate(worth) if value), key=lambda place: (-worth[place], place)
    )


def calculated(expression: str) -> str:
    """Computes +, -, *, / and brackets exactly; what cannot be computed is answered with the reason."""
    if len(expression) > MOST_SIGNS:
        return f"Too long: at most {MOST_SIGNS} letters."
    try:
        value = _value(ast.parse(expression.strip(), mode="eval").body)
    except ZeroDivisionError:
        return "Division by zero."
    except (SyntaxError, KeyError, TypeError, ValueError, RecursionError, MemoryError):
        return "Not arithmetic: write numbers, +, -, *, / and brackets."
    if max(abs(value.numerator), value.denominator) >= 10**MOST_SIGNS:
        return f"Too large: at most {MOST_SIGNS} digits."
    return str(value.numerator) if value.denominator == 1 else f"{float(value):.10g}"


def _value(node: ast.expr) -> Fraction:
    if isinstance(node, ast.BinOp):
        return Fraction(_DO[type(node.op)](_value(node.left), _value(node.right)))
    if isinstance(node, ast.UnaryOp):
        return Fraction(_DO[type(node.op)](_value(node.operand)))
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return Fraction(str(node.value))
    raise ValueError(ast.dump(node))


def _words(text: str) -> list[str]:
    return [word.casefold() for word in _WORD.findall(text)]


def _plain(answer: str) -> str:
    return " ".join(answer.casefold().split()).rstrip(".")
