"""The shipped measures: their numbers on tables worked out by hand, and for each warning a case with it and one without."""

import math
import random
import shutil
from types import SimpleNamespace

import pydantic
import pytest

from lineal.audit.report.differences import Differences
from lineal.audit.report.difficulty import grids_of
from lineal.audit.summary import NodeSummary, PipelineSummary, Summary
from lineal.components.base import Role
from lineal.components.evaluators.reading import read_evaluation
from lineal.data.estimates import Comparison, Estimate
from lineal.errors import DataError, DeclarationError
from lineal.orchestrate.checking import checked
from lineal.orchestrate.dvc_yaml import write_dvc_yaml
from lineal.plan import make_plan
from lineal.recipe.project import open_project
from lineal.step.watching import headline_held, is_held, read_earlier, watched
from tests.unit.lab import ROOT, Lab

PROMPTS = 60


@pytest.fixture
def lab(tmp_path):
    return Lab(tmp_path)


def rows(count=PROMPTS, samples=1, **columns):
    """Rows of prompts; a column is a value, or is made of the prompt's number and the sample's."""
    return [
        {
            "sample_id": f"s{place}-{index}",
            "prompt_id": f"p{place}",
            "prompt": f"{place}=",
            "completion": f"{place}",
        }
        | {name: made(place, index) if callable(made) else made for name, made in columns.items()}
        for place in range(count)
        for index in range(samples)
    ]


def verdicts(solved, samples=1):
    """Of this number of prompts all samples pass."""
    return rows(samples=samples, verdict=lambda place, _: "pass" if place < solved else "fail")


def measured(lab, sql, number, inputs, **settings):
    """A measure of one round."""
    put = {
        name: tuple(lab.put(f"round_{number:02}/{name}_{place}", table) for place, table in enumerate(tables))
        for name, tables in (
            (name, tables if isinstance(tables, tuple) else (tables,)) for name, tables in inputs.items()
        )
    }
    return lab.run("measure", f"round_{number:02}/measured", put, number, sql=sql, **settings)[""]


def warned(lab, sql, rounds, **settings):
    """Which of a measure's own warnings the last of some rounds has; a round is its inputs, or rows."""
    told = [one if isinstance(one, dict) else {"rows": one} for one in rounds]
    *earlier, last = [
        measured(lab, sql, number, inputs, **settings) for number, inputs in enumerate(told, start=1)
    ]
    component = lab.parse("measure", dict.fromkeys(told[0], ()), sql=sql, **settings)
    step = SimpleNamespace(key="p/measured", component=component, outputs={"": SimpleNamespace(values=())})
    found = [
        watched(step, name, watch, last, read_earlier(earlier)) for name, watch in component.watched().items()
    ]
    found += [headline_held(step, last, read_earlier(earlier))] if is_held(step) else []
    return {result.name.removeprefix("warning_") for result in found if not result.passed}


def numbers(artifact):
    return read_evaluation(artifact.directory).numbers


def of_round(table, number, **columns):
    return [{**row, "round": number, **columns} for row in table]


def evaluated(*solved):
    """`rows` of an evaluation in rounds 0, 1, ..., as tables."""
    return tuple(of_round(verdicts(count), number) for number, count in enumerate(solved))


def test_every_warning_of_a_shipped_measure_has_its_two_cases():
    declared = {
        (path.stem, line.split()[2].rstrip(":"))
        for path in (ROOT / "pipelines" / "measures").glob("*.sql")
        for line in path.read_text().splitlines()
        if line.startswith("-- warns ")
    }
    shown = {(case[0], name) for case in CASES for name in case[3]}
    assert declared == shown


# -- tasks over rounds --------------------------------------------------------------------------------------------------


