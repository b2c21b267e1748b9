"""The selectors around judges, second tries and debates, each against a case worked out by hand."""

from __future__ import annotations

from itertools import product

import pytest

from lineal.errors import CheckFailure
from tests.unit.lab import Lab, rows, rows_of


@pytest.fixture
def lab(tmp_path) -> Lab:
    return Lab(tmp_path)


def select(lab, sql, made, **settings):
    inputs = {
        name: settings.pop(name)
        for name in (
            "own",
            "duels",
            "votes",
            "first",
            "known",
            "judged",
            "heard",
            "questions",
            "answers",
            "pairs",
        )
        if name in settings
    }
    found = lab.run("select", "round_01/selected", {"rows": made, **inputs}, sql=sql, **settings)
    return rows_of(found[""]), rows_of(found["dropped"])


def reasons(dropped):
    return {row["sample_id"]: row["reason"] for row in dropped}


ANSWERS = rows(("a", "p", "x"), ("b", "p", "y"), ("c", "p", "z"), ("d", "p", "x"), ("e", "q", "x"))


def test_duels_pair_every_two_different_completions_in_both_orders(lab):
    made, dropped = select(lab, "duels", lab.put("r/answers", ANSWERS))
    met = {tuple(row["parents"]): (row["completion"], row["other"]) for row in made}
    unordered = [("a", "b"), ("a", "c"), ("b", "c"), ("b", "d"), ("c", "d")]
    assert set(met) == {pair for one, two in unordered for pair in ((one, two), (two, one))}
    assert met["a", "b"] == ("x", "y") and met["b", "a"] == ("y", "x")
    assert reasons(dropped) == {"e": "no other completion of its prompt, or over pairs_per_prompt"}


def test_duels_may_be_fewer_but_keep_both_orders(lab):
    made, _ = select(lab, "duels", lab.put("r/answers", ANSWERS), pairs_per_prompt=2)
    met = {tuple(row["parents"]) for row in made}
    assert len(met) == 4 and {(two, one) for one, two in met} == met


def duel(first, second, score):
    return {"sample_id": f"{first}{second}{score}", "parents": [first, second], "score": score, "prompt": "?"}


def test_duel_winner_stands_against_the_one_that_loses_most(lab):
    order = {"b": 3, "a": 2, "d": 1, "c": 0}
    names = [(one, two) for one in "abcd" for two in "abcd" if one != two]
    duels = lab.put("r/duels", [duel(one, two, float(order[one] > order[two])) for one, two in names])
    (made,), _ = select(lab, "duel_winner_against_loser", lab.put("r/answers", ANSWERS), duels=duels)
    assert (made["parents"], made["chosen"], made["rejected"]) == (["b", "c"], "y", "z")


def test_duel_wins_in_the_place_that_wins_anyway_count_less(lab):
    # The first place wins three of four duels. c wins once in it, b once out of it: without weights they were even.
    answers = lab.put("r/answers", rows(("b", "p", "y"), ("c", "p", "z"), ("x", "q", "1"), ("y", "q", "2")))
    duels = lab.put(
        "r/duels", [duel("c", "b", 1.0), duel("c", "b", 0.0), duel("x", "y", 1.0), duel("y", "x", 1.0)]
    )
    (made,), _ = select(lab, "duel_winner_against_loser", answers, duels=duels)
    assert (made["chosen"], made["rejected"]) == ("y", "z")


def test_duels_without_a_winner_give_no_pair(lab):
    answers = lab.put("r/answers", ANSWERS)
    duels = lab.put("r/duels", [duel("a", "b", 0.5), duel("b", "a", None)])
    assert select(lab, "duel_winner_against_loser", answers, duels=duels)[0] == []


def test_answers_of_others_leave_out_the_agents_own(lab):
    own = lab.put("r/own", [ANSWERS[0], ANSWERS[4]])
    made, dropped = select(lab, "answers_of_others", lab.put("r/answers", ANSWERS), own=own, separator="|")
    assert [(row["parents"], row["completion"], row["others"]) for row in made] == [
        (["a", "b", "c", "d"], "x", "y|z|x")
    ]
    assert reasons(dropped) == {"e": "the agent has no answer to its prompt"}


