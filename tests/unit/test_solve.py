"""`solve` answers what a model posed by the source's own rule, and leaves what is no problem without an answer."""

from __future__ import annotations

import pydantic
import pytest

from tests.unit.lab import Lab, rows_of


@pytest.fixture
def lab(tmp_path) -> Lab:
    return Lab(tmp_path)


def answers(lab, source, *prompts):
    posed = lab.put(
        "round_01/posed",
        [{"prompt_id": str(place), "prompt": prompt} for place, prompt in enumerate(prompts)],
    )
    return [
        row["answer"]
        for row in rows_of(lab.run("solve", "round_01/solved", {"rows": posed}, source=source)[""])
    ]


def test_letter_sort_answers_different_letters_alone(lab):
    assert answers(lab, "letter_sort", "qdxa=", "a=", "aab=", "ab", "=", "Ab=", "a b=", None) == [
        "adqx",
        "a",
        *[None] * 6,
    ]
    assert lab.counts == {"in": 8, "out": 8, "unsolved": 6}


def test_addition_answers_plain_sums_of_any_length(lab):
    many = "9" * 400
    found = answers(lab, "addition", "12+34=", f"{many}+1=", "12+=", "1+2", "-1+2=", "1+2+3=")
    assert found == ["46", f"1{'0' * 400}", None, None, None, None]


def test_formulas_and_linear_equations_have_exact_answers_and_all_else_none(lab):
    found = answers(
        lab,
        "formula",
        "12*(3+4)=",
        "2/3+1/6",
        "0.1+0.2=",
        "3x+2=11",
        "3*y + 2 = 5y - 8",
        "x/3=2/7",
        "2(a-1)=2a-2",
    )
    assert found == ["84", "5/6", "3/10", "3", "5", "6/7", None], "every a solves the last one"
    others = answers(
        lab,
        "formula",
        "x^2=4",
        "x+y=3",
        "2+2=5",
        "1/0=",
        "sqrt(2)=",
        "9**9**9**9=",
        "how many?",
        "1/x=2",
        "x=x+1",
        None,
    )
    assert others == [None] * 10


@pytest.mark.parametrize("source", ["letter_sort", "addition"])
def test_solvers_give_what_their_sources_say(lab, source):
    settings = {"letter_sort": {"length": [2, 9]}, "addition": {"digits": [1, 30]}}[source]
    made = lab.run(source, "tasks/train", size=200, **settings)[""]
    known = [(row["prompt"], row["answer"]) for row in rows_of(made)]
    assert answers(lab, source, *(prompt for prompt, _ in known)) == [answer for _, answer in known]


def test_a_source_without_a_solver_is_refused(lab):
    with pytest.raises(
        pydantic.ValidationError, match="'letter_sorts' has no solver. Did you mean 'letter_sort'"
    ):
        lab.parse("solve", {"rows": None}, source="letter_sorts")


def test_rows_that_have_an_answer_keep_it_and_the_solvers_stands_beside_it_under_a_name(lab):
    with pytest.raises(ValueError, match="the rows have a column 'answer' already"):
        lab.parse("solve", {"rows": None}, source="addition").outputs(
            {"rows": ("prompt_id", "prompt", "answer")}
        )
    named = lab.parse("solve", {"rows": None}, source="addition", name="rule")
    assert "rule_answer" in named.outputs({"rows": ("prompt_id", "prompt", "answer")})[""].columns
