"""`rollout` and `demonstrations`: turns and episodes as rows, whatever the batch, the workers, the kills and the environment."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from lineal.components.trainers.pretrain import PRINTABLE
from lineal.data.store import Rows, open_artifact
from lineal.engines.training.train import ModelShape, initialise
from lineal.environments.registry import NEEDS
from lineal.errors import CheckFailure, DataError
from lineal.recipe.compute import Compute
from lineal.testing.environment import check_episodes
from tests.unit.lab import Lab, evaluated, rows_of
from tests.unit.tiny_models import put_model

SHAPE = ModelShape(
    hidden_size=32,
    layers=2,
    heads=2,
    intermediate_size=64,
    rope_theta=1e4,
    tie_embeddings=True,
    characters=f"{PRINTABLE}\n",
    max_positions=96,
)
SEES = {"template": "{observation}", "history": 1}


def counting(goal: int = 3, count: int = 1, **row: object) -> list[dict[str, object]]:
    return [
        {
            "prompt_id": f"p{place}",
            "prompt": f"count to {goal}",
            "task": "grid_maze",
            "difficulty": float(goal),
            "entry": json.dumps({"goal": goal, **row}),
        }
        for place in range(count)
    ]


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path, Compute(workers=2))


@pytest.fixture
def ours(monkeypatch: pytest.MonkeyPatch):
    """Has the name `grid_maze` stand for one of the tests' environments."""

    def use(name: str) -> None:
        from lineal.environments.registry import BUILT_IN

        monkeypatch.setitem(BUILT_IN, "grid_maze", f"tests.unit.environments_of_ours:{name}")

    return use


def model(lab: Lab):
    initialise(SHAPE, 0, lab.path / "model")
    return put_model(lab, "start/checkpoint", lab.path / "model")


def mazes(lab: Lab, size: int = 6):
    return lab.run("environment_tasks", "tasks/train", {}, environment="grid_maze", level=[1, 2], size=size)[
        ""
    ]


def test_every_turn_and_every_episode_is_a_row_with_its_parents(lab: Lab):
    tasks = mazes(lab)
    made = lab.run(
        "rollout",
        "round_01/played",
        {"model": model(lab), "prompts": tasks},
        episodes=3,
        max_turns=8,
        max_tokens=1,
        **SEES,
    )
    turns, episodes, prompts = (
        rows_of(made[""]),
        rows_of(made["episodes"]),
        {row["prompt_id"] for row in rows_of(tasks)},
    )
    assert lab.counts["episodes"] == len(episodes) == 18 and lab.counts["out"] == len(turns)
    by_id, of = {row["sample_id"]: row for row in turns}, Counter(row["episode_id"] for row in turns)
    assert len(by_id) == len(turns) and all(of[row["sample_id"]] == row["turns"] for row in episodes)
    for row in turns:
        (parent,) = row["parents"]
        if row["turn"] == 1:
            assert parent in prompts
        else:
            assert by_id[parent]["turn"] == row["turn"] - 1
            assert (
                by_id[parent]["episode_id"] == row["episode_id"]
                and by_id[parent]["observation"] == row["prompt"]
            )
        assert row["weight"] == 1 / of[row["episode_id"]] and row["done"] == (
            row["turn"] == of[row["episode_id"]]
        )
    for row in episodes:
        start, last = row["parents"]
        assert (
            start == row["prompt_id"]
            and by_id[last]["done"]
            and by_id[last]["episode_id"] == row["sample_id"]
        )
        own = [turn for turn in turns if turn["episode_id"] == row["sample_id"]]
        assert row["return"] == sum(turn["reward"] for turn in own) == row["score"]
        assert (row["verdict"], row["finish_reason"]) == (
            ("pass", "done") if row["return"] else ("fail", "turn_limit")
        )
        assert row["invalid_actions"] == sum(turn["invalid"] is not None for turn in own)
        shown = [row["prompt"], *(text for turn in own for text in (turn["completion"], turn["observation"]))]
        assert (
            "\n".join(shown) == f"{row['prompt']}\n{row['completion']}" and own[0]["prompt"] == row["prompt"]
        )
    assert len({row["seed"] for row in turns}) == len(turns)


def test_same_bytes_for_1_and_64_episodes_at_a_time_and_1_and_4_workers(lab: Lab):
    given = {"model": model(lab), "prompts": mazes(lab, 16)}
    found = set()
    for compute in (
        Compute(workers=1),
        Compute(workers=4, shard_rows=1, batch_size=1),
        Compute(workers=3, shard_rows=7),
    ):
        lab.compute = compute
        made = lab.run("rollout", "round_01/played", given, episodes=4, max_turns=5, max_tokens=1, **SEES)
        found.add((made[""].digest, made["episodes"].digest))
    assert len(found) == 1


