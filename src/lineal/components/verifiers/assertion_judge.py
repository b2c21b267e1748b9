"""Judges a program's answers in a process of its own: they are hostile, and comparing them may take long."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lineal.components.sandbox.values import Raised, read_answer
from lineal.components.verifiers.assertions import Assertion, read_tests


def judge(row: Mapping[str, str]) -> tuple[int, int, str | None]:
    """Returns how many assertions hold, of how many, and why the first that does not does not.

    Args:
        row: `tests`, `prompt`, and `line`: what the program's sandbox wrote.
    """
    tests = read_tests(row["tests"], row["prompt"]).assertions
    try:
        answer = read_answer(row["line"].encode("latin-1"), sum(len(test.calls) for test in tests))
    except ValueError as error:
        return 0, len(tests), str(error)
    if answer.raised is not None:
        return 0, len(tests), answer.raised
    values = iter(answer.results)
    complaints = [_complaint(test, [next(values) for _ in test.calls]) for test in tests]
    failed = [f"test {number} of {len(tests)}: {text}" for number, text in enumerate(complaints, 1) if text]
    return len(tests) - len(failed), len(tests), failed[0] if failed else None


def _complaint(test: Assertion, values: list[Any]) -> str:
    """Says why an assertion does not hold; empty when it does."""
    raised = next((value.text for value in values if isinstance(value, Raised)), None)
    if raised is not None:
        return f"{test.text[:120]}: {raised}"
    got = f"{test.text[:120]}: got {', '.join(map(_shown, values))}"
    try:
        return "" if test.holds(values) else got
    except Exception as error:  # what a value of the program's choice makes of our own operations
        return got if "is no plain value" in str(error) else f"{test.text[:120]}: {type(error).__name__}"


def _shown(value: Any) -> str:
    try:
        text = repr(value)
    except (ValueError, RecursionError):
        return f"a long {type(value).__name__}"
    return text.encode("utf-8", "backslashreplace").decode("utf-8")[:80]
