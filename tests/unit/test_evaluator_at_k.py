"""pass@k against brute force over all subsets, majority@k against a naive vote."""

import json
from collections import Counter
from itertools import combinations
from statistics import mean

import pyarrow as pa
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lineal.components.evaluators.accuracy import accuracy_of, judged_prompts
from lineal.errors import DataError
from tests.unit.lab import Lab, evaluated, samples

LETTERS = {"p": "pass", "f": "fail"}


def metrics(lab, use, rows, **settings):
    made = lab.run(use, "round_01/evaluation", {"rows": lab.put("round_01/verified", rows)}, **settings)[""]
    return evaluated(made)


VERDICTS = st.dictionaries(st.sampled_from("abcd"), st.text("pf", min_size=4, max_size=6), min_size=1)


@settings(max_examples=40)
@given(VERDICTS, st.integers(1, 4))
def test_pass_at_k_is_the_share_of_subsets_with_a_pass(tmp_path_factory, verdicts, k):
    expected = mean(
        mean("p" in subset for subset in combinations(letters, k)) for letters in verdicts.values()
    )
    found = metrics(Lab(tmp_path_factory.mktemp("lab")), "pass_at_k", samples(verdicts), k=[k])
    assert found[f"pass_at_{k}"] == pytest.approx(expected, abs=1e-9) and found["prompts"] == len(verdicts)


def test_pass_at_k_is_split_by_difficulty(tmp_path):
    found = metrics(Lab(tmp_path), "pass_at_k", samples({"a": "ppff", "b": "ffff", "c": "ppppp"}), k=[1, 4])
    groups = found["by_difficulty"]
    assert groups["4"].items() > {"prompts": 2, "pass_at_1": 0.25, "pass_at_4": 0.5}.items()
    assert groups["5"].items() > {"prompts": 1, "pass_at_1": 1, "pass_at_4": 1}.items()
    assert (
        found["prompts.json"] == {"a": 0.5, "b": 0, "c": 1}
        and found["low"] < found["pass_at_1"] < found["high"]
    )


def test_pass_at_k_errors_are_no_samples_and_are_counted(tmp_path):
    found = metrics(Lab(tmp_path), "pass_at_k", samples({"a": "pppe", "b": "fffp"}), k=[1, 4])
    assert (found["pass_at_1"], found["pass_at_4"], found["left_out_at_4"], found["errors"]) == (
        0.625,
        1,
        1,
        1,
    )


def test_pass_at_k_with_too_few_samples_names_a_prompt(tmp_path):
    with pytest.raises(
        DataError, match=r"k is 3, but 1 prompts of p/round_01/verified have fewer samples \(b has 2\)"
    ):
        metrics(Lab(tmp_path), "pass_at_k", samples({"a": "pppp", "b": "ff"}), k=[1, 3])


def test_pass_at_k_of_errors_alone_is_no_number(tmp_path):
    with pytest.raises(DataError, match="no prompt has 1 samples without a verifier error"):
        metrics(Lab(tmp_path), "pass_at_k", samples({"a": "eee"}), k=[1])


@pytest.mark.parametrize("k", [[], [0], ["1"], 4])
def test_k_that_is_no_list_of_counts_is_refused(tmp_path, k):
    with pytest.raises(pydantic.ValidationError):
        Lab(tmp_path).parse("pass_at_k", {"rows": ()}, k=k)


def naive_majority(prompts, k):
    """Means over votes of k samples in order; a shared lead counts by the share of right leaders."""
    values = []
    for answers in prompts.values():
        votes = []
        for start in range(0, len(answers) - k + 1, k):
            tally = Counter(answer for answer in answers[start : start + k] if answer)
            leaders = [answer for answer, count in tally.items() if count == max(tally.values())]
            votes.append(mean(answer == "r" for answer in leaders) if leaders else 0)
        values.append(mean(votes))
    return mean(values)


ANSWERS = st.dictionaries(
    st.sampled_from("abcd"),
    st.lists(st.sampled_from(["r", "w", "v", ""]), min_size=4, max_size=9),
    min_size=1,
)


@settings(max_examples=40)
@given(ANSWERS, st.integers(1, 4))
def test_majority_at_k_agrees_with_a_naive_vote(tmp_path_factory, prompts, k):
    verdicts = {
        name: "".join("p" if answer == "r" else "f" for answer in answers)
        for name, answers in prompts.items()
    }
    rows = samples(verdicts, completion=lambda prompt, index: f" {prompts[prompt][index]} ")
    found = metrics(Lab(tmp_path_factory.mktemp("lab")), "majority_at_k", rows, k=[k])
    assert found[f"majority_at_{k}"] == pytest.approx(naive_majority(prompts, k), abs=1e-9)


def test_majority_at_k_follows_the_sample_index_not_the_file(tmp_path):
    rows = samples({"a": "ppff"}, completion=lambda prompt, index: "rrww"[index])
    assert metrics(Lab(tmp_path), "majority_at_k", rows[::-1], k=[2, 4]) == metrics(
        Lab(tmp_path), "majority_at_k", rows, k=[2, 4]
    )


def test_majority_at_k_leaves_truncated_samples_out_of_the_vote(tmp_path):
    cut = {"finish_reason": lambda prompt, index: "length" if index else "stop"}
    rows = samples({"a": "pff"}, completion=lambda prompt, index: "rww"[index], **cut)
    assert metrics(Lab(tmp_path), "majority_at_k", rows, k=[3])["majority_at_3"] == 1


def test_accuracy_counts_passes_among_passes_and_fails(tmp_path):
    verdicts = {"prompt_id": list("abcd"), "verdict": ["pass", "fail", "error", "pass"]}
    judged = judged_prompts(pa.table({**verdicts, "difficulty": [12.0, 12.0, 12.0, None]}))
    assert [one.prompt for one in judged] == ["a", "b", "d"]
    found = accuracy_of([one.counts for one in judged])
    assert (found["accuracy"].value, found["count"]) == (2 / 3, 3)
    with pytest.raises(DataError, match="none of 1 rows has verdict pass or fail"):
        judged_prompts(pa.table({"prompt_id": ["a"], "verdict": ["error"]}))


def test_settings_writes_its_keys_and_refuses_lists(tmp_path):
    lab = Lab(tmp_path)
    made = lab.run("settings", "start/tuned", temperature=0.9, threshold=0.0, mode="greedy")[""]
    assert json.loads((made.directory / "settings.json").read_text()) == {
        "temperature": 0.9,
        "threshold": 0,
        "mode": "greedy",
    }
    with pytest.raises(ValueError, match=r"settings\.k must be a number"):
        lab.parse("settings", k=[1])
    with pytest.raises(ValueError, match="needs a key with a value"):
        lab.parse("settings")
