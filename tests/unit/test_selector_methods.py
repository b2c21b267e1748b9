"""Selectors of published methods: thresholds, entropy weights, diverse sets, refusals, slow answers, hints."""

import math
from collections import Counter

import pytest

from lineal.errors import CheckFailure
from lineal.recipe.compute import Compute
from tests.unit.lab import Lab, rows_of, samples
from tests.unit.test_selector_decide import ids, reasons, require_conserved, select


@pytest.fixture
def lab(tmp_path):
    return Lab(tmp_path)


def scored(*scores, **columns):
    """One prompt's samples with these scores."""
    return samples({"a": "p" * len(scores)}, **{"score": lambda prompt, index: scores[index], **columns})


# -- above_threshold ----------------------------------------------------------------------------------------------------


def test_above_threshold_keeps_the_best_and_says_why_not_the_others(lab):
    rows = scored(0.9, 0.2, None, 1.2, 0.5)
    kept, dropped = select(lab, rows, "above_threshold", threshold=0.5, max_per_prompt=2)
    require_conserved(lab, rows, kept, dropped)
    assert ids(kept) == ["a-0", "a-3"]
    assert reasons(dropped) == {"a-1": "below the threshold", "a-2": "no score", "a-4": "over max_per_prompt"}


@pytest.mark.parametrize(("enough", "expected"), [(2, 2), (3, 4), (4, 4), (5, 5), (50, 6)])
def test_above_threshold_raises_the_cap_of_every_prompt_until_there_are_enough(lab, enough, expected):
    rows = samples(
        {"a": "pppp", "b": "ppf"},
        score=lambda prompt, index: 1.0 - index / 10 if (prompt, index) != ("b", 2) else 0.0,
    )
    kept, dropped = select(lab, rows, "above_threshold", threshold=0.5, enough=enough)
    require_conserved(lab, rows, kept, dropped)
    assert len(kept) == expected and ids(kept)[0] == "a-0"
    assert {*reasons(dropped).values()} == {
        "below the threshold",
        *(["enough without it"] if expected < 6 else []),
    }


def test_above_threshold_counts_equal_completions_once_unless_told_otherwise(lab):
    rows = scored(1.0, 1.0, completion=lambda prompt, index: "same")
    assert ids(select(lab, rows, "above_threshold", threshold=1.0)[0]) == ["a-0"]
    assert ids(select(lab, rows, "above_threshold", threshold=1.0, deduplicate=False)[0]) == ["a-0", "a-1"]


# -- entropy_weights ----------------------------------------------------------------------------------------------------

ANSWERS = {"a": "rrww", "b": "rxyz", "c": "rrrr", "d": "wwxx", "e": "rrrw"}
"""Letters are answers; r is the right one. Entropies in bits: 1, 2, 0, 1, 0.811."""


def answered(answers=ANSWERS, text=lambda letter: letter):
    verdicts = {
        name: "".join("p" if letter == "r" else "f" for letter in letters)
        for name, letters in answers.items()
    }
    return samples(verdicts, completion=lambda prompt, index: text(answers[prompt][index]))


@pytest.mark.parametrize("exponent", [1.0, 2.0, -0.5])
def test_entropy_weights_are_powers_of_the_entropy_with_a_mean_of_one(lab, exponent):
    rows = answered()
    kept, dropped = select(lab, rows, "entropy_weights", exponent=exponent)
    require_conserved(lab, rows, kept, dropped)
    powers = {
        "a": 1.0,
        "b": 2.0**exponent,
        "e": (-0.75 * math.log2(0.75) - 0.25 * math.log2(0.25)) ** exponent,
    }
    mean = sum(powers.values()) / 3
    assert {row["prompt_id"]: row["weight"] for row in kept} == pytest.approx(
        {name: value / mean for name, value in powers.items()}
    )
    assert {reason for name, reason in reasons(dropped).items() if name.startswith("c")} == {
        "all answers agree"
    }
    assert {reason for name, reason in reasons(dropped).items() if name.startswith("d")} == {"fail"}


