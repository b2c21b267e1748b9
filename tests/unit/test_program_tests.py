"""The forms that published sets write their tests in: a right program passes each, and a wrong one that games it does not."""

import re

import pytest

from lineal.components.sandbox.bubblewrap import require
from lineal.errors import SandboxError
from lineal.recipe.compute import Compute
from tests.unit.lab import Lab, rows_of

try:
    require()
except SandboxError as error:
    pytest.skip(f"no sandbox here: {error}", allow_module_level=True)

METADATA = "METADATA = {'author': 'x', 'dataset': 'test'}\n\n\n"
POLY = """import math

def poly(xs: list, x: float):
    \"\"\"Evaluates a polynomial.\"\"\"
    return sum(coeff * math.pow(x, i) for i, coeff in enumerate(xs))

def find_zero(xs: list):
    \"\"\"Finds a zero of it.\"\"\"
"""
PAIR = "class Pair:\n    def __init__(self, a, b): self.a, self.b = a, b\n"
CYCLE = """def encode(s: str):
    groups = [s[i:i + 3] for i in range(0, len(s), 3)]
    return ''.join(g[1:] + g[0] if len(g) == 3 else g for g in groups)

def decode(s: str):
    \"\"\"Takes what encode returns back.\"\"\"
"""


def checked(body, name="f"):
    """HumanEval's form."""
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    return f"{METADATA}def check(candidate):\n{lines}\n\ncheck({name})\n"


