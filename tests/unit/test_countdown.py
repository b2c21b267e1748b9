"""The countdown: its prompts and solutions, and a verifier that knows what can still be reached."""

from __future__ import annotations

import json
from itertools import permutations

import pytest

from lineal.components.sources.countdown import moves, reaches
from lineal.errors import DataError
from tests.unit.lab import Lab, rows_of


@pytest.fixture
def lab(tmp_path):
    return Lab(tmp_path)


def verdicts(lab, completions, prompt=None, **settings):
    """Returns the verdicts on completions of 3, 5 and 20, which are to give 35."""
    entry = json.dumps({"numbers": [3, 5, 20], "target": 35, "largest": 99})
    rows = [
        {"sample_id": f"s{place}", "prompt_id": "p", "prompt": "3,5,20>35:", "entry": entry, **one}
        for place, one in enumerate(
            {"completion": one} if isinstance(one, str) else one for one in completions
        )
    ]
    made = lab.run("arithmetic_steps", "round_01/v", {"rows": lab.put("round_01/r", rows)}, **settings)[""]
    return [(row["verdict"], row["detail"]) for row in rows_of(made)]


def test_prompts_are_solved_by_their_answers_and_every_target_can_be_reached(lab):
    rows = rows_of(lab.run("countdown", "tasks/train", {}, numbers=[2, 5], size=200)[""])
    assert len({row["prompt_id"] for row in rows}) == 200 and {row["difficulty"] for row in rows} == {
        2.0,
        3.0,
        4.0,
        5.0,
    }
    judged = lab.put(
        "round_01/r", [{**row, "sample_id": row["prompt_id"], "completion": row["answer"]} for row in rows]
    )
    for passes in ("solution", "solvable"):
        made = lab.run("arithmetic_steps", "round_01/v", {"rows": judged}, passes=passes)[""]
        assert {(row["verdict"], row["score"]) for row in rows_of(made)} == {("pass", 1.0)}
    entries = [json.loads(row["entry"]) for row in rows]
    assert all(
        reaches(tuple(one["numbers"]), one["target"], 99) and max(one["numbers"]) <= 20 for one in entries
    )
    again = rows_of(lab.run("countdown", "tasks/train", {}, numbers=[2, 5], size=50)[""])
    assert again == rows[:50]


def reached(numbers, largest):
    """All that some numbers can give, by trying every order of numbers, signs and steps."""
    if len(numbers) == 1:
        return {numbers[0]}
    found = set()
    for first, second, *rest in permutations(numbers):
        for result in (
            first + second,
            first - second,
            first * second,
            first // second if first % second == 0 else 0,
        ):
            if 1 <= result <= largest:
                found |= reached((result, *rest), largest)
    return found


@pytest.mark.parametrize("numbers", [(2, 3, 7), (1, 4, 4), (5, 9, 13), (2, 2, 6, 10)])
def test_what_can_be_reached_is_what_trying_everything_reaches(numbers):
    everything = reached(numbers, 60)
    assert {target for target in range(1, 61) if reaches(numbers, target, 60)} == everything
    assert all(text.split("=")[1] in map(str, left) for text, left in moves(numbers, 60))


def test_solutions_pass_and_anything_else_says_which_step_is_wrong(lab):
    assert verdicts(lab, ["5*3=15|15,20\n20+15=35", "3*5=15|15,20\n15+20=35"]) == [("pass", None)] * 2
    assert verdicts(
        lab,
        [
            "5*3=16|16,20\n",
            "5*4=20|3,20\n",
            "5*3=15|15,21\n",
            "5*3=15\n20+15=35",
            "5+3=8|8,20\n20+8=28",
            "5*3=15|15,20\n",
            "so 35",
            "",
            "5*3=15|15,20\n20+15=35\n",
            "20*5=100|3,100\n",
        ],
    ) == [
        ("fail", "step 1: 5*3 is not 16, or not from 1 to 99"),
        ("fail", "step 1: 4 is not among 3, 20"),
        ("fail", "step 1: what is left is 15, 20"),
        ("fail", "step 1: what is left is 15, 20"),
        ("fail", "does not end with the target"),
        ("fail", "does not end with the target"),
        ("fail", "step 1: is not of the form a+b=c"),
        ("fail", "does not end with the target"),
        ("fail", "does not end with the target"),
        ("fail", "step 1: 20*5 is not 100, or not from 1 to 99"),
    ]


def test_beginnings_pass_while_the_target_can_be_reached(lab):
    steps = [
        {"prefix": "", "completion": "5*3=15|15,20\n"},
        {"prefix": "5*3=15|15,20\n", "completion": "20+15=35"},
        {"prefix": "", "completion": "5+3=8|8,20\n"},
        {"prefix": "5*3=15|15,20\n", "completion": "20-15=5"},
        {"prefix": "", "completion": "5*3=15|15,20"},
        {"prefix": "", "completion": ""},
    ]
    assert verdicts(lab, steps, passes="solvable") == [
        ("pass", None),
        ("pass", None),
        ("fail", "the target is out of reach"),
        ("fail", "the target is out of reach"),
        ("fail", "ends before one number is left"),
        ("pass", None),
    ]


def test_settings_that_cannot_be_are_refused(lab):
    for wrong, message in (
        ({"numbers": [2, 9]}, "1 <= low <= high <= 6"),
        ({"numbers": [3, 3], "drawn_up_to": 100}, "drawn_up_to is 100"),
    ):
        with pytest.raises(ValueError, match=message):
            lab.parse("countdown", size=4, **wrong)
    with pytest.raises(
        DataError,
        match="found 2 different .* Lower size to 2, or widen the settings of countdown$",
    ):
        lab.run("countdown", "tasks/train", {}, numbers=[1, 1], drawn_up_to=2, size=9)
