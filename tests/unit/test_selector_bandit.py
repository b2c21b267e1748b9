"""The bandit over tasks: what its arms are worth, and with which chances it draws them."""

from __future__ import annotations

import pytest

from tests.unit.lab import Lab, rows
from tests.unit.test_selector_curricula import select


@pytest.fixture
def lab(tmp_path) -> Lab:
    return Lab(tmp_path)


def arms_of(lab, **settings):
    """Two tasks in two rounds: a is half solved and then wholly, b never."""
    verdicts = {1: ("ppff", "ffff"), 2: ("pppp", "ffff")}
    made = rows(
        *(
            (f"{task}{number}{place}", f"{task}{place // 2}", "x")
            for number in verdicts
            for task in "ab"
            for place in range(4)
        ),
        round=[number for number in verdicts for _ in range(8)],
        task=[task for _ in verdicts for task in "aaaabbbb"],
        verdict=[
            {"p": "pass", "f": "fail"}[letter] for pair in verdicts.values() for letter in "".join(pair)
        ],
        advantage=[0.5, 0.5, -0.5, -0.5, *[0.0] * 4, 0.1, 0.1, 0.1, None, *[0.0] * 4],
    )
    kept, _ = select(lab, "bandit_arms", made, **settings)
    return {row["task"]: row for row in kept}


def test_bandit_arms_are_worth_advantages_variances_or_progress(lab):
    plain = arms_of(lab)
    assert (plain["a"]["value"], plain["a"]["pulls"]) == (pytest.approx((4 * 0.5 + 3 * 0.1) / 7), 7)
    assert plain["a"]["earned"] == pytest.approx(0.6)
    assert (plain["b"]["value"], plain["b"]["earned"]) == (0, 0) and len(plain["a"]["parents"]) == 8
    assert arms_of(lab, rate=0.5)["a"]["value"] == pytest.approx(0.5 * 0.5 * 0.5 + 0.5 * 0.1)
    progress = arms_of(lab, worth="progress")
    assert progress["a"]["value"] == pytest.approx(0.5) and progress["b"]["value"] == 0
    variance = arms_of(lab, worth="variance", rate=1.0)
    assert variance["a"]["value"] == variance["b"]["value"] == 0  # of each prompt all samples are alike
    with pytest.raises(
        Exception, match="must be one of advantage, variance, progress, potential, got 'gain'"
    ):
        arms_of(lab, worth="gain")


def test_variance_of_pass_rates_is_highest_where_half_of_a_prompts_samples_pass(lab):
    made = rows(
        *((f"s{place}", f"p{place // 4}", "x") for place in range(8)),
        round=[1] * 8,
        task=["a"] * 4 + ["b"] * 4,
        verdict=["pass", "pass", "fail", "fail", "pass", "fail", "fail", "error"],
    )
    kept, _ = select(lab, "bandit_arms", made, worth="variance")
    assert {row["task"]: row["value"] for row in kept} == {"a": 0.25, "b": pytest.approx(2 / 9)}


def test_potential_is_the_spread_of_a_prompts_passes_over_their_rate_and_arms_may_be_levels(lab):
    verdicts, levels = "pfff" + "ppff" + "ffff" + "pppp", [1.0] * 8 + [2.0] * 8
    made = rows(
        *((f"s{place}", f"p{place // 4}", "x") for place in range(16)),
        round=[1] * 16,
        task=["maze"] * 16,
        difficulty=levels,
        verdict=[{"p": "pass", "f": "fail"}[letter] for letter in verdicts],
    )
    kept, _ = select(lab, "bandit_arms", made, worth="potential", by="difficulty")
    assert {row["task"]: row["value"] for row in kept} == {
        "maze 1.0": pytest.approx((3**0.5 + 1) / 2),
        "maze 2.0": 0.0,
    }
    arms = {"arms": lab.put("round_01/arms", [{**row, "sample_id": row["task"]} for row in kept])}
    prompts = rows(
        *((f"q{place}", f"q{place}", None) for place in range(80)),
        task=["maze"] * 80,
        difficulty=[1.0, 2.0] * 40,
    )
    settings = {"count": 20, "policy": "ucb", "temperature": 0.01, "bonus": 0.0}
    drawn, _ = select(lab, "draw_by_bandit", prompts, arms, by="difficulty", **settings)
    assert {row["difficulty"] for row in drawn} == {1.0} and len(drawn) == 20
    for name, given, inputs, own in (
        ("bandit_arms", made, {}, {}),
        ("draw_by_bandit", prompts, arms, settings),
    ):
        with pytest.raises(Exception, match="must be one of task, difficulty, got 'level'"):
            select(lab, name, given, inputs, by="level", **own)


@pytest.mark.parametrize(
    ("settings", "share"),
    [
        ({"temperature": 0.25}, 1 / (1 + 1 / 2.718281828 ** (0.5 / 0.25))),
        (
            {"policy": "exp3", "temperature": 0.5, "explore": 0.2},
            0.1 + 0.8 / (1 + 2.718281828 ** (1.0 / 0.5)),
        ),
        ({"policy": "ucb", "temperature": 0.001, "bonus": 0.0}, 1.0),
        ({"policy": "ucb", "temperature": 0.001, "bonus": 50.0}, 0.0),
    ],
)
def test_bandit_draws_each_task_with_its_chance(lab, settings, share):
    prompts = rows(
        *((f"{task}{place}", f"{task}{place}", None) for task in "ab" for place in range(4000)),
        ("c", "c", None),
        task=["a"] * 4000 + ["b"] * 4000 + ["c"],
    )
    arms = rows(
        ("x", "arm/a", None),
        ("y", "arm/b", None),
        task=["a", "b"],
        value=[1.0, 0.5],
        earned=[1.0, 2.0],
        pulls=[9000, 10],
    )
    kept, dropped = select(
        lab, "draw_by_bandit", prompts, {"arms": lab.put("round_01/arms", arms)}, count=400, **settings
    )
    assert len(kept) == 400 and len(dropped) == 7601
    assert sum(row["task"] == "a" for row in kept) / 400 == pytest.approx(share, abs=0.07)
    assert dropped["c"] == "no arm"
    with pytest.raises(Exception, match="must be one of boltzmann, ucb, exp3, got 'greedy'"):
        select(
            lab, "draw_by_bandit", prompts, {"arms": lab.put("round_01/arms", arms)}, count=1, policy="greedy"
        )
