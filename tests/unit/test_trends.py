"""Trends of a series, and the check that a reward still means what its probe says."""

import random
from itertools import combinations, permutations
from statistics import mean
from types import SimpleNamespace

import pytest

from lineal.data.trends import trend_of
from lineal.step.rewards import LEVEL, parted, reward_held
from tests.unit.lab import Lab


def test_trend_agrees_with_all_orders_of_a_short_series():
    values = [3.0, 1.0, 4.0, 2.0, 6.0, 5.0, 8.0, 7.0]
    ups = sum((b > a) - (b < a) for a, b in combinations(values, 2))
    orders = [sum((b > a) - (b < a) for a, b in combinations(order, 2)) for order in permutations(range(8))]
    exact = mean(order >= ups for order in orders)
    assert trend_of(values).rises == pytest.approx(exact, abs=0.003)
    assert trend_of([-value for value in values]).falls == trend_of(values).rises
    assert trend_of([1.0] * 30) == trend_of([3.0, 2.0, 1.0]) == trend_of([]) == type(trend_of([]))(1.0, 1.0)


def test_check_warns_of_a_probe_that_falls_and_seldom_of_noise():
    draw = random.Random(0)  # noqa: S311 - reproducible on purpose

    def series(*parts):
        return [level + draw.gauss(0, 0.05) for level in parts]

    steps, level = tuple(range(40)), [0.5] * 40
    alarms = sum(parted(series(*level), series(*level), steps)[0] < LEVEL for _ in range(1000))
    assert alarms <= 20
    rising, falling = [0.3 + 0.01 * step for step in steps], [0.7 - 0.01 * step for step in steps]
    peaked = [0.5 + 0.02 * min(step, 39 - step) for step in steps]
    assert parted(series(*rising), series(*falling), steps)[0] < LEVEL
    assert parted(series(*level), series(*peaked), steps)[0] < LEVEL
    assert parted(series(*rising), series(*rising), steps)[0] > LEVEL
    assert parted(series(*falling), series(*falling), steps)[0] > LEVEL
    assert parted(rising[:7], falling[:7], steps[:7]) == (1.0, "has 7 generations, too few for a trend")


def test_check_reads_the_rollouts_of_a_training_and_names_its_best_step(tmp_path):
    lab = Lab(tmp_path)
    settings = {
        "rewards": {"agreed": "majority_vote"},
        "probe": {"truth": "exact_match"},
        "steps": 1,
        "samples": 2,
        "batch_size": 2,
    }
    component = lab.parse("grpo", {"prompts": (), "init": ()}, **settings)
    told = [(step, 0.5 + step / 100, 1 - abs(step - 3) / 50) for step in range(20) for _ in range(2)]
    rows = [
        {"optimizer_step": 2 * step, "score": reward, "truth_score": truth} for step, reward, truth in told
    ]
    rollouts = lab.put("round_01/checkpoint.rollouts", rows)
    found = reward_held(
        SimpleNamespace(component=component, key="p/round_01/checkpoint"), {"rollouts": rollouts}
    )
    assert (found.name, found.passed, found.blocking) == ("reward_held", False, False)
    assert found.message.startswith(
        "p/round_01/checkpoint.rollouts: truth_score falls and the reward does not (p = "
    )
    assert (
        "0.94 -> 0.68, best 1 at optimizer step 6; reward 0.5 -> 0.69. keep_best keeps the best step"
        in found.message
    )
    healthy = lab.put("round_01/checkpoint.rollouts", [{**row, "truth_score": row["score"]} for row in rows])
    assert reward_held(
        SimpleNamespace(component=component, key="p/round_01/checkpoint"), {"rollouts": healthy}
    ).passed
