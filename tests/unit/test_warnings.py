"""`warnings:` of evaluations: what is said of a number over rounds, by noise and by trend."""

import json
import random
from types import SimpleNamespace

import pydantic
import pytest

from lineal.components.evaluators.reading import change_of, compare, read_evaluation
from lineal.components.evaluators.watch import Watch
from lineal.data.estimates import _bootstrapped, mean
from lineal.data.trends import short_trend_of
from lineal.errors import DeclarationError
from lineal.step.watching import Earlier, moved, watched
from tests.unit.lab import Lab, samples

PROMPTS = 60


def evaluation(path, values, number="accuracy"):
    """An evaluation of prompts with these values, as files; a number without an interval where `values` is one."""
    path.mkdir(parents=True)
    plain = not isinstance(values, list)
    found = None if plain else mean(values).estimate
    numbers = {number: values} if plain else {number: found.value, "low": found.low, "high": found.high}
    intervals = {} if plain else {number: [found.low, found.high]}
    prompts = {} if plain else {f"p{place}": value for place, value in enumerate(values)}
    for name, content in (
        ("metrics", numbers),
        ("details", {"headline": number, "intervals": intervals, "by_difficulty": {}}),
        ("prompts", prompts),
    ):
        (path / f"{name}.json").write_text(json.dumps(content))
    return read_evaluation(path)


def solved(count):
    return [float(place < count) for place in range(PROMPTS)]


def told(tmp_path, rounds, direction=-1, share=0.0):
    """What is found in the last of some rounds, each with its prompts' values, or one number."""
    made = [evaluation(tmp_path / f"round_{place}", values) for place, values in enumerate(rounds)]
    earlier = [Earlier(f"p/round_{place}/e", one) for place, one in enumerate(made[:-1])]
    return moved("accuracy", made[-1], earlier, direction, share)


@pytest.mark.parametrize(
    ("rounds", "held"),
    [
        ([50, 48, 46, 44], True),  # within noise of each earlier round
        ([50, 46, 42, 38, 34], False),  # small losses add up since the first
        (
            [20, 50, 46, 42, 38, 34],
            False,
        ),  # a slow fall after a peak: better than the first and near the one before
        ([20, 50, 49], True),
    ],
)
def test_every_earlier_round_is_compared(tmp_path, rounds, held):
    found = told(tmp_path, [solved(count) for count in rounds])
    assert found.held is held, found.message
    assert ("more than noise" in found.message) is not held or 20 in rounds


def test_unchanged_rounds_are_seldom_said_to_fall(tmp_path):
    draw, alarms = random.Random(3), 0  # noqa: S311 - reproducible on purpose
    for trial in range(150):
        rounds = [[float(draw.random() < 0.6) for _ in range(PROMPTS)] for _ in range(8)]
        alarms += not told(tmp_path / str(trial), rounds).held
    assert alarms <= 10


def test_rounds_that_are_not_worse_cost_no_bootstrap(tmp_path):
    """Of 12 rounds that rise, the last is compared with the first and the one before; asked again, with none."""
    rounds = [[(place % 7 + step / 3) / 12 for place in range(PROMPTS)] for step in range(12)]
    rounds = [
        [value + (place * step % 5) / 50 for place, value in enumerate(one)]
        for step, one in enumerate(rounds)
    ]
    before = _bootstrapped.cache_info()
    found = told(tmp_path / "a", rounds)
    assert found.held and _bootstrapped.cache_info().misses - before.misses == 2
    assert told(tmp_path / "b", rounds) == found and _bootstrapped.cache_info().misses - before.misses == 2
    assert (
        not told(tmp_path / "c", rounds, direction=1).held
        and _bootstrapped.cache_info().misses - before.misses == 11
    )


@pytest.mark.parametrize("factor", [1.0, 0.75])
def test_change_is_the_difference_that_a_comparison_finds(tmp_path, factor):
    graded = [(place % 7) / 7 for place in range(PROMPTS)]
    old, new, fewer, plain = (
        evaluation(tmp_path / str(place), values)
        for place, values in enumerate((solved(30), solved(40), graded[:20], 0.5))
    )
    for before, now in ((old, new), (new, fewer), (fewer, old)):
        found = compare(before, now, "accuracy", factor)
        assert change_of(before, now, "accuracy", factor) == pytest.approx(found.difference.value)
    assert change_of(old, plain, "accuracy") is compare(old, plain, "accuracy") is None


def test_number_without_an_interval_warns_by_its_trend(tmp_path):
    falling = told(tmp_path / "a", [0.9, 0.8, 0.7, 0.65, 0.6])
    assert not falling.held and "accuracy falls over 5 rounds (p = 0.0083)" in falling.message
    assert told(tmp_path / "b", [0.9, 0.8, 0.7, 0.65]).held
    assert told(tmp_path / "c", [0.9, 0.8, 0.7, 0.65, 0.6], share=0.5).held
    assert not told(tmp_path / "d", [0.9, 0.8, 0.7, 0.65, 0.4], share=0.5).held
    assert told(tmp_path / "e", [0.9, 0.8, 0.7, 0.65, 0.6], direction=1).held
    turned = [0.1, 0.2, 0.3, 0.4, 0.5, 0.58, 0.56, 0.54, 0.52, 0.5, 0.48]
    found = told(tmp_path / "f", turned)
    assert not found.held and "accuracy falls over the later 6 of 11 rounds (p = 0.0028)" in found.message
    assert told(tmp_path / "g", turned[1:]).held  # of 10 rounds, no order of the later 5 is rare enough


