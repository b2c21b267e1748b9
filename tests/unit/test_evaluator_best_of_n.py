"""Best-of-n: the estimator against counting all choices, its neighbours in the report, and the component itself."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineal.components.evaluators.best_of_n import Candidate, best_of_k
from lineal.data.store import Rows
from lineal.recipe.compute import Compute
from tests.unit.lab import Lab, evaluated
from tests.unit.tiny_models import in_order, put_model, tiny_model, words

PROMPTS = [
    {"prompt_id": f"p{index}", "prompt": f"{word}=", "answer": in_order(word), "difficulty": float(len(word))}
    for index, word in enumerate(words(12))
]


def counted(candidates: list[Candidate], k: int) -> float:
    """The same by looking at every choice of k."""
    picks = [
        max(choice, key=lambda index: (candidates[index].score, -index))
        for choice in combinations(range(len(candidates)), k)
    ]
    return sum(candidates[pick].right for pick in picks) / len(picks)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 3)), min_size=1, max_size=7), st.data())
def test_best_of_k_is_the_mean_over_all_choices(drawn: list[tuple[bool, int]], data: st.DataObject) -> None:
    candidates = [Candidate(right, float(score), None) for right, score in drawn]
    k = data.draw(st.integers(1, len(candidates)))
    assert best_of_k(candidates, k) == pytest.approx(counted(candidates, k))


def metrics(lab: Lab, model: object, scorer: object, **settings: object) -> dict[str, float]:
    prompts = lab.put("tasks/test", PROMPTS)
    inputs = {"model": model, "scorer": scorer, "prompts": prompts}
    made = lab.run("best_of_n", "round_01/best", inputs, samples=4, max_tokens=16, **settings)[""]
    assert lab.counts == {"error": 0, "in": 12, "expected": 48, "out": 48}
    assert Rows((made,)).count == 48 and "scorer_score" in Rows((made,)).columns
    return evaluated(made)


def test_best_of_n_with_a_knowing_scorer_reaches_the_oracle(tmp_path: Path) -> None:
    """The fake sampler writes letters in or against their order, and the fake reward counts neighbours in order."""
    lab = Lab(tmp_path, Compute(engine="fake", workers=1))
    model = lab.put("start/checkpoint", PROMPTS)
    found = metrics(lab, model, model, score_by="reward", k=[1, 2, 4])
    assert found["best_of_4"] == found["pass_at_4"] > found["best_of_2"] > found["best_of_1"]
    assert found["best_of_1"] == pytest.approx(found["pass_at_1"])
    assert found["ranked_right"] == 1.0 and 0 < found["majority_at_4"] < 1
    assert found["by_difficulty"].keys() == {f"{len(row['answer'])}" for row in PROMPTS}
    assert found["headline"] == "best_of_4" and 0 <= found["low"] < found["best_of_4"] < found["high"] <= 1
    assert found["prompts"] == 12 and found["left_out"] == 0


@pytest.mark.model
def test_best_of_n_scores_by_likelihood_of_a_real_model(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    model = put_model(lab, "start/checkpoint", tiny_model(tmp_path / "tiny"))
    found = metrics(lab, model, model)
    assert found["best_of_4"] <= found["pass_at_4"]
    assert (
        lab.parse("best_of_n", {"model": (), "scorer": (), "prompts": ()}, samples=8).headline == "best_of_8"
    )


def test_best_of_n_judges_with_a_verifier_that_needs_processes(tmp_path: Path) -> None:
    pytest.importorskip("math_verify")
    lab = Lab(tmp_path, Compute(engine="fake", workers=1))
    digits = [
        {**row, "prompt": f"{place + 12}=", "answer": f"{place + 12}"} for place, row in enumerate(PROMPTS)
    ]
    inputs = {"model": lab.put("start/checkpoint", PROMPTS), "prompts": lab.put("tasks/test", digits)}
    inputs["scorer"] = inputs["model"]
    lab.run(
        "best_of_n", "round_01/best", inputs, samples=4, max_tokens=16, score_by="reward", verifier="math"
    )
    assert lab.counts == {"error": 0, "in": 12, "expected": 48, "out": 48}


def test_best_of_n_refuses_more_than_it_samples(tmp_path: Path) -> None:
    with pytest.raises(pydantic.ValidationError, match="k is 8, but only 4 samples are drawn"):
        Lab(tmp_path).parse("best_of_n", {"model": (), "scorer": (), "prompts": ()}, samples=4, k=[8])
