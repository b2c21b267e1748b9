"""Environments: what the shipped ones do, the registry, and the test kit, which must find each fault."""

from __future__ import annotations

import json
import re
from contextlib import nullcontext
from dataclasses import replace
from functools import partial

import pytest

from lineal.components.playing import arena, programs
from lineal.components.playing.arena import Arena, Game
from lineal.components.sandbox.bubblewrap import require
from lineal.components.trainers.pretrain import PRINTABLE
from lineal.engines.training.train import initialise
from lineal.environments.base import Answer, read_step
from lineal.environments.grid_maze import GridMaze, shortest_way
from lineal.environments.registry import BUILT_IN, NEEDS, location_of
from lineal.environments.sessions import answer, job_in, make_task, unknown_key
from lineal.environments.tools import Tools, calculated
from lineal.errors import DataError, DeclarationError, MachineError, SandboxError
from lineal.plan import make_plan
from lineal.recipe.compute import Compute
from lineal.recipe.project import open_project
from lineal.step.preflight import require_parts
from lineal.step.runner import stage_tag
from lineal.testing.environment import check_environment
from tests.unit import environments_of_ours as ours
from tests.unit.lab import ROOT, Lab, rows_of
from tests.unit.stand_in_browser import StandIn
from tests.unit.tiny_models import SHAPE, put_model

LEVELS = {
    "grid_maze": (2, 5),
    "nim": (5, 14),
    "frozen_lake": (4, 6),
    "taxi": (6, 12),
    "cliff_walking": (3, 12),
    "minigrid": (5, 2),
    "textarena": (1, 1),
    "tools": (1, 3),
    "small_shop": (3, 5),
}
GAMES = {
    "minigrid": ({"game": "door_key"}, {"game": "multi_room"}),
    "textarena": ({"game": "GuessTheNumber-v0"}, {"game": "TicTacToe-v0", "players": 2}),
}


@pytest.mark.parametrize("name", LEVELS)
@pytest.mark.parametrize("place", [0, 1])
def test_shipped_environment_is_deterministic_and_its_expert_reaches_the_goal(name, place, monkeypatch):
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])
    monkeypatch.setattr(arena, "Browser", StandIn)
    level = LEVELS[name][place]
    task = make_task({"environment": BUILT_IN[name], "seed": 7 + place, "level": level})
    assert make_task({"environment": BUILT_IN[name], "seed": 7 + place, "level": level}) == task
    seed = task["entry"].pop("seed", 0)
    check_environment(name, {**task["entry"], **GAMES.get(name, ({}, {}))[place]}, seed=seed, most_turns=60)


def test_slippery_lake_is_the_same_for_the_same_seed():
    pytest.importorskip("gymnasium")
    task = make_task({"environment": BUILT_IN["frozen_lake"], "seed": 3, "level": 4})
    check_environment("frozen_lake", {**task["entry"], "slippery": True}, most_turns=300)


def test_tools_search_compute_and_take_the_answer():
    tools = Tools()
    documents = ["The cat sat.", "A dog barked at the cat.", "The dog slept."]
    tools.reset(seed=0, answer="The Cat", documents=documents)
    assert tools.step("I look for it. search[dog cat]")[0] == documents[1], "it holds both"
    assert [tools.step("search[Dog]")[0] for _ in range(3)] == [
        documents[1],
        documents[2],
        "Nothing more found.",
    ]
    assert tools.step("search[horse]")[0] == "Nothing more found."
    seen, reward, over, _, info = tools.step("the cat")
    assert (
        seen.startswith("Write search[words]")
        and (reward, over) == (0.0, False)
        and "calls no tool" in info["invalid"]
    )
    assert tools.step("finish[the  cat.]") == ("Right.", 1.0, True, False, {"success": True})
    tools.reset(seed=0, answer="7")
    assert tools.step("finish[8]") == ("Wrong.", 0.0, True, False, {"success": False})


