"""Row-wise verifiers: pass, fail and error told apart, whatever a model wrote."""

import math

import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lineal.components.isolated.pool import WorkerPool
from lineal.components.registry import Registry
from lineal.components.sources.reasoning_gym import _tagged
from lineal.components.verifiers.math import Math
from lineal.components.verifiers.task_score import is_formula
from lineal.data.ids import canonical_json
from lineal.errors import CheckFailure, DataError
from lineal.recipe.compute import Compute
from tests.unit.lab import Lab, rows_of


@pytest.fixture
def lab(tmp_path):
    return Lab(tmp_path)


def generated(lab, pairs, **columns):
    rows = [
        {
            "sample_id": f"s{i}",
            "prompt_id": f"p{i}",
            "prompt": "?",
            "completion": completion,
            "answer": answer,
        }
        | {name: values[i] for name, values in columns.items()}
        for i, (completion, answer) in enumerate(pairs)
    ]
    return lab.put("round_01/generated", rows)


def verdicts(lab, use, rows, **settings):
    made = rows_of(
        lab.run(use, "round_01/verified", {"rows": rows}, **{"max_error_rate": 1.0, **settings})[""]
    )
    return [(row["verdict"], row["score"], row["detail"]) for row in made]


def test_exact_match_tells_pass_fail_and_error_apart(lab):
    pairs = [(" a\n", "a"), ("A", "a"), (None, "a"), ("a", None), ("", "a"), ("a", "a")]
    rows = generated(lab, pairs, finish_reason=["stop", "stop", "stop", "stop", None, "length"])
    assert verdicts(lab, "exact_match", rows) == [
        ("pass", 1.0, None),
        ("fail", 0.0, "differs from the answer"),
        ("error", None, "the row has no completion"),
        ("error", None, "the row has no answer"),
        ("fail", 0.0, "differs from the answer"),
        ("fail", 0.0, "truncated at the token limit"),
    ]
    assert lab.counts == {"in": 6, "out": 6, "pass": 1, "fail": 3, "error": 2}


def test_exact_match_nothing_written_is_never_right(lab):
    rows = generated(lab, [("", ""), (" \n", " "), ("a", ""), ("x", "")])
    assert [detail for _, _, detail in verdicts(lab, "exact_match", rows)] == [
        "the completion is empty, and so is the answer",
        "the completion is empty, and so is the answer",
        "differs from the answer",
        "differs from the answer",
    ]
    assert [verdict for verdict, _, _ in verdicts(lab, "exact_match", rows)] == ["fail"] * 4


def test_exact_match_may_look_for_the_answer_in_the_completion(lab):
    rows = generated(
        lab,
        [
            ("So it is Paris.", "paris"),
            ("paris", "Paris"),
            ("Par is", "Paris"),
            ("anything", ""),
            (None, "a"),
        ],
    )
    assert verdicts(lab, "exact_match", rows, contained=True, ignore_case=True) == [
        ("pass", 1.0, None),
        ("pass", 1.0, None),
        ("fail", 0.0, "does not contain the answer"),
        ("error", None, "the answer is empty, and every completion contains nothing"),
        ("error", None, "the row has no completion"),
    ]
    assert (
        "contained"
        not in Registry().find("exact_match").model_validate({"use": "exact_match", "rows": "x"}).identity()
    )


def test_exact_match_keeps_every_row_and_column_in_order(lab):
    rows = generated(lab, [("a", "a")] * 50, tokens=list(range(50)))
    made = rows_of(lab.run("exact_match", "round_01/verified", {"rows": rows})[""])
    assert [row["tokens"] for row in made] == list(range(50)) and [row["sample_id"] for row in made] == [
        f"s{i}" for i in range(50)
    ]


def test_exact_match_can_ignore_case(lab):
    assert [
        v
        for v, _, _ in verdicts(
            lab, "exact_match", generated(lab, [("Ä", "ä"), ("b", "a")]), ignore_case=True
        )
    ] == [
        "pass",
        "fail",
    ]


def test_exact_match_extracts_the_answer_but_keeps_the_completion(lab):
    rows = generated(lab, [("thus\n#### 42", "42"), ("42", "42")])
    made = rows_of(lab.run("exact_match", "round_01/verified", {"rows": rows}, extract=r"#### *(\S+)")[""])
    assert [row["verdict"] for row in made] == ["pass", "fail"] and made[0]["completion"] == "thus\n#### 42"
    assert made[1]["detail"] == "no answer found in the completion"