def test_share_that_may_be_lost_is_not_warned_of(tmp_path):
    assert told(tmp_path / "a", [solved(50), solved(40)], share=0.25).held
    lost = told(tmp_path / "b", [solved(50), solved(20)], share=0.25)
    assert (
        not lost.held
        and "0.8333 -> 0.3333 since p/round_0/e" in lost.message
        and "up to 25% of it is allowed" in lost.message
    )


@pytest.mark.parametrize(
    ("watch", "held", "word"),
    [
        ({"below": 0.9}, True, "not below 0.9"),
        ({"below": 0.95}, False, "is below 0.95"),
        ({"above": 0.5}, False, "is above 0.5"),
        ({"above": 0.8}, True, "not above 0.8"),
    ],
)
def test_level_is_held_against_the_whole_interval(tmp_path, watch, held, word):
    evaluation(tmp_path / "e", solved(50))  # 0.83, 0.72 to 0.91
    step = SimpleNamespace(
        key="p/round_01/e", component=None, outputs={"": SimpleNamespace(values=("accuracy",))}
    )
    found = watched(step, "accuracy", Watch(**watch), SimpleNamespace(directory=tmp_path / "e"), [])
    assert (
        found.passed is held
        and word in found.message
        and found.name == "warning_accuracy"
        and not found.blocking
    )


def test_values_of_a_check_are_those_of_what_failed(tmp_path):
    evaluation(tmp_path / "e", solved(50))
    step = SimpleNamespace(
        key="p/round_01/e", component=None, outputs={"": SimpleNamespace(values=("accuracy",))}
    )
    found = watched(
        step, "accuracy", Watch(below=0.1, above=0.5), SimpleNamespace(directory=tmp_path / "e"), []
    )
    assert not found.passed and found.values["level"] == 0.5


def test_short_series_is_compared_with_all_of_its_orders():
    assert short_trend_of([1.0, 2.0, 3.0, 4.0, 5.0]).rises == pytest.approx(1 / 120)
    assert short_trend_of([5.0, 4.0, 3.0]).falls == pytest.approx(1 / 6)
    assert (
        short_trend_of([1.0, 1.0, 1.0]).falls
        == short_trend_of([2.0]).rises
        == short_trend_of([]).falls
        == 1.0
    )
    assert short_trend_of([1.0, 1.0, 2.0]).rises == pytest.approx(1 / 3)


def test_declared_warnings_are_checked_and_no_part_of_the_identity(tmp_path):
    lab = Lab(tmp_path)
    inputs = {"rows": ()}
    plain = lab.parse("diversity", inputs)
    warned = lab.parse(
        "diversity", inputs, warnings={"distinct_share": "falls", "vote_agreement": {"above": 0.9}}
    )
    assert warned.identity() == plain.identity() and "warnings" not in plain.identity()
    assert warned.watched() == {"distinct_share": Watch(falls=0.0), "vote_agreement": Watch(above=0.9)}
    wrong = lab.parse("diversity", inputs, warnings={"distinct_shares": "falls"})
    with pytest.raises(
        ValueError, match="diversity gives no number 'distinct_shares'. Did you mean 'distinct_share'"
    ):
        wrong.outputs({"rows": ("prompt_id", "completion", "verdict")})
    nan = float("nan")
    for bad in (
        "sinks",
        {},
        {"falls": 2},
        {"falls": nan},
        {"rises": float("inf")},
        {"below": nan},
        {"above": nan},
    ):
        with pytest.raises(pydantic.ValidationError):
            lab.parse("diversity", inputs, warnings={"distinct_share": bad})
    with pytest.raises(pydantic.ValidationError, match="'a/b' and 'a_b' would both be the check warning_a_b"):
        lab.parse("diversity", inputs, warnings={"a/b": "falls", "a_b": "falls"})
    assert lab.parse("diversity", inputs, warnings={"a/b": "falls", "a_b": None}).watched() == {
        "a/b": Watch(falls=0.0)
    }


def test_measure_has_the_warnings_of_its_file_and_the_node_goes_before_them(tmp_path):
    lab = Lab(tmp_path)
    path = tmp_path / "pipelines" / "measures" / "own.sql"
    path.write_text(
        "-- summary: A test.\n-- gives: gap, other\n-- warns gap: below 0.05\nSELECT 0.01 AS gap, 1 AS other FROM rows"
    )
    assert lab.parse("measure", {"rows": ()}, sql="own").watched() == {"gap": Watch(below=0.05)}
    assert lab.parse("measure", {"rows": ()}, sql="own", warnings={"gap": None}).watched() == {}
    assert lab.parse("measure", {"rows": ()}, sql="own", warnings={"gap": "falls"}).watched() == {
        "gap": Watch(falls=0.0)
    }
    lab.run("measure", "round_01/own", {"rows": lab.put("round_01/rows", samples({"a": "p"}))}, sql="own")
    wrong = ("sinks", "below", "falls, falls 0.25", "below 0.1, below 0.2", "below nan", "above inf")
    for line, message in (
        ("gaps: falls", "Did you mean 'gap'"),
        *((f"gap: {one}", "expected falls, rises") for one in wrong),
        ("gap: falls\n-- warns gap: below 0", r"own\.sql:4: 'warns gap' occurs twice"),
    ):
        path.write_text(f"-- summary: A test.\n-- gives: gap\n-- warns {line}\nSELECT 0.01 AS gap FROM rows")
        with pytest.raises(DeclarationError, match=message):
            lab.parse("measure", {"rows": ()}, sql="own")