def test_entropy_weights_cluster_by_the_extracted_answer(lab):
    rows = answered({"a": "rrww"}, text=lambda letter: f"some way to #### {letter}")
    for index, row in enumerate(rows):
        row["completion"] = f"{index}. {row['completion']}"
    whole = select(lab, answered({"a": "rrww", "b": "rxyz"}), "entropy_weights")[0]
    found = select(lab, rows, "entropy_weights", extract="#### (.+)")[0]
    assert [row["weight"] for row in found] == [1.0] and len(whole) == 2


def test_entropy_weights_need_a_right_and_a_wrong_answer_in_the_form_asked_for(lab):
    texts = {
        "a": ["[1]", "[2]", "3"],
        "b": ["[1]", "2", "3"],
        "c": ["1", "[1]", "[2]"],
        "d": ["[1]", "[1.0]"],
    }
    rows = samples(
        {"a": "pff", "b": "pff", "c": "ppf", "d": "pp"}, completion=lambda prompt, index: texts[prompt][index]
    )
    kept, dropped = select(lab, rows, "entropy_weights", extract=r"\[(.+)\]")
    require_conserved(lab, rows, kept, dropped)
    assert ids(kept) == ["a-0", "c-1"]
    assert {name: reasons(dropped)[name] for name in ("b-0", "c-0", "d-0", "d-1")} == {
        "b-0": "no wrong answer",
        "c-0": "no answer in it",
        "d-0": "no wrong answer",
        "d-1": "no wrong answer",
    }


# -- diverse_set --------------------------------------------------------------------------------------------------------


def test_diverse_set_picks_what_lies_farthest_from_all_picked(lab):
    texts = ["abcd", "abcd", "abce", "wxyz", "abzz", "right"]
    rows = samples({"a": "fffffp"}, completion=lambda prompt, index: texts[index])
    kept, dropped = select(lab, rows, "diverse_set", per_verdict=2)
    require_conserved(lab, rows, kept, dropped)
    wrong = {row["completion"] for row in kept if row["verdict"] == "fail"}
    assert "right" in {row["completion"] for row in kept} and "wxyz" in wrong and len(wrong) == 2
    assert reasons(dropped)["a-1"] == "same completion kept already"


def test_diverse_set_of_few_completions_keeps_each_once_and_no_errors(lab):
    rows = samples(
        {"a": "ppfe", "b": "e"}, completion=lambda prompt, index: "same" if index < 2 else f"other {index}"
    )
    kept, dropped = select(lab, rows, "diverse_set", per_verdict=3)
    require_conserved(lab, rows, kept, dropped)
    assert ids(kept) == ["a-0", "a-2"] and reasons(dropped) == {
        "a-1": "same completion kept already",
        "a-3": "error",
        "b-0": "error",
    }


def test_diverse_set_leaves_outliers_out_before_it_chooses(lab):
    texts = ["aaaa", "aaab", "aabb", "zzzzzzzzzz"]
    rows = samples({"a": "ffff"}, completion=lambda prompt, index: texts[index])
    assert "a-3" in ids(select(lab, rows, "diverse_set", per_verdict=2)[0])
    kept, dropped = select(lab, rows, "diverse_set", per_verdict=2, outliers=0.25)
    require_conserved(lab, rows, kept, dropped)
    assert reasons(dropped)["a-3"] == "far from all others" and len(kept) == 2


# -- refusals -----------------------------------------------------------------------------------------------------------


def test_refuse_wrong_puts_a_refusal_behind_every_wrong_answer(lab):
    rows = samples(
        {"a": "pf", "b": "ff", "c": "e"},
        completion=lambda prompt, index: f"{prompt}:{'same' if prompt == 'b' else index}",
    )
    made, dropped = select(lab, [*rows, *refusing({"d": 2.0})], "refuse_wrong", refusal="~")
    assert sorted(row["completion"] for row in made) == ["a:0", "a:1~", "b:same~", "x~"]
    assert [row["parents"] for row in made if row["prompt_id"] == "b"] == [["b-0", "b-1"]]
    assert ids(dropped) == ["c-0"]


def refusing(difficulties, completion="x~"):
    return [
        {**row, "difficulty": difficulty, "completion": completion}
        for row, difficulty in zip(
            samples(dict.fromkeys(difficulties, "f")), difficulties.values(), strict=True
        )
    ]