# name: (prompt, right program, wrong program, tests)
FORMS = {
    "plain": (
        "?",
        "def f(a, b): return a + b",
        "def f(a, b): return a - b",
        checked("assert candidate(1, 2) == 3"),
    ),
    "says nothing first": (
        "?",
        "def f(x): return x",
        "def f(x): return 0",
        checked("assert True, 'This prints if this assert fails 1'\nassert candidate(7) == 7, 'x'"),
    ),
    "absolute tolerance": (
        "?",
        "def f(x): return x % 1",
        "def f(x): return 0.25",
        checked("assert abs(candidate(1.33) - 0.33) < 1e-6\nassert candidate(3.5) == 0.5"),
    ),
    "math tolerance": (
        "?",
        "def f(x): return x / 3",
        "class math: fabs = lambda x: 0\ndef f(x): return 0",
        "import math\n" + checked("assert math.fabs(candidate(1) - 1/3) < 1e-6"),
    ),
    "module without import": (
        "?",
        "def f(x): return x ** .5",
        "class math: sqrt = staticmethod(lambda x: 0)\ndef f(x): return 0",
        "assert abs(f(2) - math.sqrt(2)) < 1e-6",
    ),
    "the program leans on the tests' import": (
        "?",
        "def f(x): return math.floor(x)",
        "def f(x): return x",
        "import math\nassert f(2.5) == 2",
    ),
    "items of a generator": (
        "?",
        "def f(n): yield from range(n)",
        "def f(n): return iter([0, 2, 1])",
        "assert list(f(3)) == [0, 1, 2]\nassert sum(f(3)) == 3",
    ),
    "items of a map": (
        "?",
        "def f(xs): return map(abs, xs)",
        "def f(xs): return map(int, xs)",
        "for xs in [[1, -2], []]:\n    assert sorted(f(xs)) == sorted(abs(x) for x in xs)",
    ),
    "items of a deque": (
        "?",
        "from collections import deque\ndef f(n): return deque(range(n))",
        "def f(n): return range(n + 1)",
        "assert tuple(f(2)) == (0, 1)",
    ),
    "an end in the midst": (
        "?",
        "def f(n): return iter(range(n))",
        "def f(n):\n    yield 0\n    raise ValueError(n)",
        "total = 0\nfor x in f(3): total += x\nassert total == 3",
    ),
    "fraction": (
        "?",
        "from fractions import Fraction\ndef f(a, b): return Fraction(a, b)",
        "def f(a, b): return a / b",
        "from fractions import Fraction\nassert f(1, 3) == Fraction(1, 3)",
    ),
    "decimal": (
        "?",
        "from decimal import Decimal\ndef f(x): return Decimal(x) / 3",
        "def f(x): return float(x) / 3",
        "from decimal import Decimal\nassert f('0.3') == Decimal('0.1')",
    ),
    "split": (
        "?",
        "def f(s): return s.upper().split()",
        "def f(s): return s.split()",
        checked("assert candidate('a b') == 'A B'.split()"),
    ),
    "built text": (
        "?",
        "def f(n): return ' '.join(map(str, range(n)))",
        "def f(n): return ''",
        checked("assert candidate(3) == ' '.join(['0', '1', '2'])\nassert candidate(1) == '%d' % 0"),
    ),
    "loop": (
        "?",
        "def f(x): return x * x",
        "def f(x): return 0",
        checked("for n in range(20):\n    assert candidate(n) == n ** 2"),
    ),
    "random against a reference": (
        "?",
        "def f(a, b): return a + b",
        "random = None\ndef f(a, b): return 0",
        checked(
            "import random\nfor _ in range(20):\n    x, y = random.randint(0, 1000), random.randint(0, 1000)\n"
            "    assert candidate(x, y) == x + y"
        ),
    ),
    "a helper of the prompt": (
        POLY,
        POLY + "    a, b = -9.0, 9.0\n    while b - a > 1e-9:\n        m = (a + b) / 2\n"
        "        a, b = (m, b) if poly(xs, m) * poly(xs, a) > 0 else (a, m)\n    return a",
        "def poly(xs, x): return 0\ndef find_zero(xs): return 0",
        checked(
            "for k in (1.5, -2, 5):\n    coeffs = [k, 1]\n    assert math.fabs(poly(coeffs, candidate(coeffs))) < 1e-4",
            "find_zero",
        ),
    ),
    "the other way of the prompt": (
        CYCLE,
        CYCLE + "    return encode(encode(s))",
        "def encode(s): return s\ndef decode(s): return s",
        checked("for s in ('abc', 'abcdef', 'ab'):\n    assert candidate(encode(s)) == s", "decode"),
    ),
    "the program's own two": (
        "Write encode(s) and decode(s).",
        "def encode(s): return s[::-1]\ndecode = encode",
        "def encode(s): return 0\ndef decode(s): return s",
        "assert decode(encode('abc')) == 'abc'",
    ),
    "a helper of the tests": (
        "?",
        "def f(n): return [2, 3, 5][:n]",
        "def f(n): return [4] * n",
        "from __future__ import annotations\ndef is_prime(n):\n    return all(n % k for k in range(2, n))\n"
        + checked("assert all(is_prime(p) for p in candidate(3))\nassert len(candidate(3)) == 3"),
    ),
    "an expected exception": (
        "?",
        "def f(x):\n    if x < 0: raise ValueError('negative')\n    return x",
        "def f(x): return x",
        checked(
            "assert candidate(1) == 1\ntry:\n    candidate(-1)\n    assert False, 'no error'\nexcept ValueError:\n    pass"
        ),
    ),
    "types": (
        "?",
        "def f(x): return [x]",
        "def f(x): return (x,)",
        checked("assert isinstance(candidate(1), list)\nassert type(candidate(1)) is list"),
    ),
    "is": (
        "?",
        "def f(x): return None if x else True",
        "def f(x): return object()",
        checked("assert candidate(1) is None\nassert candidate(0) is True\nassert candidate(0) is not None"),
    ),
    "a variable": (
        "?",
        "def f(xs): return sorted(xs)",
        "def f(xs): xs.clear(); return []",
        checked(
            "xs = [3, 1, 2]\nwanted = sorted(xs)\nassert candidate(xs) == wanted\nassert xs == [3, 1, 2]"
        ),
    ),
    "as tuple": (
        "?",
        "def f(x): return (x, -x)",
        "def f(x): return (x, x)",
        checked("assert tuple(candidate(8)) == (8, -8)\nassert tuple(candidate(-3)) == (-3, 3)"),
    ),
    "a comprehension": (
        "?",
        "def f(n): return list(range(n))",
        "def f(n): return [0] * n",
        checked(
            "assert candidate(99) == [n for n in range(99)]\n"
            "assert [candidate(n)[-1] for n in (1, 2)] == [0, 1]"
        ),
    ),
    "a range given": (
        "?",
        "def f(xs): return max(xs)",
        "def f(xs): return 0",
        checked("assert candidate(range(1, 9)) == 8"),
    ),
    "a hash": (
        "?",
        "import hashlib\ndef f(s): return hashlib.md5(s.encode()).hexdigest()",
        "def f(s): return s",
        "import hashlib\n" + checked("assert candidate('a') == hashlib.md5(b'a').hexdigest()"),
    ),
    "sets and bytes": (
        "?",
        "def f(x): return ({x}, b'\\xff', frozenset())",
        "def f(x): return ([x], 'xff', set())",
        checked("s, b, e = candidate(1)\nassert s == {1} and b == bytes([255]) and e == set()"),
    ),
    "a function by a built-in's name": (
        "?",
        "def sum(a, b): return a + b + 1",
        "pass",
        "assert sum(10, 15) == 26",
    ),
    "a class": (
        "Write a class Stack.",
        "class Stack:\n    def __init__(self): self.items = []\n    size = 0\n"
        "    def push(self, x): self.items.append(x); self.size += 1\n    def pop(self): return self.items.pop()",
        "class Stack:\n    def push(self, x): pass\n    size = 2\n    def pop(self): return 2",
        "s = Stack()\nfor n in (1, 2):\n    s.push(n)\nassert s.size == 2\nassert [s.pop(), s.pop()] == [2, 1]",
    ),
    "objects given": (
        "?",
        PAIR + "def f(ps): return [p.b for p in ps]",
        PAIR + "def f(ps): return [p.a for p in ps]",
        "assert f([Pair(1, n) for n in (5, 6)]) == [5, 6]",
    ),
    "a method of what is returned": (
        "?",
        "def f(x): return x.upper()",
        "class Claim:\n    isupper = lambda self: True\ndef f(x): return Claim()",
        "assert f('a').isupper()",
    ),
    "a function returned": (
        "?",
        "def f(n): return lambda x: x + n",
        "def f(n): return lambda x: x",
        "add = f(3)\nassert add(4) == 7",
    ),
    "two assertions on one value": (
        "?",
        "def f(x): return {'a': x}",
        "def f(x): return {}",
        checked("found = candidate(2)\nassert 'a' in found\nassert found['a'] == 2"),
    ),
}


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory):
    rows = [
        {
            "sample_id": f"{name} {kind}",
            "prompt_id": "p",
            "prompt": prompt,
            "completion": program,
            "tests": tests,
        }
        for name, (prompt, right, wrong, tests) in FORMS.items()
        for kind, program in (("right", right), ("wrong", wrong))
    ]
    lab = Lab(tmp_path_factory.mktemp("forms"), Compute(workers=2))
    made = lab.run(
        "unit_tests", "round_01/verified", {"rows": lab.put("round_01/generated", rows)}, timeout=2
    )[""]
    return {row["sample_id"]: (row["verdict"], row["detail"]) for row in rows_of(made)}


