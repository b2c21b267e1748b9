"""CodeIt's parts: programs by example as prompts, hindsight relabelling, prioritized replay."""

import math
import re

import pydantic
import pytest

from lineal.components.sandbox.bubblewrap import require
from lineal.components.sources.base import in_split
from lineal.components.sources.letter_slices import SLICES, sliced
from lineal.errors import CheckFailure, SandboxError
from lineal.recipe.compute import Compute
from tests.unit.lab import Lab, rows_of

LOOP = "for x in open(0).read().split():\n    print({completion})"


@pytest.fixture
def lab(tmp_path):
    return Lab(tmp_path, Compute(workers=2))


def has_sandbox():
    try:
        require()
    except SandboxError:
        return False
    return True


@pytest.mark.parametrize(
    "chain", [[], ["[::-1]"], ["[1:]", "[::2]", "[:-1]"], ["[1::2]", "[:-2]", "[2:]", "[::-1]"]]
)
def test_letter_slices_do_what_python_does(chain):
    word = "qwertzuiop"
    by_hand = word
    for text in chain:
        start, stop, step = [int(part) if part else None for part in (text[1:-1].split(":") + [""])[:3]]
        by_hand = by_hand[start:stop:step]
    assert sliced(word, chain) == by_hand and set(chain) <= set(SLICES)


def test_letter_slices_show_programs_on_words(lab):
    rows = rows_of(lab.run("letter_slices", "tasks/train", slices=[1, 3], words=3, size=60)[""])
    assert len({row["prompt_id"] for row in rows}) == 60 and {row["difficulty"] for row in rows} == {
        1.0,
        2.0,
        3.0,
    }
    for row in rows:
        chain = re.findall(r"\[.*?\]", row["completion"])
        words, results = row["input"].split("\n"), row["answer"].split("\n")
        assert row["prompt"] == f"{row['input']}>{row['answer']}=" and len(chain) == row["difficulty"]
        assert [sliced(word, chain) for word in words] == results and all(results) and len(words) == 3
        assert in_split(row["prompt_id"], "train")


def test_letter_slices_a_larger_set_begins_with_the_smaller_one(lab):
    small = rows_of(lab.run("letter_slices", "tasks/test", slices=[1, 2], size=10)[""])
    assert rows_of(lab.run("letter_slices", "tasks/test", slices=[1, 2], size=30)[""])[:10] == small


@pytest.mark.parametrize(
    "settings", [{"slices": [0, 1]}, {"slices": [2, 1]}, {"slices": [1, 9]}, {"slices": [1, 2], "length": 27}]
)
def test_letter_slices_that_cannot_be_are_refused(lab, settings):
    with pytest.raises(pydantic.ValidationError):
        lab.parse("letter_slices", size=4, **settings)


def judged(lab, completions, answer="ba\ndc"):
    rows = [
        {
            "sample_id": f"s{n}",
            "prompt_id": "p",
            "prompt": f"ab\ncd>{answer}=",
            "input": "ab\ncd",
            "answer": answer,
            "completion": one,
        }
        for n, one in enumerate(completions)
    ]
    return lab.put("round_01/generated", rows)


@pytest.mark.skipif(not has_sandbox(), reason="no sandbox here")
def test_hindsight_makes_each_programs_own_task(lab):
    generated = judged(lab, ["x[::-1]", "x[1:]", "x[1:]", "x +", "''", "x[0] if x == 'ab' else x[::-1]"])
    verified = lab.run("program_output", "round_01/verified", {"rows": generated}, template=LOOP)[""]
    assert [row["score"] for row in rows_of(verified)] == [1.0, 0.0, 0.0, 0.0, 0.0, 0.5]
    made = lab.run("select", "round_01/relabelled", {"rows": verified}, sql="hindsight")
    assert [
        (row["prompt"], row["completion"], row["score"], row["parents"]) for row in rows_of(made[""])
    ] == [
        ("ab\ncd>ba\ndc=", "x[::-1]", 1.0, ["s0"]),
        ("ab\ncd>b\nd=", "x[1:]", 0.0, ["s1"]),
        ("ab\ncd>a\ndc=", "x[0] if x == 'ab' else x[::-1]", 0.5, ["s5"]),
    ]
    assert [row["sample_id"] for row in rows_of(made["dropped"])] == ["s2", "s3", "s4"]
    again = lab.run("program_output", "round_01/again", {"rows": made[""]}, template=LOOP, name="own")[""]
    assert [row["own_verdict"] for row in rows_of(again)] == ["pass"] * 3


def test_hindsight_goal_may_be_worded_otherwise_and_output_is_only_text(lab):
    row = {
        "sample_id": "s",
        "prompt_id": "p",
        "prompt": "?",
        "input": "1",
        "completion": "c",
        "output": "{input}$1\\1\n",
        "score": 0.0,
    }
    goal = "Given {input}, print {output}."
    made = lab.run(
        "select",
        "round_01/relabelled",
        {"rows": lab.put("round_01/verified", [row])},
        sql="hindsight",
        goal=goal,
    )[""]
    assert [row["prompt"] for row in rows_of(made)] == ["Given 1, print {input}$1\\1."]


def test_hindsight_without_a_program_that_ran_says_so(lab):
    row = {
        "sample_id": "s",
        "prompt_id": "p",
        "prompt": "?",
        "input": "1",
        "completion": "c",
        "output": "\n",
        "score": 0.0,
    }
    with pytest.raises(CheckFailure, match="its program did not run"):
        lab.run(
            "select", "round_01/relabelled", {"rows": lab.put("round_01/verified", [row])}, sql="hindsight"
        )


def test_prioritized_replay_draws_in_proportion_to_the_score(lab):
    rows = [
        {"sample_id": f"s{n}", "prompt_id": "p", "prompt": "?", "score": (0.0, 0.5, 1.0)[n % 3]}
        for n in range(3000)
    ]
    rows[0]["score"] = None
    pool = lab.put("round_01/pool", rows)
    kept = rows_of(
        lab.run("select", "round_01/replayed", {"rows": pool}, sql="prioritized_replay", count=300)[""]
    )
    shares = {score: sum(row["score"] == score for row in kept) for score in (0.0, 0.5, 1.0)}
    # 300 of 3,000 with weights 0.01, 0.5 and 1: without replacement about 2, 104 and 194
    assert len(kept) == 300 and shares[0.0] < 12 and math.isclose(shares[1.0] / shares[0.5], 1.9, rel_tol=0.3)
    other = Lab(lab.path / "other", seed=1)
    drawn = rows_of(
        other.run("select", "round_01/replayed", {"rows": pool}, sql="prioritized_replay", count=300)[""]
    )
    assert {row["sample_id"] for row in drawn} != {row["sample_id"] for row in kept}


def test_prioritized_replay_of_few_rows_takes_all(lab):
    pool = lab.put(
        "round_01/pool",
        [{"sample_id": f"s{n}", "prompt_id": "p", "prompt": "?", "score": 0.0} for n in range(5)],
    )
    assert (
        len(
            rows_of(
                lab.run("select", "round_01/replayed", {"rows": pool}, sql="prioritized_replay", count=9)[""]
            )
        )
        == 5
    )
