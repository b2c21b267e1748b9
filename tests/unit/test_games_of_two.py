"""Games of two: both sides are episodes, each with what it saw and what it got; nim and its expert."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from lineal.engines.training.train import ModelShape, initialise
from lineal.environments.nim import allowed, best_move
from lineal.errors import DataError
from lineal.recipe.compute import Compute
from lineal.testing.environment import check_episodes
from tests.unit.lab import Lab, evaluated, rows_of
from tests.unit.test_rollout import counting, ours  # noqa: F401
from tests.unit.tiny_models import put_model

SHAPE = ModelShape(
    hidden_size=16,
    layers=1,
    heads=2,
    intermediate_size=32,
    rope_theta=1e4,
    tie_embeddings=True,
    characters="+- abcehiklntw0123456789\n",
    max_positions=96,
)
SEES: dict[str, Any] = {"template": "{observation}", "history": 1, "max_tokens": 1}


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path, Compute(workers=2))


def checkpoint(lab: Lab, name: str = "start/checkpoint", seed: int = 0) -> Any:
    initialise(SHAPE, seed, lab.path / name)
    return put_model(lab, name, lab.path / name)


@pytest.mark.parametrize(("heaps", "most"), [([9], 3), ([3, 5], 3), ([2, 3, 4], 2)])
def test_expert_of_nim_wins_wherever_winning_is_possible(heaps: list[int], most: int) -> None:
    def wins(state: tuple[int, ...]) -> bool:
        return any(not wins(after(state, move)) for move in allowed(state, most))

    def after(state: tuple[int, ...], move: tuple[int, int]) -> tuple[int, ...]:
        return tuple(stones - move[1] * (place == move[0]) for place, stones in enumerate(state))

    states = [tuple(heaps)]
    for state in states:
        following = [after(state, move) for move in allowed(state, most)]
        states += [one for one in following if one not in states]
        if following:
            assert wins(state) == (not wins(after(state, best_move(state, most)))), state


def test_sides_see_their_own_turns_and_get_their_own_rewards(lab: Lab, ours) -> None:  # noqa: F811
    ours("Two")
    tasks, model = lab.put("tasks/train", counting(goal=2, count=4)), checkpoint(lab)
    given = {"prompts": tasks, "model": model, "opponent": checkpoint(lab, "start/other", 1)}
    made = lab.run("rollout", "round_01/played", given, episodes=2, max_turns=30, **SEES)
    turns, episodes = rows_of(made[""]), rows_of(made["episodes"])
    assert (
        len(episodes) == 4 * 2 * 2
        and len({row["sample_id"] for row in (*turns, *episodes)}) == len(turns) + 16
    )
    assert [row["seat"] for row in episodes] == ["model", "opponent"] * 8
    for model_side, other in zip(episodes[::2], episodes[1::2], strict=True):
        assert (model_side["checkpoint"], other["checkpoint"]) == (model.digest, given["opponent"].digest)
        assert (model_side["player"] == "white") == (model_side["sample_index"] == 0), (
            "they take turns to begin"
        )
        assert model_side["return"] == -other["return"] and {model_side["verdict"], other["verdict"]} in (
            {"pass", "fail"},
            {"fail"},
        )
        assert (
            (model_side["finish_reason"] == "done")
            == (other["finish_reason"] == "done")
            == (model_side["return"] != 0)
        )
    assert {row["verdict"] for row in episodes} == {"pass", "fail"}
    of = defaultdict(list)
    for row in turns:
        of[row["episode_id"]].append(row)
    for row in episodes:
        own = of[row["sample_id"]]
        assert sum(turn["reward"] for turn in own) == row["return"] if own else row["return"] <= 0
        for turn in own:
            assert turn["player"] == row["player"] and turn["prompt"].startswith(row["player"])
        for before, after in zip(own[:-1], own[1:], strict=True):
            assert before["observation"] == after["prompt"], "what it sees next is what followed its move"
    assert len({row["seed"] for row in turns}) == len(turns)


def test_same_bytes_of_games_of_two_whatever_the_batch_and_the_workers(lab: Lab, ours) -> None:  # noqa: F811
    ours("Two")
    model, found = checkpoint(lab), set()
    given = {"prompts": lab.put("tasks/train", counting(goal=2, count=5)), "model": model, "opponent": model}
    for compute in (Compute(workers=1), Compute(workers=3, shard_rows=1, batch_size=1)):
        lab.compute = compute
        made = lab.run("rollout", "round_01/played", given, episodes=3, max_turns=5, **SEES)
        found.add((made[""].digest, made["episodes"].digest))
    assert len(found) == 1


def test_success_in_games_of_two_is_that_of_the_model_alone(lab: Lab, ours) -> None:  # noqa: F811
    ours("Two")
    model = checkpoint(lab)
    given = {"prompts": lab.put("tasks/train", counting(goal=2, count=6)), "model": model, "opponent": model}
    made = lab.run(
        "success_rate", "round_01/evaluation", given, episodes=2, temperature=1.0, max_turns=30, **SEES
    )
    rows = rows_of(made[""])
    assert len(rows) == 12 and {row["seat"] for row in rows} == {"model"}
    assert evaluated(made[""])["success_rate"] == pytest.approx(
        sum(row["verdict"] == "pass" for row in rows) / 12
    )


def test_game_of_two_needs_an_opponent_and_one_of_one_has_none(lab: Lab, ours) -> None:  # noqa: F811
    model = checkpoint(lab)
    nim = lab.run("environment_tasks", "tasks/train", {}, environment="nim", level=[3, 6], size=3)[""]
    settings = {"max_turns": 9, "max_error_rate": 1.0, **SEES}
    made = lab.run("rollout", "round_01/played", {"prompts": nim, "model": model}, **settings)
    assert all(row["detail"].startswith("it is a game of two. Name who") for row in rows_of(made["episodes"]))
    ours("Counting")
    alone = {"prompts": lab.put("tasks/train", counting()), "model": model, "opponent": model}
    made = lab.run("rollout", "round_01/played", alone, **settings)
    assert {row["detail"] for row in rows_of(made["episodes"])} == {
        "it is no game of two: its environment names no player. Leave opponent out"
    }


def test_stored_games_of_two_are_played_again_from_both_sides(lab: Lab, ours) -> None:  # noqa: F811
    ours("Two")
    model = checkpoint(lab)
    given = {"prompts": lab.put("tasks/train", counting(goal=2, count=4)), "model": model, "opponent": model}
    turns = rows_of(lab.run("rollout", "round_01/played", given, episodes=3, max_turns=6, **SEES)[""])
    assert check_episodes(turns) == 4 * 3
    unanswered = [row for row in turns if row["action"] is not None and row["observation"] == ""]
    assert unanswered and all(row["done"] and row["reward"] == 0 for row in unanswered), (
        "the other side had its last turn"
    )
    answered = next(row for row in turns if row["seat"] == "opponent" and row["observation"])
    for changed in (answered, unanswered[0]):
        wrong = [{**row, "reward": 0.5} if row is changed else row for row in turns]
        told = rf"^episode {changed['episode_id']}, turn {changed['turn']}: stored reward 0.5, now 0.0"
        with pytest.raises(AssertionError, match=told):
            check_episodes(wrong)
    with pytest.raises(
        DataError, match="is one side of a game of two, and '(white|black)', the other one, has no turns"
    ):
        check_episodes([row for row in turns if row["seat"] == "model"])


def test_game_of_two_is_not_taken_up_inside(lab: Lab) -> None:
    model = checkpoint(lab)
    nim = lab.run("environment_tasks", "tasks/train", {}, environment="nim", level=[3, 6], size=2)[""]
    given = {"prompts": nim, "model": model, "opponent": model}
    turns = lab.run("rollout", "round_01/played", given, max_turns=9, **SEES)[""]
    with pytest.raises(DataError, match="a game of two cannot be taken up inside"):
        lab.run("rollout", "round_01/again", {**given, "prompts": turns}, max_turns=9, **SEES)


def test_opponent_of_the_games_own_makes_it_a_game_of_one(lab: Lab) -> None:
    entry = {"opponent": "random"}
    tasks = lab.run(
        "environment_tasks", "tasks/train", {}, environment="nim", level=[5, 15], size=40, entry=entry
    )[""]
    assert all(json.loads(row["entry"])["opponent"] == "random" for row in rows_of(tasks))
    made = lab.run("demonstrations", "start/shown", {"prompts": tasks}, max_turns=20)
    won = [row["verdict"] == "pass" for row in rows_of(made["episodes"])]
    assert sum(won) >= 36, "an expert loses to chance only where it must"
    best = {"entry": {"opponent": "expert"}, "split": "train"}
    expert = lab.run(
        "environment_tasks", "tasks/hard", {}, environment="nim", level=[5, 15], size=12, **best
    )[""]
    made = lab.run("demonstrations", "start/hard", {"prompts": expert}, max_turns=20)
    for row in rows_of(made["episodes"]):
        heaps = json.loads(row["entry"])["heaps"]
        assert (row["verdict"] == "pass") == (
            len({stones % 4 for stones in (*heaps, *[0][len(heaps) - 1 :])}) > 1
        )