def test_agrees_with_vote_judges_answers_by_another_sets_vote(lab):
    first = rows(("a", "p", "x"), ("b", "p", "y"), ("c", "q", "x"), voted=["x", "y", "x"])
    votes = rows(("v", "p", "y"), ("w", "q", "z"), voted=["y", "z"], verdict=["pass", "fail"])
    made, dropped = select(
        lab, "agrees_with_vote", lab.put("r/first", first), votes=lab.put("r/votes", votes)
    )
    assert [row["sample_id"] for row in made] == ["b"]
    assert reasons(dropped) == {"a": "not the winning answer", "c": "no answer won"}


def tries(lab, **settings):
    first = lab.put(
        "r/first", rows(("f", "p", "x"), ("g", "p", "y"), ("h", "p", "z"), score=[0.0, 1.0, None])
    )
    entries = [("f", 1.0), ("f", 0.0), ("g", 1.0), ("g", 0.0), ("f", 1.0), ("h", 1.0)]
    made = [
        {
            "sample_id": f"t{i}",
            "prompt_id": "p",
            "prompt": "p=",
            "completion": "?",
            "parents": [parent],
            "verdict": "?",
            "score": s,
        }
        for i, (parent, s) in enumerate(entries)
    ]
    kept, dropped = select(lab, "improving", lab.put("r/second", made), first=first, **settings)
    return [row["sample_id"] for row in kept], reasons(dropped)


def test_improving_keeps_what_is_better_than_its_first_try(lab):
    kept, dropped = tries(lab)
    assert kept == ["t0", "t4"]
    assert dropped == {"t1": "no better", "t2": "no better", "t3": "worse", "t5": "not judged"}


def test_improving_may_keep_what_stays_right(lab):
    kept, dropped = tries(lab, keep_equal_from=1.0)
    assert kept == ["t0", "t2", "t4"] and dropped["t1"] == "no better"


def test_improving_caps_the_tries_of_one_first_try(lab):
    kept, dropped = tries(lab, max_per_first=1)
    assert len(kept) == 1 and set(dropped.values()) >= {"over max_per_first"}


def test_new_prompts_are_new_whole_and_posed_once(lab):
    entries = ("a", "x", " dc= "), ("b", "y", "dc="), ("c", "z", "ba="), ("d", "w", "ef"), ("e", "v", "gh=")
    posed = rows(*entries, finish_reason=["stop"] * 4 + ["length"])
    known = lab.put("r/known", [{"prompt_id": "1", "prompt": "ba="}])
    made, dropped = select(
        lab, "new_prompts", lab.put("r/posed", posed), known=known, pattern=r"^\s*([a-z]+=)\s*$"
    )
    assert [(row["prompt"], row["parents"]) for row in made] == [("dc=", ["a", "b"])]
    assert len(made[0]["prompt_id"]) == 20 and set(reasons(dropped)) == {"c", "d", "e"}


def test_new_prompts_that_are_none_are_a_legal_outcome(lab):
    known = lab.put("r/known", [{"prompt_id": "1", "prompt": "x"}])
    assert select(lab, "new_prompts", lab.put("r/posed", [ANSWERS[0]]), known=known)[0] == []


def test_answers_of_others_needs_somebody_else(lab):
    with pytest.raises(CheckFailure, match="0 of 1 rows gave a new one"):
        select(
            lab,
            "answers_of_others",
            lab.put("r/answers", [ANSWERS[0]]),
            own=lab.put("r/own", [ANSWERS[0]]),
            separator="|",
        )