@pytest.mark.parametrize("name", FORMS)
def test_forms_right_programs_pass_and_wrong_ones_fail(verdicts, name):
    assert verdicts[f"{name} right"] == ("pass", None)
    assert verdicts[f"{name} wrong"][0] == "fail" and verdicts[f"{name} wrong"][1]


def test_forms_that_cannot_be_run_are_errors_and_not_the_programs_fault(tmp_path):
    cases = [
        "import os\nx = undefined_helper\nassert f(1) == x",
        "wanted = 1 / 0\nassert f(1) == wanted",
        "assert f(lambda: 1) == 1\nassert f(__import__('re').compile('a')) == 1",
        "if 0:\n    assert f(1) == 1",
        "while True:\n    x = 1\nassert f(1) == x",
    ]
    rows = [
        {
            "sample_id": f"s{n}",
            "prompt_id": "p",
            "prompt": "?",
            "completion": "def f(x): return 1",
            "tests": tests,
        }
        for n, tests in enumerate(cases)
    ]
    lab = Lab(tmp_path, Compute(workers=2))
    generated = lab.put("round_01/generated", rows)
    made = lab.run("unit_tests", "round_01/verified", {"rows": generated}, timeout=1, max_error_rate=1.0)[""]
    *found, last = [(row["verdict"], row["detail"]) for row in rows_of(made)]
    assert found == [
        (
            "error",
            "the tests use f and undefined_helper, which neither they define nor the prompt names. Define it there, or "
            "have the prompt say that the program must, as `undefined_helper` or undefined_helper(...)",
        ),
        ("error", "the tests cannot be run: ZeroDivisionError: division by zero"),
        (
            "error",
            "the tests cannot be run: the tests give the program a function, and only plain values can be given to it",
        ),
        ("error", "the tests cannot be run: they never ask the program anything"),
    ]
    assert last[0] == "error" and re.match(r"judging it (took|waited for) more than", last[1])


def test_forms_the_score_is_the_share_of_assertions_that_hold(tmp_path):
    tests = "assert f(1) == 1\nfor n in (1, 2):\n    assert f(n) == n\nassert f(3) == 1\ny = f('a') + 1\nassert f(y) == 1"
    program = "def f(x): return 1 if x != 'a' else 'b'"
    row = {"sample_id": "s", "prompt_id": "p", "prompt": "?", "completion": program, "tests": tests}
    lab = Lab(tmp_path)
    (made,) = rows_of(
        lab.run("unit_tests", "round_01/verified", {"rows": lab.put("round_01/generated", [row])})[""]
    )
    assert (made["verdict"], made["score"], made["detail"]) == (
        "fail",
        0.5,
        "test 2 of 4: assert f(n) == n: got 1",
    )
