"""Writes the labelled pairs that are made by rule: tests/labelled/*_by_rule.jsonl. Run: python bench/labelled_pairs.py

Each rule makes pairs that are equal and pairs that are not, from numbers drawn with a fixed seed. The pairs made by hand
lie beside them and are written by nothing.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from random import Random
from typing import Any

FOLDER = Path(__file__).parents[1] / "tests" / "labelled"
Pair = dict[str, Any]
Made = Iterator[tuple[str, str, bool]]
EACH = 6
SENTENCES = (
    "{}",
    "$\\boxed{{{}}}$",
    "So the answer is $\\boxed{{{}}}$.",
    "We get $a = b$, hence the value is ${}$.",
)


def fractions(draw: Random) -> Made:
    """A fraction in another form; its inverse, its neighbour."""
    top, bottom = draw.choice([(1, 2), (3, 8), (7, 16), (9, 25), (13, 40), (11, 20)])
    factor = draw.randint(2, 9)
    for form in (
        f"{top * factor}/{bottom * factor}",
        f"\\dfrac{{{top}}}{{{bottom}}}",
        str(float(Fraction(top, bottom))),
    ):
        yield f"\\frac{{{top}}}{{{bottom}}}", form, True
    yield f"\\frac{{{top}}}{{{bottom}}}", f"\\frac{{{bottom}}}{{{top}}}", False
    yield f"\\frac{{{top}}}{{{bottom}}}", f"{top + 1}/{bottom}", False


def integers(draw: Random) -> Made:
    """A whole number with separators; another one by one, in another order of digits, with another sign."""
    value = draw.randint(1_000, 9_999_999) * 10 + 3
    yield str(value), f"{value:,}", True
    yield str(value), f"{value:,}".replace(",", "{,}"), True
    yield f"{value:,}", str(value + 1), False
    yield str(value), f"-{value}", False
    yield str(-value), f"\u2212{value}", True


def polynomials(draw: Random) -> Made:
    """A product of two factors multiplied out, and with a coefficient changed."""
    one, two = draw.randint(1, 9), draw.randint(1, 9)
    expanded = f"x^2+{one + two}x+{one * two}"
    yield expanded, f"(x+{one})(x+{two})", True
    yield f"(x+{two})(x+{one})", expanded, True
    yield expanded, f"x^2+{one + two}x+{one * two + 1}", False
    yield expanded, f"(x-{one})(x-{two})", False


def surds(draw: Random) -> Made:
    """A root with a square taken out."""
    inner, outer = draw.choice([2, 3, 5, 6, 7, 10]), draw.randint(2, 9)
    yield f"{outer}\\sqrt{{{inner}}}", f"\\sqrt{{{inner * outer**2}}}", True
    yield f"{outer}\\sqrt{{{inner}}}", f"\\sqrt{{{inner * outer**2 + 1}}}", False
    yield f"\\frac{{{outer}}}{{\\sqrt{{{inner}}}}}", f"\\frac{{{outer}\\sqrt{{{inner}}}}}{{{inner}}}", True


def powers(draw: Random) -> Made:
    """Powers beyond any machine number, and small differences between them."""
    exponent = draw.randint(200, 2000)
    yield f"2^{{{exponent}}}", f"4^{{{exponent}/2}}", True
    yield f"2^{{{exponent}}}-1", f"2^{{{exponent}}}+1", False
    yield f"\\frac{{1}}{{3^{{{exponent}}}}}", f"\\frac{{1}}{{3^{{{exponent + 1}}}}}", False
    yield f"{exponent}!", f"{exponent - 1}! \\cdot {exponent}", True


def collections(draw: Random) -> Made:
    """Sets in another order; tuples in another order; an item changed."""
    one, two, three = draw.sample(range(1, 60), 3)
    yield f"\\{{{one}, {two}, {three}\\}}", f"\\{{{three}, {one}, {two}\\}}", True
    yield f"\\{{{one}, {two}, {three}\\}}", f"\\{{{one}, {two}, {three + 60}\\}}", False
    yield f"({one}, {two})", f"({one}.0, {two})", True
    yield f"({one}, {two})", f"({two}, {one})", False
    yield f"{one}, {two}", f"{two} and {one}", True


def intervals(draw: Random) -> Made:
    """An interval with another bracket, and as an inequality."""
    low = draw.randint(-9, 9)
    high = low + draw.randint(1, 9)
    yield f"[{low}, {high})", f"\\left[{low}, {high}\\right)", True
    yield f"[{low}, {high})", f"({low}, {high}]", False
    yield f"x \\in [{low}, {high})", f"{low} \\le x < {high}", True
    yield f"{low} \\le x < {high}", f"{low} < x < {high}", False


def equations(draw: Random) -> Made:
    """A line multiplied by a number, solved for y, and shifted."""
    slope, shift, factor = draw.randint(2, 9), draw.randint(1, 9), draw.randint(2, 5)
    yield f"y = {slope}x + {shift}", f"{factor}y = {slope * factor}x + {shift * factor}", True
    yield f"y = {slope}x + {shift}", f"y = {slope}x - {shift}", False
    yield f"x = {shift}", str(shift), True
    yield f"x = {shift}", f"x = {shift + 1}", False


def decimals(draw: Random) -> Made:
    """Zeros at the end, powers of ten, the last digit changed; small ones, for which an absolute tolerance is blind."""
    value = draw.randint(1001, 9999) * 10 + 7
    yield f"{value}e-4", f"{value / 1e4:.6f}", True
    yield f"{value / 1e4}", f"{(value + 1) / 1e4}", False
    yield f"{value}e-12", f"{value + 1000}e-12", False
    yield f"{value} \\times 10^{{-12}}", f"{value}e-12", True


def matrices(draw: Random) -> Made:
    """A matrix with fractions as decimals, transposed, with a cell changed."""
    a, b, c = (draw.randint(-9, 9) for _ in range(3))
    yield (
        f"\\begin{{pmatrix}} {a} & {b} \\\\ {c} & 1/2 \\end{{pmatrix}}",
        f"\\begin{{bmatrix}}{a}&{b}\\\\{c}&0.5\\end{{bmatrix}}",
        True,
    )
    yield (
        f"\\begin{{pmatrix}} {a} & {b} \\\\ {c} & 1 \\end{{pmatrix}}",
        f"\\begin{{pmatrix}} {a} & {b} \\\\ {c + 1} & 1 \\end{{pmatrix}}",
        False,
    )


RULES: tuple[Callable[[Random], Made], ...] = (
    fractions,
    integers,
    polynomials,
    surds,
    powers,
    collections,
    intervals,
    equations,
    decimals,
    matrices,
)


def math_pairs() -> Iterator[Pair]:
    """Mathematics by rule."""
    draw = Random(20)
    for rule in RULES:
        for _ in range(EACH):
            for answer, completion, equal in rule(draw):
                sentence = draw.choice(SENTENCES)
                yield {
                    "kind": f"rule: {rule.__name__}",
                    "answer": answer,
                    "completion": sentence.format(completion),
                    "equal": equal,
                }


def choice_pairs() -> Iterator[Pair]:
    """Multiple choice by rule: every usual way to name an option, of the right one and of another."""
    draw = Random(21)
    forms = (
        "{0}",
        "({0})",
        "{0}.",
        "{0}) {1}",
        "The answer is {0}.",
        "\\boxed{{{0}}}",
        "**{0}**",
        "{1}",
        "I think it is {1}.",
        "Answer: {0}",
    )
    names = ("copper", "silver", "gold", "tin", "zinc", "lead", "iron", "nickel")
    for number in range(60):
        options = draw.sample(names, 4)
        right, told = draw.randrange(4), draw.randrange(4)
        told = right if number % 2 else told
        completion = forms[number % len(forms)].format("ABCD"[told], options[told])
        answer = options[right] if number % 3 == 0 else "ABCD"[right]
        yield {
            "kind": "rule",
            "options": options,
            "answer": answer,
            "completion": completion,
            "equal": told == right,
        }


def exact_pairs() -> Iterator[Pair]:
    """Texts by rule: white space around them; a letter changed, left out, in the other case; white space within."""
    draw = Random(23)
    for _ in range(12):
        word = "".join(draw.choice("abcdefgh") for _ in range(draw.randint(3, 9)))
        place = draw.randrange(len(word))
        for told in (word, f"  {word}\n", f"\t{word} "):
            yield {"kind": "rule", "answer": word, "completion": told, "equal": True}
        for told in (
            f"{word[:place]}x{word[place + 1 :]}",
            word[:-1],
            word.upper(),
            f"{word[:1]} {word[1:]}",
            f"{word}.",
        ):
            yield {"kind": "rule", "answer": word, "completion": told, "equal": False}


def structured_pairs() -> Iterator[Pair]:
    """JSON and calls by rule: other order, other spaces, other number forms; a value, a type or a key changed."""
    draw = Random(22)
    for number in range(40):
        value = {
            "city": draw.choice(("Oslo", "Rome", "Lima")),
            "days": draw.randint(1, 9),
            "near": [draw.randint(0, 5), True, None],
        }
        other: dict[str, Any] = dict(reversed(list(value.items())))
        equal = number % 2 == 0
        if not equal:
            other |= [
                {"days": value["days"] + 1},
                {"city": "oslo"},
                {"near": [True, None]},
                {"days": str(value["days"])},
            ][number // 2 % 4]
        if number % 4 < 2:
            told = f"Here it is:\n```json\n{json.dumps(other, indent=number % 3)}\n```\n"
            yield {"kind": "rule: JSON", "answer": json.dumps(value), "completion": told, "equal": equal}
        else:
            call, again = (
                ", ".join(f"{key}={item!r}" for key, item in one.items()) for one in (value, other)
            )
            yield {
                "kind": "rule: call",
                "answer": f"plan({call})",
                "completion": f"plan( {again} )",
                "equal": equal,
            }


FILES: dict[str, Callable[[], Iterator[Pair]]] = {
    "math_by_rule.jsonl": math_pairs,
    "choice_by_rule.jsonl": choice_pairs,
    "exact_match_by_rule.jsonl": exact_pairs,
    "structured_match_by_rule.jsonl": structured_pairs,
}


def text_of(name: str) -> str:
    """Returns the content that a file must have."""
    return "".join(json.dumps(pair, ensure_ascii=False) + "\n" for pair in FILES[name]())


def main() -> int:
    """Writes the files."""
    for name in FILES:
        (FOLDER / name).write_text(text_of(name), encoding="utf-8")
        print(f"{name}: {text_of(name).count(chr(10))} pairs")
    return 0


if __name__ == "__main__":
    sys.exit(main())
