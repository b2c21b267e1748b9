"""Metrics of a round: diversity, head and tail, transitions, refusals; and blended rewards."""

import pydantic
import pytest

from lineal.errors import DataError
from tests.unit.lab import Lab, evaluated, rows_of, samples


@pytest.fixture
def lab(tmp_path):
    return Lab(tmp_path)


def metrics(lab, use, rows, **settings):
    inputs = rows if isinstance(rows, dict) else {"rows": rows}
    put = {name: lab.put(f"round_01/{name}", value) for name, value in inputs.items()}
    return evaluated(lab.run(use, "round_01/metrics", put, **settings)[""])


def test_diversity_counts_different_completions_and_their_agreement(lab):
    texts = {"a": "rrrx", "b": "xyzw"}
    verdicts = {
        name: "".join("p" if letter == "r" else "f" for letter in text) for name, text in texts.items()
    }
    found = metrics(
        lab, "diversity", samples(verdicts, completion=lambda prompt, index: texts[prompt][index])
    )
    assert {
        name: found[name] for name in ("prompts", "distinct_share", "distinct_right", "vote_agreement")
    } == {
        "prompts": 2,
        "distinct_share": 6 / 8,
        "distinct_right": 0.5,
        "vote_agreement": 0.5,
    }
    assert found["by_difficulty"]["4"]["prompts"] == 2


def test_head_tail_leaves_hints_out_and_says_where_right_samples_are(lab):
    rows = samples({"a": "pppp", "b": "pfff", "c": "ffff"}, hinted=lambda *_: False)
    rows += [{**row, "sample_id": f"h{row['sample_id']}", "hinted": True} for row in samples({"c": "pppp"})]
    found = metrics(lab, "head_tail", rows)
    third = pytest.approx(1 / 3)
    assert (found["head_share"], found["tail_share"], found["unsolved_share"]) == (third, third, third)
    assert found["tail_of_right"] == 1 / 5 and found["prompts"] == 3


def test_transitions_follow_every_prompt(lab):
    before, after = (
        samples({"a": "p", "b": "p", "c": "f", "d": "f"}),
        samples({"a": "p", "b": "f", "c": "p", "d": "f"}),
    )
    found = metrics(lab, "transitions", {"before": before, "after": after})
    assert found["prompts"] == 4
    assert {
        found[name] for name in ("right_to_right", "right_to_wrong", "wrong_to_right", "wrong_to_wrong")
    } == {0.25}
    assert found["prompts.json"] == {"a": 0, "b": 1, "c": 0, "d": 0}


def test_transitions_between_other_prompts_or_many_samples_are_refused(lab):
    with pytest.raises(DataError, match="no prompt in common"):
        metrics(lab, "transitions", {"before": samples({"a": "p"}), "after": samples({"b": "p"})})
    with pytest.raises(DataError, match="has 2 rows of prompt a; expected one"):
        metrics(lab, "transitions", {"before": samples({"a": "p"}), "after": samples({"a": "pf"})})


def test_refusals_are_neither_right_nor_wrong_answers(lab):
    texts = {"a": "x", "b": "y~", "c": "z", "d": "w~"}
    rows = samples({"a": "p", "b": "f", "c": "f", "d": "f"}, completion=lambda prompt, index: texts[prompt])
    found = metrics(lab, "refusals", rows, refusal="~", laziness=0.2)
    assert (found["precision"], found["refusal_rate"]) == (0.5, 0.5)
    assert found["objective"] == pytest.approx(0.8 * 0.5 + 0.2 * 0.5)
    assert sum(found["prompts.json"].values()) / 4 == pytest.approx(found["objective"])
    assert metrics(lab, "refusals", rows[1:2], refusal="~")["precision"] == 0


def test_blend_sums_scores_by_weight_and_leaves_the_verdict(lab):
    rows = lab.put("round_01/rows", samples({"a": "pfe"}, vote_score=lambda prompt, index: 0.5 * index))
    made = rows_of(
        lab.run("blend", "round_01/rewarded", {"rows": rows}, weights={"score": 1.0, "vote_score": 0.2})[""]
    )
    assert [row["score"] for row in made] == [1.0, pytest.approx(0.1), None]
    assert [row["verdict"] for row in made] == ["pass", "fail", "error"]
    with pytest.raises(pydantic.ValidationError):
        lab.parse("blend", {"rows": ()}, weights={})
