"""Selectors that make preferences: who stands against whom, with which weight, and what is left out."""

from __future__ import annotations

from pathlib import Path

import pytest

from lineal.errors import DeclarationError
from tests.unit.lab import Lab, rows_of, samples


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


def test_own_against_reference_takes_the_latest_rounds_and_leaves_out_equals(lab: Lab) -> None:
    own = [
        {"sample_id": "old", "prompt_id": "p", "prompt": "p=", "completion": "worse", "round": 1},
        {"sample_id": "new", "prompt_id": "p", "prompt": "p=", "completion": "bad", "round": 2},
        {"sample_id": "same", "prompt_id": "q", "prompt": "q=", "completion": "good", "round": 2},
        {"sample_id": "other", "prompt_id": "r", "prompt": "r=", "completion": "x", "round": 2},
    ]
    data = [
        {"prompt_id": "p", "prompt": "p=", "answer": "good"},
        {"prompt_id": "q", "prompt": "q=", "answer": "good"},
    ]
    inputs = {"rows": lab.put("round_02/generated", own), "data": lab.put("tasks/train", data)}
    made = lab.run("select", "round_02/pairs", inputs, sql="own_against_reference")
    assert [(row["parents"], row["chosen"], row["rejected"]) for row in rows_of(made[""])] == [
        (["new", "p"], "good", "bad")
    ]
    assert {row["sample_id"] for row in rows_of(made["dropped"])} == {"old", "same", "other"}
    pooled = rows_of(lab.run("select", "round_02/pairs", inputs, sql="own_against_reference", latest=2)[""])
    assert sorted(row["rejected"] for row in pooled) == ["bad", "worse"]


@pytest.mark.parametrize(
    ("parents", "score", "message"),
    [
        (["a", "b"], 5.0, "duel d0 has the score 5.0, expected 0 to 1"),
        (["a"], 1.0, "duel d0 has 1 parents, expected the two rows"),
    ],
)
def test_duels_are_between_two_rows_and_have_scores_from_0_to_1(
    lab: Lab, parents: list[str], score: float, message: str
) -> None:
    rows = [
        {"sample_id": name, "prompt_id": "p", "prompt": "p=", "completion": name} for name in ("a", "b", "c")
    ]
    duels = [{"prompt_id": "p", "prompt": "p=", "completion": "x"} for _ in range(2)]
    right = {"sample_id": "d1", "parents": ["b", "c"], "score": 1.0}
    borda = lab.put(
        "round_01/right",
        [{**duels[0], "sample_id": "d0", "parents": ["a", "b"], "score": 1.0}, {**duels[1], **right}],
    )
    ranked = lab.run(
        "select",
        "round_01/r",
        {"rows": lab.put("round_01/s", rows), "duels": borda},
        sql="rank_by_duels",
        by="borda",
    )
    assert {row["sample_id"]: row["score"] for row in rows_of(ranked[""])} == {"a": 1.0, "b": 0.5, "c": 0.0}
    wrong = lab.put(
        "round_01/duels",
        [{**duels[0], "sample_id": "d0", "parents": parents, "score": score}, {**duels[1], **right}],
    )
    with pytest.raises(DeclarationError, match=message):
        lab.run(
            "select", "round_01/w", {"rows": lab.put("round_01/s", rows), "duels": wrong}, sql="rank_by_duels"
        )


def votes(**counts: list[int]) -> list[dict[str, object]]:
    """`a=[3, 1]` gives prompt a three samples of one answer and one of another."""
    return [
        {
            "sample_id": f"{prompt}{answer}{index}",
            "prompt_id": prompt,
            "prompt": f"{prompt}=",
            "round": 1,
            "completion": f"{prompt}{answer}",
            "voted": f"{prompt}{answer}",
            "votes": count,
            "vote_share": count / sum(counted),
        }
        for prompt, counted in counts.items()
        for answer, count in enumerate(counted)
        for index in range(count)
    ]


