"""Controllers: the next round's settings follow from this round's artifacts, the same on every machine."""

import json
import math

import pyarrow as pa
import pydantic
import pytest

from lineal.errors import DataError
from lineal.recipe.compute import Compute
from tests.unit.lab import Lab, samples


@pytest.fixture
def lab(tmp_path):
    return Lab(tmp_path)


def settings_of(artifact, file="settings.json"):
    return json.loads((artifact.directory / file).read_text())


def probe(*, cold, hot):
    """Two prompts, sampled at 0.5 and at 1.0: letters of `r` are right, other letters are other wrong answers."""
    rows = []
    for temperature, prompts in ((0.5, cold), (1.0, hot)):
        verdicts = {
            name: "".join("p" if letter in "rst" else "f" for letter in letters)
            for name, letters in prompts.items()
        }
        made = samples(verdicts, completion=lambda prompt, index, prompts=prompts: prompts[prompt][index])
        rows += [
            {**row, "sample_id": f"{row['sample_id']}@{temperature}", "temperature": temperature}
            for row in made
        ]
    return rows


def balance(lab, rows, **settings):
    return lab.run(
        "balance_exploration", "round_01/tuned", {"rows": lab.put("round_01/probed", rows)}, **settings
    )[""]


def test_balance_exploration_takes_the_temperature_with_more_different_right_answers(lab):
    rows = probe(cold={"a": "rrrr", "b": "rrrr"}, hot={"a": "rsxy", "b": "rstx"})
    assert settings_of(balance(lab, rows, enough=1, thresholds=[0.0]))["temperature"] == 0.5
    found = settings_of(balance(lab, rows, enough=3, thresholds=[1.0]))
    assert found == {
        "temperature": 1,
        "threshold": 1,
        "balance_score": pytest.approx((2 / 3 + 1) / 2, abs=1e-9),
    }


def test_balance_exploration_scores_every_pair_by_the_formula(lab):
    rows = probe(cold={"a": "rrxy", "b": "xxxx"}, hot={"a": "rsxx", "b": "rxyz"})
    grid = {
        (point["temperature"], point["threshold"]): point["balance_score"]
        for point in settings_of(balance(lab, rows, enough=2, thresholds=[1.0, 0.0]), "grid.json")
    }
    assert grid == pytest.approx(
        {
            (0.5, 0): (0.5 * 1 / 3 + 0) / 2,
            (0.5, 1): (0.5 + 0) / 2,
            (1, 0): (2 / 3 + 0.5 * 0.25) / 2,
            (1, 1): (1 + 0.5) / 2,
        },
        abs=1e-9,
    )


def test_balance_exploration_counts_the_datas_own_solutions_at_every_temperature(lab):
    rows = probe(cold={"a": "r", "b": "x"}, hot={"a": "x", "b": "rs"})
    solution = samples(
        {"a": "p", "b": "p"},
        score=lambda prompt, index: 1.0,
        completion=lambda prompt, index: f"{prompt}'s own",
    )
    inputs = {"rows": lab.put("round_01/probed", rows), "solutions": lab.put("start/solutions", solution)}
    made = lab.run("balance_exploration", "round_01/tuned", inputs, enough=3, thresholds=[0.0])[""]
    grid = {point["temperature"]: point["balance_score"] for point in settings_of(made, "grid.json")}
    assert grid == pytest.approx({0.5: (2 / 3 + 1 / 3 * 1 / 2) / 2, 1: (1 / 3 * 1 / 2 + 1) / 2}, abs=1e-9)


def test_balance_exploration_breaks_ties_by_the_lower_settings(lab):
    rows = probe(cold={"a": "r"}, hot={"a": "r"})
    assert settings_of(balance(lab, rows, enough=1, thresholds=[0.9, 0.1]))["threshold"] == 0.1
    assert settings_of(balance(lab, rows, enough=1, thresholds=[0.9, 0.1]))["temperature"] == 0.5


def test_balance_exploration_gives_the_same_bytes_for_every_thread_count(tmp_path):
    letters = {f"q{number}": "rstxyzw"[number % 5 :] for number in range(200)}
    rows = probe(cold=letters, hot={name: text[::-1] for name, text in letters.items()})
    made = [
        balance(Lab(tmp_path / str(threads), Compute(workers=threads)), rows, enough=3, thresholds=[0.0, 1.0])
        for threads in (1, 4)
    ]
    assert made[0].digest == made[1].digest


def test_balance_exploration_without_samples_or_thresholds_is_refused(lab):
    with pytest.raises(pydantic.ValidationError):
        lab.parse("balance_exploration", {"rows": ()}, enough=1, thresholds=[])
    empty = lab.put("round_01/probed", pa.Table.from_pylist(probe(cold={"a": "r"}, hot={})).slice(0, 0))
    with pytest.raises(DataError, match="no samples to choose settings by"):
        lab.run("balance_exploration", "round_01/tuned", {"rows": empty}, enough=1, thresholds=[0.0])


