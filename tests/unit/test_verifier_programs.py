"""`unit_tests` and `program_output`: verdicts of programs that mean no harm, and what is said where none can run."""

import json
import os

import pydantic
import pytest

from lineal.components.sandbox import bubblewrap
from lineal.components.sandbox.syscalls import refusals
from lineal.errors import SandboxError
from lineal.recipe.compute import Compute
from tests.unit.lab import Lab, rows_of

try:
    bubblewrap.require()
    MISSING = ""
except SandboxError as error:
    MISSING = str(error)
needs_sandbox = pytest.mark.skipif(bool(MISSING), reason=f"no sandbox here: {MISSING}")


@pytest.fixture
def lab(tmp_path):
    return Lab(tmp_path, Compute(workers=2))


def judged(lab, use, rows, **settings):
    rows = [{"sample_id": f"s{n}", "prompt_id": f"p{n}", "prompt": "?", **row} for n, row in enumerate(rows)]
    generated = lab.put("round_01/generated", rows)
    return rows_of(
        lab.run(use, "round_01/verified", {"rows": generated}, **{"max_error_rate": 1.0, **settings})[""]
    )


@needs_sandbox
def test_unit_tests_tell_pass_fail_and_error_apart(lab):
    tests = json.dumps(["assert half(4) == 2", "assert half(5) == 2.5", "assert half(0) == 0"])
    rows = [
        {"completion": "def half(x): return x / 2", "tests": tests},
        {"completion": "def half(x): return x // 2", "tests": tests},
        {"completion": "def half(x): return 4 / x", "tests": tests},
        {"completion": "half = undefined", "tests": tests},
        {"completion": "def other(x): pass", "tests": tests},
        {"completion": "def half(x): return x / 2", "tests": "assert half(4) == right(2)"},
        {"completion": None, "tests": tests},
        {"completion": "def half(x): return x / 2", "tests": None},
    ]
    found = judged(lab, "unit_tests", rows)
    assert [(row["verdict"], row["detail"]) for row in found] == [
        ("pass", None),
        ("fail", "test 2 of 3: assert half(5) == 2.5: got 2"),
        ("fail", "test 1 of 3: assert half(4) == 2: got 1.0"),
        ("fail", "NameError: name 'undefined' is not defined"),
        ("fail", "test 1 of 3: assert half(4) == 2: NameError: name 'half' is not defined"),
        (
            "error",
            "the tests use half and right, which neither they define nor the prompt names. Define it there, or have the "
            "prompt say that the program must, as `right` or right(...)",
        ),
        ("error", "the row has no completion"),
        ("error", "the row has no tests"),
    ]
    assert [row["score"] and round(row["score"], 3) for row in found] == [
        1.0,
        0.667,
        0.0,
        0.0,
        0.0,
        None,
        None,
        None,
    ]
    assert lab.counts == {"in": 8, "out": 8, "pass": 1, "fail": 4, "error": 3}


@needs_sandbox
def test_unit_tests_values_of_all_plain_types_come_through(lab):
    values = [
        "None",
        "True",
        "-7",
        "2**200",
        "-2**70",
        "1.5",
        "-0.1",
        "float('inf')",
        "2j",
        "'\\u00e4\\n\\'\"'",
        "b'\\x00\\xff'",
        "(1, (2,), ())",
        "[[], [None]]",
        "{1, 2}",
        "frozenset({3})",
        "{'a': {1: (2,)}}",
        "[1]",
        "''",
        "{}",
    ]
    tests = "\n".join(f"assert same({value}) == {value}" for value in values)
    rows = [
        {"completion": "def same(x): return x", "tests": tests},
        {
            "completion": "def same(x): return {1: 2}.keys() if x == [1] else x",
            "tests": "assert same([1]) == [1]",
        },
        {
            "completion": "import collections\ndef same(x): return collections.Counter(x)",
            "tests": "assert same('aab') == {'a': 2, 'b': 1}",
        },
        {
            "completion": "import dataclasses\n@dataclasses.dataclass\nclass P:\n    x: int\ndef same(x): return P(x)",
            "tests": "assert same(1) == 1",
        },
    ]
    found = judged(lab, "unit_tests", rows)
    assert [(row["verdict"], row["detail"]) for row in found] == [
        ("pass", None),
        ("fail", "test 1 of 1: assert same([1]) == [1]: got a dict_keys"),
        ("pass", None),
        ("fail", "test 1 of 1: assert same(1) == 1: got a P"),
    ]