def test_most_against_least_voted_weighs_by_the_lead(lab: Lab) -> None:
    drawn = lab.put("round_01/voted", votes(a=[3, 2, 1], b=[2, 2], c=[5, 1]))
    inputs = {"rows": drawn, "others": drawn}
    found = rows_of(lab.run("select", "round_01/pairs", inputs, sql="most_against_least_voted")[""])
    assert {(row["chosen"], row["rejected"], round(row["weight"], 3)) for row in found} == {
        ("a0", "a2", round(2 / 6, 3)),
        ("c0", "c1", round(4 / 6, 3)),
    }
    assert all(len(row["parents"]) == 2 for row in found)
    clear = rows_of(
        lab.run("select", "round_01/pairs", inputs, sql="most_against_least_voted", min_share=0.6)[""]
    )
    assert [row["prompt_id"] for row in clear] == ["c"]


def test_most_against_least_voted_rejects_only_what_the_other_draw_holds(lab: Lab) -> None:
    hotter = [{**row, "sample_id": f"hot {row['sample_id']}"} for row in votes(a=[2, 1, 3], b=[1, 3], c=[6])]
    inputs = {
        "rows": lab.put("round_01/voted", votes(a=[3, 2, 1], b=[4], c=[6])),
        "others": lab.put("round_01/hotter", hotter),
    }
    found = rows_of(lab.run("select", "round_01/pairs", inputs, sql="most_against_least_voted")[""])
    assert all(
        row["parents"][1].startswith("hot ") and not row["parents"][0].startswith("hot ") for row in found
    )
    assert {(row["chosen"], row["rejected"], round(row["weight"], 3)) for row in found} == {
        ("a0", "a1", round(3 / 6 - 1 / 6, 3))
    }


def test_verdicts_as_labels_keeps_both_kinds_and_drops_errors(lab: Lab) -> None:
    inputs = {"rows": lab.put("round_01/verified", samples({"a": "ppf", "b": "ffe"}))}
    made = lab.run("select", "round_01/labelled", inputs, sql="verdicts_as_labels")
    assert [(row["sample_id"], row["label"]) for row in rows_of(made[""])] == [
        ("a-0", True),
        ("a-1", True),
        ("a-2", False),
        ("b-0", False),
        ("b-1", False),
    ]
    assert [(row["sample_id"], row["reason"]) for row in rows_of(made["dropped"])] == [("b-2", "error")]
    capped = rows_of(
        lab.run("select", "round_01/labelled", inputs, sql="verdicts_as_labels", max_per_prompt=1)[""]
    )
    assert [(row["prompt_id"], row["label"]) for row in capped] == [("a", True), ("a", False), ("b", False)]


def test_correct_against_incorrect_uses_a_sample_once_or_again(lab: Lab) -> None:
    inputs = {"rows": lab.put("round_01/verified", samples({"a": "pffff", "b": "ppfff", "c": "pp"}))}

    def pairs(**settings: object) -> list[tuple[str, str]]:
        made = rows_of(
            lab.run("select", "round_01/pairs", inputs, sql="correct_against_incorrect", **settings)[""]
        )
        return [tuple(row["parents"]) for row in made]

    once = pairs(pairs_per_prompt=10)
    assert len(once) == 3 and len({parent for pair in once for parent in pair}) == 6
    again = pairs(pairs_per_prompt=10, reuse=True)
    assert len(again) == len(set(again)) == 4 + 6  # every pair of right and wrong samples, and none twice
    assert len(pairs(pairs_per_prompt=3, reuse=True)) == 6


def test_correct_against_incorrect_without_any_pair_gives_none(lab: Lab) -> None:
    inputs = {"rows": lab.put("round_01/verified", samples({"a": "pp", "b": "ff"}))}
    made = lab.run("select", "round_01/pairs", inputs, sql="correct_against_incorrect", reuse=True)
    assert rows_of(made[""]) == [] and len(rows_of(made["dropped"])) == 4


def test_new_rows_keep_the_conversation_of_their_first_parent(lab: Lab) -> None:
    def given(text: str) -> dict[str, object]:
        return {
            "messages": [{"role": "user", "content": text, "tool_calls": None, "name": None}],
            "tools": "[]",
        }

    rows = [
        row | given(f"Sort {row['prompt']}")
        for row in samples({"p": "pf", "q": "fp"}, round=lambda prompt, index: 1)
    ]
    plain = lab.put("round_01/plain", samples({"r": "pf"}, round=lambda prompt, index: 1))
    inputs = {"rows": (lab.put("round_01/verified", rows), plain)}
    made = rows_of(lab.run("select", "round_01/pairs", inputs, sql="correct_against_incorrect")[""])
    assert [
        (row["prompt"], row["messages"] and row["messages"][0]["content"], row["tools"]) for row in made
    ] == [
        ("p=", "Sort p=", "[]"),
        ("q=", "Sort q=", "[]"),
        ("r=", None, None),
    ]
    bare = rows_of(lab.run("select", "round_01/pairs", {"rows": plain}, sql="correct_against_incorrect")[""])
    assert [row["sample_id"] for row in bare] == [row["sample_id"] for row in made if row["prompt"] == "r="]
    assert "messages" not in bare[0]


