"""The selectors of curricula, sub-questions and rewritten texts, each against a case worked out by hand."""

from __future__ import annotations

import pytest

from tests.unit.lab import Lab, rows, rows_of


@pytest.fixture
def lab(tmp_path) -> Lab:
    return Lab(tmp_path)


def select(lab, sql, made, inputs=None, **settings):
    given = lab.put("round_01/rows", made) if isinstance(made, list) else made
    found = lab.run("select", "round_01/selected", {"rows": given, **(inputs or {})}, sql=sql, **settings)
    return rows_of(found[""]), {row["sample_id"]: row["reason"] for row in rows_of(found["dropped"])}


def test_between_ranks_cuts_the_order_by_difficulty_into_parts_that_miss_no_row(lab):
    made = rows(*((name, name, "") for name in "abcde"), difficulty=[0.5, None, 0.0, 1.0, 0.25])
    (easy, dropped), (hard, _) = select(lab, "between_ranks", made, up_to=0.5), select(lab, "between_ranks", made, above=0.5)
    assert [row["sample_id"] for row in easy] == ["c", "e"] and [row["sample_id"] for row in hard] == ["a", "d"]
    assert dropped == {"a": "harder", "b": "no difficulty", "d": "harder"}


def test_lengthened_keeps_what_is_longer_than_its_draft_by_more_than_the_factor(lab):
    drafts = lab.put("round_01/drafts", rows(("d1", "p", "12345"), ("d2", "q", "12345")))
    made = rows(("a", "p", "1234567"), ("b", "p", "123456"), ("c", "q", "123456789"), parents=[["d1"], ["d1"], ["gone"]])
    kept, dropped = select(lab, "lengthened", lab.put("round_01/extended", made), {"first": drafts}, factor=1.2)
    assert [row["sample_id"] for row in kept] == ["a"]
    assert dropped == {"b": "not longer", "c": "nothing to compare"}


def test_hard_negatives_are_the_wrong_answers_that_the_reward_model_likes_best(lab):
    made = rows(
        ("r1", "p", "x"), ("r2", "p", "y"), ("w1", "p", "u"), ("w2", "p", "v"), ("only", "q", "z"),
        verdict=["pass", "pass", "fail", "fail", "fail"], score=[1.0, 1.0, 0.0, 0.0, 0.0], rm_score=[0.1, 0.7, 0.2, 0.9, 1.0],
    )  # fmt: skip
    one, dropped = select(lab, "hard_negatives", made)
    assert [row["parents"] for row in one] == [["r2", "w2"]] and set(dropped) == {"r1", "w1", "only"}
    two, _ = select(lab, "hard_negatives", made, pairs_per_prompt=2)
    assert sorted(row["parents"] for row in two) == [["r1", "w1"], ["r2", "w2"]]


def test_partial_histories_take_one_answer_of_each_group_whose_scores_differ_the_widest_first(lab):
    made = rows(
        ("a", "p", "x"), ("b", "p", "y"), ("c", "q", "u"), ("d", "q", "u"), ("e", "r", "v"), ("f", "r", "v"),
        score=[1.0, 0.0, 0.5, 0.5, 0.25, 0.5], question=["P=", "P=", "Q=", "Q=", "R=", "R="],
    )  # fmt: skip
    both, dropped = select(lab, "partial_histories", made, count=5, before="+", after=":")
    assert {row["prompt"] for row in both} < {"+P=x:", "+P=y:", "+R=v:"} and len(both) == 2
    assert {row["question"] for row in both} == {"P=", "R="} and {"c", "d"} < set(dropped)
    widest, _ = select(lab, "partial_histories", made, count=1)
    assert [row["question"] for row in widest] == ["P="]


def test_explode_and_gather_put_the_answers_of_all_parts_beside_the_whole_in_order(lab):
    asked = lab.put("round_01/asked", rows(("a", "p", "ba=|dc="), ("b", "q", "x=|y="), ("c", "r", None)))
    parts, dropped = select(lab, "explode", asked, mark="|")
    assert sorted((row["parents"], row["prompt"], row["part"]) for row in parts) == [
        (["a"], "ba=", 1), (["a"], "dc=", 2), (["b"], "x=", 1), (["b"], "y=", 2),
    ]  # fmt: skip
    assert set(dropped) == {"c"}
    answered = [
        {"sample_id": f"s{place}", "prompt_id": part["prompt_id"], "prompt": part["prompt"], "completion": part["prompt"][1::-1]}
        for place, part in enumerate(reversed(parts))
        if part["prompt"] != "y="
    ]
    inputs = {"made": lab.put("round_01/parts", parts), "answers": lab.put("round_01/answered", answered)}
    whole, left = select(lab, "gather", asked, inputs, separator="|")
    assert [(row["parents"], row["prompt"], row["gathered"]) for row in whole] == [(["a"], "p=", "ab|cd")]
    assert set(left) == {"b", "c"}


def test_hard_to_follow_keeps_the_share_whose_question_helps_least_and_no_misleading_one(lab):
    made = lab.put("round_01/scored", rows(*((name, name, "x") for name in "abcde"), score=[-1.0, -3.0, -2.0, -5.0, -1.0]))
    bare = rows(*((f"{name}0", name, "x") for name in "abcd"), score=[-4.0] * 4, parents=[[name] for name in "abcd"])
    kept, dropped = select(lab, "hard_to_follow", made, {"alone": lab.put("round_01/alone", bare)}, share=0.4)
    assert {row["sample_id"]: row["ifd"] for row in kept} == {"b": 0.75, "c": 0.5}
    assert dropped == {"a": "easier than others", "d": "its question misleads", "e": "not scored"}