def test_most_disputed_keeps_the_judgments_of_one_row_of_each_prompt(lab):
    judged = lab.put("r/judged", rows(("a", "p", "x"), ("b", "p", "y"), ("c", "q", "x")))
    scores = {"a": (1.0, 0.0), "b": (1.0, 0.5), "c": (1.0, 1.0), "gone": (0.0, 1.0)}
    judgments = [
        {"sample_id": f"{row}{number}", "parents": [row], "score": score, "prompt": "?"}
        for row, pair in scores.items()
        for number, score in enumerate(pair)
    ]
    kept, dropped = select(lab, "most_disputed", lab.put("r/judgments", judgments), judged=judged)
    assert [row["sample_id"] for row in kept] == ["a0", "a1"]
    assert reasons(dropped) == {
        "b0": "another row is disputed more",
        "b1": "another row is disputed more",
        "c0": "no disagreement",
        "c1": "no disagreement",
        "gone0": "its row is not there",
        "gone1": "its row is not there",
    }


def test_demonstrations_draw_different_prompts_into_each_set(lab):
    prompts = lab.put("r/prompts", [{"prompt_id": str(i), "prompt": f"task {i}"} for i in range(20)])
    made, _ = select(lab, "demonstrations", prompts, count=5, shots=3)
    drawn = [tuple(row["parents"]) for row in made]
    assert len(made) == 5 and all(len(set(parents)) == 3 for parents in drawn) and len(set(drawn)) > 1
    assert made[0]["prompt"] == " | ".join(f"task {parent}" for parent in made[0]["parents"])


def test_critic_rows_teach_what_to_say_after_hearing_the_others(lab):
    first = rows(("f1", "p", "x"), ("f2", "q", "y"), ("f3", "s", "z"), voted=["x", "y", "z"])
    heard = rows(
        *((f"h{i}", "p", "?") for i in (1, 2, 3)), parents=[["f1", "o1"], ["f2", "o2"], ["f3", "o3"]]
    )
    last = rows(
        ("l1", "p", "x"),
        ("l2", "q", "w"),
        ("l3", "s", "v"),
        ("l4", "t", "u"),
        voted=["x", "w", "v", "u"],
        parents=[["h1"], ["h2"], ["h3"], ["other"]],
        asked=["+p", "+q", "+s", "+t"],
        others=["x"] * 4,
        verdict=["pass", "pass", "fail", "pass"],
    )
    inputs = {"heard": lab.put("r/heard", heard), "first": lab.put("r/first", first)}
    made, dropped = select(lab, "critic_rows", lab.put("r/last", last), **inputs)
    assert [(row["prompt"], row["completion"], row["parents"]) for row in made] == [
        ("+p", "x", ["l1"]),
        ("+q", "w", ["l2"]),
    ]
    assert set(reasons(dropped)) == {"l3", "l4"}
    made, _ = select(lab, "critic_rows", lab.put("r/last", last), corrected=1.0, **inputs)
    assert [row["prompt"] for row in made] == ["+q"]


@pytest.mark.parametrize(
    ("settings", "kept"),
    [({}, "pf"), ({"passed": False}, "f"), ({"failed": False}, "p"), ({"errors": True}, "pfe")],
)
def test_by_verdict_keeps_the_verdicts_that_it_is_asked_for(lab, settings, kept):
    made = rows(("p", "p", "x"), ("f", "p", "y"), ("e", "p", "z"), verdict=["pass", "fail", "error"])
    assert (
        "".join(
            row["sample_id"] for row in select(lab, "by_verdict", lab.put("r/judged", made), **settings)[0]
        )
        == kept
    )


def test_letter_follow_ups_ask_for_the_next_letter(lab):
    answers = [{**row, "answer": "abc"} for row in rows(("a", "p", "ac"), ("b", "q", "abc"))]
    made, _ = select(lab, "letter_follow_ups", lab.put("r/answers", answers), count=3)
    asked = {(row["parents"][0], row["letter"]): row["answer"] for row in made}
    assert asked == {(row, letter): after for row in "ab" for letter, after in zip("abc", "bc.", strict=True)}
    assert {row["completion"] for row in made} == {"ac", "abc"}


