"""The majority vote against a naive count, over whole inputs whatever their files."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lineal.errors import CheckFailure
from lineal.recipe.compute import Compute
from tests.unit.lab import Lab, rows_of

ADDED = ("voted", "votes", "vote_share", "vote_margin", "verdict", "score", "detail")


def generated(lab, entries):
    """Samples from (prompt, completion, truncated), in two files."""
    rows = [
        {
            "sample_id": f"s{i}",
            "prompt_id": prompt,
            "prompt": "?",
            "completion": completion,
            "finish_reason": "length" if cut else "stop",
        }
        for i, (prompt, completion, cut) in enumerate(entries)
    ]
    half = len(rows) // 2
    parts = [part for part in (rows[:half], rows[half:]) if part]
    return tuple(lab.put(f"round_0{number}/generated", part) for number, part in enumerate(parts))


def vote(lab, entries, **settings):
    made = lab.run(
        "majority_vote",
        "round_01/voted",
        {"rows": generated(lab, entries)},
        **{"max_error_rate": 1.0, **settings},
    )[""]
    return [{name: row[name] for name in ADDED} for row in rows_of(made)]


def naive(entries, agreement):
    """The same, one prompt at a time."""
    expected = []
    for prompt, completion, cut in entries:
        mine = [(text, was_cut) for name, text, was_cut in entries if name == prompt and text is not None]
        tally = Counter(text.strip() for text, was_cut in mine if not was_cut and text.strip())
        counts = [*sorted(tally.values(), reverse=True), 0, 0]
        voted = completion.strip() or None if completion is not None and not cut else None
        votes = tally[voted] if voted else 0
        share = votes / len(mine) if mine else None
        wins = voted is not None and votes == counts[0] and counts[0] > counts[1] and share >= agreement
        verdict = "error" if completion is None else "pass" if wins else "fail"
        margin = (counts[0] - counts[1]) / len(mine) if mine else None
        expected.append((voted, votes, share, margin, verdict, share if completion is not None else None))
    return expected


ENTRIES = st.lists(
    st.tuples(
        st.sampled_from("xyz"),
        st.none() | st.sampled_from(["1", " 1\n", "2", "3", "", "\u2003"]),
        st.booleans(),
    ),
    min_size=1,
    max_size=40,
)


@settings(max_examples=40)
@given(ENTRIES, st.sampled_from([0.0, 0.3, 0.5, 1.0]))
def test_majority_vote_agrees_with_a_naive_count(tmp_path_factory, entries, agreement):
    found = vote(Lab(tmp_path_factory.mktemp("lab")), entries, agreement=agreement)
    assert [tuple(row[name] for name in ADDED[:-1]) for row in found] == naive(entries, agreement)


def test_majority_vote_says_why_a_sample_does_not_win(tmp_path):
    entries = [
        ("x", "1", False),
        ("x", "1", False),
        ("x", "2", False),
        ("x", "1", True),
        ("y", "1", False),
        ("y", "2", False),
        ("y", " ", False),
    ]
    assert [row["detail"] for row in vote(Lab(tmp_path), entries)] == [
        None,
        None,
        "not the leading answer",
        "truncated at the token limit",
        "the lead is shared",
        "the lead is shared",
        "no answer found in the completion",
    ]
    assert {row["detail"] for row in vote(Lab(tmp_path), entries[:2] + entries[2:4], agreement=0.75)} >= {
        "vote_share below agreement"
    }


def test_majority_vote_counts_extracted_answers(tmp_path):
    entries = [("x", "so #### 4", False), ("x", "hence #### 4 .", False), ("x", "4", False)]
    found = vote(Lab(tmp_path), entries, extract=r"#### (\d)")
    assert [(row["voted"], row["verdict"]) for row in found] == [("4", "pass"), ("4", "pass"), (None, "fail")]


def test_majority_vote_bytes_do_not_depend_on_threads(tmp_path):
    entries = [(f"p{i % 50}", str(i * i % 11), i % 13 == 0) for i in range(3000)]
    digests = set()
    for workers in (1, 4):
        lab = Lab(tmp_path / str(workers), Compute(workers=workers))
        digests.add(lab.run("majority_vote", "round_01/voted", {"rows": generated(lab, entries)})[""].digest)
    assert len(digests) == 1


def test_majority_vote_beside_an_earlier_vote_writes_under_its_name(tmp_path):
    lab = Lab(tmp_path)
    first = lab.run("majority_vote", "round_01/first", {"rows": generated(lab, [("x", "1", False)] * 3)})[""]
    with pytest.raises(ValueError, match="a column 'voted' already"):
        lab.parse("majority_vote", {"rows": ()}).outputs({"rows": tuple(first.manifest.columns)})
    (row, *_) = rows_of(
        lab.run("majority_vote", "round_01/second", {"rows": first}, name="strict", agreement=1.0)[""]
    )
    assert (row["verdict"], row["strict_verdict"], row["strict_votes"]) == ("pass", "pass", 3)


def test_majority_vote_of_rows_without_completions_stops(tmp_path):
    lab = Lab(tmp_path)
    with pytest.raises(CheckFailure, match="1 of 2 verdicts are errors"):
        lab.run(
            "majority_vote",
            "round_01/voted",
            {"rows": generated(lab, [("x", "1", False), ("x", None, False)])},
        )


def test_score_by_the_verdict_is_1_for_the_leading_answer_alone(tmp_path):
    entries = [
        ("a", "x", False),
        ("a", "x", False),
        ("a", "y", False),
        ("a", "x", True),
        ("b", "x", False),
        ("b", "y", False),
        ("b", None, False),
    ]
    made = vote(Lab(tmp_path), entries, score="verdict")
    assert [row["score"] for row in made] == [1.0, 1.0, 0.0, 0.0, 0.0, 0.0, None]
    assert [row["vote_share"] for row in made][:3] == [0.5, 0.5, 0.25]


def test_margin_is_an_answers_lead_over_the_strongest_other(tmp_path):
    entries = [
        ("p", "a", False),
        ("p", "a", False),
        ("p", "a", False),
        ("p", "b", False),
        ("p", "", False),
        ("p", "b", True),
    ]
    entries += [("q", "a", False), ("q", "b", False), ("r", "", False)]
    margins = [row["score"] for row in vote(Lab(tmp_path), entries, score="margin")]
    assert margins == pytest.approx([2 / 6, 2 / 6, 2 / 6, -2 / 6, -3 / 6, -3 / 6, 0.0, 0.0, 0.0])


def test_consensus_is_the_mean_agreement_with_the_other_completions(tmp_path):
    lab = Lab(tmp_path)
    rows = generated(
        lab,
        [
            ("p", "a b", False),
            ("p", "b c", False),
            ("q", "alone", False),
            ("p", "a b a", False),
            ("q", None, False),
        ],
    )
    scores = [row["score"] for row in rows_of(lab.run("consensus", "round_01/agreed", {"rows": rows})[""])]
    assert scores == [pytest.approx(0.75), 0.5, None, pytest.approx(0.75), None]
    letters = rows_of(lab.run("consensus", "round_01/agreed", {"rows": rows}, separator="", name="near")[""])
    assert letters[3]["near_score"] == pytest.approx((1 + 2 / 3) / 2)