def test_under_one_prompt_keeps_every_completion_even_equal_ones(lab):
    made = rows(("a", "p", "x"), ("b", "q", "x"), ("c", "q", None))
    alone, dropped = select(lab, "under_one_prompt", made, prompt="=")
    assert sorted((row["parents"], row["prompt"], row["completion"]) for row in alone) == [(["a"], "=", "x"), (["b"], "=", "x")]
    assert len({row["prompt_id"] for row in alone}) == 1 and set(dropped) == {"c"}


def test_both_orders_asks_a_prompt_twice_and_keeps_what_both_answers_agree_on(lab):
    prompts = {"p": "3+7=", "q": "5+5=", "r": "4+6="}
    asked = lab.put("tasks/train", [{"prompt_id": name, "prompt": prompt, "answer": "10"} for name, prompt in prompts.items()])
    made, _ = select(lab, "both_orders", asked, pattern="^(\\d)\\+(\\d)", reordered="\\2+\\1")
    assert sorted((row["prompt"], row["question"], row["answer"]) for row in made) == [
        ("3+7=", "3+7=", "10"), ("4+6=", "4+6=", "10"), ("5+5=", "5+5=", "10"), ("6+4=", "4+6=", "10"), ("7+3=", "3+7=", "10"),
    ]  # fmt: skip
    named = {row["prompt"]: row["prompt_id"] for row in made}
    guesses = rows(
        ("a", "3+7=", "10"), ("b", "3+7=", "10"), ("c", "3+7=", "9"), ("d", "7+3=", "10"), ("e", "4+6=", "10"),
        ("f", "6+4=", "11"), ("g", "5+5=", "10"), verdict=["pass", "pass", "fail", "pass", "pass", "pass", "pass"],
        voted=["10", "10", "9", "10", "10", "11", "10"], question=["3+7="] * 4 + ["4+6="] * 2 + ["5+5="],
    )  # fmt: skip
    guesses = [{**row, "prompt": row["prompt_id"], "prompt_id": named[row["prompt_id"]]} for row in guesses]
    kept, dropped = select(lab, "agree_in_both_orders", guesses)
    assert sorted((row["parents"], row["prompt"], row["completion"]) for row in kept) == [
        (["a", "b"], "3+7=", "10"), (["d"], "7+3=", "10"),
    ]  # fmt: skip
    assert set(dropped) == {"c", "e", "f", "g"}
    of, left = select(lab, "of_prompts", guesses, {"others": lab.put("round_01/fast", kept)})
    assert [row["sample_id"] for row in of] == ["a", "b", "c", "d"] and set(left.values()) == {"not among these prompts"}


def test_led_to_follows_parents_over_the_steps_between(lab):
    made = rows(("a", "p", "x"), ("b", "p", "y"), ("c", "q", "z"), parents=[["p"], ["a2"], ["q"]])
    steps = lab.put("round_01/steps", rows(("a1", "p", ""), ("a2", "p", ""), ("c1", "q", ""), parents=[["a"], ["a1"], ["c"]]))
    others = lab.put("round_01/chosen", rows(("end", "p", ""), parents=[["b"]]))
    kept, dropped = select(lab, "led_to", made, {"others": others, "steps": steps})
    assert [row["sample_id"] for row in kept] == ["a", "b"] and dropped == {"c": "nothing was made of it"}


def test_around_rank_draws_near_the_center_of_the_order_by_score(lab):
    made = rows(
        *((f"r{place:03}", f"p{place}", "") for place in range(400)), score=[*(float(-place) for place in range(399)), None]
    )
    near, dropped = select(lab, "around_rank", made, center=200.0, width=10.0, count=40)
    places = sorted(int(row["sample_id"][1:]) for row in near)
    assert len(places) == 40 and 150 < places[0] < 190 and 210 < places[-1] < 250 and abs(sum(places) / 40 - 200) < 8
    assert dropped["r399"] == "no score" and dropped["r000"] == "not drawn"
    first, _ = select(lab, "around_rank", made, center=0.0, width=10.0, count=40)
    assert max(int(row["sample_id"][1:]) for row in first) < 60


def test_rows_are_labelled_by_what_came_of_them_in_the_end(lab):
    plans = rows(*((name, "p", "") for name in "abcd"))
    steps = lab.put("round_01/steps", rows(*((f"{name}1", "p", "") for name in "abc"), parents=[["a"], ["b"], ["c"]]))
    ends = rows(
        ("e1", "p", ""), ("e2", "p", ""), ("e3", "p", ""), ("e4", "p", ""),
        parents=[["a1"], ["b1"], ["c1"], ["d"]], verdict=["pass", "fail", "error", "pass"],
    )  # fmt: skip
    inputs = {"ends": lab.put("round_01/ends", ends), "steps": steps}
    kept, dropped = select(lab, "by_what_came", plans, inputs)
    assert {row["sample_id"]: row["label"] for row in kept} == {"a": True, "b": False, "d": True}
    assert dropped == {"c": "nothing came of it"}
    right, left = select(lab, "by_what_came", plans, inputs, right_only=True)
    assert [row["sample_id"] for row in right] == ["a", "d"] and left == {"b": "led to wrong ends", "c": "nothing came of it"}


def test_passages_stand_among_those_of_other_rows_and_say_where(lab):
    made = rows(*((name, name, "") for name in "abcdef"), passage=["A", "B", "C", "D", "E", None])
    kept, dropped = select(lab, "among_passages", made, distractors=2)
    assert dropped == {"f": "no passage"} and len(kept) == 5
    for row in kept:
        passages = row["passages"].split("|")
        assert len(set(passages)) == 3 and passages[row["place"] - 1] == row["passage"]
    assert len({row["place"] for row in kept}) > 1