PROGRAMS = {
    "I compute. python[print([1, 2][1] * 21)]": "42",
    "python[\nfor number in [1, 2]:\n    print(number)\n]": "1\n2",
    "python[print('before'); 1 / 0]": "before\nZeroDivisionError: division by zero",
    "python[def]": "SyntaxError: invalid syntax",
    "python[value = 1]": "It printed nothing.",
    "python[while True: pass]": "It took more than 1 s of processor time.",
    "python[print('a' * 1500)]": "a" * 1000 + "... (500 letters more)",
    "python[open('/tmp/x/y', 'w')]": "FileNotFoundError: ",
    "python[import socket; socket.create_connection(('127.0.0.1', 1))]": "PermissionError: ",
    "python[import os; os.fork()]": "PermissionError: ",
}
"""What the tool is told, and how the observation begins."""


def test_python_tool_runs_programs_in_the_sandbox_and_shows_their_limits_and_errors(monkeypatch):
    try:
        require()
    except SandboxError as error:
        pytest.skip(f"no sandbox here: {error}")
    monkeypatch.setattr(programs, "LIMITS", replace(programs.LIMITS, cpu_seconds=1))
    row, place = {"answer": "42", "documents": [], "python": True}, BUILT_IN["tools"]
    game = Game("game", place, 0, row)
    with Arena([place], 1, 10.0) as arena:
        arena.begin({0: game})
        for text in PROGRAMS:
            arena.move({0: (game, text)})
    assert game.problem is None and "python[program]" in game.answers[0].observation
    for told, said in zip(game.answers[1:], PROGRAMS.values(), strict=True):
        assert told.observation.startswith(said) and (told.reward, told.done, told.invalid) == (
            0.0,
            False,
            None,
        )
    with Arena(
        [place], 1, 10.0
    ) as arena:  # whose process does not hold the game: it is replayed, and no program runs again
        arena.move({0: (game, "finish[42]")})
    assert game.problem is None and game.answers[-1].success is True
    check_environment("tools", row, ["python[print(6 * 7)]", "python[1 +]", "finish[42]"])


def test_python_tool_is_there_where_the_task_says_so_and_a_move_of_a_lost_process_is_made_again():
    tools = Tools()
    assert "python" not in tools.reset(seed=0, answer="7")
    assert "calls no tool" in tools.step("python[print(7)]")[4]["invalid"]
    begin = {
        "do": "reset",
        "session": "lost",
        "environment": BUILT_IN["tools"],
        "seed": 0,
        "row": {"answer": "7", "python": True},
    }
    answer(begin)
    assert answer({"do": "step", "session": "lost", "text": "python[print(7)]"}) == {"program": "print(7)"}
    answer(begin)
    told = {"do": "told", "session": "lost", "text": "python[print(7)]", "outcomes": ["7"]}
    assert answer(told)["observation"] == "7"
    answer({"do": "end", "session": "lost"})
    with pytest.raises(TypeError, match=r"step gave 3 \(a int\) as info\['program'\], expected a text"):
        job_in(("", 0.0, False, False, {"program": 3}))


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("2 * (3 + 4)", "14"),
        ("-7 / 2", "-3.5"),
        ("0.1 + 0.2", "0.3"),
        ("1 / 3", "0.3333333333"),
        ("1 / (2 - 2)", "Division by zero."),
        ("2 ** 9", "Not arithmetic: write numbers, +, -, *, / and brackets."),
        ("__import__('os')", "Not arithmetic: "),
        ("9" * 99 + " * " + "9" * 98, "9"),
        ("1 +", "Not arithmetic: "),
        ("1" * 201, "Too long: at most 200 letters."),
        ("1e300 * 1e300", "Too large: at most 200 digits."),
        ("True + 1", "Not arithmetic: "),
        ("(" * 150, "Not arithmetic: "),
        ("1e999999 + 1", "Not arithmetic: "),
    ],
)
def test_calculator_is_exact_and_answers_what_it_cannot_compute(expression, said):
    assert calculated(expression).startswith(said)


