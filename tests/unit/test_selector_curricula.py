"""The selectors of curricula, sub-questions and rewritten texts, each against a case worked out by hand."""

from __future__ import annotations

import json
from math import log

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
    (easy, dropped), (hard, _) = (
        select(lab, "between_ranks", made, up_to=0.5),
        select(lab, "between_ranks", made, above=0.5),
    )
    assert [row["sample_id"] for row in easy] == ["c", "e"] and [row["sample_id"] for row in hard] == [
        "a",
        "d",
    ]
    assert dropped == {"a": "harder", "b": "no difficulty", "d": "harder"}


def test_lowest_scores_are_a_share_of_the_rows_that_have_one(lab):
    made = rows(*((name, name, "") for name in "abcde"), score=[-0.5, None, -2.0, -0.1, -2.0])
    kept, dropped = select(lab, "lowest_scores", made, share=0.5)
    assert [row["sample_id"] for row in kept] == ["c", "e"]
    assert dropped == {"a": "a higher score", "b": "no score", "d": "a higher score"}
    (one,), _ = select(lab, "lowest_scores", made, share=0.1)
    assert one["sample_id"] == "c"


def test_lengthened_keeps_what_is_longer_than_its_draft_by_more_than_the_factor(lab):
    drafts = lab.put("round_01/drafts", rows(("d1", "p", "12345"), ("d2", "q", "12345")))
    made = rows(
        ("a", "p", "1234567"),
        ("b", "p", "123456"),
        ("c", "q", "123456789"),
        parents=[["d1"], ["d1"], ["gone"]],
    )
    kept, dropped = select(
        lab, "lengthened", lab.put("round_01/extended", made), {"first": drafts}, factor=1.2
    )
    assert [row["sample_id"] for row in kept] == ["a"]
    assert dropped == {"b": "not longer", "c": "nothing to compare"}


def test_hard_negatives_are_the_wrong_answers_that_the_reward_model_likes_best(lab):
    made = rows(
        ("r1", "p", "x"),
        ("r2", "p", "y"),
        ("w1", "p", "u"),
        ("w2", "p", "v"),
        ("only", "q", "z"),
        verdict=["pass", "pass", "fail", "fail", "fail"],
        score=[1.0, 1.0, 0.0, 0.0, 0.0],
        rm_score=[0.1, 0.7, 0.2, 0.9, 1.0],
    )
    one, dropped = select(lab, "hard_negatives", made)
    assert [row["parents"] for row in one] == [["r2", "w2"]] and set(dropped) == {"r1", "w1", "only"}
    two, _ = select(lab, "hard_negatives", made, pairs_per_prompt=2)
    assert sorted(row["parents"] for row in two) == [["r1", "w1"], ["r2", "w2"]]


def test_partial_histories_take_one_answer_of_each_group_whose_scores_differ_the_widest_first(lab):
    made = rows(
        ("a", "p", "x"),
        ("b", "p", "y"),
        ("c", "q", "u"),
        ("d", "q", "u"),
        ("e", "r", "v"),
        ("f", "r", "v"),
        score=[1.0, 0.0, 0.5, 0.5, 0.25, 0.5],
        question=["P=", "P=", "Q=", "Q=", "R=", "R="],
    )
    both, dropped = select(lab, "partial_histories", made, count=5, before="+", after=":")
    assert {row["prompt"] for row in both} < {"+P=x:", "+P=y:", "+R=v:"} and len(both) == 2
    assert {row["question"] for row in both} == {"P=", "R="} and {"c", "d"} < set(dropped)
    widest, _ = select(lab, "partial_histories", made, count=1)
    assert [row["question"] for row in widest] == ["P="]


def test_explode_and_gather_put_the_answers_of_all_parts_beside_the_whole_in_order(lab):
    asked = lab.put("round_01/asked", rows(("a", "p", "ba=|dc="), ("b", "q", "x=|y="), ("c", "r", None)))
    parts, dropped = select(lab, "explode", asked, mark="|")
    assert sorted((row["parents"], row["prompt"], row["part"]) for row in parts) == [
        (["a"], "ba=", 1),
        (["a"], "dc=", 2),
        (["b"], "x=", 1),
        (["b"], "y=", 2),
    ]
    assert set(dropped) == {"c"}
    answered = [
        {
            "sample_id": f"s{place}",
            "prompt_id": part["prompt_id"],
            "prompt": part["prompt"],
            "completion": part["prompt"][1::-1],
        }
        for place, part in enumerate(reversed(parts))
        if part["prompt"] != "y="
    ]
    inputs = {"made": lab.put("round_01/parts", parts), "answers": lab.put("round_01/answered", answered)}
    whole, left = select(lab, "gather", asked, inputs, separator="|")
    assert [(row["parents"], row["prompt"], row["gathered"]) for row in whole] == [(["a"], "p=", "ab|cd")]
    assert set(left) == {"b", "c"}