def test_option_follow_ups_ask_about_every_option(lab):
    answers = rows(
        ("a", "p", "x"), ("b", "q", "y"), entry=['{"options": ["one", "two"], "correct": 1}', "{}"]
    )
    made, dropped = select(lab, "option_follow_ups", lab.put("r/answers", answers))
    assert [(row["option"], row["answer"]) for row in made] == [("one", "incorrect"), ("two", "correct")]
    assert set(reasons(dropped)) == {"b"}


def test_consistent_keeps_right_answers_whose_follow_ups_are_right(lab):
    judged = rows(
        ("a", "p", "x"),
        ("b", "p", "y"),
        ("c", "q", "z"),
        ("d", "q", "w"),
        verdict=["pass", "pass", "fail", "pass"],
    )
    asked = [{"sample_id": f"{row}{i}", "parents": [row], "prompt": "?"} for row in "abc" for i in (0, 1)]
    right = {"a0": "pass", "a1": "pass", "b0": "pass", "b1": "fail", "c0": "pass", "c1": "pass"}
    answered = [
        {"sample_id": f"{q}!", "parents": [q], "verdict": verdict, "prompt": "?"}
        for q, verdict in right.items()
    ]
    inputs = {"questions": lab.put("r/asked", asked), "answers": lab.put("r/answered", answered)}
    kept, dropped = select(lab, "consistent", lab.put("r/judged", judged), **inputs)
    assert [row["sample_id"] for row in kept] == ["a"] and kept[0]["score"] == 1.0
    assert reasons(dropped) == {"b": "inconsistent", "c": "fail", "d": "nothing was asked"}
    assert {row["sample_id"]: row["score"] for row in dropped} == {"b": 0.5, "c": None, "d": None}
    assert len(select(lab, "consistent", lab.put("r/judged", judged), tolerance=1, **inputs)[0]) == 2


def test_demonstrations_show_two_posed_prompts_once_there_are_some(lab):
    seeds = [{"prompt_id": f"s{number}", "prompt": f"seed {number}", "parents": None} for number in range(9)]
    posed = [
        {"prompt_id": f"m{number}", "prompt": f"made {number}", "parents": ["set 1"]} for number in range(3)
    ]
    for own, expected in ((posed, 2), (posed[:1], 1), ([], 0)):
        made, _ = select(lab, "demonstrations", lab.put("r/pool", [*seeds, *own]), count=6, shots=8, posed=2)
        for row in made:
            assert (
                len(row["parents"]) == 8
                and sum(parent.startswith("m") for parent in row["parents"]) == expected
            )


def rouge_l(one, other):
    a, b = one.lower().split(), other.lower().split()
    longest = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i, j in product(range(len(a)), range(len(b))):
        longest[i + 1][j + 1] = (
            longest[i][j] + 1 if a[i] == b[j] else max(longest[i][j + 1], longest[i + 1][j])
        )
    return 2 * longest[-1][-1] / (len(a) + len(b))


def test_screen_prompts_measures_likeness_as_rouge_l(lab):
    words = ("the", "cat", "sat", "on", "a", "mat", "dog")
    texts = sorted(
        {" ".join(words[(seed * step + step) % 7] for step in range(1, 5 + seed % 4)) for seed in range(40)}
    )
    prompts = [{"prompt_id": f"p{number:02d}", "prompt": text} for number, text in enumerate(texts)]
    known = ["the cat sat on the mat", "a dog sat on a mat"]
    there = lab.put("r/known", [{"prompt_id": text, "prompt": text} for text in known])
    kept, dropped = select(lab, "screen_prompts", lab.put("r/posed", prompts), known=there, max_likeness=0.6)
    expected = {}
    for number, text in enumerate(texts):
        earlier = any(rouge_l(text, other) > 0.6 for other in texts[:number])
        reason = (
            "like a known prompt"
            if any(rouge_l(text, other) > 0.6 for other in known)
            else "like an earlier one"
        )
        expected[f"p{number:02d}"] = reason if earlier or reason == "like a known prompt" else "new"
    assert {row["prompt_id"]: row["reason"] for row in (*kept, *dropped)} == expected
    assert {*expected.values()} == {"new", "like a known prompt", "like an earlier one"}


