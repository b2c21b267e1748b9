"""Learning from turns: values of moves, pairs of turns that were given the same, and trainers that take them."""

from __future__ import annotations

from pathlib import Path
from statistics import mean
from typing import Any

import pytest

from lineal.engines.training.train import ModelShape, initialise
from lineal.recipe.compute import Compute
from tests.unit.lab import Lab, rows_of
from tests.unit.test_rollout import counting, ours  # noqa: F401
from tests.unit.tiny_models import put_model, weights

SHAPE = ModelShape(
    hidden_size=16,
    layers=1,
    heads=2,
    intermediate_size=32,
    rope_theta=1e4,
    tie_embeddings=True,
    characters="+-/0123cnotu \n",
    max_positions=64,
)


def played(tmp_path: Path, ours, **how: Any) -> tuple[Lab, dict[str, Any], Any]:  # noqa: F811
    ours("Counting")
    lab = Lab(tmp_path, Compute(workers=1))
    initialise(SHAPE, 0, lab.path / "model")
    model = put_model(lab, "start/checkpoint", lab.path / "model")
    tasks = lab.put(
        "tasks/train", [{**row, "prompt_id": f"g{goal}"} for goal in (1, 2) for row in counting(goal=goal)]
    )
    settings = {"template": "{observation}", "max_turns": 4, "max_tokens": 1, "episodes": 64, **how}
    return lab, lab.run("rollout", "round_01/played", {"model": model, "prompts": tasks}, **settings), model


def valued(lab: Lab, made: dict[str, Any]) -> Any:
    inputs = {"rows": made[""], "episodes": made["episodes"]}
    return lab.run("select", "round_01/valued", inputs, sql="turn_values")[""]


@pytest.mark.parametrize("history", ["all", 1])
def test_value_of_a_turn_is_the_mean_of_the_episodes_that_wrote_the_same_there(
    tmp_path: Path,
    ours,  # noqa: F811
    history,
) -> None:
    lab, made, _ = played(tmp_path, ours, history=history)
    scores = {row["sample_id"]: (row["score"], row["verdict"]) for row in rows_of(made["episodes"])}
    rows = rows_of(valued(lab, made))
    assert len(rows) == len(rows_of(made[""]))
    for row in rows:
        same = [
            scores[other["episode_id"]][0]
            for other in rows
            if (other["prompt_id"], other["prompt"], other["completion"])
            == (row["prompt_id"], row["prompt"], row["completion"])
        ]
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
        assert (
            row["prompt"] == better["prompt"] == worse["prompt"] and better["prompt_id"] == worse["prompt_id"]
        )
        assert (row["chosen"], row["rejected"]) == (better["completion"], worse["completion"])
        assert row["gap"] == pytest.approx(better["score"] - worse["score"]) and row["gap"] > 0.1
    first = next(row for row in found if row["prompt_id"] == "g1" and row["prompt"] == "0/1")
    assert first["chosen"] == "+" and first["gap"] > 0.5
    few = rows_of(lab.run("select", "round_01/few", {"rows": turns}, sql="turn_pairs", per_task=1)[""])
    assert {row["prompt_id"]: row["gap"] for row in few} == {
        task: max(row["gap"] for row in found if row["prompt_id"] == task)
        for task in {row["prompt_id"] for row in few}
    }
    settings = {"steps": 2, "threads": 1, "batch_size": 4, "learning_rate": 1e-2}
    preferred = lab.run("dpo", "round_01/preferred", {"init": model, "rows": pairs}, **settings)[""]
    labelled = lab.run(
        "select", "round_01/labelled", {"rows": turns}, sql="verdicts_as_labels", max_per_prompt=8
    )[""]
    assert {row["label"] for row in rows_of(labelled)} == {True, False}
    judged = lab.run("kto", "round_01/judged", {"init": model, "rows": labelled}, **settings)[""]
    assert len({weights(made.directory) for made in (model, preferred, judged)}) == 3


