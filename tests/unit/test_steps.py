"""Steps of completions: split and joined, and what each is worth by completions that continue it."""

from __future__ import annotations

from itertools import product

import pytest

from lineal.errors import DataError
from lineal.recipe.compute import Compute
from tests.unit.lab import Lab, rows_of, samples
from tests.unit.test_selector_decide import reasons, select


@pytest.fixture
def lab(tmp_path):
    return Lab(tmp_path, Compute(engine="fake", workers=1))


def completions(*texts, **columns):
    """One prompt's completions."""
    return samples({"a": "p" * len(texts)}, completion=lambda p, i: texts[i], **columns)


# -- split_steps, join_steps --------------------------------------------------------------------------------------------


def test_split_steps_says_what_stands_before_each_and_which_is_the_last(lab):
    rows = completions(
        "x\n\ny",
        "x\n",
        "",
        None,
        "x\ny",
        finish_reason=lambda p, i: "length" if i == 4 else "stop",
        mine=lambda p, i: i,
    )
    made, dropped = select(lab, rows, "split_steps")
    assert [
        (row["parents"], row["step_index"], row["prefix"], row["completion"], row["terminal"]) for row in made
    ] == [
        (["a-0"], 0, "", "x\n", False),
        (["a-0"], 1, "x\n", "\n", False),
        (["a-0"], 2, "x\n\n", "y", True),
        (["a-1"], 0, "", "x\n", True),
        (["a-2"], 0, "", "", True),
        (["a-4"], 0, "", "x\n", False),
        (["a-4"], 1, "x\n", "y", False),
    ]
    assert [row["mine"] for row in made] == [0, 0, 0, 1, 2, 4, 4] and {row["answer"] for row in made} == {"a"}
    assert reasons(dropped) == {"a-3": "no completion"}
    by_mark, _ = select(lab, rows[:1], "split_steps", separator="\n\n")
    assert [row["completion"] for row in by_mark] == ["x\n\n", "y"]


@pytest.mark.parametrize("separator", [None, ">", "\n\n", "ab", "a"])
def test_joined_steps_are_the_completions(lab, separator):
    texts = ["".join(letters) for length in range(5) for letters in product("ab\n>", repeat=length)]
    made, _ = select(lab, completions(*texts), "split_steps", separator=separator)
    for row in made:
        begun, mark = row["prefix"] + row["completion"], separator or "\n"
        assert texts[int(row["parents"][0][2:])].startswith(begun) and row["completion"].count(mark) <= 1
        assert row["prefix"] == "" or row["prefix"].endswith(mark)
    joined, _ = select(lab, made, "join_steps")
    assert [row["completion"] for row in joined] == texts


def test_join_steps_ends_where_a_step_is_missing(lab):
    made, _ = select(lab, completions("1\n2\n3\n4", "5\n6"), "split_steps")
    left = [row for row in made if row["completion"] not in ("3\n", "5\n")]
    joined, dropped = select(lab, left, "join_steps")
    assert [(row["completion"], row["steps"]) for row in joined] == [("1\n2\n", 2)]
    assert set(reasons(dropped).values()) == {"a step before it is missing"} and len(dropped) == 2
    assert "prefix" not in joined[0], "what is said of one step is not said of the whole"


# -- step_values --------------------------------------------------------------------------------------------------------

ENDS = {"use": "rule", "formula": "ends_with(completion, '=')"}
"""What the fake engine writes of such a step in every other completion."""


def valued(lab, rows, **settings):
    """The steps with their values, and the completions."""
    base = lab.put("tasks/base", [{"prompt_id": "0", "prompt": "a=", "answer": "a"}])
    model = lab.run("pretrain", "start/checkpoint", {"rows": base}, steps=1)[""]
    steps = lab.run(
        "select", "round_01/steps", {"rows": lab.put("round_01/rows", rows)}, sql="split_steps", separator=">"
    )[""]
    made = lab.run(
        "step_values", "round_01/valued", {"model": model, "rows": steps}, verifier=ENDS, **settings
    )
    return rows_of(made[""]), rows_of(made["rollouts"])


def test_step_value_is_the_share_of_right_completions_from_it(lab):
    rows, rollouts = valued(lab, completions("b>a>c", "b>="), samples=8)
    assert len(rows) == 5 and lab.counts == {"in": 5, "out": 5, "rollouts": 3 * 8 + 2, "error": 0}
    for row in rows:
        own = [each for each in rollouts if each["parents"] == [row["sample_id"]]]
        assert row["value"] == sum(each["verdict"] == "pass" for each in own) / len(own)
        assert all(each["completion"].startswith(row["prefix"] + row["completion"]) for each in own)
        assert {(each["prompt_id"], each["prompt"], each["answer"], each["hinted"]) for each in own} == {
            ("a", "a=", "a", False)
        }
    assert {0.0 < row["value"] < 1.0 for row in rows if not row["terminal"]} == {True}
    assert [row["value"] for row in rows if row["terminal"]] == [0.0, 1.0], "a last step is judged as it is"
    assert len({each["sample_id"] for each in rollouts}) == len(rollouts)


def test_step_values_do_not_depend_on_the_slices(tmp_path):
    texts = ("b>a>c", "b>=", "c>c>")
    found = [
        valued(
            Lab(tmp_path / str(size), Compute(engine="fake", workers=1, shard_rows=size)),
            completions(*texts),
            samples=4,
        )
        for size in (1, 4, 1000)
    ]
    assert found[0] == found[1] == found[2]


def test_votes_are_counted_among_the_completions_of_a_step(lab):
    base = lab.put("tasks/base", [{"prompt_id": "0", "prompt": "a=", "answer": "a"}])
    model = lab.run("pretrain", "start/checkpoint", {"rows": base}, steps=1)[""]
    steps, _ = select(lab, completions("b>a>c", "c>b"), "split_steps", separator=">")
    made = lab.run(
        "step_values",
        "round_01/valued",
        {"model": model, "rows": lab.put("round_01/s", steps)},
        samples=5,
        verifier="majority_vote",
    )
    assert all(row["value"] in (0.0, 0.6, 0.8, 1.0) for row in rows_of(made[""])), (
        "the larger part of five, or no answer at all"
    )


def test_step_values_refuse_a_row_without_text_and_values_that_are_there(lab):
    base = lab.put("tasks/base", [{"prompt_id": "0", "prompt": "a=", "answer": "a"}])
    model = lab.run("pretrain", "start/checkpoint", {"rows": base}, steps=1)[""]
    rows = completions("x", None)
    with pytest.raises(DataError, match="row a-1 has no completion to continue"):
        lab.run("step_values", "round_01/valued", {"model": model, "rows": lab.put("round_01/rows", rows)})
    with pytest.raises(ValueError, match="have a column 'value' already"):
        lab.parse("step_values", {"model": None, "rows": None}).outputs({"rows": ("completion", "value")})