def test_exact_match_extract_is_linear_on_hostile_completions(lab):
    # a backtracking engine needs 2^n steps here; RE2 does not notice
    rows = generated(lab, [("a" * 50_000 + "!", "x")])
    assert verdicts(lab, "exact_match", rows, extract=r"^((a+)+)$") == [
        ("fail", 0.0, "no answer found in the completion")
    ]


@pytest.mark.parametrize(
    ("pattern", "error"), [("no group", pydantic.ValidationError), (r"(?:x)\(y\)", pydantic.ValidationError)]
)
def test_verifier_extract_without_a_group_is_refused_at_the_plan(lab, pattern, error):
    with pytest.raises(error, match="needs a group"):
        lab.parse("exact_match", {"rows": ()}, extract=pattern)


@pytest.mark.parametrize("use", ["exact_match", "majority_vote", "judge", "majority_at_k"])
def test_verifier_extract_that_is_no_re2_is_refused_at_the_plan(lab, use):
    settings = {"model": "m", "template": "{completion}", "threshold": 1.0} if use == "judge" else {}
    settings |= {"k": [1]} if use == "majority_at_k" else {}
    with pytest.raises(
        pydantic.ValidationError,
        match=r"'\(a\(\?=b\)\)' is no RE2 expression .*invalid perl operator.*look-around",
    ):
        lab.parse(use, {"rows": ()}, extract="(a(?=b))", **settings)


def test_verifier_bytes_do_not_depend_on_shards(tmp_path):
    pairs = [(str(i % 7), str(i % 3)) for i in range(500)]
    digests = set()
    for number, shard_rows in enumerate((1, 64, 4096)):
        lab = Lab(tmp_path / str(number), Compute(workers=1, shard_rows=shard_rows))
        digests.add(lab.run("exact_match", "round_01/verified", {"rows": generated(lab, pairs)})[""].digest)
    assert len(digests) == 1


def test_verifier_errors_above_the_limit_stop_the_step_with_the_commonest_reason(lab):
    rows = generated(lab, [("a", None)] * 3 + [(None, "a")] + [("a", "a")] * 6)
    with pytest.raises(
        CheckFailure,
        match=r"4 of 10 verdicts are errors.* 3 times: the row has no answer. Look at: lineal show p/",
    ) as caught:
        lab.run("exact_match", "round_01/verified", {"rows": rows})
    assert caught.value.check == "verifier_errors"
    assert lab.run("exact_match", "round_01/verified", {"rows": rows}, max_error_rate=0.4)


@pytest.mark.parametrize(("detail", "shown"), [("no", "no. Look at"), ("", "without a reason. Look at")])
def test_verifier_errors_without_a_detail_are_said_to_be(lab, detail, shown):
    workspace = lab._workspace("round_01/verified", {"rows": (generated(lab, [("a", "a")]),)})
    assert lab.parse("exact_match", {"rows": ()}).explained(workspace, detail).startswith(shown)


def test_verifier_over_an_earlier_verdict_needs_a_name(lab):
    first = lab.run("exact_match", "round_01/first", {"rows": generated(lab, [("A", "a")])})[""]
    with pytest.raises(
        ValueError, match=r"a column 'verdict' already.* Set name: WORD to write WORD_verdict"
    ):
        lab.run("exact_match", "round_01/second", {"rows": first})
    (row,) = rows_of(
        lab.run("exact_match", "round_01/second", {"rows": first}, name="loose", ignore_case=True)[""]
    )
    assert (row["verdict"], row["loose_verdict"], row["loose_score"]) == ("fail", "pass", 1.0)


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(st.none() | st.text(max_size=4), st.none() | st.text(max_size=4)), min_size=1, max_size=20
    )
)
def test_exact_match_agrees_with_python(tmp_path_factory, pairs):
    lab = Lab(tmp_path_factory.mktemp("lab"))
    expected = [
        "error"
        if completion is None or answer is None
        else "pass"
        if completion.strip() == answer.strip() != ""
        else "fail"
        for completion, answer in pairs
    ]
    assert [verdict for verdict, _, _ in verdicts(lab, "exact_match", generated(lab, pairs))] == expected