@needs_sandbox
def test_unit_tests_letters_of_every_kind_come_through(lab):
    letters = [*range(0x180), 0xD800, 0x2028, 0xDFFF, 0xFFFF, 0x10000, 0x1F600, 0x10FFFF]
    tests = f"assert text() == {ascii(''.join(map(chr, letters)))}"
    found = judged(
        lab,
        "unit_tests",
        [{"completion": f"def text(): return ''.join(map(chr, {letters}))", "tests": tests}],
    )
    assert [(row["verdict"], row["detail"]) for row in found] == [("pass", None)]


@needs_sandbox
def test_unit_tests_syntax_errors_name_where_they_stand(lab):
    rows = [
        {"completion": completion, "tests": "assert f()"}
        for completion in ("def f(): return 1 +", "exec('1 +')")
    ]
    assert [row["detail"] for row in judged(lab, "unit_tests", rows)] == [
        "SyntaxError: invalid syntax (<program>, line 1)",
        "SyntaxError: invalid syntax (<string>, line 1)",
    ]


@needs_sandbox
def test_unit_tests_template_and_extract_make_the_program(lab):
    row = {
        "prompt": "def twice(x):\n",
        "completion": "Sure:\n```\n    return '{prompt}' and x * 2\n```",
        "tests": "assert twice(2) == 4",
    }
    (found,) = judged(lab, "unit_tests", [row], template="{prompt}{completion}", extract=r"(?s)```\n(.*?)```")
    assert found["verdict"] == "pass"


@pytest.mark.parametrize("use", ["unit_tests", "program_output"])
def test_program_template_without_the_completion_is_refused(lab, use):
    with pytest.raises(pydantic.ValidationError, match="template must hold {completion}"):
        lab.parse(use, {"rows": ()}, template="print(1)")


@needs_sandbox
def test_program_output_is_compared_line_by_line_and_kept(lab):
    double = "for line in open(0):\n    print(int(line) * 2, '  ')"
    rows = [
        {"completion": double, "input": "1\n2\n", "answer": "2\n4"},
        {"completion": double, "input": "1\n2\n", "answer": "2\n5"},
        {"completion": double, "input": "1\nx\n", "answer": "2\n4"},
        {"completion": "print(2)\nimport sys\nsys.exit(0)", "input": None, "answer": "2"},
        {"completion": "print(2)\nimport sys\nsys.exit(3)", "input": "", "answer": "2"},
        {"completion": "if __name__ == '__main__': print('\\udc80ä')", "input": "", "answer": "ä"},
        {"completion": "import os\nos.write(1, bytes([255]))", "input": "", "answer": "\\xff"},
    ]
    found = judged(lab, "program_output", rows)
    assert [(row["verdict"], row["score"], row["detail"], row["output"]) for row in found] == [
        ("pass", 1.0, None, "2   \n4   \n"),
        ("fail", 0.5, "1 of 2 lines right", "2   \n4   \n"),
        ("fail", 0.0, "ValueError: invalid literal for int() with base 10: 'x\\n'", None),
        ("pass", 1.0, None, "2\n"),
        ("fail", 0.0, "SystemExit: 3", None),
        ("fail", 0.0, "prints another answer", "\\x80ä\n"),
        ("fail", 0.0, "prints another answer", "\\xff"),
    ]


@needs_sandbox
def test_program_output_may_be_near_where_a_tolerance_says_so(lab):
    answer = "x 0.333333\n1000000"
    rows = [
        {"completion": f"print({text!r}); exit()", "answer": answer}
        for text in (
            "x 0.333333\n1000000",
            "x 0.3333333333\n1000000.5",
            "x 0.34\n1000000",
            "y 0.333333\n1000000",
            "x 0.333333 1",
        )
    ]
    exact = judged(lab, "program_output", rows)
    assert [row["verdict"] for row in exact] == ["pass", "fail", "fail", "fail", "fail"]
    near = judged(lab, "program_output", rows, tolerance=1e-6)
    assert [row["verdict"] for row in near] == ["pass", "pass", "fail", "fail", "fail"]
    assert [row["score"] for row in near] == [1.0, 1.0, 0.5, 0.5, 0.0]