def test_minigrid_shows_what_its_agent_sees_and_opens_doors_by_their_keys():
    pytest.importorskip("minigrid")
    from lineal.environments.minigrid_text import GAMES, MiniGrid

    grid = MiniGrid()
    assert (
        grid.reset(seed=3, level=6, game="door_key")
        == "???????/???????/???????/???????/?####??/?#..#??/?#.A#??"
    )
    seen = [grid.step(move)[0] for move in "LLPFFRFT"]
    assert seen[1].endswith("??#K.#?/??#A.#?") and seen[2].endswith("??#..#?/??#A.#? K"), (
        "it turns to the key and takes it"
    )
    assert seen[-2].endswith("??#X###/??#A... K") and seen[-1].endswith("??#...G/??#O###/??#A... K"), (
        "the door opens"
    )
    with pytest.raises(ValueError, match=f"game 'maze', expected one of {', '.join(GAMES)}"):
        grid.reset(seed=3, level=6, game="maze")


def test_textarena_says_what_was_said_since_the_players_own_move():
    pytest.importorskip("textarena")
    from lineal.environments.text_arena import TextArena

    game = TextArena()
    assert (
        game.reset(seed=1, game="TicTacToe-v0", players=2).startswith("You are Player 0")
        and game.player == "player 0"
    )
    seen, _, over, _, info = game.step("[9]")
    assert "attempted an invalid move" in seen and info["invalid"] and not over and game.player == "player 0"
    assert game.step("[4]")[0].startswith("You are Player 1") and game.player == "player 1"
    seen = game.step("[0]")[0]
    assert (
        "\n[0]\nPlayer 1 placed their symbol (X) in cell 0." in seen
        and "[4]" not in seen
        and "You are Player" not in seen
    )
    for move in ("[2]", "[1]"):
        game.step(move)
    seen, reward, over, _, info = game.step("[6]")
    assert (reward, over, info["success"], info["rewards"]) == (
        1.0,
        True,
        True,
        {"player 0": 1.0, "player 1": -1.0},
    )
    assert seen.endswith("Player 0 has won!")


def test_level_of_taxi_is_the_number_of_moves_of_its_shortest_way():
    pytest.importorskip("gymnasium")
    with pytest.raises(ValueError, match="level 99: expected one of 6, 7, 8"):
        make_task({"environment": BUILT_IN["taxi"], "seed": 0, "level": 99})


def test_maze_is_walked_and_walls_stand():
    maze = GridMaze()
    assert maze.reset(seed=0, maze="A#G/...") == "R2D0 ###."
    assert maze.step("R") == ("R2D0 ###.", 0.0, False, False, {"success": False})
    assert maze.step(" d ")[0] == "R2U1 #..#"
    seen, reward, over, cut, info = maze.step("DD")
    assert (seen, reward, over, cut) == ("R2U1 #..#", 0.0, False, False) and "none of the moves" in info[
        "invalid"
    ]
    assert [maze.step(move)[1] for move in "RRU"] == [0.0, 0.0, 1.0]
    assert shortest_way(["A#G", "..."], (0, 0), (0, 2)) == "DRRU"


def test_kit_lets_an_environment_pass_that_draws_from_the_global_generator():
    check_environment(ours.Counting, {"goal": 3})
    check_environment(ours.Dice, {"goal": 3})


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        (ours.ByTime, "not deterministic in another process: move 2 gave observation '2/3 "),
        (
            ours.Forgetful,
            "not deterministic beside another game in one process: move 1 gave observation '1/3 1', and '1/3 ",
        ),
        (ours.ByTheSystem, "not deterministic in another process: move 1 gave reward 1.0, and 0.0"),
        (
            ours.ByTheSystemOnNonsense,
            "not deterministic in another process, where the move is '': move 1 gave observation",
        ),
        (ours.Silent, "expert: TypeError: .* has no expert: give it a method"),
    ],
)
def test_kit_names_the_fault_and_the_first_turn_that_differs(environment, said):
    with pytest.raises(AssertionError, match=said):
        check_environment(environment, {"goal": 3})