def test_hard_to_follow_keeps_the_share_whose_question_helps_least_and_no_misleading_one(lab):
    made = lab.put(
        "round_01/scored",
        rows(*((name, name, "x") for name in "abcde"), score=[-1.0, -3.0, -2.0, -5.0, -1.0]),
    )
    bare = rows(
        *((f"{name}0", name, "x") for name in "abcd"), score=[-4.0] * 4, parents=[[name] for name in "abcd"]
    )
    kept, dropped = select(lab, "hard_to_follow", made, {"alone": lab.put("round_01/alone", bare)}, share=0.4)
    assert {row["sample_id"]: row["ifd"] for row in kept} == {"b": 0.75, "c": 0.5}
    assert dropped == {"a": "easier than others", "d": "its question misleads", "e": "not scored"}


def test_under_one_prompt_keeps_every_completion_even_equal_ones(lab):
    made = rows(("a", "p", "x"), ("b", "q", "x"), ("c", "q", None))
    alone, dropped = select(lab, "under_one_prompt", made, prompt="=")
    assert sorted((row["parents"], row["prompt"], row["completion"]) for row in alone) == [
        (["a"], "=", "x"),
        (["b"], "=", "x"),
    ]
    assert len({row["prompt_id"] for row in alone}) == 1 and set(dropped) == {"c"}


def test_both_orders_asks_a_prompt_twice_and_keeps_what_both_answers_agree_on(lab):
    prompts = {"p": "3+7=", "q": "5+5=", "r": "4+6="}
    asked = lab.put(
        "tasks/train",
        [{"prompt_id": name, "prompt": prompt, "answer": "10"} for name, prompt in prompts.items()],
    )
    made, _ = select(lab, "both_orders", asked, pattern="^(\\d)\\+(\\d)", reordered="\\2+\\1")
    assert sorted((row["prompt"], row["question"], row["answer"]) for row in made) == [
        ("3+7=", "3+7=", "10"),
        ("4+6=", "4+6=", "10"),
        ("5+5=", "5+5=", "10"),
        ("6+4=", "4+6=", "10"),
        ("7+3=", "3+7=", "10"),
    ]
    named = {row["prompt"]: row["prompt_id"] for row in made}
    guesses = rows(
        ("a", "3+7=", "10"),
        ("b", "3+7=", "10"),
        ("c", "3+7=", "9"),
        ("d", "7+3=", "10"),
        ("e", "4+6=", "10"),
        ("f", "6+4=", "11"),
        ("g", "5+5=", "10"),
        verdict=["pass", "pass", "fail", "pass", "pass", "pass", "pass"],
        voted=["10", "10", "9", "10", "10", "11", "10"],
        question=["3+7="] * 4 + ["4+6="] * 2 + ["5+5="],
    )
    guesses = [{**row, "prompt": row["prompt_id"], "prompt_id": named[row["prompt_id"]]} for row in guesses]
    kept, dropped = select(lab, "agree_in_both_orders", guesses)
    assert sorted((row["parents"], row["prompt"], row["completion"]) for row in kept) == [
        (["a", "b"], "3+7=", "10"),
        (["d"], "7+3=", "10"),
    ]
    assert set(dropped) == {"c", "e", "f", "g"}
    of, left = select(lab, "of_prompts", guesses, {"others": lab.put("round_01/fast", kept)})
    assert [row["sample_id"] for row in of] == ["a", "b", "c", "d"] and set(left.values()) == {
        "not among these prompts"
    }


