"""Assertions taken apart into calls, which a program answers, and conditions, which it never sees."""

import math
import re

import pytest

from lineal.components.sandbox.values import NotPlain
from lineal.components.verifiers.assertions import read_tests

PROMPT = "Write `f`, `g` and `h`, and a class `Solution`."
UNKNOWN = NotPlain("Thing")


@pytest.mark.parametrize(
    ("test", "calls", "right", "wrong"),
    [
        ("assert f(1, 2) == 3", ["f(1, 2)"], [3], [4]),
        (
            "assert f(1) == [1, (2,), {3}, {'a': None}], 'message'",
            ["f(1)"],
            [[1, (2,), {3}, {"a": None}]],
            [[1, [2], {3}, {}]],
        ),
        ("assert f('x') is True", ["f('x')"], [True], [1]),
        ("assert f(1)", ["f(1)"], [True], [[]]),
        ("assert not f(1)", ["f(1)"], [0], ["0"]),
        ("assert f(1) == f(2)", ["f(1)", "f(2)"], [5, 5], [5, 6]),
        ("assert abs(f(2.0) - 1.5) < 1e-6", ["f(2.0)"], [1.5000001], [1.6]),
        ("assert math.isclose(f(1), 0.3, rel_tol=1e-3)", ["f(1)"], [0.3001], [0.31]),
        ("assert sorted(f(3)) == sorted([2, 1])", ["*f(3)"], [(2, 1)], [(1,)]),
        (
            "assert set(f(3)) == set((1, 2)) and len(f(4)) > 1",
            ["*f(3)", "f(4)"],
            [[2, 1], "ab"],
            [[2, 1], "a"],
        ),
        ("assert 1 < f(0) <= 3", ["f(0)"], [3], [4]),
        ("assert f(0) in (1, 2)", ["f(0)"], [2], [3]),
        ("assert f(0)['a'][0] == -1", ["f(0)"], [{"a": [-1]}], [{"a": [1]}]),
        ("assert f(g(1) + h(2, [3])) == 10**9 + 7", ["f(g(1) + h(2, [3]))"], [10**9 + 7], [7]),
        ("assert Solution().add(1, 2) == 3", ["Solution().add(1, 2)"], [3], [None]),
        ("assert f(2) == float('inf')", ["f(2)"], [math.inf], [1e308]),
        ("assert f(2) == '%s'", ["f(2)"], ["%s"], ["%"]),
    ],
)
def test_assertions_hold_for_right_values_only(test, calls, right, wrong):
    (assertion,) = read_tests(test, PROMPT).assertions
    assert list(assertion.calls) == calls
    assert assertion.holds(right) and not assertion.holds(wrong)


@pytest.mark.parametrize(
    "test",
    [
        "assert f(1)",
        "assert not f(1)",
        "assert len(f(1)) == 1",
        "assert f(1) < 2",
        "assert abs(f(1) - 1) < 2",
        "assert 1 in f(1)",
        "assert f(1) != 4",
        "assert f(1) is not None",
        "assert [f(1)] != [4]",
    ],
)
def test_assertions_about_a_value_of_the_programs_own_type_do_not_hold(test):
    with pytest.raises(TypeError):
        read_tests(test).assertions[0].holds([UNKNOWN])


@pytest.mark.parametrize(
    ("tests", "count"),
    [
        ('["assert f(1) == 1", "assert f(2) == 2"]', 2),
        ("import math\nassert f(1) == 1\nassert True, 'the tests run'", 1),
        (
            "METADATA = {'author': 'x'}\n\n\ndef check(candidate):\n    assert candidate(1) == 1\n\ncheck(f)",
            1,
        ),
    ],
)
def test_assertions_are_read_from_the_forms_of_known_sets(tests, count):
    found = read_tests(tests).assertions
    assert len(found) == count and found[0].calls == ("f(1)",)


@pytest.mark.parametrize(
    ("tests", "message"),
    [
        ("", "there are no assertions"),
        ("[]", "there are no assertions"),
        ("assert True, 'the tests run'", "there are no assertions"),
        ("x = f(1)", "there are no assertions"),
        ("assert f(1) ==", "cannot be read as Python: SyntaxError"),
        ("[1]", "cannot be read as Python: TypeError"),
        ("[" * 100_000, "cannot be read as Python"),
        ("assert 1 == 1", "the tests call nothing of the program"),
        (
            "assert sorted([2, 1]) == list([1, 2])",
            "the tests call nothing of the program: list, sorted are Python's own",
        ),
        (
            "assert f(1) == expected(1)",
            "the tests use expected, which neither they define nor the prompt names. Define it",
        ),
        (
            "def check(candidate):\n    assert candidate(1) == 1",
            "define check and never call it; end them with check(NAME",
        ),
        (
            "import numpy\nassert f(1) == numpy.ones(1)",
            "the tests import 'numpy'; only modules of the standard library",
        ),
        ("from math import *\nassert f(1) == pi", "the tests import '*'"),
        (
            "try:\n    f(1)\n    assert False\nexcept g:\n    pass",
            "the tests catch g, an exception of the program's",
        ),
        ("x = None\nassert x is f(1) is None", "write 'is' by itself, not in a chain"),
    ],
)
def test_assertions_that_cannot_be_judged_from_outside_are_refused(tests, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        read_tests(tests, "It is expected to be fast. `f` raises `g`.")


@pytest.mark.parametrize(
    ("tests", "names"),
    [
        ("for x in range(3):\n    assert f(x) == x", ("f",)),
        ("x = 3\nassert f(1) == x", ("f",)),
        ("assert isinstance(f(1), int)", ("f",)),
        ("assert all(x > 0 for x in f(3))", ("f",)),
        ("assert f(1) == dict(**{'a': 1})", ("f",)),
        ("assert f(1).isupper()", ("f",)),
        ("assert f(len('abc')) == 3", ("f",)),
        ("assert f(1) == 'seven eight'.split()", ("f",)),
        ("assert abs(f(2) - math.sqrt(2)) < 1e-6", ("f",)),
        ("assert sum(10, 15) == 6", ("sum",)),
        ("def check(candidate):\n    assert candidate([1, 2]) == 3\ncheck(sum)", ("sum",)),
        ("from random import random as sorted\nassert sorted(f(1)) == [1]", ("f",)),
        ("def check(candidate):\n    assert candidate(1)\ncheck(f)\ncheck(g)", ("f", "g")),
        ("assert f([Pair(1, x) for x in (2, 3)]) == 3", ("Pair", "f")),
        ("s = Solution()\nassert s.add(1, 2) == 3", ("Solution",)),
    ],
)
def test_assertions_that_need_more_than_our_own_operations_are_examined(tests, names):
    found = read_tests(tests, PROMPT)
    assert found.assertions == () and found.examination is not None and found.examination.names == names


@pytest.mark.parametrize(
    "test",
    [
        "assert round(f(1), f(2)) == 1",
        "assert [0] * f(1) == [0]",
        "assert 10 ** f(1) == 1",
        "assert f(1) ** 2 ** 999 == 1",
    ],
)
def test_assertions_do_no_work_of_a_size_that_the_program_chooses(test):
    (assertion,) = read_tests(test).assertions
    with pytest.raises((OverflowError, ValueError, TypeError)):
        assertion.holds([10**12] * len(assertion.calls))