KILLED = """
import sys
from pathlib import Path
from lineal.components.registry import Registry
from lineal.components.base import Surroundings
from lineal.data.store import Rows, open_artifact
from lineal.data.workspace import Workspace
from lineal.environments.registry import BUILT_IN
from lineal.recipe.compute import Compute
BUILT_IN["grid_maze"] = "tests.unit.environments_of_ours:Slow"
path = Path(sys.argv[1])
inputs = {"model": (open_artifact("p/start/checkpoint", path / "artifacts/p/start/checkpoint"),),
          "prompts": (open_artifact("p/tasks/train", path / "artifacts/p/tasks/train"),)}
settings = {"use": "rollout", "model": "m", "prompts": "p", "episodes": 4, "max_turns": 8, "max_tokens": 1}
component = Registry().find("rollout").parse(settings, Surroundings(path, path / "pipelines"))
step = Workspace(path, "round_01/played", 1, 0, Compute(workers=2), inputs, path / "partial")
(path / "partial").mkdir(exist_ok=True)
component.run(step)
(path / "facts").write_text(str(step.facts.get("resumed_completions", 0)))
"""


def test_killed_rollout_goes_on_inside_its_episodes_and_samples_no_turn_twice(lab: Lab, ours):
    ours("Slow")
    put = lab.put("tasks/train", counting(goal=4, count=5))
    given = {"model": model(lab), "prompts": put}
    whole = lab.run("rollout", "round_01/played", given, episodes=4, max_turns=8, max_tokens=1)
    journal = lab.path / "partial" / "unsaved" / "model.jsonl"
    command = [sys.executable, "-c", KILLED, str(lab.path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    process = subprocess.Popen(command, env=environment, start_new_session=True)
    deadline = time.monotonic() + 120
    while not (journal.exists() and journal.read_bytes().count(b"\n") >= 40) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    saved = journal.read_bytes().count(b"\n")
    assert 40 <= saved < 160
    subprocess.run(command, env=environment, check=True)
    assert int((lab.path / "facts").read_text()) == saved
    for output, name in (("main", ""), ("episodes", "episodes")):
        again, first = (
            sorted(path.glob("*.parquet"))
            for path in (lab.path / "partial" / "out" / output, whole[name].directory)
        )
        assert [path.read_bytes() for path in again] == [path.read_bytes() for path in first]


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("raises", "move 2: ValueError: the board is on fire"),
        ("hangs", "move 2: timed out after 0.5 s"),
        ("leaks", "move 2: MemoryError"),
        ("dies", "move 2: its process died .exit status 7."),
        ("exits", "move 2: its process died .exit status 3."),
        ("forks", "move 2: PermissionError: a process that works on rows may not do this: os.fork"),
        ("bytes", "move 2: TypeError: step gave b'2/3' .a bytes. as the observation, expected a text"),
        ("nan", "move 2: TypeError: step gave the reward nan"),
        (
            "four",
            "move 2: TypeError: step gave .* expected .observation, reward, terminated, truncated, info.",
        ),
    ],
)
def test_broken_environment_is_an_error_with_its_reason_and_costs_no_other_game(
    lab: Lab, ours, how: str, said: str
):
    ours("Bad")
    good = counting(count=3, how="prints")
    bad = [{**row, "prompt_id": "bad"} for row in counting(how=how)]
    tasks = lab.put("tasks/train", [*good[:2], *bad, good[2]])
    made = lab.run(
        "demonstrations", "round_01/shown", {"prompts": tasks}, max_turns=9, timeout=0.5, max_error_rate=0.25
    )
    episodes = {row["prompt_id"]: row for row in rows_of(made["episodes"])}
    broken = episodes["bad"]
    assert re.search(said, broken["detail"]), broken["detail"]
    assert (broken["verdict"], broken["score"], broken["finish_reason"]) == (
        "error",
        None,
        "environment_error",
    )
    assert [episodes[f"p{place}"]["verdict"] for place in range(3)] == ["pass"] * 3
    assert lab.counts["error"] == 1 and lab.counts["pass"] == 3
    with pytest.raises(
        CheckFailure, match="the environment broke in 1 of 4 episodes, above max_error_rate 0.05"
    ):
        lab.run("demonstrations", "round_01/shown", {"prompts": tasks}, max_turns=9, timeout=0.5)


