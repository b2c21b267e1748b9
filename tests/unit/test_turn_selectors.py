"""Learning from turns: values of moves, pairs of turns that were given the same, and trainers that take them."""

from __future__ import annotations

from pathlib import Path
from statistics import mean
from typing import Any

import pytest

from lineal.engines.training import ModelShape, initialise
from lineal.recipe.compute import Compute
from tests.unit.lab import Lab, rows_of
from tests.unit.test_rollout import counting, ours  # noqa: F401
from tests.unit.tiny_models import put_model, weights

SHAPE = ModelShape(
    hidden_size=16, layers=1, heads=2, intermediate_size=32, rope_theta=1e4, tie_embeddings=True,
    characters="+-/0123cnotu \n", max_positions=64,
)  # fmt: skip


def played(tmp_path: Path, ours, **how: Any) -> tuple[Lab, dict[str, Any], Any]:  # noqa: F811
    ours("Counting")
    lab = Lab(tmp_path, Compute(workers=1))
    initialise(SHAPE, 0, lab.path / "model")
    model = put_model(lab, "start/checkpoint", lab.path / "model")
    tasks = lab.put("tasks/train", [{**row, "prompt_id": f"g{goal}"} for goal in (1, 2) for row in counting(goal=goal)])
    settings = {"template": "{observation}", "max_turns": 4, "max_tokens": 1, "episodes": 64, **how}
    return lab, lab.run("rollout", "round_01/played", {"model": model, "prompts": tasks}, **settings), model


def valued(lab: Lab, made: dict[str, Any]) -> Any:
    inputs = {"rows": made[""], "episodes": made["episodes"]}
    return lab.run("select", "round_01/valued", inputs, sql="turn_values")[""]


@pytest.mark.parametrize("history", ["all", 1])
def test_value_of_a_turn_is_the_mean_of_the_episodes_that_wrote_the_same_there(tmp_path: Path, ours, history) -> None:  # noqa: F811
    lab, made, _ = played(tmp_path, ours, history=history)
    scores = {row["sample_id"]: (row["score"], row["verdict"]) for row in rows_of(made["episodes"])}
    rows = rows_of(valued(lab, made))
    assert len(rows) == len(rows_of(made[""]))
    for row in rows:
        same = [
            scores[other["episode_id"]][0] for other in rows
            if (other["prompt_id"], other["prompt"], other["completion"]) == (row["prompt_id"], row["prompt"], row["completion"])
        ]  # fmt: skip
        assert row["score"] == pytest.approx(mean(same)) and row["verdict"] == scores[row["episode_id"]][1]


@pytest.mark.model
def test_pairs_of_turns_with_an_equal_past_teach_dpo_and_turns_teach_kto(tmp_path: Path, ours) -> None:  # noqa: F811
    lab, made, model = played(tmp_path, ours)
    turns = valued(lab, made)
    pairs = lab.run("select", "round_01/pairs", {"rows": turns}, sql="turn_pairs", min_gap=0.1)[""]
    by_id, found = {row["sample_id"]: row for row in rows_of(turns)}, rows_of(pairs)
    assert found and len({(row["prompt_id"], row["prompt"]) for row in found}) == len(found)
    for row in found:
        better, worse = (by_id[parent] for parent in row["parents"])
        assert row["prompt"] == better["prompt"] == worse["prompt"] and better["prompt_id"] == worse["prompt_id"]
        assert (row["chosen"], row["rejected"]) == (better["completion"], worse["completion"])
        assert row["gap"] == pytest.approx(better["score"] - worse["score"]) and row["gap"] > 0.1
    first = next(row for row in found if row["prompt_id"] == "g1" and row["prompt"] == "0/1")
    assert first["chosen"] == "+" and first["gap"] > 0.5
    few = rows_of(lab.run("select", "round_01/few", {"rows": turns}, sql="turn_pairs", per_task=1)[""])
    assert {row["prompt_id"]: row["gap"] for row in few} == {
        task: max(row["gap"] for row in found if row["prompt_id"] == task) for task in {row["prompt_id"] for row in few}
    }
    settings = {"steps": 2, "threads": 1, "batch_size": 4, "learning_rate": 1e-2}
    preferred = lab.run("dpo", "round_01/preferred", {"init": model, "rows": pairs}, **settings)[""]
    labelled = lab.run("select", "round_01/labelled", {"rows": turns}, sql="verdicts_as_labels", max_per_prompt=8)[""]
    assert {row["label"] for row in rows_of(labelled)} == {True, False}
    judged = lab.run("kto", "round_01/judged", {"init": model, "rows": labelled}, **settings)[""]
    assert len({weights(made.directory) for made in (model, preferred, judged)}) == 3


@pytest.mark.model
def test_conversations_are_paired_by_all_that_the_model_was_given(tmp_path: Path, ours) -> None:  # noqa: F811
    ours("Counting")
    lab = Lab(tmp_path, Compute(workers=1))

    def said(*texts: str) -> list[dict[str, str]]:
        return [{"role": role, "content": text} for role, text in zip(("user", "assistant", "user"), texts, strict=False)]

    shared = {"prompt_id": "p", "prompt": "count", "parents": ["p"]}
    rows = [
        {**shared, "sample_id": name, "messages": said(*texts), "completion": text, "score": score}
        for name, texts, text, score in (
            ("a", ("0/2",), "+", 1.0), ("b", ("0/2",), "-", 0.0), ("c", ("0/2", "+", "1/2"), "+", 1.0),
            ("d", ("0/2", "-", "1/2"), "-", 0.0),
        )
    ]  # fmt: skip
    (pair,) = rows_of(lab.run("select", "round_01/pairs", {"rows": lab.put("round_01/turns", rows)}, sql="turn_pairs")[""])
    assert pair["parents"] == ["a", "b"] and [turn["content"] for turn in pair["messages"]] == ["0/2"]