@pytest.mark.model
def test_conversations_are_paired_by_all_that_the_model_was_given(tmp_path: Path, ours) -> None:  # noqa: F811
    ours("Counting")
    lab = Lab(tmp_path, Compute(workers=1))

    def said(*texts: str) -> list[dict[str, str]]:
        return [
            {"role": role, "content": text}
            for role, text in zip(("user", "assistant", "user"), texts, strict=False)
        ]

    shared = {"prompt_id": "p", "prompt": "count", "parents": ["p"]}
    rows = [
        {**shared, "sample_id": name, "messages": said(*texts), "completion": text, "score": score}
        for name, texts, text, score in (
            ("a", ("0/2",), "+", 1.0),
            ("b", ("0/2",), "-", 0.0),
            ("c", ("0/2", "+", "1/2"), "+", 1.0),
            ("d", ("0/2", "-", "1/2"), "-", 0.0),
        )
    ]
    (pair,) = rows_of(
        lab.run("select", "round_01/pairs", {"rows": lab.put("round_01/turns", rows)}, sql="turn_pairs")[""]
    )
    assert pair["parents"] == ["a", "b"] and [turn["content"] for turn in pair["messages"]] == ["0/2"]


def turns_of(name: str, moves: str, seen: str, chat: bool = False) -> list[dict[str, Any]]:
    """An episode's turns, each given all before it: one letter of `moves` and of `seen` each, `seen` one longer."""
    rows = []
    for turn, move in enumerate(moves, 1):
        shown = [part for pair in zip(seen, moves, strict=False) for part in pair][: 2 * turn - 1]
        talk = [
            {"role": ("user", "assistant")[place % 2], "content": text} for place, text in enumerate(shown)
        ]
        given = {"prompt": "count", "messages": talk} if chat else {"prompt": "\n".join(shown)}
        own = {
            "sample_id": f"{name}{turn}",
            "episode_id": name,
            "turn": turn,
            "done": turn == len(moves),
            "past": f"{name} {turn}",
        }
        said = {
            "completion": move,
            "observation": seen[turn],
            "prompt_id": "p",
            "parents": ["p"],
            "task": "game",
        }
        rows.append({**own, **given, **said})
    return rows


@pytest.mark.parametrize("chat", [False, True])
def test_failed_episode_is_spliced_to_the_rest_of_the_one_it_left(tmp_path: Path, chat: bool) -> None:
    lab = Lab(tmp_path)
    turns = [
        *turns_of("good", "abc", "0123", chat=chat),
        *turns_of("late", "abx", "0128", chat=chat),  # leaves it at turn 3
        *turns_of("early", "yz", "075", chat=chat),  # leaves it at turn 1
    ]
    episodes = [
        {"sample_id": name, "parents": ["p"], "prompt_id": "p", "prompt": "count", "verdict": verdict}
        for name, verdict in (("good", "pass"), ("late", "fail"), ("early", "fail"))
    ]
    given = {"rows": lab.put("round_01/played", turns), "episodes": lab.put("round_01/episodes", episodes)}
    made = rows_of(lab.run("select", "round_01/spliced", given, sql="spliced_turns", revision="no: ")[""])
    by_parents = {tuple(row["parents"]): row for row in made}
    assert set(by_parents) == {
        ("late3", "good3"),
        ("early1", "good1"),
        ("early1", "good2"),
        ("early1", "good3"),
    }
    assert {parents: row["weight"] for parents, row in by_parents.items() if row["weight"] < 1} == {
        parents: pytest.approx(1 / 3) for parents in by_parents if parents[0] == "early1"
    }

    def shown(*parents: str) -> str:
        row = by_parents[parents]
        return (
            " ".join(turn["content"] for turn in row["messages"])
            if chat
            else row["prompt"].replace("\n", " ")
        )

    assert (
        shown("late3", "good3") == "0 a 1 b 2 x 8" and by_parents["late3", "good3"]["completion"] == "no: c"
    )
    assert shown("early1", "good1") == "0 y 7" and by_parents["early1", "good1"]["completion"] == "no: a"
    assert (
        shown("early1", "good3") == "0 y 7 no: a 1 b 2" and by_parents["early1", "good3"]["completion"] == "c"
    )
    if chat:
        roles = [turn["role"] for turn in by_parents["early1", "good3"]["messages"]]
        assert roles == ["user", "assistant"] * 3 + ["user"]
    few = rows_of(lab.run("select", "round_01/few", given, sql="spliced_turns", max_per_prompt=1)[""])
    assert len({row["parents"][0] for row in few}) == 1