# -- follow_reward ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ("pppp", 5 + 2 * math.tanh(1)),
        ("ffff", 5 - 2 * math.tanh(1)),
        ("pfpf", 5.0),
        ("ppfe", 5 + 2 * math.tanh(2 * (2 / 3 - 0.5))),
    ],
)
def test_follow_reward_moves_the_target_towards_the_goal(lab, verdicts, expected):
    rows = lab.put("round_01/rows", samples({"a": verdicts}))
    made = lab.run("follow_reward", "round_01/target", {"rows": rows}, difficulty=5.0, goal=0.5, step=2.0)[""]
    assert settings_of(made)["difficulty"] == pytest.approx(expected)


def test_follow_reward_stays_inside_its_bounds(lab):
    for verdicts, expected in (("pp", 5.5), ("ff", 4.8)):
        rows = lab.put("round_01/rows", samples({"a": verdicts}))
        made = lab.run(
            "follow_reward", "round_01/t", {"rows": rows}, difficulty=5.0, step=2.0, lowest=4.8, highest=5.5
        )[""]
        assert settings_of(made)["difficulty"] == expected


def test_follow_reward_of_errors_alone_is_refused(lab):
    with pytest.raises(DataError, match="so the reward is unknown"):
        lab.run(
            "follow_reward",
            "round_01/t",
            {"rows": lab.put("round_01/rows", samples({"a": "ee"}))},
            difficulty=5.0,
            step=2.0,
        )


# -- hill_climb ---------------------------------------------------------------------------------------------------------


def climb(lab, score_of, start, rounds, step=1.0):
    """The values that a climb tries."""
    before, tried = lab.run("settings", "start/boundary", value=start)[""], []
    for number in range(1, rounds + 1):
        value = settings_of(before)["value"]
        tried.append(value)
        before = lab.run(
            "hill_climb", f"round_{number:02d}/boundary", {"before": before}, score=score_of(value), step=step
        )[""]
    return tried, settings_of(before)


def test_hill_climb_goes_up_and_returns_to_the_best(lab):
    tried, last = climb(lab, lambda value: -((value - 5) ** 2), 3, 5)
    assert tried == [3, 4, 5, 6, 4] and last["best_value"] == 5 and last["best_score"] == 0


def test_hill_climb_turns_round_when_it_started_the_wrong_way(lab):
    tried, last = climb(lab, lambda value: -((value - 5) ** 2), 7, 5)
    assert tried == [7, 8, 6, 5, 4] and last["best_value"] == 5


def test_hill_climb_without_a_value_to_start_from_is_refused(lab):
    before = lab.run("settings", "start/boundary", level=1)[""]
    with pytest.raises(DataError, match=r"has no number 'value' to climb from"):
        lab.run("hill_climb", "round_01/boundary", {"before": before}, score=1.0, step=1.0)


def test_highest_names_the_first_of_the_best_scores_and_what_lacks_one(lab):
    scores = tuple(
        lab.run("settings", f"round_01/turn_{turn}", value=value)[""]
        for turn, value in enumerate((0.2, 0.7, 0.7), 1)
    )
    best = lab.run("highest", "round_01/best", {"scores": scores}, metric="value")[""]
    assert settings_of(best) == {"number": 2, "score": 0.7}
    with pytest.raises(
        DataError, match="round_01/best: p/round_01/turn_1 has no number 'valeu'. Did you mean 'value'"
    ):
        lab.run("highest", "round_01/best", {"scores": scores}, metric="valeu")


def test_follow_signal_moves_on_with_success_and_signal_and_never_back(lab):
    judged = lab.put("round_01/rollouts", samples({"a": "ppfp"}))
    scored = lab.put(
        "round_01/seen",
        [
            {"prompt_id": name, "prompt": name, "score": score}
            for name, score in (("a", 0.2), ("b", 0.4), ("c", None))
        ],
    )
    inputs = {"rows": judged, "scored": scored}
    found = settings_of(lab.run("follow_signal", "round_01/center", inputs, center=10.0, step=5.0)[""])
    away = 5 * (math.tanh(2 * (0.75 - 0.5)) + math.tanh(2 * 0.3))
    assert found == {"center": pytest.approx(10 + away), "pass_rate": 0.75, "signal": pytest.approx(0.3)}
    wrong = {**inputs, "rows": lab.put("round_02/rollouts", samples({"a": "ffff"}))}
    still = settings_of(lab.run("follow_signal", "round_02/center", wrong, center=10.0, step=5.0)[""])
    assert still["center"] == 10 and still["pass_rate"] == 0
    unscored = {
        **inputs,
        "scored": lab.put("round_03/seen", [{"prompt_id": "a", "prompt": "a", "score": None}]),
    }
    with pytest.raises(DataError, match="round_01/center: no row of p/round_03/seen has a score"):
        lab.run("follow_signal", "round_01/center", unscored, center=10.0, step=5.0)