def test_kit_wants_unreadable_moves_answered_and_games_that_end():
    with pytest.raises(
        AssertionError,
        match=r"the move '' is not answered: move 1: KeyError: ''. Answer it with an observation",
    ):
        check_environment(ours.Silent, {"goal": 2}, ["+", "+"])
    with pytest.raises(AssertionError, match=r"not over after all 1 moves given: '1/3'"):
        check_environment(ours.Counting, {"goal": 3}, ["+"])
    with pytest.raises(AssertionError, match="not over after 5 moves"):
        check_environment(ours.Counting, {"goal": 9}, most_turns=5)
    with pytest.raises(
        AssertionError, match="reset: TypeError: .*missing 1 required keyword-only argument: 'goal'"
    ):
        check_environment(ours.Counting, {})


def test_step_that_gives_other_types_says_which():
    assert read_step(("x", 1, True, False, {"success": False, "invalid": "why"})) == Answer(
        "x", 1.0, True, False, False, "why"
    )
    for given, said in [
        (("x", 0.0, False, {}), "expected .observation, reward, terminated, truncated, info"),
        ((b"x", 0.0, False, False, {}), "expected a text"),
        (("\ud800", 0.0, False, False, {}), "no Unicode text"),
        (("x", "much", False, False, {}), "expected a number"),
        (("x", float("nan"), False, False, {}), "expected a finite number"),
        (("x", 0.0, "no", False, {}), "as terminated, expected true or false"),
        (("x", 0.0, False, False, None), "as info, expected a mapping"),
    ]:
        with pytest.raises(TypeError, match=said):
            read_step(given)


@pytest.fixture
def install(install):
    """Installs packages with environments."""
    return partial(install, "lineal.environments")


def test_package_adds_an_environment_by_an_entry_point(install):
    install("theirs", counting="tests.unit.environments_of_ours:Counting")
    assert location_of("counting") == "tests.unit.environments_of_ours:Counting"
    check_environment("counting", {"goal": 2})


def test_name_stands_for_one_environment(install):
    with pytest.raises(KeyError, match=r"unknown environment 'grid_mase'. Did you mean 'grid_maze'\?"):
        location_of("grid_mase")
    install("theirs", grid_maze="theirs:Maze")
    with pytest.raises(
        DeclarationError,
        match="environment 'grid_maze' is registered twice: lineal's own, and the package theirs",
    ):
        location_of("taxi")


def test_environment_of_the_docs_is_a_package_that_plays(install, site, tmp_path):
    page = (ROOT / "docs" / "environments.md").read_text()
    source = page.split("```python\n")[1].split("```")[0]
    assert source.startswith("class Countdown") and source.count("\n") < 30
    (site / "their_countdown.py").write_text(source)
    install("theirs", countdown="their_countdown:Countdown")
    check_environment("countdown", {"start": 3})
    lab = Lab(tmp_path / "project", Compute(workers=1))
    tasks = lab.run("environment_tasks", "tasks/train", {}, environment="countdown", level=[1, 30], size=8)[
        ""
    ]
    made = lab.run("demonstrations", "start/shown", {"prompts": tasks}, max_turns=40)
    with pytest.raises(
        DataError, match="found . different games of split 'test', but size is 9. .*iden level, or give"
    ):
        lab.run("environment_tasks", "tasks/test", {}, environment="countdown", level=[1, 6], size=9)
    assert {row["verdict"] for row in rows_of(made["episodes"])} == {"pass"}
    assert all(row["turns"] == row["difficulty"] + 1 for row in rows_of(made["episodes"]))


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (
            '{"prompt": f"Game {seed}", "entry": {"level": level}}',
            'gave two prompts for the entry {"level":1}: .* put what makes',
        ),
        (
            '{"prompt": "p", "entry": {}, "answer": "4"}',
            "task gave the keys .*'answer'.*, expected prompt and entry",
        ),
        ("None", "task gave None, expected prompt and entry"),
    ],
)
def test_task_that_its_entry_does_not_tell_is_refused(install, site, tmp_path, task, message):
    name = tmp_path.name
    methods = f"    @staticmethod\n    def task(seed, level):\n        return {task}\n"
    (site / f"{name}.py").write_text(
        f"class Game:\n    def reset(self, **given): ...\n    def step(self, text): ...\n{methods}"
    )
    install("theirs", game=f"{name}:Game")
    with pytest.raises(DataError, match=message):
        Lab(tmp_path, Compute(workers=1)).run(
            "environment_tasks", "tasks/train", {}, environment="game", level=[1, 1], size=2
        )