def test_apt_refusals_are_told_from_early_ones_by_the_boundary(lab):
    rows = [*refusing({"easy": 2.0, "hard": 9.0}), *samples({"right": "p", "wrong": "f", "broken": "e"})]
    kept, dropped = select(lab, rows, "apt_refusals", refusal="~", boundary=5.0)
    require_conserved(lab, rows, kept, dropped)
    assert {row["prompt_id"]: row["reason"] for row in kept} == {
        "easy": "early refusal",
        "hard": "apt refusal",
        "right": "right",
        "wrong": "wrong",
    }
    worth = {row["prompt_id"]: row["score"] for row in kept}
    assert worth == {
        "right": 1.0,
        "wrong": -1.0,
        "easy": pytest.approx(-worth_of(3)),
        "hard": pytest.approx(worth_of(4)),
    }
    assert reasons(dropped) == {"broken-0": "error"}


def worth_of(distance):
    return 2 / (1 + math.exp(-distance)) - 1


def test_the_boundary_decides_which_of_right_answers_and_refusals_are_drawn(tmp_path):
    """One right answer and one refusal each: a draw takes the right one by exp((1 - worth) / temperature) to 1."""
    prompts = {f"q{number}": "pf" for number in range(60)}
    rows = samples(
        prompts, completion=lambda prompt, index: "x~" if index else "x", difficulty=lambda *_: 5.0
    )

    def right_share(boundary):
        lab = Lab(tmp_path / str(boundary))
        worth, _ = select(lab, rows, "apt_refusals", refusal="~", boundary=boundary)
        drawn = lab.run(
            "select",
            "round_01/drawn",
            {"rows": lab.put("round_01/worth", worth)},
            sql="draw",
            count=16,
            temperature=0.5,
        )
        assert len(rows_of(drawn[""])) == 960
        return sum(row["completion"] == "x" for row in rows_of(drawn[""])) / 960

    for boundary in (0.0, 5.0, 10.0):
        wanted = 1 / (1 + math.exp((worth_of(5 - boundary) - 1) / 0.5))
        assert abs(right_share(boundary) - wanted) < 4 * math.sqrt(wanted * (1 - wanted) / 960)


# -- slow answers and hints ---------------------------------------------------------------------------------------------


def test_slow_to_fast_writes_the_answer_that_slow_ones_agree_on(lab):
    rows = samples(
        {"a": "ppf", "b": "ff"},
        completion=lambda prompt, index: f"steps {index}>ab",
        voted=lambda prompt, index: "ab",
    )
    made, dropped = select(lab, rows, "slow_to_fast")
    assert [(row["prompt"], row["completion"], row["parents"]) for row in made] == [
        ("a=", "ab", ["a-0", "a-1"])
    ]
    assert ids(dropped) == ["a-2", "b-0", "b-1"]


def test_as_asked_puts_the_hint_back_into_the_prompt_of_right_rows(lab):
    made, dropped = select(lab, samples({"a": "pp", "b": "f"}, hint=lambda *_: "/"), "as_asked")
    assert [(row["prompt"], row["completion"][:2]) for row in made] == [("/a=", "a:")] and len(dropped) == 2


def test_with_hint_tells_a_share_of_the_answer(lab):
    rows = [
        {"prompt_id": name, "prompt": f"{name}=", "answer": answer}
        for name, answer in (("1", "abcde"), ("2", None))
    ]
    made, _ = select(lab, rows, "with_hint", before="(", share=0.5, after=")")
    assert [(row["prompt_id"], row["prompt"], row["hint"]) for row in made] == [
        ("1", "1=", "(abc)"),
        ("2", "2=", "()"),
    ]
    assert [row["hint"] for row in select(lab, rows, "with_hint", before="/")[0]] == ["/", "/"]


def test_prompts_without_pass_takes_prompts_with_fewer_passes_than_asked(lab):
    rows = samples({"a": "pppp", "b": "ppff", "c": "ffff"})
    found = {
        number: [row["prompt_id"] for row in select(lab, rows, "prompts_without_pass", passes=number)[0]]
        for number in (1, 3)
    }
    assert found == {1: ["c"], 3: ["b", "c"]}