def test_environment_that_breaks_at_once_has_an_episode_without_turns(lab: Lab, ours):
    ours("Bad")
    tasks = lab.put("tasks/train", counting(how="raises", at="reset"))
    made = lab.run("demonstrations", "round_01/shown", {"prompts": tasks}, max_turns=9, max_error_rate=1.0)
    (episode,) = rows_of(made["episodes"])
    assert rows_of(made[""]) == [] and episode["turns"] == 0 and episode["parents"] == ["p0"]
    assert episode["detail"] == "reset: ValueError: the board is on fire"


def test_environment_that_is_not_deterministic_is_told_with_the_turn_when_it_is_played_again(lab: Lab, ours):
    ours("ByTimeAndDies")
    lab.compute = Compute(workers=1)
    tasks = lab.put(
        "tasks/train",
        [*counting(count=1, dies=False, goal=6), {**counting(dies=True)[0], "prompt_id": "bad"}],
    )
    made = lab.run("demonstrations", "round_01/shown", {"prompts": tasks}, max_turns=9, max_error_rate=1.0)
    said = {row["prompt_id"]: row["detail"] for row in rows_of(made["episodes"])}
    assert said["p0"].startswith("the environment is not deterministic: move 2 gave observation '2/6 ")


def test_rollout_begins_behind_a_turn_and_its_seeds_differ_by_where_it_began(lab: Lab, ours):
    ours("Dice")
    shown = lab.run(
        "demonstrations", "start/shown", {"prompts": lab.put("tasks/train", counting(goal=4))}, max_turns=9
    )
    turns = rows_of(shown[""])
    assert [row["completion"] for row in turns] == ["+"] * 4
    chosen = lab.put("round_01/chosen", Rows((shown[""],)).read().slice(0, 3))
    made = lab.run(
        "rollout",
        "round_01/played",
        {"model": model(lab), "prompts": chosen},
        episodes=2,
        max_turns=6,
        max_tokens=1,
    )
    played, episodes = rows_of(made[""]), rows_of(made["episodes"])
    assert [row["parents"][0] for row in episodes] == [
        row["sample_id"] for row in turns[:3] for _ in range(2)
    ]
    first = [row for row in played if row["parents"][0] in {turn["sample_id"] for turn in turns}]
    assert [row["turn"] for row in first] == [2, 2, 3, 3, 4, 4]
    for row in first:
        before = next(turn for turn in turns if turn["sample_id"] == row["parents"][0])
        assert row["prompt"] == f"{before['prompt']}\n+\n{before['observation']}", (
            "the dice fall as they fell"
        )
    assert len({row["seed"] for row in first}) == 6
    again = lab.run("demonstrations", "round_01/on", {"prompts": chosen}, max_turns=9)
    assert [row["return"] for row in rows_of(again["episodes"])] == [1.0] * 3
    ends = [row["observation"] for row in rows_of(again[""]) if row["done"]]
    assert ends == [turns[-1]["observation"]] * 3


def test_episode_that_fills_the_window_ends_with_that_reason(lab: Lab, ours):
    ours("Counting")
    tasks = lab.put("tasks/train", counting(goal=9))
    made = lab.run(
        "rollout",
        "round_01/played",
        {"model": model(lab), "prompts": tasks},
        max_turns=99,
        max_tokens=1,
        template="{observation}",
    )
    (episode,) = rows_of(made["episodes"])
    last = rows_of(made[""])[-1]
    assert (episode["finish_reason"], episode["verdict"]) == ("context", "fail") and 15 < episode[
        "turns"
    ] < 30
    assert (
        len(last["prompt"]) <= 95 < len(f"{last['prompt']}\n{last['completion']}\n{last['observation']}") + 1
    )


def test_moves_that_cannot_be_read_are_answered_or_end_the_episode(lab: Lab, ours):
    ours("Counting")
    given = {"model": model(lab), "prompts": lab.put("tasks/train", counting(goal=9, count=4))}
    ends = lab.run("rollout", "round_01/played", given, max_turns=9, max_tokens=1, unparsable="end", **SEES)
    for row in rows_of(ends["episodes"]):
        assert (row["finish_reason"], row["invalid_actions"]) in (("unparsable", 1), ("turn_limit", 0))
    goes_on = lab.run("rollout", "round_01/played", given, max_turns=9, max_tokens=1, format="tag", **SEES)
    turns = rows_of(goes_on[""])
    assert len(turns) == 36 and all(
        row["action"] is None and row["invalid"].startswith("No action found") for row in turns
    )
    assert {row["observation"] for row in turns} == {"No action found: write it as <action>...</action>."}


