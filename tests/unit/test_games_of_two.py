"""Games of two: both sides are episodes, each with what it saw and what it got; nim and its expert."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import replace
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


def checkpoint(
    lab: Lab, name: str = "start/checkpoint", seed: int = 0, characters: str = SHAPE.characters
) -> Any:
    initialise(replace(SHAPE, characters=characters), seed, lab.path / name)
    return put_model(lab, name, lab.path / name)


def imagined(count: int, goal: str = "1") -> list[dict[str, Any]]:
    """Returns tasks of a modelled world."""
    return [
        {
            "prompt_id": f"p{i}",
            "prompt": "?",
            "task": "modelled",
            "entry": json.dumps({"goal": goal, "observation": str(i)}),
        }
        for i in range(count)
    ]


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


def test_modelled_world_is_always_the_opponent_and_answers_each_move(lab: Lab) -> None:
    given = {"prompts": lab.put("tasks/train", imagined(6)), "model": checkpoint(lab)}
    given["opponent"] = checkpoint(lab, "start/world", 1)
    made = lab.run("rollout", "round_01/dreamt", given, episodes=4, max_turns=12, **SEES)
    turns, episodes = rows_of(made[""]), rows_of(made["episodes"])
    assert {(row["seat"], row["player"]) for row in episodes} == {("model", "agent"), ("opponent", "world")}
    found = set()
    for episode in (row for row in episodes if row["seat"] == "model"):
        own = [row for row in turns if row["sample_index"] == episode["sample_index"]]
        own = [row for row in own if row["prompt_id"] == episode["prompt_id"]]
        moves = sorted((row for row in own if row["seat"] == "model"), key=lambda row: row["turn"])
        answers = sorted((row for row in own if row["seat"] == "opponent"), key=lambda row: row["turn"])
        first = [f"{moves[0]['prompt']}\n{moves[0]['action']}"]
        assert [row["prompt"] for row in answers] == first + [row["action"] for row in moves[1:]]
        assert [row["prompt"] for row in moves[1:]] == [row["action"] for row in answers[: len(moves) - 1]]
        won = "1" in answers[-1]["action"]
        assert (episode["verdict"] == "pass") == won == (episode["return"] == 1.0)
        found.add(won)
    assert found == {True, False}
    assert check_episodes(turns) == 24


def test_modelled_partner_in_a_conversation_ends_nothing(lab: Lab) -> None:
    rows = [{"prompt_id": "p", "prompt": "?", "task": "modelled", "entry": '{"observation": "hi"}'}]
    model = checkpoint(lab)
    given = {"prompts": lab.put("tasks/train", rows), "model": model, "opponent": model}
    episodes = rows_of(lab.run("rollout", "round_01/talk", given, max_turns=5, **SEES)["episodes"])
    assert [(row["turns"], row["finish_reason"]) for row in episodes] == [(5, "turn_limit")] * 2


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


@pytest.mark.parametrize("history", [1, 2, 3, "all"])
def test_turns_of_an_environment_are_learnt_after_what_a_modelled_world_is_shown(
    lab: Lab, history: int | str
) -> None:
    model = checkpoint(lab)
    given = {"prompts": lab.put("tasks/train", imagined(3, goal="")), "model": model, "opponent": model}
    settings = {**SEES, "history": history, "episodes": 30, "max_turns": 4}
    turns = rows_of(lab.run("rollout", "round_01/dreamt", given, **settings)[""])
    games = defaultdict(list)
    for row in turns:
        games[row["prompt_id"], row["sample_index"]].append(row)
    spoken = [
        game for game in games.values() if all(row["completion"] == row["action"] != "" for row in game)
    ]
    sides = {
        seat: [row for game in spoken for row in game if row["seat"] == seat]
        for seat in ("model", "opponent")
    }
    moves = [{**row, "seed": 0} for row in sides["model"]]
    rows = lab.put("round_01/moves", moves)
    shown = {"history": history} if isinstance(history, int) else {}
    learnt = rows_of(lab.run("select", "round_01/world", {"rows": rows}, sql="world_turns", **shown)[""])
    answered = {(row["prompt_id"], row["prompt"], row["action"]) for row in sides["opponent"]}
    assert {(row["prompt_id"], row["prompt"], row["completion"]) for row in learnt} == answered
    assert len(learnt) > 9


def test_tasks_of_a_modelled_world_begin_where_episodes_began(lab: Lab) -> None:
    tasks = lab.run("environment_tasks", "tasks/train", {}, environment="grid_maze", level=[3, 5], size=4)[""]
    played = {"prompts": tasks, "model": checkpoint(lab, characters="LRUD#. 0123456789\n")}
    turns = lab.run("rollout", "round_01/played", played, episodes=2, max_turns=3, **SEES)[""]
    made = lab.run("select", "round_01/imagined", {"rows": turns}, sql="imagined_tasks", goal="R0D0")[""]
    first = {row["prompt"] for row in rows_of(turns) if row["turn"] == 1}
    entries = [json.loads(row["entry"]) for row in rows_of(made)]
    assert {(entry["observation"], entry["goal"]) for entry in entries} == {(text, "R0D0") for text in first}
    assert {row["prompt"] for row in rows_of(made)} == {row["prompt"] for row in rows_of(tasks)}
    dreamt = {**played, "prompts": made, "opponent": played["model"]}
    again = rows_of(lab.run("rollout", "round_01/dreamt", dreamt, max_turns=3, **SEES)[""])
    assert {row["prompt"] for row in again if row["turn"] == 1 and row["seat"] == "model"} == first