def learned(first, second):
    """Two tasks of 30 prompts in rounds 0 to 2; the first is taught in round 1 and the second in round 2."""
    tables = []
    for number, solved in enumerate(zip(first, second, strict=True)):
        tables.append(
            [
                {
                    **row,
                    "task": "ab"[place // 30],
                    "round": number,
                    "verdict": "pass" if place % 30 < solved[place // 30] else "fail",
                }
                for place, row in enumerate(rows())
            ]
        )
    trained = [
        {**row, "task": task, "round": number} for number, task in ((1, "a"), (2, "b")) for row in rows(3)
    ]
    return {"rows": tuple(tables), "trained": trained}


def test_matrix_of_tasks_and_rounds_gives_forgetting_and_transfer(lab):
    artifact = measured(lab, "lifelong", 2, learned([3, 27, 15], [6, 12, 24]))
    found = numbers(artifact)
    assert found["forgetting"] == pytest.approx((12 - 12) / 60)  # a: from 27 to 15; b: from 12 to 24
    assert found["backward_transfer"] == pytest.approx(-12 / 30) and found[
        "forward_transfer"
    ] == pytest.approx(6 / 30)
    assert found["learned"] == pytest.approx((24 + 12) / 60) and found["area"] == pytest.approx(
        (3 + 27 + 15 + 6 + 12 + 24) / 180
    )
    assert found["kept"] == pytest.approx((15 + 12) / (27 + 12))
    by_task = read_evaluation(artifact.directory).breakdown["by_task"]
    assert (by_task["a"]["solved"], by_task["b"]["solved"]) == (0.5, 0.8)  # a row of the matrix
    assert by_task["a"]["forgetting"] == pytest.approx(0.4) and by_task["b"]["forgetting"] == pytest.approx(
        -0.4
    )


def test_report_draws_the_matrix_of_tasks_and_rounds(lab):
    nodes = []
    for number in (1, 2):
        told = learned([3, 27, 15][: number + 1], [6, 12, 24][: number + 1])
        found = read_evaluation(measured(lab, "lifelong", number, told).directory)
        shown = {"headline": found.headline, "values": found.numbers, "breakdown": found.breakdown}
        group = f"round_0{number}"
        nodes.append(
            NodeSummary(f"p/{group}/tasks", "tasks", number, group, Role.EVALUATOR, "measure@1", (), **shown)
        )
    pipeline = PipelineSummary("p", "", None, "", "paper", 0, 2, tuple(nodes))
    (grid,) = grids_of(Summary((pipeline,)))
    assert (grid.by, grid.rounds) == ("task", (1, 2)) and grid.bands == (("a", (0.9, 0.5)), ("b", (0.4, 0.8)))


# -- the cases: measure, rounds with the warning, rounds without, the numbers that are warned of --------------------------


def sampled(right, samples=4, count=PROMPTS):
    texts = lambda place, index: f"{place}:{index}"  # noqa: E731
    return rows(
        count,
        samples,
        completion=texts,
        verdict=lambda place, index: "pass" if right(place, index) else "fail",
    )


def judged(liked, right, samples=4):
    """A judge that likes samples, and the truth; right samples say the same, wrong ones are all different."""
    return rows(
        samples=samples,
        completion=lambda place, index: "right" if right(place, index) else f"wrong {index}",
        score=lambda place, index: float(liked(place, index)),
        verdict=lambda place, index: "pass" if liked(place, index) else "fail",
        truth_verdict=lambda place, index: "pass" if right(place, index) else "fail",
    )


def refined(was, became):
    before = rows(verdict=lambda place, _: "pass" if place < was else "fail")
    after = [
        {
            **row,
            "sample_id": f"r{place}",
            "parents": [row["sample_id"]],
            "verdict": "pass" if became(place) else "fail",
            "completion": f"new {place}" if place % 2 else row["completion"],
        }
        for place, row in enumerate(before)
    ]
    return {"rows": after, "before": before}


def confident(sure, right):
    return rows(
        score=lambda place, _: sure, truth_verdict=lambda place, _: "pass" if place < right else "fail"
    )


def abstained(count):
    return rows(
        answer=lambda place, _: "unknown" if place < 30 else "4",
        completion=lambda place, _: "it is unknown" if place < count else "4",
    )


def texts(text, reason="stop"):
    return rows(samples=4, completion=text, finish_reason=reason)


def posed(*tasks):
    return {
        "rows": rows(task=lambda place, _: tasks[place % len(tasks)]),
        "syllabus": [{"prompt_id": t, "task": t} for t in "abcd"],
    }


def pool_of(count, *tried):
    """A pool of prompts, and samples of its first ones with these verdicts."""
    made = [
        one | {"verdict": verdict}
        for place, verdicts in enumerate(tried)
        for one, verdict in zip(rows(place + 1, len(verdicts))[-len(verdicts) :], verdicts, strict=True)
    ]
    return {"rows": made, "pool": rows(count)}


def composed(wrong):
    parts = [
        {**row, "prompt_id": f"part {place}", "whole": row["prompt_id"]}
        for place, row in enumerate(verdicts(40))
    ]
    return {
        "rows": rows(verdict=lambda place, _: "fail" if place < wrong or place >= 50 else "pass"),
        "parts": parts,
    }


def word(place, index):
    return f"letters {place} sorted way {index} are {place * 7}"


def noisy(share, seed):
    """What a draw of this share of the prompts solves; rounds of equal share differ by noise alone."""
    draw = random.Random(seed)  # noqa: S311 - reproducible on purpose
    return sampled(lambda place, index, seen={}: seen.setdefault((place, index), draw.random() < share))


FALLS = tuple(round(0.9 - 0.1 * place, 1) for place in range(5))
FEWER_WRONG = [refined(count, lambda place: place < 56) for count in (20, 28, 36, 44, 52)]
SHRINKING = [{"rows": evaluated(*(6, 18, 28, 37, 45, 52, 58)[: last + 1])} for last in range(1, 7)]
CASES = [
    (
        "coverage",
        [noisy(0.5, 0), noisy(0.03, 1), noisy(0.005, 2)],
        [noisy(0.5, seed) for seed in range(3)],
        {"any_right"},
    ),
    ("coverage", [sampled(lambda place, _: place < 50, count=100)], [noisy(0.5, 3)], {"gap"}),
    ("lifelong", [learned([3, 27, 15], [6, 12, 12])], [learned([3, 20, 24], [6, 12, 24])], {"forgetting"}),
    (
        "lifelong",
        [learned([3, 20, 24], [20, 4, 24])],
        [learned([3, 20, 24], [6, 12, 24])],
        {"forward_transfer"},
    ),
    (
        "judge_card",
        [judged(lambda place, index: index == 3, lambda place, index: index < 2)],
        [judged(lambda place, index: index == 0, lambda place, index: index < 2)],
        {"lead"},
    ),
    (
        "judge_card",
        [judged(lambda p, i, n=n: i < n, lambda place, index: index < 2) for n in (2, 4)],
        [judged(lambda p, i, n=n: i < n, lambda p, i, n=n: i < n) for n in (2, 4)],
        {"inflation"},
    ),
    (
        "two_judges",
        [{"rows": verdicts(50), "other": verdicts(10)}],
        [{"rows": verdicts(50), "other": verdicts(count)} for count in (50, 49)],
        {"same"},
    ),
    ("refined", [refined(40, lambda place: place < 20)], FEWER_WRONG, {"net_gain"}),
    (
        "refined",
        [refined(40, lambda place: place < 50), refined(40, lambda place: 15 < place < 60)],
        [refined(40, lambda place: place < 50), refined(40, lambda place: place < 49)],
        {"kept"},
    ),
    (
        "calibration",
        [confident(0.9, 54), confident(0.9, 18)],
        [confident(0.9, 54), confident(0.3, 18)],
        {"calibration_error"},
    ),
    (
        "calibration",
        [confident(0.3, 30), confident(0.9, 30)],
        [confident(0.9, 30), confident(0.5, 30)],
        {"overconfidence"},
    ),
    (
        "abstention",
        [abstained(count) for count in (30, 24, 18, 12, 6)],
        [abstained(30 - n % 2) for n in range(5)],
        {"f1"},
    ),
    (
        "texts",
        [texts(word), texts(lambda place, index: word(place, 0))],
        [texts(word), texts(lambda place, index: word(place, index + 4))],
        {"entropy", "duplicates"},
    ),
    (
        "texts",
        [texts(word), texts(lambda place, index: f"all say {index}")],
        [texts(word), texts(word)],
        {"elsewhere"},
    ),
    (
        "texts",
        [texts(word), texts(lambda place, index: f"{place} {index} no no no no")],
        [texts(word), texts(lambda place, index: word(place, index) + " then")],
        {"variety"},
    ),
    (
        "texts",
        [texts(word), texts(lambda place, index: word(place, index) * 3, "length")],
        [texts(word), texts(lambda place, index: word(place, index) + " then")],
        {"characters", "cut"},
    ),
    ("texts", [texts(word), texts(lambda place, index: "")], [texts(word), texts(word)], {"empty"}),
    ("gain", [{"rows": evaluated(6, 30, 36, 37)}], SHRINKING, {"rounds_left"}),
    (
        "wrong_way",
        [judged(lambda place, index: place > 30, lambda place, index: index < 2)],
        [judged(lambda place, index: place > 1, lambda place, index: index < 2)] * 2,
        {"wrong_way"},
    ),
    ("composition", [composed(4), composed(24)], [composed(8), composed(7)], {"gap"}),
    (
        "habits",
        [texts(lambda *_: "let me check, wait, instead 4"), texts(lambda *_: "4")],
        [texts(lambda *_: "let me check, wait, instead 4"), texts(lambda *_: "wait, instead verify 5")],
        {"verification", "backtracking"},
    ),
    (
        "pool",
        [pool_of(40, *[["pass", "fail"]] * 40), pool_of(80, *[["pass", "pass"]] * 80)],
        [pool_of(40, *[["pass", "fail"]] * 40), pool_of(80, *[["pass", "fail"]] * 40)],
        {"learnable"},
    ),
    (
        "topics",
        [posed(*"abcd"[: max(1, 4 - n)], "z") for n in range(4)] + [posed("z")],
        [posed(*"abcd")] * 5,
        {"covered", "largest"},
    ),
]
SETTINGS = {"abstention": {"refusal": "unknown"}}


@pytest.mark.parametrize(
    ("sql", "bad", "good", "expected"), CASES, ids=lambda value: value if isinstance(value, str) else ""
)
def test_warning_of_a_measure_comes_where_it_must_and_nowhere_else(lab, sql, bad, good, expected):
    found = warned(lab, sql, bad, **SETTINGS.get(sql, {}))
    assert expected <= found and not (
        "accuracy_held" in found and lab.parse("measure", sql=sql).headline in expected
    )
    assert not warned(lab, sql, good, **SETTINGS.get(sql, {}))


@pytest.mark.parametrize("sql", ["characters", "gain", "gained", "judge_card", "refined"])
def test_headline_without_a_good_direction_is_not_held(lab, sql):
    component = lab.parse(
        "measure", {"rows": (), "before": ()} if sql in ("gained", "refined") else {"rows": ()}, sql=sql
    )
    assert component.higher_is_better is None and not is_held(SimpleNamespace(component=component))


def test_report_calls_a_change_without_a_good_direction_neither_better_nor_worse():
    fell = Comparison(Estimate(-0.2, -0.3, -0.1), 0.01, 60)
    shown = [
        Differences(None, "e", "gain", True, better, "", ()).word(fell) for better in (True, False, None)
    ]
    assert shown == ["worse", "better", "other"]


def test_headline_is_warned_of_once(lab):
    for warnings, held in (
        ({}, True),
        ({"distinct_share": "falls"}, False),
        ({"distinct_share": {"below": 0.1}}, True),
    ):
        assert (
            is_held(SimpleNamespace(component=lab.parse("diversity", {"rows": ()}, warnings=warnings)))
            is held
        )


# -- numbers by hand ----------------------------------------------------------------------------------------------------


def test_coverage_tells_sharpness_apart_from_coverage(lab):
    table = sampled(lambda place, index: place < 30 and index < 3)
    found = numbers(measured(lab, "coverage", 1, {"rows": table}))
    assert (found["any_right"], found["one_right"], found["gap"], found["sharpness"]) == (
        0.5,
        0.375,
        0.125,
        0.75,
    )


def test_judge_is_held_against_the_vote(lab):
    found = numbers(
        measured(lab, "judge_card", 1, {"rows": judged(lambda p, i: i in (1, 2), lambda p, i: i < 2)})
    )
    assert found == pytest.approx(
        {
            "prompts": 60,
            "lead": 0,
            "judge_right": 1,
            "vote_right": 1,
            "one_right": 0.5,
            "precision": 0.5,
            "missed": 0.5,
            "inflation": 0,
        }
    )


def test_refinement_is_told_as_confidence_and_critique(lab):
    found = numbers(measured(lab, "refined", 1, refined(40, lambda place: 10 <= place < 45)))
    assert found["kept"] == 0.75 and found["mended"] == 0.25 and found["uptake"] == 0.5
    assert found["net_gain"] == pytest.approx(-5 / 60)


def test_calibration_error_is_that_of_the_bins(lab):
    table = [{**row, "score": 0.95 if place < 40 else 0.25} for place, row in enumerate(confident(0.0, 30))]
    found = numbers(measured(lab, "calibration", 1, {"rows": table}))
    assert found["calibration_error"] == pytest.approx((40 * abs(0.95 - 0.75) + 20 * 0.25) / 60)
    assert found["brier"] == pytest.approx((30 * 0.05**2 + 10 * 0.95**2 + 20 * 0.25**2) / 60)
    assert found["overconfidence"] == pytest.approx((40 * 0.2 + 20 * 0.25) / 60)
    with pytest.raises((DataError, DeclarationError), match="a confidence is not between 0 and 1"):
        measured(lab, "calibration", 1, {"rows": confident(1.5, 3)})
    for bins in (0, -3):
        with pytest.raises(pydantic.ValidationError, match="must be in 1.., got"):
            measured(lab, "calibration", 1, {"rows": confident(0.5, 3)}, bins=bins)
    with pytest.raises(pydantic.ValidationError, match="must be one of score, vote_share, value"):
        measured(lab, "calibration", 1, {"rows": confident(0.5, 3)}, confidence="scores")


def test_abstention_has_its_f1(lab):
    found = numbers(measured(lab, "abstention", 1, {"rows": abstained(20)}, refusal="unknown"))
    assert found == pytest.approx(
        {"f1": 0.8, "precision": 1, "recall": 2 / 3, "abstained": 1 / 3, "unanswerable": 0.5}
    )
    assert "answer" in lab.parse("measure", {"rows": ()}, sql="abstention", refusal="x").needs()["rows"]


def test_texts_have_an_entropy_and_repeat_themselves_or_each_other(lab):
    table = rows(
        2, 4, completion=lambda place, index: f"a a {'b' if index < 2 else place}", finish_reason="stop"
    )
    found = numbers(measured(lab, "texts", 1, {"rows": table}))
    assert (found["entropy"], found["duplicates"], found["elsewhere"], found["cut"]) == (1.0, 0.5, 0.5, 0.0)
    assert found["variety"] == pytest.approx(2 / 3) and found["characters"] == 5


def test_gains_are_fitted_and_foretold(lab):
    halves = numbers(
        measured(lab, "gain", 4, {"rows": evaluated(0, 32, 48, 56, 60)})
    )  # of 60: gains of 32, 16, 8 and 4
    assert halves["gain"] == pytest.approx(4 / 60) and halves["rate"] == pytest.approx(0.5)
    assert halves["next_gain"] == pytest.approx(2 / 60) and halves["limit_reached"] == pytest.approx(64 / 60)
    assert (
        halves["rounds_left"] == 3 and halves["exponent"] < -1
    )  # 2, 1 and 1/2 of 60 are worth a round, 1/4 of 60 is not
    for worth, left in ((1 / 60, 2), (2 / 60, 1), (0.04, 0), (0.1, 0)):
        assert (
            numbers(measured(lab, "gain", 4, {"rows": evaluated(0, 32, 48, 56, 60)}, worth=worth))[
                "rounds_left"
            ]
            == left
        )
    with pytest.raises((DataError, DeclarationError), match="worth must be above 0"):
        measured(lab, "gain", 4, {"rows": evaluated(0, 32, 48, 56, 60)}, worth=0)
    assert numbers(measured(lab, "gain", 1, {"rows": evaluated(5, 6)})) == {"gain": pytest.approx(1 / 60)}
    assert numbers(measured(lab, "gain", 1, {"rows": evaluated(5)})) == {}


def test_wrong_way_is_counted_among_right_answers(lab):
    found = numbers(measured(lab, "wrong_way", 1, {"rows": judged(lambda p, i: i == 0, lambda p, i: i < 2)}))
    assert (found["wrong_way"], found["right"]) == (0.5, 0.5)


def test_compositionality_gap_looks_at_questions_whose_parts_are_right(lab):
    found = numbers(measured(lab, "composition", 1, composed(10)))
    assert (
        found["gap"] == 0.25
        and found["parts_right"] == pytest.approx(2 / 3)
        and found["whole_right"] == pytest.approx(40 / 60)
    )


def test_question_with_a_part_that_could_not_be_judged_is_left_out(lab):
    inputs = composed(10)
    inputs["parts"] += [
        {**inputs["parts"][place], "sample_id": f"e{place}", "verdict": "error"} for place in range(20)
    ]
    found = numbers(measured(lab, "composition", 1, inputs))
    assert (found["prompts"], found["gap"], found["parts_right"]) == (40, 0.0, 0.5)


def test_round_without_a_headline_stops_nothing_and_is_not_warned_of(lab):
    none_right = judged(lambda place, index: index == 0, lambda place, index: False)
    assert numbers(measured(lab, "wrong_way", 1, {"rows": none_right})) == {"prompts": 60, "right": 0}
    assert not warned(lab, "wrong_way", [judged(lambda *_: True, lambda place, index: index < 2), none_right])
    assert not warned(lab, "wrong_way", [none_right, judged(lambda *_: True, lambda place, index: index < 2)])
    no_part = {"rows": verdicts(10), "parts": [{**row, "whole": row["prompt_id"]} for row in verdicts(0)]}
    assert "gap" not in numbers(measured(lab, "composition", 1, no_part))


@pytest.mark.parametrize("sql", ["coverage", "judge_card"])
def test_vote_is_by_the_answer_where_it_was_extracted(lab, sql):
    right = lambda place, index: index in (1, 2)  # noqa: E731
    table = [
        {**row, "completion": f"way {place}: {row['completion']}"}
        for place, row in enumerate(judged(right, right, 3))
    ]
    assert numbers(measured(lab, sql, 1, {"rows": table}))["vote_right"] == 0
    extracted = [{**row, "voted": row["completion"].split(": ")[1]} for row in table]
    assert numbers(measured(lab, sql, 1, {"rows": extracted}))["vote_right"] == 1


def test_tasks_without_a_name_are_no_task(lab):
    inputs = {"rows": evaluated(6, 30), "trained": of_round(rows(3), 1)}
    artifact = measured(lab, "lifelong", 1, inputs)
    assert numbers(artifact)["solved"] == 0.5 and numbers(artifact)["learned"] == pytest.approx(24 / 60)
    assert "by_task" not in read_evaluation(artifact.directory).breakdown


def test_habits_are_counted_by_words(lab):
    text = "First, check 4 + 4. Wait, that's wrong: work backwards from 8. Then verify"
    found = numbers(measured(lab, "habits", 1, {"rows": rows(1, completion=text)}))
    assert found == {"prompts": 1, "verification": 2, "backtracking": 2, "subgoal": 2, "backward": 1}


def test_topics_are_held_against_a_list(lab):
    found = numbers(measured(lab, "topics", 1, posed("a", "a", "b", "z")))
    assert (found["covered"], found["largest"], found["outside"]) == (0.5, 0.5, 0.25)
    assert found["evenness"] == pytest.approx(
        (2 * math.log2(1.5) + math.log2(3)) / 3 / 2
    )  # of a, a and b among four
    even = numbers(measured(lab, "topics", 1, posed(*"abcd", "y", "z", None, None, None, None)))
    assert (even["evenness"], even["covered"], even["outside"], even["largest"]) == (
        1,
        1,
        pytest.approx(0.6),
        pytest.approx(0.1),
    )
    assert "evenness" not in numbers(measured(lab, "topics", 1, posed("z")))


def test_pool_grows_and_its_new_tasks_are_as_hard_as_their_samples_say(lab):
    found = numbers(
        measured(lab, "pool", 1, pool_of(8, ["pass", "fail", "fail", "fail"], ["pass"], ["fail"], ["error"]))
    )
    assert found == pytest.approx(
        {"learnable": 1 / 3, "difficulty": (0.75 + 0 + 1) / 3, "fresh": 4 / 8, "pool": 8, "prompts": 3}
    )


def test_two_judges_agree_on_so_many(lab):
    found = numbers(measured(lab, "two_judges", 1, {"rows": verdicts(30), "other": verdicts(45)}))
    assert (found["same"], found["stricter"]) == (0.75, 0.25)


PIPELINE = """\
method: Measured
summary: Every shipped measure in a round.
tasks:
  base: {use: letter_sort, length: [2, 4], size: 24, split: train}
  train: {use: letter_sort, length: [5, 7], size: 6}
  test: {use: letter_sort, length: [8, 9], size: 4}
start:
  checkpoint: {use: pretrain, rows: tasks.base, steps: 1}
  evaluation: {use: accuracy, model: checkpoint, prompts: tasks.test}
  filtered: {use: select, rows: tasks.base, sql: keep_all}
round:
  generated: {use: sample, model: previous.checkpoint, prompts: tasks.train, samples: 4}
  true_ones: {use: exact_match, rows: generated, name: truth}
  judged: {use: judge, rows: true_ones, model: previous.checkpoint, template: "{completion}", repeats: prompt, threshold: 0.5}
  strict: {use: judge, rows: true_ones, model: previous.checkpoint, template: "-{completion}", repeats: prompt, threshold: 0.5}
  tried_again: {use: ask, model: previous.checkpoint, rows: judged, template: "{prompt}{completion}>"}
  again: {use: exact_match, rows: tried_again}
  filtered: {use: select, rows: again, sql: keep_correct}
  checkpoint: {use: sft, init: previous.checkpoint, rows: filtered, steps: 1}
  evaluation: {use: accuracy, model: checkpoint, prompts: tasks.test}
  parts: {use: select, rows: again, sql: as_parts}
  taught:
    use: train_and_test
    rows: generated
    train: {use: sft, init: checkpoint, rows: tried_again, steps: 1}
    test: {use: accuracy, prompts: tasks.test}
"""
AS_PARTS = "-- summary: Parts.\n-- adds: whole\nSELECT row_id, 'kept' AS decision, '' AS reason, prompt_id AS whole FROM rows"
NODES = {
    "adapted": "rows: taught",
    "abstention": "rows: evaluation, refusal: no",
    "calibration": "rows: judged",
    "characters": "rows: generated",
    "composition": "rows: again, parts: parts",
    "coverage": "rows: again",
    "gain": "rows: [history.evaluation, evaluation]",
    "gained": "rows: evaluation, before: start.evaluation",
    "habits": "rows: generated",
    "judge_card": "rows: judged",
    "lifelong": "rows: [history.evaluation, evaluation], trained: [history.filtered, filtered]",
    "pool": "rows: again, pool: [tasks.train, history.filtered]",
    "refined": "rows: again, before: judged",
    "spent": "rows: tasks.train, drawn: [generated, judged.judgments]",
    "texts": "rows: generated",
    "topics": "rows: generated, syllabus: tasks.train",
    "two_judges": "rows: judged, other: strict",
    "wrong_way": "rows: judged",
}


def test_every_shipped_measure_stands_in_a_round(tmp_path):
    """The plan takes it, and DuckDB binds its query to the columns that are planned."""
    assert NODES.keys() == {path.stem for path in (ROOT / "pipelines" / "measures").glob("*.sql")}
    for folder in ("selectors", "measures", "templates"):
        shutil.copytree(ROOT / "pipelines" / folder, tmp_path / "pipelines" / folder)
    (tmp_path / "pipelines" / "selectors" / "as_parts.sql").write_text(AS_PARTS)
    nodes = "".join(
        f"  {name}_measured: {{use: measure, sql: {name}, {rows}}}\n" for name, rows in NODES.items()
    )
    (tmp_path / "pipelines" / "mine.yaml").write_text(PIPELINE + nodes)
    (tmp_path / "params.yaml").write_text("rounds: 2\nactive: [mine]\ncompute: {engine: fake, workers: 1}\n")
    project = open_project(tmp_path)
    write_dvc_yaml(make_plan(project))
    assert checked(project).problems == []
