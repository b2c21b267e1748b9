"""Environments written for TRL, SkyRL-Gym and Aviary are played as they are, in lineal's own processes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lineal.environments.registry import BUILT_IN
from lineal.environments.sessions import class_at, taken
from lineal.recipe.compute import Compute
from lineal.testing.environment import check_environment
from tests.unit.lab import Lab, rows_of
from tests.unit.test_games_of_two import SEES, checkpoint

HERE = "tests.unit.test_foreign_environments"
ADD = '<tool_call>{"name": "add", "arguments": {"number": %s}}</tool_call>'


class Adding:
    """As TRL's documentation has them: `reset`, tools, and `get_reward`."""

    def reset(self, target: int, **kwargs: Any) -> str | None:
        self.total, self.target = 0, target
        return f"Reach {target}."

    def add(self, number: int) -> int:
        """Adds a number to the total.

        Args:
            number: what to add.
        """
        self.total += number
        return self.total

    def get_reward(self) -> float:
        return max(0.0, 1.0 - abs(self.target - self.total) / self.target)

    def _hidden(self) -> None:
        raise AssertionError("a tool of no name")


class Waiting(Adding):
    async def add(self, number: int) -> int:  # type: ignore[override]
        return number


class Picturing(Adding):
    def reset(self, target: int, **kwargs: Any) -> Any:
        return [{"type": "image"}]


def begun(name: str, **row: Any) -> tuple[Any, str]:
    game = class_at(f"{HERE}:{name}")()
    return game, game.reset(seed=0, **row)


def test_class_for_trl_is_called_by_its_tools_and_rewards_what_the_total_rose_by() -> None:
    game, first = begun("Adding", target=4, prompt="Add up.")
    assert first == "Reach 4." and taken(type(game)) is None
    assert game.step(f"I think: {ADD % 1} or rather {ADD % 3}") == ("3", 0.75, False, False, {})
    for hostile in ("'x'", "[" * 100_000, "9" * 10_000):
        assert game.step(ADD % hostile)[4]["invalid"].startswith("a call that is no JSON")
    said, reward, done, *_ = game.step(ADD % '"x"')
    assert said.startswith("error: unsupported operand") and (reward, done) == (0.0, False)
    for name in ("reset", "get_reward", "_hidden", "other"):
        call = json.dumps({"name": name, "arguments": {}})
        said, *_, info = game.step(f"<tool_call>{call}</tool_call>")
        assert said == info["invalid"] == f"no tool {name!r}, expected one of add"
    assert game.step('<tool_call>{"name": ["add"]}</tool_call>')[4]["invalid"].startswith("no tool ['add']")
    assert game.step(ADD % 1)[:3] == ("4", 0.25, False)
    assert game.step("It is 4.") == ("", 0.0, True, False, {})


def test_class_for_trl_passes_the_test_kit() -> None:
    made = class_at(f"{HERE}:Adding")
    assert made.__doc__ == Adding.__doc__
    check_environment(Adding, {"target": 4}, moves=[ADD % 1, "nothing to call", ADD % 3][:2])
    check_environment(Adding, {"target": 4}, moves=[ADD % 1, ADD % 3, "done"])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Waiting", r"Waiting.add is async, expected a plain function"),
        ("Picturing", r"reset gave \[.*a list\), expected"),
    ],
)
def test_class_that_cannot_be_played_says_why(name: str, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        begun(name, target=4)


def test_class_for_trl_is_rolled_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = Lab(tmp_path, Compute(workers=2))
    monkeypatch.setitem(BUILT_IN, "adding", f"{HERE}:Adding")
    rows = [
        {
            "prompt_id": f"p{place}",
            "prompt": "Add up.",
            "task": "adding",
            "entry": f'{{"target": {place + 1}}}',
        }
        for place in range(3)
    ]
    model = checkpoint(lab, characters="Reach 0123456789.\n")
    given = {"prompts": lab.put("tasks/train", rows), "model": model}
    made = lab.run("rollout", "round_01/played", given, max_turns=3, **SEES)
    assert {row["verdict"] for row in rows_of(made["episodes"])} == {"fail"}
    assert {row["prompt"] for row in rows_of(made[""])} == {f"Reach {number}." for number in (1, 2, 3)}


def test_environment_of_skyrl_gym_is_played() -> None:
    pytest.importorskip("skyrl_gym")
    from skyrl_gym.envs.gsm8k.multi_turn_env import GSM8kMultiTurnEnv

    row = {"prompt": "1 + 1?", "reward_spec": {"ground_truth": "2"}, "max_turns": 3}
    check_environment(GSM8kMultiTurnEnv, row, moves=["#### 1", "#### 2"])
    game = class_at("skyrl_gym.envs.gsm8k.multi_turn_env:GSM8kMultiTurnEnv")()
    assert game.reset(seed=0, **row) == ""
    said, reward, done, *_ = game.step("#### 3")
    assert "#### ANSWER" in said and 0 < reward < 0.2 and not done
    assert game.step("#### 2") == ("", 1.0, True, False, {})
    game.close()


def test_environment_of_aviary_is_played() -> None:
    pytest.importorskip("aviary.core")
    from aviary.core import DummyEnv

    call = '<tool_call>{"name": "print_story", "arguments": {"story": "Cats sleep."}}</tool_call>'
    cast = '<tool_call>{"name": "cast_int", "arguments": {"x": 2.7}}</tool_call>'
    check_environment(DummyEnv, {"task": "cats"}, moves=[cast, "hm", call])
    game = class_at("aviary.core:DummyEnv")()
    assert taken(type(game)) == ["task", "end_immediately", "concurrent_tool_calls"]
    assert game.reset(seed=0, task="cats") == "Write a 5 word story via print_story about cats"
    assert game.step(cast) == ("2", 0.0, False, False, {})
    odd = '<tool_call>{"name": "cast_int", "arguments": {"id": 1, "function_name": 2}}</tool_call>'
    assert game.step(odd)[1:3] == (0.0, False)
    assert game.step("<tool_call>7</tool_call>")[4]["invalid"].startswith("a call that is no JSON object")
    assert game.step(call)[1:3] == (1.0, True)
    game.close()