def test_conversation_grows_by_turns_and_the_model_sees_the_last_ones(lab: Lab, ours):
    ours("Counting")
    tasks = lab.put("tasks/train", counting(goal=4))
    made = lab.run(
        "demonstrations",
        "round_01/shown",
        {"prompts": tasks},
        max_turns=9,
        chat=True,
        history=2,
        format="tag",
        system="Play.",
    )
    last, (episode,) = rows_of(made[""])[-1], rows_of(made["episodes"])
    assert [(turn["role"], turn["content"]) for turn in last["messages"]] == [
        ("system", "Play."),
        ("user", "count to 4\n2/4"),
        ("assistant", "<action>+</action>"),
        ("user", "3/4"),
    ]
    assert (last["prompt"], last["action"]) == ("count to 4", "+")
    assert [turn["content"] for turn in episode["messages"]] == [
        "Play.",
        "count to 4\n0/4",
        "<action>+</action>",
        "1/4",
        "<action>+</action>",
        "2/4",
        "<action>+</action>",
        "3/4",
        "<action>+</action>",
    ]


def test_task_of_an_unknown_environment_is_told_before_anything_is_played(lab: Lab):
    tasks = lab.put("tasks/train", [{**counting()[0], "task": "grid_mase"}])
    with pytest.raises(
        DataError, match="'task' of p/tasks/train names an unknown environment 'grid_mase'. Did you"
    ):
        lab.run("demonstrations", "round_01/shown", {"prompts": tasks}, max_turns=9)
    with pytest.raises(ValueError, match="template: must hold {observation}"):
        lab.parse("demonstrations", {"prompts": tasks}, max_turns=9, template="{prompt}")
    with pytest.raises(ValueError, match="temperature 0 would give equal completions"):
        lab.parse("rollout", {"prompts": tasks, "model": tasks}, max_turns=9, episodes=2, temperature=0.0)
    assert open_artifact("p/tasks/train", tasks.directory).digest == tasks.digest


def test_success_rate_is_that_of_its_episodes_by_level_and_errors_count_nowhere(lab: Lab, ours):
    tasks = mazes(lab, 12)
    given = {"model": model(lab), "prompts": tasks}
    made = lab.run(
        "success_rate",
        "round_01/evaluation",
        given,
        episodes=4,
        temperature=1.0,
        max_turns=20,
        max_tokens=1,
        **SEES,
    )
    rows, found = rows_of(made[""]), evaluated(made[""])
    wins = [row["verdict"] == "pass" for row in rows]
    assert len(rows) == 48 and 0 < sum(wins) < 48 and found["success_rate"] == pytest.approx(sum(wins) / 48)
    assert found["low"] < found["success_rate"] < found["high"] and found["count"] == 12
    assert found["invalid"] == pytest.approx(
        sum(row["invalid_actions"] for row in rows) / sum(row["turns"] for row in rows)
    )
    for level, part in found["by_difficulty"].items():
        own = [row for row in rows if row["difficulty"] == float(level)]
        assert part["turns"] == pytest.approx(sum(row["turns"] for row in own) / len(own))
        assert part["return"] == pytest.approx(sum(row["return"] for row in own) / len(own))
    ours("Bad")
    broken = lab.put(
        "tasks/test",
        [*counting(how="no", count=2), {**counting(how="raises", at="reset")[0], "prompt_id": "bad"}],
    )
    settings = {"max_turns": 4, "max_tokens": 1, "max_error_rate": 0.5}
    found = evaluated(
        lab.run("success_rate", "round_01/evaluation", {**given, "prompts": broken}, **settings)[""]
    )
    assert (found["count"], found["errors"]) == (2, 1)