@pytest.mark.parametrize(
    ("source", "entry", "message"),
    [
        (
            "class Other: ...",
            {},
            "environment 'game' cannot be loaded from the package theirs 1.0 .entry point game = .*:Game",
        ),
        (
            "import no_such_module",
            {},
            "entry point game = .*ModuleNotFoundError: No module named 'no_such_module'",
        ),
        ("class Game: ...", {}, "is no environment: expected a class with the methods reset and step"),
        (
            "class Game(Base):\n    task = expert = lambda: ''",
            {"lst": "z"},
            "unknown key 'lst'.*Did you mean 'list'",
        ),
        (
            "class Game(Base):\n    expert = print",
            {},
            "environment 'game' makes no tasks: give its class a static method task",
        ),
        (
            "class Game(Base):\n    task = print",
            {},
            "toy/start/shown cannot run: environment 'game' has no expert",
        ),
        ("class Game(Base):\n    task = expert = lambda: ''", {"list": "z"}, ""),
    ],
)
def test_run_loads_environments_of_packages_before_its_first_step(
    install, site, tmp_path, source, entry, message
):
    name, base = (
        tmp_path.name,
        "class Base:\n    def reset(self, *, seed, list): ...\n    def step(self, text): ...\n",
    )
    (site / f"{name}.py").write_text(base + source)
    install("theirs", game=f"{name}:Game")
    tasks = (
        f"{{use: environment_tasks, environment: game, level: [1, 2], size: 2, entry: {json.dumps(entry)}}}"
    )
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "pipelines" / "toy.yaml").write_text(
        f"method: Toy\nsummary: One.\ntasks: {{train: {tasks}}}\n"
        "start: {shown: {use: demonstrations, prompts: tasks.train, max_turns: 4}}\n"
        "round: {again: {use: render, rows: start.shown, prompt: '{completion}'}}\n"
    )
    (tmp_path / "params.yaml").write_text("seed: 0\nrounds: 1\nactive: [toy]\n")
    plan = make_plan(open_project(tmp_path))
    with pytest.raises(MachineError, match=message) if message else nullcontext():
        require_parts(plan, [plan.step("toy/start/shown")])


@pytest.mark.parametrize(("entry", "fits"), [({"mase": "A"}, False), ({"maze": "A", "seed": 1}, True)])
def test_keys_of_an_entry_that_reset_does_not_take_are_refused(tmp_path, entry, fits):
    given = {"environment": "grid_maze", "level": [3, 4], "size": 2, "entry": entry}
    expected = pytest.raises(
        ValueError, match="unknown key 'mase', reset does not take it. Did you mean 'maze'"
    )
    with nullcontext() if fits else expected:
        Lab(tmp_path, Compute(workers=1)).parse("environment_tasks", **given)
    assert (unknown_key(entry, ["maze"]) == "") is fits


@pytest.mark.parametrize("level", [3, [3], [3, 4, 5]])
def test_level_that_is_no_pair_is_told(tmp_path, level):
    with pytest.raises(ValueError, match=rf"expected \[low, high\], got {re.escape(str(level))}"):
        Lab(tmp_path, Compute(workers=1)).parse("environment_tasks", environment="nim", level=level, size=2)