def test_led_to_follows_parents_over_the_steps_between(lab):
    made = rows(("a", "p", "x"), ("b", "p", "y"), ("c", "q", "z"), parents=[["p"], ["a2"], ["q"]])
    steps = lab.put(
        "round_01/steps",
        rows(("a1", "p", ""), ("a2", "p", ""), ("c1", "q", ""), parents=[["a"], ["a1"], ["c"]]),
    )
    others = lab.put("round_01/chosen", rows(("end", "p", ""), parents=[["b"]]))
    kept, dropped = select(lab, "led_to", made, {"others": others, "steps": steps})
    assert [row["sample_id"] for row in kept] == ["a", "b"] and dropped == {"c": "nothing was made of it"}


def test_around_rank_draws_near_the_center_of_the_order_by_score(lab):
    made = rows(
        *((f"r{place:03}", f"p{place}", "") for place in range(400)),
        score=[*(float(-place) for place in range(399)), None],
    )
    near, dropped = select(lab, "around_rank", made, center=200.0, width=10.0, count=40)
    places = sorted(int(row["sample_id"][1:]) for row in near)
    assert (
        len(places) == 40
        and 150 < places[0] < 190
        and 210 < places[-1] < 250
        and abs(sum(places) / 40 - 200) < 8
    )
    assert dropped["r399"] == "no score" and dropped["r000"] == "not drawn"
    first, _ = select(lab, "around_rank", made, center=0.0, width=10.0, count=40)
    assert max(int(row["sample_id"][1:]) for row in first) < 60


def test_rows_are_labelled_by_what_came_of_them_in_the_end(lab):
    plans = rows(*((name, "p", "") for name in "abcd"))
    steps = lab.put(
        "round_01/steps", rows(*((f"{name}1", "p", "") for name in "abc"), parents=[["a"], ["b"], ["c"]])
    )
    ends = rows(
        ("e1", "p", ""),
        ("e2", "p", ""),
        ("e3", "p", ""),
        ("e4", "p", ""),
        parents=[["a1"], ["b1"], ["c1"], ["d"]],
        verdict=["pass", "fail", "error", "pass"],
    )
    inputs = {"ends": lab.put("round_01/ends", ends), "steps": steps}
    kept, dropped = select(lab, "by_what_came", plans, inputs)
    assert {row["sample_id"]: row["label"] for row in kept} == {"a": True, "b": False, "d": True}
    assert dropped == {"c": "nothing came of it"}
    right, left = select(lab, "by_what_came", plans, inputs, right_only=True)
    assert [row["sample_id"] for row in right] == ["a", "d"] and left == {
        "b": "led to wrong ends",
        "c": "nothing came of it",
    }


def test_passages_stand_among_those_of_other_rows_and_say_where(lab):
    made = rows(*((name, name, "") for name in "abcdef"), passage=["A", "B", "C", "D", "E", None])
    kept, dropped = select(lab, "among_passages", made, distractors=2)
    assert dropped == {"f": "no passage"} and len(kept) == 5
    for row in kept:
        passages = row["passages"].split("|")
        assert len(set(passages)) == 3 and passages[row["place"] - 1] == row["passage"]
    assert len({row["place"] for row in kept}) > 1


def test_goals_that_were_tried_have_the_share_of_tries_that_reached_them(lab):
    goals = lab.put("start/goals", rows(*((name, name, "") for name in "abc")))
    episodes = lab.put(
        "round_01/episodes",
        rows(
            *((f"e{place}", name, "") for place, name in enumerate("aaabb")),
            verdict=["pass", "fail", "error", "error", "error"],
        ),
    )
    kept, dropped = select(lab, "goal_outcomes", goals, {"episodes": episodes})
    assert [(row["prompt_id"], row["value"]) for row in kept] == [("a", 0.5)]
    assert dropped == {"b": "not tried", "c": "not tried"}


def test_goals_are_drawn_by_how_far_two_predictions_are_apart_and_evenly_before_anything_moved(lab):
    names = [f"g{place}" for place in range(4000)]
    moved = [0.6 if place % 4 == 0 else 0.2 for place in range(4000)]
    made = rows(
        *((name, name, "") for name in names),
        now_score=[0.7] * 4000,
        before_score=[0.7 - own for own in moved],
    )
    kept, _ = select(lab, "draw_by_progress", made, count=400, explore=0.5)
    fast = [row for row in kept if int(row["sample_id"][1:]) % 4 == 0]
    assert len(kept) == 400 and len(fast) / 400 == pytest.approx(0.5 * 0.25 + 0.5 * 0.5, abs=0.06)
    assert {round(row["score"], 6) for row in fast} == {0.6}
    only, _ = select(
        lab,
        "draw_by_progress",
        made[:1000] + rows(("none", "none", ""), now_score=[None], before_score=[0.1]),
        count=1001,
    )
    assert len(only) == 1000
    still = [{**row, "before_score": 0.7} for row in made]
    kept, _ = select(lab, "draw_by_progress", still, count=400)
    assert sum(int(row["sample_id"][1:]) % 4 == 0 for row in kept) / 400 == pytest.approx(0.25, abs=0.06)