def test_screen_prompts_drops_by_length_and_by_words(lab):
    texts = {
        "short": "Write a poem",
        "long": "word " * 151,
        "picture": "Describe the Picture in three words",
        "program": "Write a program that sorts",
        "fine": "Write a poem about pictures of maples",
        "mark": '"What is this?" she asked me',
    }
    prompts = [{"prompt_id": name, "prompt": text} for name, text in texts.items()]
    known = lab.put("r/known", [{"prompt_id": "k", "prompt": "Nothing of the kind"}])
    pattern = r"(?i:\b(?:picture|map)\b)|^Write a program|^[[:punct:]]"
    kept, dropped = select(lab, "screen_prompts", lab.put("r/posed", prompts), known=known, unwanted=pattern)
    assert [row["prompt_id"] for row in kept] == ["fine"]
    assert {row["prompt_id"]: row["reason"] for row in dropped} == {
        "short": "too short",
        "long": "too long",
        "picture": "unwanted words",
        "program": "unwanted words",
        "mark": "unwanted words",
    }


def test_a_named_number_chooses_among_the_completions_as_they_are_listed(lab):
    entries = [
        ("p1", "p", "a"),
        ("q1", "q", "c"),
        ("p2", "p", "b"),
        ("q2", "q", "d"),
        ("r1", "r", "e"),
        ("r2", "r", "f"),
    ]
    drawn = lab.put("drawn", rows(*entries))
    listed = rows_of(lab.run("select", "listed", {"rows": drawn}, sql="numbered")[""])
    assert {row["prompt_id"]: row["candidates"] for row in listed}["p"] == "Response 1: a\nResponse 2: b"
    said = lab.put(
        "said", rows(("x", "p", "Of 3 I take number 2."), ("y", "q", "neither"), ("z", "r", "number 7"))
    )
    kept = rows_of(lab.run("select", "kept", {"rows": drawn, "choice": said}, sql="by_number")[""])
    assert [(row["completion"], row["reason"]) for row in kept] == [
        ("c", "no number of a completion is named"),
        ("b", "its number is named"),
        ("e", "no number of a completion is named"),
    ]


def test_best_of_each_prompt_keeps_the_first_of_the_highest_scores(lab):
    drawn = rows(
        ("p1", "p", "a"), ("p2", "p", "b"), ("p3", "p", "c"), ("q1", "q", "d"), score=[0.2, 0.6, 0.6, None]
    )
    kept = rows_of(
        lab.run("select", "kept", {"rows": lab.put("drawn", drawn)}, sql="best_of_each_prompt")[""]
    )
    assert [row["completion"] for row in kept] == ["b", "d"]


def test_walks_go_on_after_the_chosen_step_and_end_with_the_last_one(lab):
    texts = [
        ("a", "p", "1\n"),
        ("b", "p", "2\n"),
        ("c", "q", "3\n"),
        ("d", "q", "3\n"),
        ("e", "r", "4\n"),
        ("f", "r", "end"),
    ]
    steps = rows(*texts, ("cut", "s", "5\n"), finish_reason=["stop"] * 6 + ["length"])
    pairs = [
        {"prompt_id": "p", "chosen": "2\n", "rejected": "1\n"},
        {"prompt_id": "r", "chosen": "end", "rejected": "4\n"},
    ]
    made, dropped = select(lab, "after_chosen", lab.put("r/steps", steps), pairs=lab.put("r/pairs", pairs))
    assert sorted((row["prompt"], row["parents"]) for row in made) == [("p=2\n", ["b"]), ("q=3\n", ["c"])]
    assert len({row["prompt_id"] for row in made} - {"p", "q"}) == 2
    assert reasons(dropped) == dict.fromkeys(
        [*"adef", "cut"], "another step was chosen, or the chosen one is the last"
    )