@pytest.mark.parametrize("chat", [False, True])
def test_answers_of_an_environment_are_learnt_after_the_moves(tmp_path: Path, chat: bool) -> None:
    lab = Lab(tmp_path)
    turns = [{**row, "action": row["completion"]} for row in turns_of("good", "abc", "0123", chat=chat)]
    turns[2]["action"] = None if chat else "c"
    rows = lab.put("round_01/played", turns)
    made = rows_of(lab.run("select", "round_01/world", {"rows": rows}, sql="world_turns", history=2)[""])
    shown = [" ".join(turn["content"] for turn in row["messages"]) if chat else row["prompt"] for row in made]
    seen = {"0\na": "1", "0\na\n1\nb": "2", "b\n2\nc": "3"}
    expected = {"0\na": "1", "0\na 1 b": "2"} if chat else seen
    assert dict(zip(shown, (row["completion"] for row in made), strict=True)) == expected
    assert [row["parents"] for row in made] == [[f"good{turn}"] for turn in range(1, len(expected) + 1)]
    if chat:
        assert [turn["role"] for turn in made[1]["messages"]] == ["user", "assistant", "user"]
    past = lab.put("round_01/told", [{**row, "past": '{"goal": "count"}'} for row in turns])
    [task] = rows_of(lab.run("select", "round_01/tasks", {"rows": past}, sql="imagined_tasks", goal="3")[""])
    assert (task["prompt"], task["task"]) == ("count", "modelled")
    assert task["entry"] == '{"goal":"3","observation":"0"}'


def test_turns_of_a_game_of_two_count_by_the_mean_of_their_role(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    white = {"w1": 1.0, "w2": 1.0, "w3": -1.0, "w4": None}
    scores = {(name, "white"): score for name, score in white.items()}
    scores |= {
        (name.replace("w", "b"), "black"): -score for name, score in white.items() if score is not None
    }
    episodes = [
        {"sample_id": name, "parents": ["p"], "task": "game", "entry": "{}", "player": player, "score": score}
        for (name, player), score in scores.items()
    ]
    turns = [
        {**turn, "entry": "{}", "player": player}
        for name, player in scores
        for turn in turns_of(name, "ab", "012")
    ]
    given = {"rows": lab.put("round_01/played", turns), "episodes": lab.put("round_01/episodes", episodes)}
    made = lab.run("select", "round_01/moves", given, sql="role_advantage")
    found = {row["episode_id"]: row["weight"] for row in rows_of(made[""])}
    win, loss = pytest.approx(2 / 3), pytest.approx(-2 / 3)
    rare_win, rare_loss = pytest.approx(4 / 3), pytest.approx(-4 / 3)
    assert found == {"w1": win, "w2": win, "w3": rare_loss, "b1": loss, "b2": loss, "b3": rare_win}
    better = rows_of(lab.run("select", "round_01/better", given, sql="role_advantage", losses=False)[""])
    assert {row["episode_id"]: row["weight"] for row in better} == {
        name: found[name] for name in ("w1", "w2", "b3")
    }
    assert {row["reason"] for row in rows_of(made["dropped"])} == {"of no episode with a score"} and len(
        rows_of(made[""])
    ) == 12


def test_turns_are_drawn_from_groups_whose_returns_differ_beside_all_tasks(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    scores = {"even": (1.0, 1.0), "split": (0.0, 1.0), "near": (0.5, 0.6)}
    episodes = [
        {"sample_id": f"{origin}{place}", "parents": [origin, "last"], "score": score}
        for origin, pair in scores.items()
        for place, score in enumerate(pair)
    ]
    turns = [
        {**turn, "prompt_id": row["parents"][0], "entry": "{}"}
        for row in episodes
        for turn in turns_of(row["sample_id"], "abc", "0123")
    ]
    tasks = [
        {"prompt_id": origin, "prompt": f"task {origin}", "task": "game", "entry": "{}"} for origin in scores
    ]
    given = {
        "rows": lab.put("round_01/played", turns),
        "episodes": lab.put("round_01/episodes", episodes),
        "tasks": lab.put("tasks/train", tasks),
    }
    for count, drawn in ((1, {"split"}), (5, {"split", "near"})):
        made = rows_of(
            lab.run("select", f"round_0{count}/histories", given, sql="partial_episodes", count=count)[""]
        )
        inside = [row for row in made if row["past"] is not None]
        assert {row["prompt_id"] for row in inside} == drawn and len(inside) == len(drawn)
        assert all(row["past"] == f"{row['parents'][0][:-1]} {row['parents'][0][-1]}" for row in inside)
        assert all(row["parents"][0][-1] in "12" and row["task"] == "game" for row in inside), (
            "nothing follows a last turn"
        )
        assert {row["prompt"] for row in made if row["past"] is None} == {
            f"task {origin}" for origin in scores
        }
        assert len({row["sample_id"] for row in made}) == len(made)