def test_labels_leave_out_earlier_successes_that_the_policy_is_sure_of_or_finds_unlikely(lab):
    made = rows(
        *((name, "p", name) for name in "abcdefg"),
        score=[0.9, 0.5, 0.8, 0.4, 0.0, None, 0.8],
        round=[1] * 6 + [2],
        liked_score=[log(0.7), log(0.96), log(0.4), log(0.99), log(0.01), log(0.5), log(0.01)],
    )
    kept, dropped = select(lab, "labels_by_confidence", made)
    assert {row["sample_id"]: row["label"] for row in kept} == {"a": True, "d": False, "e": False, "g": True}
    assert dropped == {"b": "sure already", "c": "unlikely", "f": "no score"}
    kept, dropped = select(lab, "labels_by_confidence", made, max_per_prompt=1)
    assert len(kept) == 2 and "over max_per_prompt" in dropped.values()


def test_score_band_keeps_what_lies_in_it(lab):
    kept, dropped = select(
        lab,
        "score_band",
        rows(*((name, name, "") for name in "abcd"), score=[0.1, 0.5, 0.9, None]),
        low=0.1,
        high=0.5,
    )
    assert [row["sample_id"] for row in kept] == ["a", "b"] and dropped == {"c": "above it", "d": "no score"}


def test_posed_tasks_are_in_the_environment_and_with_the_entry_of_the_task_they_were_made_from(lab):
    known = lab.put("tasks/train", rows(("k", "k", "")))
    made = rows(
        ("a", "p", " one "),
        ("b", "q", "one"),
        ("c", "q", "k="),
        ("d", "q", "  "),
        ("e", "q", "cut"),
        task=["tools"] * 5,
        entry=["1", "2", "2", "2", "2"],
        finish_reason=["stop"] * 4 + ["length"],
    )
    posed, dropped = select(lab, "posed_tasks", made, {"known": known})
    assert [(row["prompt"], row["task"], row["entry"], row["parents"]) for row in posed] == [
        ("one", "tools", "1", ["a"]),
        ("one", "tools", "2", ["b"]),
    ]
    assert len({row["prompt_id"] for row in posed}) == 2 and set(dropped) == {"c", "d", "e"}


def test_variants_of_a_maze_are_other_mazes_whose_ways_are_as_long(lab):
    from lineal.environments.grid_maze import GridMaze, ways_from

    def length(maze):
        drawn = maze.split("/")
        cells = {
            drawn[row][column]: (row, column)
            for row in range(len(drawn))
            for column in range(len(drawn[row]))
        }
        return len(ways_from(drawn, cells["A"])[cells["G"]])

    tasks = [{**GridMaze.task(seed, 5), "seed": seed} for seed in range(6)]
    made = rows(
        *((f"s{place}", f"p{place}", "") for place in range(6)),
        task=["grid_maze"] * 6,
        difficulty=[5.0] * 6,
        entry=[json.dumps(task["entry"], separators=(",", ":")) for task in tasks],
    )
    again = [{**made[0], "sample_id": "again"}]
    variants, _ = select(lab, "maze_variants", made + again, {"known": lab.put("tasks/train", made)})
    mazes = {json.loads(row["entry"])["maze"] for row in variants}
    assert len(variants) == len(mazes) == 18 and not mazes & {task["entry"]["maze"] for task in tasks}
    assert {length(maze) for maze in mazes} == {5} and {
        (row["task"], row["difficulty"]) for row in variants
    } == {("grid_maze", 5.0)}
    assert [row["parents"] for row in variants].count(["again", "s0"]) == 3
    assert all(row["prompt"].endswith("\n" + json.loads(row["entry"])["maze"]) for row in variants)