def test_new_prompts_have_no_conversation_of_another_one(lab: Lab) -> None:
    lab.selector(
        "turned",
        "-- summary: x\n-- needs: prompt\n-- makes rows: prompt\nSELECT [row_id] AS parents, reverse(prompt) AS prompt FROM rows",
    )
    rows = [
        {
            "prompt_id": "p",
            "prompt": "ab",
            "messages": [{"role": "user", "content": "ab", "tool_calls": None, "name": None}],
        }
    ]
    (row,) = rows_of(
        lab.run("select", "round_01/made", {"rows": lab.put("tasks/train", rows)}, sql="turned")[""]
    )
    assert (row["prompt"], row["messages"]) == ("ba", None)


def test_better_against_worse_pairs_every_score_with_every_lower_one(lab: Lab) -> None:
    scores = {"a-0": 1.0, "a-1": 0.5, "a-2": 0.5, "a-3": 0.0, "a-4": None, "b-0": 1.0, "b-1": 1.0}
    drawn = samples({"a": "ppppp", "b": "pp"}, score=lambda prompt, index: scores[f"{prompt}-{index}"])
    inputs = {"rows": lab.put("round_01/judged", drawn)}

    def pairs(**settings: object) -> list[tuple[str, str]]:
        made = rows_of(
            lab.run("select", "round_01/pairs", inputs, sql="better_against_worse", **settings)[""]
        )
        return sorted((better, worse) for better, worse in (row["parents"] for row in made))

    every = [("a-0", "a-1"), ("a-0", "a-2"), ("a-0", "a-3"), ("a-1", "a-3"), ("a-2", "a-3")]
    assert pairs() == every
    assert len(pairs(count=3)) == 3 and {*pairs(count=3)} < {*every}
    assert len(pairs(pairs_per_prompt=2)) == 2


def test_the_datas_own_solutions_stand_beside_samples_in_selections(lab: Lab) -> None:
    drawn = samples({"a": "pf", "b": "ff"}, score=lambda prompt, index: float(prompt == "a" and index == 0))
    prompts = {row["prompt_id"]: row["prompt"] for row in drawn}
    own = [
        {
            "prompt_id": name,
            "prompt": text,
            "completion": f"the solution of {name}",
            "verdict": "pass",
            "score": 1.0,
        }
        for name, text in prompts.items()
    ]
    both = {"rows": (lab.put("round_01/verified", drawn), lab.put("start/solutions", own))}
    pairs = rows_of(
        lab.run(
            "select", "round_01/pairs", both, sql="correct_against_incorrect", pairs_per_prompt=4, reuse=True
        )[""]
    )
    assert {tuple(row["parents"]) for row in pairs} == {
        ("a-0", "a-1"),
        ("a", "a-1"),
        ("b", "b-0"),
        ("b", "b-1"),
    }
    made = lab.run("select", "round_01/filtered", both, sql="above_threshold", threshold=0.5)
    assert sorted(row["completion"] for row in rows_of(made[""])) == sorted(
        [drawn[0]["completion"], *(row["completion"] for row in own)]
    )
    assert {row["sample_id"] for row in rows_of(made["dropped"])} == {"a-1", "b-0", "b-1"}
    duels = lab.run("select", "round_01/duels", both, sql="duels")[""]
    judged = [{**row, "score": float(row["completion"].startswith("the solution"))} for row in rows_of(duels)]
    scored = lab.run(
        "select",
        "round_01/scored",
        {**both, "children": lab.put("round_01/compared", judged)},
        sql="score_of_children",
    )
    assert {row["prompt_id"]: row["score"] for row in rows_of(scored[""]) if row["sample_id"] is None} == {
        "a": 1.0,
        "b": 1.0,
    }