def test_version_of_a_package_is_in_the_identity_of_its_tasks_and_in_their_rows(install, site, tmp_path):
    (site / "her_countdown.py").write_text(
        (ROOT / "docs/environments.md").read_text().split("```python\n")[1].split("```")[0]
    )
    made, packages, how = {}, [], {"environment": "countdown", "level": [1, 30], "size": 4}
    for version in ("1.0", "1.1"):
        install("hers", version, countdown="her_countdown:Countdown")
        lab = Lab(tmp_path / version, Compute(workers=1))
        packages.append(lab.parse("environment_tasks", **how).identity()["package"])
        made[version] = lab.run("environment_tasks", "tasks/train", {}, **how)[""]
    one, other = made.values()
    assert packages == ["hers 1.0", "hers 1.1"]
    assert {row["environment_package"] for row in rows_of(other)} == {"hers 1.1"}
    assert one.digest != other.digest, "what is played on them is made anew"
    assert [row["prompt_id"] for row in rows_of(one)] == [row["prompt_id"] for row in rows_of(other)]


def test_dvc_yaml_names_another_version_of_a_package(install, site, tmp_path):
    (site / "her_countdown.py").write_text(
        (ROOT / "docs/environments.md").read_text().split("```python\n")[1].split("```")[0]
    )
    easy = "easy: {use: letter_sort, length: [2, 3], size: 4, split: train}"
    tasks = f"tasks: {{{easy}, train: {{use: environment_tasks, environment: countdown, level: [1, 30], size: 4}}}}"
    start = "start: {checkpoint: {use: pretrain, rows: tasks.easy, steps: 1}}"
    played = (
        "round: {generated: {use: rollout, model: previous.checkpoint, prompts: tasks.train, max_turns: 4}}"
    )
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "pipelines" / "toy.yaml").write_text(
        f"method: Toy\nsummary: One.\n{tasks}\n{start}\n{played}\n"
    )
    (tmp_path / "params.yaml").write_text("seed: 0\nrounds: 1\nactive: [toy]\n")
    tags = []
    for version in ("1.0", "1.1", "1.0"):
        install("hers", version, countdown="her_countdown:Countdown")
        plan = make_plan(open_project(tmp_path))
        tags.append({key: stage_tag(step) for key, step in plan.steps.items()})
    assert tags[0] == tags[2]
    assert [key for key in tags[0] if tags[0][key] != tags[1][key]] == ["toy/tasks/train"]


def test_tasks_of_lineals_own_environments_say_nothing_of_a_package(tmp_path):
    lab, how = Lab(tmp_path, Compute(workers=1)), {"environment": "grid_maze", "level": [3, 4], "size": 2}
    assert "package" not in lab.parse("environment_tasks", **how).identity()
    assert (
        "environment_package"
        not in lab.run("environment_tasks", "tasks/train", {}, **how)[""].manifest.columns
    )


@pytest.mark.model
def test_package_with_an_environment_is_played_offline_and_trained_on_online(install, site, tmp_path):
    page = (ROOT / "docs" / "environments.md").read_text()
    (site / "his_countdown.py").write_text(page.split("```python\n")[1].split("```")[0])
    install("his", countdown="his_countdown:Countdown")
    lab = Lab(tmp_path / "project", Compute(workers=1))
    initialise(replace(SHAPE, characters=f"{PRINTABLE}\n"), 0, lab.path / "model")
    tasks = lab.run("environment_tasks", "tasks/train", {}, environment="countdown", level=[1, 3], size=3)[""]
    given = {"prompts": tasks, "init": put_model(lab, "start/checkpoint", lab.path / "model")}
    how = {"max_turns": 3, "template": "{observation}", "history": 1}
    played = lab.run(
        "rollout",
        "round_01/played",
        {"prompts": tasks, "model": given["init"]},
        max_tokens=1,
        episodes=4,
        **how,
    )
    made = lab.run(
        "grpo", "round_01/trained", given, environment=how, steps=1, samples=4, batch_size=8, max_tokens=1
    )
    offline, online = rows_of(played["episodes"]), rows_of(made["episodes"])
    assert {row["task"] for row in (*offline, *online)} == {"countdown"} and len(online) == 8
    begins = {row["prompt"] for row in (*rows_of(played[""]), *rows_of(made["rollouts"])) if row["turn"] == 1}
    assert begins <= {f"Count down from {number}." for number in (1, 2, 3)}
