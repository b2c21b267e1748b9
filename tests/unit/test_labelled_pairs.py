"""Verifiers on labelled pairs (tests/labelled): nothing unequal passes, little that is equal fails."""

from __future__ import annotations

import json
import runpy
import time
from pathlib import Path

import pytest

from lineal.components.mathematics.answers import SecondOpinion, agreement, answers_in
from lineal.components.verifiers.choice import chosen, options_of, right_option
from lineal.components.verifiers.math import TOO_LARGE, Disagreement, prepare, score_math
from lineal.components.verifiers.structured_match import score_structure

LABELLED = Path(__file__).parents[1] / "labelled"
BENCH = Path(__file__).parents[2] / "bench"


def pairs_of(verifier):
    files = sorted(LABELLED.glob(f"{verifier}_by_*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text(encoding="utf-8").splitlines()]


def passes(pair):
    try:
        return score_math(pair)[0] == 1.0
    except ValueError:
        return False


def test_labelled_pairs_by_rule_are_what_the_rules_make():
    made = runpy.run_path(str(BENCH / "labelled_pairs.py"))
    assert all(
        (LABELLED / name).read_text(encoding="utf-8") == made["text_of"](name) for name in made["FILES"]
    )


def test_math_passes_nothing_unequal_and_misses_at_most_2_percent():
    pytest.importorskip("math_verify")
    prepare()
    pairs = pairs_of("math")
    assert len(pairs) > 700 and sum(pair["equal"] for pair in pairs) > 400
    false_passes, missed = [], []
    for pair in pairs:
        answers = answers_in(pair["completion"])
        second = agreement(pair["answer"], answers)
        # math-verify is slow, and not asked where the second comparison alone decides
        certain = second is SecondOpinion.EXACT and answers.certain
        passed = certain or (second <= SecondOpinion.LENIENT or bool(answers.further)) and passes(pair)
        if passed != pair["equal"]:
            (false_passes if passed else missed).append(pair)
    assert false_passes == []
    assert len(missed) <= 0.02 * sum(pair["equal"] for pair in pairs), missed


def test_math_passes_every_reference_that_is_written_as_it_is():
    pytest.importorskip("math_verify")
    references = {pair["answer"] for pair in pairs_of("math")}
    assert len(references) > 400
    assert [text for text in references if not passes({"answer": text, "completion": text})] == []


@pytest.mark.parametrize(
    ("answer", "completion"),
    [
        ("2", "2\\pi"),
        ("5", "5!"),
        ("1", "1e5"),
        ("5", "- 5"),
        ("2", "2\\sqrt{2}"),
        ("7", "\\dfrac{7}{8}"),
        ("1", "x^2+1"),
        ("5", "5/6"),
        ("5", "5^2"),
        ("5", "5x"),
        ("3", "3 1/2"),
    ],
)
def test_math_what_stands_behind_a_number_is_part_of_it(answer, completion):
    pytest.importorskip("math_verify")
    assert score_math({"answer": answer, "completion": completion})[0] == 0.0


@pytest.mark.parametrize(
    ("answer", "completion"),
    [
        ("-3", "−3"),
        ("(1, 2)", "(1, 2)"),
        ("{1, 2}", "{2, 1}"),
        ("3, 5", "5, 3"),
        ("\\frac{3}{4}", "\\dfrac34"),
        ("\\text{Monday}", "Monday"),
        ("25", "\\$25"),
        ("1.5", "1½"),
        ("\\frac{1}{3}", "0.333333"),
        ("x = 3", "\\boxed{3}"),
    ],
)
def test_math_passes_what_is_equal_without_dollar_signs_or_with_other_signs(answer, completion):
    pytest.importorskip("math_verify")
    assert score_math({"answer": answer, "completion": completion})[0] == 1.0


@pytest.mark.parametrize(
    ("answer", "completion"),
    [
        ("\\frac{1}{2004!}", "\\frac{1}{2006!}"),
        ("1 - \\frac{1}{\\mathrm{e}}", "1 + \\frac{1}{\\mathrm{e}}"),
        ("1, 2, \\ldots, n", "1, 3, 5, \\ldots, 2n-1"),
        ("4", "4\\sqrt(2)"),
        ("0.0000001", "0.0000002"),
        ("12 cm", "12 m"),
        ("f(x) = 0", "\\forall x>0, f(x) = 0"),
    ],
)
def test_math_where_math_verify_alone_passes_an_unequal_answer_is_an_error_that_says_so(answer, completion):
    pytest.importorskip("math_verify")
    with pytest.raises(
        Disagreement,
        match="math-verify finds the answer equal, the second comparison (different|unreadable): ",
    ):
        score_math({"answer": answer, "completion": completion})


@pytest.mark.parametrize(
    "completion",
    [
        "9**9**9",
        "\\boxed{9^{9^{9^{9}}}}",
        "$" + "(" * 2000 + "5" + ")" * 2000 + "$",
        "9" * 5000,
        "\\boxed{100000000!}",
        "1+" * 3000 + "1",
        "\\boxed{\\binom{1000000000}{500000000}}",
        "\\boxed{\\sum_{k=1}^{1000000000} k}",
        "\\sqrt{" * 200 + "6" + "}" * 200,
    ],
    ids=range(9),
)
def test_math_answers_that_would_take_long_fail_at_once(completion):
    prepare_began = time.process_time()
    assert score_math({"answer": "5", "completion": completion}) == (0.0, TOO_LARGE)
    assert time.process_time() - prepare_began < 2


def test_math_reference_that_is_too_large_is_an_error():
    with pytest.raises(ValueError, match="too large to compare"):
        score_math({"answer": "9^{9^{9}}", "completion": "\\boxed{5}"})


def test_choice_names_the_right_option_of_every_labelled_pair():
    pairs = pairs_of("choice")
    assert len(pairs) > 130
    for pair in pairs:
        options = options_of(json.dumps(pair["options"]))
        named = chosen(pair["completion"], options)
        assert (named == {right_option(pair["answer"], options)}) is pair["equal"], (pair, named)


def test_structured_match_agrees_with_every_labelled_pair():
    pairs = pairs_of("structured_match")
    assert len(pairs) > 120
    assert [pair for pair in pairs if (score_structure(pair)[0] == 1.0) is not pair["equal"]] == []


def test_structured_match_scores_the_share_of_fields_and_names_what_differs():
    answer = '{"name": "Ada", "born": {"year": 1815, "city": "London"}, "tags": ["x", "y"]}'
    told = '{"tags": ["x", "z"], "born": {"city": "London", "year": 1815.0}, "name": "Ada", "extra": 1}'
    assert score_structure({"answer": answer, "completion": told}) == (
        4 / 6,
        "2 of 6 fields differ: tags/1, extra",
    )
    twice = score_structure({"answer": answer, "completion": '{"a": 1, "a": 2}'})
    assert twice == (0.0, "the key 'a' comes twice")
    with pytest.raises(ValueError, match="is no JSON value and no call"):
        score_structure({"answer": "plain words", "completion": "{}"})
