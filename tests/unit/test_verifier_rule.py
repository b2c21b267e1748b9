"""`rule`: scores by a formula over a row's own columns."""

import pydantic
import pytest

from lineal.errors import DeclarationError
from tests.unit.lab import Lab, rows_of


@pytest.fixture
def lab(tmp_path):
    return Lab(tmp_path)


def judged(lab, rows, formula, **settings):
    put = lab.put(
        "round_01/generated",
        [{"sample_id": f"s{number}", "prompt_id": "p", **row} for number, row in enumerate(rows)],
    )
    made = lab.run(
        "rule", "round_01/verified", {"rows": put}, formula=formula, **{"max_error_rate": 1.0, **settings}
    )
    return [(row["verdict"], row["score"]) for row in rows_of(made[""])]


def test_a_format_is_true_or_false(lab):
    rows = [{"completion": text} for text in ("<think>a\nb</think> 3", "3", None)]
    found = judged(lab, rows, "regexp_matches(completion, '(?s)^<think>.*</think>')")
    assert found == [("pass", 1.0), ("fail", 0.0), ("error", None)]


def test_a_number_of_the_rows_own_columns_passes_from_the_threshold_on(lab):
    rows = [{"completion": text, "answer": "10", "limit": 4} for text in ("9", "12.5", "x")]
    near = "1 - abs(try_cast(completion AS DOUBLE) - try_cast(answer AS DOUBLE)) / rows.limit"
    assert judged(lab, rows, near, threshold=0.5) == [("pass", 0.75), ("fail", 0.375), ("error", None)]
    assert judged(lab, rows, f"coalesce({near}, 0)", threshold=0.5)[2] == ("fail", 0.0)
    assert set(lab.parse("rule", {"rows": ()}, formula=near).needs()["rows"]) == {
        "completion",
        "answer",
        "limit",
    }


def test_a_formula_that_fails_for_a_row_or_has_no_finite_value_is_that_rows_error(lab):
    rows = [{"completion": text} for text in ("2", "two", "0")]
    assert judged(lab, rows, "1 / completion::DOUBLE", threshold=0.1) == [
        ("pass", 0.5),
        ("error", None),
        ("error", None),
    ]


@pytest.mark.parametrize(
    ("formula", "message"),
    [
        ("length(completion", "syntax error"),
        ("random()", "random gives another value each time"),
        ("avg(score)", "avg: a formula is about one row"),
        ("row_number() OVER (ORDER BY position)", "row_number: a formula is about one row"),
        ("(SELECT max(score) FROM rows)", "a formula is about one row"),
        ("(SELECT 1 FROM read_text('/etc/passwd'))", r"table function read_text\(\) is not allowed"),
        ("1) FROM rows; SELECT (2", "2 statements"),
        ("1) FROM rows UNION SELECT (2", "got more than one expression"),
        ("length($text)", "a formula is about one row"),
    ],
)
def test_what_a_formula_may_not_say_is_told_in_the_plan(lab, formula, message):
    with pytest.raises((pydantic.ValidationError, DeclarationError), match=message):
        lab.parse("rule", {"rows": ()}, formula=formula)
