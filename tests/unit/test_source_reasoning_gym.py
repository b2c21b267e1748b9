"""reasoning-gym as a source and its scorers as verifiers: repeatable, and right about their own answers."""

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineal.components.sources.reasoning_gym import _tagged, entry_of
from lineal.data.ids import canonical_json
from lineal.errors import DataError
from lineal.recipe.compute import Compute
from tests.unit.lab import Lab, rows_of

pytest.importorskip("reasoning_gym")


@pytest.fixture
def lab(tmp_path):
    return Lab(tmp_path)


@pytest.mark.parametrize("task", ["list_functions", "isomorphic_strings"])
def test_reasoning_gym_workers_and_size_do_not_change_prompts(tmp_path, task):
    # one draws from Python's global generator, the other walks sets of strings
    one = rows_of(Lab(tmp_path / "a").run("reasoning_gym", "tasks/train", task=task, size=4)[""])
    assert (
        rows_of(
            Lab(tmp_path / "b", Compute(workers=2)).run("reasoning_gym", "tasks/train", task=task, size=6)[""]
        )[:4]
        == one
    )


def test_reasoning_gym_task_that_runs_foreign_programs_is_refused(lab):
    with pytest.raises(pydantic.ValidationError, match="'codeio' is not offered: it runs programs"):
        lab.parse("reasoning_gym", task="codeio", size=4)


def test_reasoning_gym_answers_pass_their_own_scorer_and_others_fail(lab):
    # arc_agi compares tuples, which JSON alone would turn into lists
    for task in ("arc_agi", "basic_arithmetic"):
        prompts = rows_of(lab.run("reasoning_gym", "tasks/train", task=task, size=3)[""])
        wrong = [{**row, "prompt_id": f"wrong{i}", "answer": "never"} for i, row in enumerate(prompts)]
        rows = [
            {**row, "sample_id": row["prompt_id"], "completion": f" {row['answer']}\n"}
            for row in prompts + wrong
        ]
        verified = lab.run("task_score", "round_01/verified", {"rows": lab.put("round_01/generated", rows)})[
            ""
        ]
        assert [row["verdict"] for row in rows_of(verified)] == ["pass"] * 3 + ["fail"] * 3


def test_reasoning_gym_difficulty_comes_from_the_metadata(lab):
    settings = {"task": "chain_sum", "config": {"min_terms": 3, "max_terms": 3}, "size": 5}
    rows = rows_of(lab.run("reasoning_gym", "tasks/dev", difficulty_from="num_terms", **settings)[""])
    assert [row["difficulty"] for row in rows] == [3.0] * 5 and {row["task"] for row in rows} == {"chain_sum"}
    with pytest.raises(DataError, match=r"is no number of 'chain_sum'\. Numbers: .*num_terms"):
        lab.run("reasoning_gym", "tasks/dev", difficulty_from="nothing.here", **settings)


def test_reasoning_gym_test_prompts_are_not_among_the_train_prompts(lab):
    # the task's own record of an item holds its place in the data set: the same question has many records
    settings = {
        "task": "chain_sum",
        "config": {"min_terms": 2, "max_terms": 2, "min_digits": 1, "max_digits": 1},
    }
    sets = {
        name: rows_of(lab.run("reasoning_gym", f"tasks/{name}", size=12, **settings)[""])
        for name in ("train", "test")
    }
    train, test = ({row["prompt"] for row in rows} for rows in sets.values())
    assert len(train) == len(test) == 12 and not train & test


def test_reasoning_gym_unknown_task_suggests_a_near_one(lab):
    with pytest.raises(DataError, match=r"no task 'chain_sums'\. Did you mean 'chain_sum'"):
        lab.run("reasoning_gym", "tasks/train", task="chain_sums", size=5)


def test_reasoning_gym_wrong_config_is_named(lab):
    with pytest.raises(DataError, match=r"'chain_sum' with config \{'terms': 3\}: TypeError.*'terms'"):
        lab.run("reasoning_gym", "tasks/train", task="chain_sum", config={"terms": 3}, size=5)


def test_reasoning_gym_seed_in_config_is_refused(lab):
    with pytest.raises(pydantic.ValidationError, match=r"seed in params\.yaml"):
        lab.parse("reasoning_gym", task="chain_sum", config={"seed": 3}, size=5)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-100, 100) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(st.integers() | st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(st.dictionaries(st.sampled_from(["question", "answer", "metadata"]), VALUES))
def test_entry_survives_json_with_tuples_and_keys(entry):
    assert entry_of(canonical_json(_tagged(entry))) == entry