def test_turns_of_the_shortest_successful_episodes_are_chosen_with_their_weights(lab: Lab):
    made = lab.run(
        "rollout",
        "round_01/played",
        {"model": model(lab), "prompts": mazes(lab)},
        episodes=16,
        max_turns=20,
        max_tokens=1,
        **SEES,
    )
    kept = lab.run(
        "select", "round_01/kept", {"rows": made["episodes"]}, sql="successful_episodes", max_per_prompt=1
    )
    chosen = {row["sample_id"]: row for row in rows_of(kept[""])}
    won = [row for row in rows_of(made["episodes"]) if row["verdict"] == "pass"]
    assert len(chosen) == len({row["prompt_id"] for row in won}) > 0
    for row in chosen.values():
        assert row["turns"] == min(other["turns"] for other in won if other["prompt_id"] == row["prompt_id"])
    inputs = {"rows": made[""], "episodes": kept[""]}
    every = rows_of(lab.run("select", "round_01/turns", inputs, sql="turns_of_episodes", readable=False)[""])
    assert len(every) == sum(row["turns"] for row in chosen.values())
    assert all(row["weight"] == 1 / chosen[row["episode_id"]]["turns"] for row in every)
    readable = rows_of(lab.run("select", "round_01/turns", inputs, sql="turns_of_episodes")[""])
    assert [row["sample_id"] for row in readable] == [
        row["sample_id"] for row in every if row["invalid"] is None
    ]


@pytest.mark.model
def test_whole_conversations_are_learnt_and_a_chat_model_plays(lab: Lab, ours):
    from tests.unit.chat_models import chat_model

    ours("Counting")
    tasks = lab.put("tasks/train", counting(goal=2, count=3))
    shown = lab.run("demonstrations", "start/shown", {"prompts": tasks}, max_turns=4, chat=True)["episodes"]
    init = put_model(lab, "start/checkpoint", chat_model(lab.path / "chat", "chatml"))
    settings = {"target": "messages", "steps": 2, "batch_size": 3, "threads": 1}
    taught = lab.run("sft", "round_01/checkpoint", {"init": init, "rows": shown}, **settings)[""]
    assert taught.digest != init.digest
    given = {"model": taught, "prompts": tasks}
    made = lab.run("rollout", "round_01/played", given, max_turns=3, chat=True, max_tokens=4, token_ids=True)
    turns, episodes = rows_of(made[""]), rows_of(made["episodes"])
    assert [len(row["messages"]) for row in turns] == [1, 3, 5] * 3 and all(row["token_ids"] for row in turns)
    assert [row["messages"][-1]["content"] for row in episodes] == [
        row["completion"] for row in turns if row["done"]
    ]


@pytest.mark.parametrize("name", ["grid_maze", "nim", "frozen_lake", "taxi", "cliff_walking"])
def test_stored_episodes_of_every_environment_are_played_again_and_say_the_same(lab: Lab, name: str):
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])
    level = {"frozen_lake": 4, "taxi": 7}.get(name, 5)
    how = {"entry": {"opponent": "random"}} if name == "nim" else {}
    tasks = lab.run(
        "environment_tasks", "tasks/train", {}, environment=name, level=[level, level], size=1, **how
    )[""]
    shown = rows_of(lab.run("demonstrations", "start/shown", {"prompts": tasks}, max_turns=40, history=1)[""])
    assert check_episodes(shown) == 1
    changed = [{**row, "reward": row["reward"] + row["done"]} for row in shown]
    with pytest.raises(AssertionError, match=rf"turn {len(shown)}: stored .*, now "):
        check_episodes(changed)


def test_stored_episodes_that_began_inside_and_broke_are_played_again(lab: Lab, ours):
    ours("Dice")
    shown = lab.run(
        "demonstrations", "start/shown", {"prompts": lab.put("tasks/train", counting(goal=4))}, max_turns=9
    )
    chosen = lab.put("round_01/chosen", Rows((shown[""],)).read().slice(1, 1))
    given = {"model": model(lab), "prompts": chosen}
    turns = rows_of(
        lab.run("rollout", "round_01/played", given, episodes=3, max_turns=6, max_tokens=1, format="tag")[""]
    )
    assert check_episodes([*turns, *rows_of(shown[""])]) == 4
    ours("Bad")
    broken = lab.put("tasks/train", counting(how="raises"))
    made = lab.run("demonstrations", "round_01/shown", {"prompts": broken}, max_turns=9, max_error_rate=1.0)
    assert check_episodes(rows_of(made[""])) == 1


def test_rollout_from_the_last_turn_of_a_game_that_is_over_has_no_turn(lab: Lab, ours):
    ours("Counting")
    shown = lab.run(
        "demonstrations", "start/shown", {"prompts": lab.put("tasks/train", counting(goal=2))}, max_turns=9
    )
    over = lab.put("round_01/over", Rows((shown[""],)).read().slice(1, 1))
    made = lab.run(
        "rollout", "round_01/on", {"model": model(lab), "prompts": over}, max_turns=9, max_tokens=1
    )
    (episode,) = rows_of(made["episodes"])
    assert rows_of(made[""]) == [] and (episode["finish_reason"], episode["verdict"]) == ("done", "pass")