# -- child processes ------------------------------------------------------------------------------------------------


def test_math_knows_equal_values_and_times_out_only_the_hanging_row(tmp_path):
    pytest.importorskip("math_verify")
    lab = Lab(tmp_path, Compute(workers=2))
    pairs = [
        ("The answer is $\\frac{1}{2}$", "0.5"),
        ("so 7", "8"),
        ("no number", "1"),
        ("it is 9**9**9**9 of them, I think", "5"),
        ("50%", "0.5"),
        ("$(1,2)$", "(1,2)"),
        ("x", ""),
        ("\\boxed{" * 50, "3"),
        ("1/2", "\\frac{1}{2}"),
    ]
    found = verdicts(lab, "math", generated(lab, pairs), timeout=1)
    assert [verdict for verdict, _, _ in found] == [
        "pass",
        "fail",
        "fail",
        "error",
        "pass",
        "pass",
        "error",
        "fail",
        "pass",
    ]
    assert found[3][2] == "timed out after 1 s" and "cannot be read as mathematics" in found[6][2]


def entry(task, answer, **metadata):
    return canonical_json(
        _tagged({"question": "?", "answer": answer, "metadata": {"source_dataset": task, **metadata}})
    )


def test_task_score_does_not_run_what_a_model_wrote(lab):
    pytest.importorskip("reasoning_gym")
    target = lab.path / "owned"
    attacks = [
        f"[open({str(target)!r}, 'w').write('x')]",
        f"[__import__('os').system('touch {target}')]",
        f"open({str(target)!r}, 'w')",
    ]
    entries = [
        entry("spiral_matrix", "1 2"),
        entry("string_insertion", "abc"),
        entry("polynomial_multiplication", "x**2", polynomial_expr="x*x", variables=["x"]),
    ]
    rows = generated(lab, [(attack, "") for attack in attacks for _ in entries], entry=entries * len(attacks))
    assert {verdict for verdict, _, _ in verdicts(lab, "task_score", rows)} <= {"fail", "error"}
    assert not target.exists()


@pytest.mark.parametrize(
    ("task", "truth", "metadata", "wrong", "score"),
    [
        ("game_of_life_halting", "False", {}, "I do not know", 0.0),
        ("game_of_life_halting", "True", {}, "False", 0.0),
        ("coin_flip", "0.3125", {}, "0", 0.0),
        ("coin_flip", "0.3125", {}, "0.32", 0.75),
        ("coin_flip", "0.00003", {}, "0", 0.0),
        ("complex_arithmetic", "3.0 + 2.0i", {"result": [3.0, 2.0]}, "nan", 0.0),
        ("puzzle24", "4*6*1*1", {"numbers": [4, 6, 1, 1]}, "8*3*1*1", 0.0),
        ("prime_factorization", "2 × 3", {}, "I do not know", 0.0),
        ("game_of_life", "[[0,1],[1,0]]", {}, "{}", 0.0),
    ],
)
def test_task_score_passes_right_answers_only_and_errs_on_none(lab, task, truth, metadata, wrong, score):
    pytest.importorskip("reasoning_gym")
    rows = generated(lab, [(truth, ""), (wrong, "")], entry=[entry(task, truth, **metadata)] * 2)
    right, other = verdicts(lab, "task_score", rows)
    assert right[:2] == ("pass", 1.0)
    assert other[:2] == ("fail", score)
    assert (other[2] is not None) == (score == 0.0)


def test_a_broken_entry_is_an_error_and_not_a_wrong_answer(lab):
    pytest.importorskip("reasoning_gym")
    rows = generated(lab, [("2 × 3", "")], entry=[entry("prime_factorization", "two times three")])
    assert [verdict for verdict, _, _ in verdicts(lab, "task_score", rows)] == ["error"]