@needs_sandbox
def test_run_program_passes_what_comes_to_its_end_and_keeps_what_it_printed(lab):
    rows = [
        {"completion": text, "input": "3"}
        for text in ("print(int(input()) * 2)", "print(1); 1 / 0", "while True: pass", "x =")
    ]
    found = judged(lab, "run_program", rows, timeout=1)
    assert [(row["verdict"], row["output"]) for row in found] == [
        ("pass", "6\n"),
        ("fail", None),
        ("fail", None),
        ("fail", None),
    ]
    assert found[1]["detail"] == "ZeroDivisionError: division by zero"


def test_program_output_of_two_verifiers_stand_side_by_side(lab):
    first = lab.run(
        "program_output",
        "round_01/first",
        {
            "rows": lab.put(
                "round_01/g",
                [
                    {
                        "sample_id": "s",
                        "prompt_id": "p",
                        "prompt": "?",
                        "completion": "print(1)",
                        "answer": "1",
                    }
                ],
            )
        },
    )[""]
    (row,) = rows_of(
        lab.run(
            "program_output",
            "round_01/second",
            {"rows": first},
            name="other",
            template="{completion}\nprint(2)",
        )[""]
    )
    assert (row["verdict"], row["output"], row["other_verdict"], row["other_output"]) == (
        "pass",
        "1\n",
        "fail",
        "1\n2\n",
    )


@needs_sandbox
def test_programs_give_the_same_bytes_whatever_the_workers(tmp_path):
    programs = [
        "import random\nprint(random.random())",
        "print({'b', 'a', 'c'})",
        "raise ValueError(object())",
        "print(hash('x'))",
        "import random\nrandom.shuffle(x := list(range(9)))\nprint(x)",
    ]
    rows = [{"completion": program, "answer": "?"} for program in programs * 2]
    digests = set()
    for workers, shard_rows in ((1, 3), (3, 4096)):
        lab = Lab(tmp_path / str(workers), Compute(workers=workers, shard_rows=shard_rows))
        rows = [
            {"sample_id": f"s{n}", "prompt_id": f"p{n}", "prompt": "?", **row} for n, row in enumerate(rows)
        ]
        made = lab.run("program_output", "round_01/verified", {"rows": lab.put("round_01/generated", rows)})[
            ""
        ]
        digests.add(made.digest)
    assert len(digests) == 1


def test_sandbox_that_is_not_installed_says_what_to_install(lab, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    bubblewrap._walls.cache_clear()
    try:
        with pytest.raises(
            SandboxError,
            match=r"only inside bubblewrap \(bwrap\), which is not here. Install it: apt install",
        ):
            judged(lab, "program_output", [{"completion": "print(1)", "answer": "1"}])
    finally:
        bubblewrap._walls.cache_clear()


def test_sandbox_that_may_not_start_says_what_to_allow(lab, tmp_path, monkeypatch):
    broken = tmp_path / "bin" / "bwrap"
    broken.parent.mkdir()
    broken.write_text("#!/bin/sh\necho 'bwrap: No permissions to create a new namespace' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", f"{broken.parent}{os.pathsep}{os.environ['PATH']}")
    bubblewrap._walls.cache_clear()
    try:
        with pytest.raises(
            SandboxError,
            match="No permissions to create a new namespace. It needs user namespaces: in a container",
        ):
            judged(lab, "program_output", [{"completion": "print(1)", "answer": "1"}])
    finally:
        bubblewrap._walls.cache_clear()


def test_sandbox_on_an_unknown_processor_refuses(monkeypatch):
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Linux", "h", "6", "v", "sparc64")))
    with pytest.raises(
        SandboxError,
        match="cannot be shut in on sparc64: the filter of system calls knows x86_64 and aarch64",
    ):
        refusals()