def test_top_up_keeps_every_right_row_and_guided_ones_until_there_are_enough(lab):
    alone = samples({"head": "ppppp", "tail": "pffff", "lost": "fffff"}, hinted=lambda *_: False)
    guided = [
        {**row, "sample_id": f"h{row['sample_id']}", "hinted": True}
        for row in samples({"tail": "fpppp", "lost": "ffffp"})
    ]
    kept, dropped = select(lab, [*alone, *guided], "top_up", passes=3)
    assert reasons(kept) == {
        **{f"head-{number}": "pass" for number in range(5)},
        "tail-0": "pass",
        "htail-1": "guided",
        "htail-2": "guided",
        "hlost-4": "guided",
    }
    assert reasons(dropped)["htail-3"] == reasons(dropped)["htail-4"] == "enough are right"


def test_sample_rows_draws_anew_by_number(lab):
    rows = samples({f"q{number}": "p" for number in range(400)})
    first, again, other = (
        ids(select(lab, rows, "sample_rows", count=100, draw=draw)[0]) for draw in (1, 1, 2)
    )
    assert first == again and len(set(first)) == len(set(other)) == 100
    assert abs(len({*first} & {*other}) - 25) < 20


def test_mix_by_age_takes_half_from_the_newest_round_and_the_rest_by_parts(lab):
    rows = [
        {**row, "round": 1 + place // 10}
        for place, row in enumerate(samples({f"q{number}": "p" for number in range(30)}))
    ]
    base = lab.put(
        "tasks/base", [{"prompt_id": f"b{number}", "prompt": "b=", "answer": "ab"} for number in range(50)]
    )
    put = lab.put("round_03/filtered", rows)
    made = rows_of(
        lab.run(
            "select",
            "round_03/mixed",
            {"rows": put, "base": base},
            sql="mix_by_age",
            count=4000,
            base_parts=8,
        )[""]
    )
    ages = Counter(
        "base" if row["parents"][0][0] == "b" else rows[int(row["prompt_id"][1:])]["round"] for row in made
    )
    assert len(made) == 4000 and {row["completion"] for row in made if row["parents"][0][0] == "b"} == {"ab"}
    for part, share in (("base", 0.4), (1, 0.05), (2, 0.05), (3, 0.5)):
        assert abs(ages[part] / 4000 - share) < 4 * math.sqrt(share * (1 - share) / 4000)
    newest = lab.put("round_01/filtered", rows[:10])
    only = rows_of(
        lab.run("select", "round_01/mixed", {"rows": newest, "base": base}, sql="mix_by_age", count=400)[""]
    )
    assert abs(sum(row["parents"][0][0] == "b" for row in only) - 200) < 40


@pytest.mark.parametrize(
    ("sql", "settings"),
    [
        ("above_threshold", {"threshold": 0.5, "max_per_prompt": 1}),
        ("entropy_weights", {}),
        ("diverse_set", {"per_verdict": 3}),
        ("draw", {"count": 3}),
    ],
)
def test_selection_is_the_same_for_every_thread_count(tmp_path, sql, settings):
    letters = {f"q{number}": "rwxyrz"[number % 4 :] * 5 for number in range(300)}
    rows = [
        {**row, "completion": f"{row['completion']}{'~' * (place % 3)}"}
        for place, row in enumerate(answered(letters))
    ]
    found = [
        select(Lab(tmp_path / str(threads), Compute(workers=threads)), rows, sql, **settings)[0]
        for threads in (1, 2, 5)
    ]
    assert found[0] == found[1] == found[2] and found[0]


# -- scores from other rows ---------------------------------------------------------------------------------------------


def children(*scored_parents):
    return [
        {
            "sample_id": f"c{place}",
            "prompt_id": "c",
            "prompt": "c",
            "parents": [parent, "other"],
            "score": score,
        }
        for place, (parent, score) in enumerate(scored_parents)
    ]


def test_score_of_children_is_the_mean_over_first_parents(lab):
    rows = samples({"a": "pppp"})
    judged = children(("a-0", 1.0), ("a-0", 0.0), ("a-1", 3.0), ("a-1", None), ("a-3", None))
    kept, dropped = select(lab, {"rows": rows, "children": judged}, "score_of_children")
    assert {row["sample_id"]: row["score"] for row in kept} == {"a-0": 0.5, "a-1": 3.0}
    assert set(reasons(dropped).values()) == {"nothing that was made of it has a score"} and ids(dropped) == [
        "a-2",
        "a-3",
    ]


def test_mbr_scores_by_agreement_with_the_other_completions_repeats_included(lab):
    texts = ["red big dog", "red big dog", "red cat", "fish", None]
    rows = samples({"a": "ppppp", "b": "p"}, completion=lambda p, i: texts[i])
    kept, dropped = select(lab, rows, "mbr")
    scores = {row["sample_id"]: row["score"] for row in kept}
    assert scores == pytest.approx(
        {"a-0": (1 + 0.4) / 3, "a-1": (1 + 0.4) / 3, "a-2": (0.4 + 0.4) / 3, "a-3": 0.0}
    )
    assert reasons(dropped) == {"a-4": "no completion", "b-0": "no other completion of its prompt"}


def test_mbr_of_letters_makes_pairs_of_the_most_and_the_least_agreed(lab):
    rows = samples({"a": "ppp"}, completion=lambda p, i: ["abcd", "abce", "xyz"][i])
    scored_rows, _ = select(lab, rows, "mbr", separator="")
    (pair,), _ = select(lab, scored_rows, "best_against_worst")
    assert (pair["chosen"], pair["rejected"]) == ("abcd", "xyz")


def test_beside_prompt_takes_the_first_completion_of_the_same_prompt(lab):
    others = samples(
        {"a": "pp", "c": "p"}, sample_id=lambda p, i: f"o-{p}{i}", completion=lambda p, i: f"oracle {i}"
    )
    kept, dropped = select(lab, {"rows": samples({"a": "pf", "b": "p"}), "others": others}, "beside_prompt")
    assert [(row["sample_id"], row["other"]) for row in kept] == [("a-0", "oracle 0"), ("a-1", "oracle 0")]
    assert reasons(dropped) == {"b-0": "nothing else was written to its prompt"}


# -- weights, shares and parts ------------------------------------------------------------------------------------------


def test_confidence_weights_are_the_samples_probability_and_alpha(lab):
    rows = samples({"a": "pfp"}, logprob=lambda p, i: [math.log(0.5), 0.0, None][i])
    kept, dropped = select(lab, rows, "confidence_weights", alpha=0.25)
    assert [row["weight"] for row in kept] == pytest.approx([0.75, 1.25]) and reasons(dropped) == {
        "a-2": "no probability"
    }


def test_balance_tasks_keeps_as_many_of_each(lab):
    rows = samples({"a": "ppppp", "b": "pp", "c": "p"}, task=lambda p, i: None if p == "c" else p)
    kept, dropped = select(lab, rows, "balance_tasks", per_task=2)
    require_conserved(lab, rows, kept, dropped)
    assert [row["task"] for row in kept] == ["a", "a", "b", "b"]
    assert sorted(reasons(dropped).values()) == ["no task", *["over per_task"] * 3]


def test_split_thought_shows_the_response_over_all_lines(lab):
    texts = ["<T> first\nadd <R> four\nor so", "four", "<R>", None]
    kept, dropped = select(lab, samples({"a": "pppp"}, completion=lambda p, i: texts[i]), "split_thought")
    assert [(row["completion"], row["response"]) for row in kept] == [(texts[0], "four\nor so")]
    assert reasons(dropped) == {"a-1": "no response", "a-2": "no response", "a-3": "no completion"}


def test_rate_prompts_makes_the_share_of_failures_the_difficulty_and_keeps_the_rest(lab):
    rows = samples({"a": "pffe", "b": "e", "c": "pp"}, persona=lambda p, i: f"{p}{i}")
    made, dropped = select(lab, rows, "rate_prompts")
    assert [(row["prompt_id"], row["difficulty"], row["persona"]) for row in made] == [
        ("a", 2 / 3, "a0"),
        ("c", 0.0, "c0"),
    ]
    assert made[0]["parents"] == ["a-0", "a-1", "a-2", "a-3"] and reasons(dropped) == {"b-0": "only errors"}
    near, _ = select(lab, made, "nearest_difficulty", target=0.5, count=1)
    assert [row["prompt_id"] for row in near] == ["a"]


# -- slice, draw --------------------------------------------------------------------------------------------------------


def test_slice_gives_each_round_a_part_of_its_own(lab):
    rows = lab.put("tasks/t", [{"prompt_id": f"p{number}", "prompt": str(number)} for number in range(10)])
    parts = [
        lab.run("select", f"round_0{part}/x", {"rows": rows}, sql="slice", count=4, part=part)
        for part in (1, 2, 3)
    ]
    kept = [[row["prompt_id"] for row in rows_of(part[""])] for part in parts]
    assert [len(part) for part in kept] == [4, 4, 2]
    assert sorted(name for part in kept for name in part) == [f"p{number}" for number in range(10)]
    assert {row["reason"] for row in rows_of(parts[1]["dropped"])} == {"an earlier part", "a later part"}
    with pytest.raises(CheckFailure):
        lab.run("select", "round_04/x", {"rows": rows}, sql="slice", count=4, part=4)


def test_draw_repeats_rows_with_chances_that_grow_with_their_score(lab):
    rows = scored(0.0, 1.0, None, note=lambda prompt, index: f"n{index}")
    made, _ = select(lab, rows, "draw", count=1000, temperature=0.5)
    drawn = Counter(row["parents"][0] for row in made)
    assert len(made) == len({row["sample_id"] for row in made}) == 1000
    assert {row["note"] for row in made} == {"n0", "n1", "n2"}
    share = math.exp(2) / (math.exp(2) + 2)
    assert abs(drawn["a-1"] / 1000 - share) < 4 * math.sqrt(share * (1 - share) / 1000)
    sharp, left = select(lab, rows, "draw", count=3, temperature=0.001)
    assert [row["parents"] for row in sharp] == [["a-1"]] * 3
    assert reasons(left) == {"a-0": "not drawn", "a-2": "not drawn"}


@pytest.mark.parametrize(
    ("completion", "reason"),
    [
        ("# ab\nab cd\n|1|2|\n|3|4|\n$a+b=c$", None),
        ("# AB\ncd ab\n|1|2|\n|3|4|\n$-a+b=c$", None),
        ("# ab\nab\n|1|2|\n|3|4|\n$a+b=c$", None),  # F1 of 10 and 9 words
        ("# ab\nab cd\n|1|2|\n\n|3|4|a|\n$b=c$", None),  # two tables
        ("# ab\nab\n|1|2|\n|3|\n$a+b=c$", "other words than another reader"),
        ("", "other words than another reader"),
        ("ab ab cd 1 2 3 4 a b c a b c", "other words than another reader"),
        ("# ab\nab cd\n|1|2|\n|3|4\n$a+b=c$", "a table with a broken row"),
        ("# ab\nab cd\n|1|2|a|\n|3|4|\n$b=c$", "a table with a broken row"),
        ("# ab\nab cd\n|1||2|\n|3||4|\n$a+b=c$", "a table with a broken row"),
        ("# ab\nab cd\n|1|2|\n|3|4|\n$a++b=c$", "a formula that is none"),
        ("# ab\nab cd\n|1|2|\n|3|4|\n$a+b=c", "a formula that is none"),
        ("# ab\nab cd\n|1|2|\n|3|4|\n$a{b=c$", "a formula that is none"),
        ("# ab\nab cd\n|1|2|\n|3|4|\n$a+b=c=$", "a formula that is none"),
        (None, "no completion"),
    ],
)
def test_sound_conversions_says_which_rule_refutes_one(lab, completion, reason):
    texts = [completion, "ab ab cd 1 2 3 4 a b c"]
    rows = samples({"a": "pp"}, completion=lambda p, i: texts[i], ocr=lambda p, i: "ab ab cd 1 2 3 4 a b c")
    kept, dropped = select(lab, rows, "sound_conversions", threshold=0.9)
    assert [row["completion"] for row in kept] == (texts if reason is None else texts[1:])
    assert [row["reason"] for row in dropped] == ([] if reason is None else [reason])
    assert kept[-1]["words_f1"] == 1.0


def test_sound_conversions_that_were_cut_off_are_dropped(lab):
    rows = samples({"a": "pp"}, ocr=lambda p, i: "ab", completion=lambda p, i: "ab")
    rows[0]["finish_reason"], rows[1]["finish_reason"] = "length", "stop"
    kept, dropped = select(lab, rows, "sound_conversions", threshold=0.9)
    assert ids(kept) == ["a-1"] and reasons(dropped) == {"a-0": "cut off"}


def games_of_spies(lab, votes):
    """Two games of three with two clues each; the votes on each by game and sample."""
    clues = [
        {
            "sample_id": f"{game}{number}{sample}",
            "prompt_id": f"{game}{number}",
            "prompt": "Clue:",
            "completion": f" word{number}{sample}",
            "sample_index": sample,
            "finish_reason": "length" if (game, number, sample) == ("b", 3, 1) else "stop",
            "game": game,
            "player_number": str(number),
            "players": "3",
            "spy": "2",
            "others_picture": f"picture-{game}",
        }
        for game in "ab"
        for number in (1, 2, 3)
        for sample in (0, 1)
    ]
    rows = lab.put("round_01/clues", clues)
    made = lab.run("select", "round_01/decisions", {"rows": rows}, sql="decisions_of_games")
    told = {row["parents"][0]: row["prompt_id"] for row in rows_of(made[""])}
    named = [
        {"sample_id": f"{first}-{place}", "prompt_id": told[first], "completion": vote}
        for first, given in votes.items()
        for place, vote in enumerate(given)
    ]
    return rows, made, lab.put("round_01/votes", named)


def test_decisions_of_games_asks_about_all_clues_that_were_given_together(lab):
    _, made, _ = games_of_spies(lab, {})
    rows = rows_of(made[""])
    assert [row["parents"] for row in rows] == [
        ["a10", "a20", "a30"],
        ["a11", "a21", "a31"],
        ["b10", "b20", "b30"],
    ]
    assert (
        rows[0]["prompt"] == "1 word10 2 word20 3 word30 Spy?"
        and len({row["prompt_id"] for row in rows}) == 3
    )
    assert {row["answer"] for row in rows} == {"2"} and [row["images"] for row in rows][1:] == [
        ["picture-a"],
        ["picture-b"],
    ]
    assert {row["sample_id"] for row in rows_of(made["dropped"])} == {"b11", "b21", "b31"}


def test_votes_on_clues_are_a_game_of_zero_sum_above_the_mean_of_the_role(lab):
    rows, made, votes = games_of_spies(lab, {"a10": "2222", "a11": "1133", "b10": ["1", "2", "x", "2"]})
    inputs = {"rows": rows, "decisions": made[""], "votes": votes}
    out = lab.run("select", "round_01/voted", inputs, sql="votes_on_clues")
    told = {row["sample_id"]: row for name in ("", "dropped") for row in rows_of(out[name])}
    score = {name: row["score"] for name, row in told.items()}
    assert score["a20"] == -1 and score["a10"] == score["a30"] == 0.5
    assert score["a21"] == 0.5 and score["a11"] == score["a31"] == -0.25
    assert score["b20"] == -0.375 and (score["b10"], score["b30"]) == (0.1875 - 0.125, 0.1875 + 0.125)
    spies, citizens = (
        [score[name] for name in score if (name[1] == "2") == role and score[name] is not None]
        for role in (True, False)
    )
    for name in ("a20", "a21", "b20", "a10", "b30"):
        mates = spies if name[1] == "2" else citizens
        assert told[name]["weight"] == pytest.approx(score[name] - sum(mates) / len(mates), abs=1e-6)
    assert {name: told[name]["reason"] for name in ("a20", "a21", "b11")} == {
        "a20": "worse than its role",
        "a21": "better than its role",
        "b11": "nobody voted in its game",
    }
    better = lab.run("select", "round_01/better", inputs, sql="votes_on_clues", losses=False)
    assert {row["sample_id"] for row in rows_of(better[""])} == {
        name for name in told if told[name]["score"] is not None and told[name]["weight"] > 0
    }