@pytest.mark.parametrize("metric", ["chrf", "chrf++", "bleu"])
def test_text_metric_scores_as_sacrebleu_does(lab, metric):
    sacrebleu = pytest.importorskip("sacrebleu")
    texts = ("the cat sat on the mat", "the cat sat on a mat")
    by_hand = (5 / 6 * 3 / 5 * 2 / 4 * 1 / 3) ** (1 / 4)
    words = {"chrf": 0, "chrf++": 2}.get(metric)
    score = (
        by_hand
        if words is None
        else sacrebleu.sentence_chrf(texts[0], [texts[1]], word_order=words).score / 100
    )
    rows = generated(lab, [texts, ("the mat now on", "the mat now on"), ("dog", ""), ("", "dog")])
    found = verdicts(lab, "text_metric", rows, metric=metric, threshold=0.9)
    assert [verdict for verdict, _, _ in found] == ["fail", "pass", "error", "fail"]
    assert found[0][1] == pytest.approx(score, abs=1e-6) and found[1][1] == 1.0 and found[3][1] == 0.0
    assert found[2][2] == "ValueError: the reference answer is empty"


@pytest.mark.parametrize("text", ["x**2 + 3*x", "2.5*sin(x) + C", "(1 + 2)/3", "max(1, 2)"])
def test_formulas_are_formulas(text):
    assert is_formula(text)


@pytest.mark.parametrize(
    "text",
    [
        "open(x)",
        "__import__(os)",
        "x.__class__",
        "getattr(x, y)",
        "'a'",
        "().x",
        "[x for x in y]",
        "exec(a)",
        "lambda: 0;",
    ],
)
def test_programs_are_no_formulas(text):
    assert not is_formula(text)


# Functions that the pool below calls in its children.


def answer_of(row):
    return [row["value"] * 2, None]


def raise_on(row):
    if row["value"] == 2:
        raise ValueError("no twos")
    return [1, None]


def end_on(row):
    import os

    if row["value"] == 2:
        os._exit(3)
    return [1, None]


def sleep_on(row):
    import time

    if row["value"] == 2:
        time.sleep(60)
    return [1, None]


def write_file(row):
    try:
        with open(row["path"], "w") as stream:
            stream.write("x")
    except PermissionError as error:
        return str(error)
    return "written"


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("raise_on", "ValueError: no twos"),
        ("end_on", "its process died (exit status 3)"),
        ("sleep_on", "timed out after 0.2 s"),
    ],
)
def test_pool_a_bad_row_costs_only_itself(function, message):
    with WorkerPool(f"{__name__}:{function}", 2, 0.2) as pool:
        answers = list(pool.map([{"value": value} for value in (1, 2, 3, 2, 5)]))
    assert [("error" in answer) for answer in answers] == [False, True, False, True, False]
    assert answers[1]["error"] == answers[3]["error"] == message


def test_pool_answers_come_in_order():
    with WorkerPool(f"{__name__}:answer_of", 3, 5) as pool:
        assert [
            answer["answer"][0] for answer in pool.map([{"value": value} for value in range(200)])
        ] == list(range(0, 400, 2))


def test_pool_children_write_no_files(tmp_path):
    with WorkerPool(f"{__name__}:write_file", 1, 5) as pool:
        (answer,) = pool.map([{"path": str(tmp_path / "x")}])
    assert "may not do this: open" in answer["answer"] and not (tmp_path / "x").exists()


def test_pool_of_a_function_that_is_not_there_says_so():
    with (
        WorkerPool("lineal.nowhere:function", 1, 5) as pool,
        pytest.raises(DataError, match="cannot start: ModuleNotFoundError"),
    ):
        list(pool.map([{}]))


def test_scores_that_are_no_numbers_are_errors():
    class Silent:
        def advance(self):
            pass

    told = Math(use="math", rows="x")._told({"answer": [math.nan, None]}, Silent())
    assert told == ("error", None, "the score is nan")


def test_evaluator_gives_its_verifier_the_processes_it_needs(tmp_path):
    pytest.importorskip("math_verify")
    lab = Lab(tmp_path, Compute(workers=1, engine="fake"))
    prompts = lab.put("tasks/test", [{"prompt_id": "p", "prompt": "1+1=", "answer": "2"}])
    model = lab.run("pretrain", "start/checkpoint", {"rows": prompts}, steps=1, warmup=0.0)[""]
    (row,) = rows_of(
        lab.run("accuracy", "round_01/evaluation", {"model": model, "prompts": prompts}, verifier="math")[""]
    )
    assert row["verdict"] in ("pass", "fail")
