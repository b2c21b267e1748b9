"""The report's numbers beside those counted row by row in Python, and its ancestries beside those of `lineal trace`."""

import shutil
from collections import defaultdict
from fractions import Fraction

import pyarrow.parquet as pq
import pytest

from lineal.audit.catalog import read_catalog
from lineal.audit.query import connection
from lineal.audit.report.across import _seen_before
from lineal.audit.report.ancestry import ancestry_of
from lineal.audit.report.difficulty import _bands, grids_of
from lineal.audit.report.facts import RunFacts
from lineal.audit.report.figures import charts_of
from lineal.audit.report.measures import WORDS, _generation, _ngrams
from lineal.audit.report.page import gather
from lineal.audit.report.render import render
from lineal.audit.summary import accuracy_table
from lineal.audit.trace.backward import trace_back
from lineal.audit.trace.target import Target, TargetKind
from lineal.plan import make_plan
from lineal.recipe.compute import Compute
from lineal.recipe.project import open_project
from tests.unit.lab import Lab
from tests.unit.report_project import made_report_project

ROUNDS = (1, 2, 3)


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    return made_report_project(tmp_path_factory.mktemp("numbers"))


@pytest.fixture(scope="module")
def page(plan):
    return gather(plan)


@pytest.fixture(scope="module")
def nodes(page):
    return {node.key.removeprefix("everything/"): node for node in page.summary.pipelines[0].nodes}


def rows_of(plan, name):
    files = sorted(plan.project.directory(f"everything/{name}").glob("*.parquet"))
    return [row for file in files for row in pq.read_table(file).to_pylist()]


def by_prompt(rows):
    found = defaultdict(list)
    for row in rows:
        found[row["prompt_id"]].append(row)
    return found


def mean(values):
    values = list(values)
    return float(sum(map(Fraction, values)) / len(values))


@pytest.mark.parametrize("label", ["generated", "rationalized", "probed"])
def test_diversity_and_length_are_those_of_the_rows(plan, nodes, label):
    for number in ROUNDS:
        rows, node = rows_of(plan, f"round_{number:02d}/{label}"), nodes[f"round_{number:02d}/{label}"]
        distinct = [len({row["completion"] for row in own}) for own in by_prompt(rows).values()]
        assert node.value("distinct_per_prompt") == mean(distinct)
        assert node.value("tokens_mean") == mean(row["tokens"] for row in rows)
        assert node.value("truncated_share") == mean(row["finish_reason"] == "length" for row in rows)


@pytest.mark.parametrize("label", ["generated", "rationalized", "probed"])
def test_seen_before_is_what_an_earlier_round_had_for_the_prompt(plan, nodes, label):
    seen = set()
    for number in ROUNDS:
        rows = rows_of(plan, f"round_{number:02d}/{label}")
        pairs = [(row["prompt_id"], row["completion"]) for row in rows]
        wanted = mean(pair in seen for pair in pairs) if seen else None
        assert nodes[f"round_{number:02d}/{label}"].value("seen_before_share") == pytest.approx(wanted)
        seen |= set(pairs)


def test_equal_completions_of_different_prompts_are_different_samples(tmp_path):
    rows = [
        {
            "sample_id": str(place),
            "prompt_id": prompt,
            "completion": text,
            "tokens": 2,
            "finish_reason": reason,
        }
        for place, (prompt, text, reason) in enumerate(
            [("a", "x", "stop"), ("a", "x", "length"), ("b", "x", "stop"), ("b", "y", "stop")]
        )
    ]
    lab = Lab(tmp_path)
    first, second = lab.put("round_01/generated", rows[:2]), lab.put("round_02/generated", rows)
    with connection(Compute(workers=1)) as opened:
        assert _generation(second, opened) == {
            "distinct_per_prompt": 1.5,
            "tokens_mean": 2.0,
            "truncated_share": 0.25,
        }
        assert _seen_before({1: first, 2: second}, opened) == {2: 0.5}


def test_votes_and_verdicts_are_those_of_the_rows_also_under_a_name(plan, nodes):
    for number in ROUNDS:
        voted, verified = (f"round_{number:02d}/{label}" for label in ("voted", "verified"))
        prompts = by_prompt(rows_of(plan, voted)).values()
        assert nodes[voted].value("vote_margin") == pytest.approx(
            mean(own[0]["vote_margin"] for own in prompts), abs=1e-6
        )
        answers = mean(len({row["voted"] for row in own} - {None}) for own in prompts)
        assert nodes[voted].value("answers_per_prompt") == answers
        rows = rows_of(plan, verified)
        for word in ("pass", "fail", "error"):
            assert nodes[verified].value(f"{word}_share") == mean(
                row["exact_verdict"] == word for row in rows
            )
        assert nodes[verified].value("vote_margin") is None
        solved = mean(any(row["exact_verdict"] == "pass" for row in own) for own in by_prompt(rows).values())
        assert nodes[verified].value("solved_share") == solved


def test_turns_are_prompts_whose_verdict_changed_from_round_to_round(plan, page):
    (turns,) = page.turns
    assert turns.label == "evaluation"
    states = [
        {row["prompt_id"]: row["verdict"] == "pass" for row in rows_of(plan, f"{group}/evaluation")}
        for group in ("start", "round_01", "round_02", "round_03")
    ]
    for turn in turns.rounds:
        before, now = states[turn.round - 1], states[turn.round]
        assert turn.compared == 10
        assert turn.lost == sum(before[name] and not now[name] for name in now)
        assert turn.gained == sum(now[name] and not before[name] for name in now)
    assert [turn.round for turn in turns.rounds] == [1, 2, 3]
    assert sum(turn.lost + turn.gained for turn in turns.rounds) > 0


def test_grids_hold_every_prompt_by_difficulty(plan, page):
    grids = {grid.label: grid for grid in grids_of(page.summary)}
    assert grids["evaluation"].rounds == (0, 1, 2, 3)
    assert grids["judged"].rounds == ROUNDS
    rows = by_prompt(rows_of(plan, "round_02/judged"))
    for band, values in grids["judged"].bands:
        low, _, high = band.partition(" to ")
        own = [rows for rows in rows.values() if float(low) <= rows[0]["difficulty"] <= float(high or low)]
        assert values[1] == pytest.approx(
            mean(any(row["verdict"] == "pass" for row in prompt) for prompt in own)
        )


def test_bands_are_neighbours_of_about_as_many_prompts():
    assert _bands({5.0: 10, 1.0: 10, 3.0: 10}, 3) == [[1.0], [3.0], [5.0]]
    assert _bands({1.0: 90, 2.0: 5, 3.0: 5}, 3) == [[1.0], [2.0, 3.0]]
    assert _bands({1.0: 4}, 3) == [[1.0]]
    assert _bands({}, 3) == []


def test_charts_are_those_that_the_pipeline_has(page):
    charts = charts_of(page.summary)
    titles = [chart.title for own in charts.values() for chart in own]
    assert len(titles) == len(set(titles))
    for title in (
        "Evaluation",
        "Evaluation: easiest prompts",
        "Evaluation: hardest prompts",
        "At k",
        "At k: pass@4",
        "Yield of filtered",
        "Vote margin of voted",
        "Distinct answers in voted",
        "Distinct completions in generated",
        "Distinct 3-grams of probed",
        "Seen before in generated",
        "Length of rationalized",
        "Prompts solved in verified",
        "Passes of judged",
    ):
        assert title in titles
    assert not [
        title for title in titles if title.startswith(("Errors of", "Vote margin of judged", "Truncated"))
    ]


def test_errors_of_an_evaluation_are_drawn_where_there_are_any(plan, tmp_path):
    root = shutil.copytree(plan.project.root, tmp_path / "copy")
    path = root / "artifacts/everything/round_01/evaluation/manifest.json"
    text = path.read_text().replace('"error": 0', '"error": 4')
    path.unlink()
    path.write_text(text)
    charts = gather(make_plan(open_project(root))).charts["Evaluation"]
    assert [chart.lines[0].values[1] for chart in charts if chart.title == "Errors of evaluation"] == [0.4]


def naive_ngrams(texts):
    grams = []
    for text in texts:
        words = text.split()
        grams += [tuple(words[place : place + WORDS]) for place in range(len(words) - WORDS + 1)] or [
            tuple(words)
        ]
    return len(set(grams)) / len(grams)


@pytest.mark.parametrize(
    "texts",
    [
        ["abc", "abc", "abd"],
        ["a b c d", "b c d e", "a  b\tc"],
        ["one two three four five six", "one two three", "two three", "two three four five"],
    ],
)
def test_ngrams_are_runs_of_words_and_short_texts_count_whole(tmp_path, texts):
    rows = [{"sample_id": str(place), "completion": text} for place, text in enumerate(texts)]
    artifact = Lab(tmp_path).put("round_01/generated", rows)
    with connection(Compute(workers=1)) as opened:
        assert _ngrams(artifact, opened) == {"distinct_ngrams": naive_ngrams(texts)}


def row_ids(ancestor):
    return {ancestor.row_id}.union(*map(row_ids, ancestor.parents))


def test_ancestry_is_that_of_a_trace(plan, page):
    catalog, compute = read_catalog(plan.project), plan.project.params.compute
    ancestry = page.samples["everything"].ancestry
    for row_id in sorted(ancestry.rows)[::9]:
        ancestor = ancestry.rows[row_id]
        graph = trace_back(catalog, Target(TargetKind.ROW, row_id), compute)
        assert row_ids(ancestor) == {node.name for node in graph.nodes.values() if node.id.startswith("row:")}
        models = {model.key for model in ancestry.models[ancestor.checkpoint]}
        assert models == {node.id for node in graph.nodes.values() if node.kind == "model"}
        own = {edge.target: edge for edge in graph.below(graph.root)}
        assert own[ancestor.made_in].facts == ancestor.facts
        said = {stage.key: stage.facts for stage in ancestor.stages}
        judged = {key for key, edge in own.items() if edge.relation in ("verdict", "held")}
        assert said.keys() == judged
        for key in judged:
            assert own[key].facts.items() <= said[key].items() | {("detail", None)}


def test_ancestry_ends_at_tasks_and_base_and_follows_a_prompt_that_was_selected_again(page):
    ancestry = page.samples["everything"].ancestry
    rescued = next(row for row in ancestry.rows.values() if row.made_in == "everything/round_02/rationalized")
    (selected,) = rescued.parents
    (failed,) = selected.parents
    (prompt,) = failed.parents
    assert [selected.made_in, failed.made_in] == [
        "everything/round_02/unsolved",
        "everything/round_02/generated",
    ]
    assert (prompt.made_in, prompt.parents) == ("everything/tasks/train", [])
    assert prompt.row_id == selected.row_id
    assert [stage.facts["verdict"] for stage in failed.stages] == ["fail"]
    chain = ancestry.models[rescued.checkpoint]
    assert [(model.key, model.is_base) for model in chain] == [
        ("everything/round_01/checkpoint", False),
        ("everything/start/checkpoint", True),
    ]
    assert chain[0].ingredients[1].mix == ("28 rows sampled by everything/start/checkpoint in round 1",)


def test_ancestry_says_which_rows_are_not_here(plan):
    catalog = read_catalog(plan.project)
    with connection(plan.project.params.compute) as opened:
        found = ancestry_of(catalog, opened, {"everything/round_01/judged": {"nobody"}})
    assert found.rows["nobody"].made_in == ""
    assert found.models == {}


def test_samples_are_the_lowest_ids_of_every_verdict(plan, page):
    parts = [rows_of(plan, f"round_01/{name}") for name in ("judged", "rescued", "probe")]
    shown = {row.sample_id: row for row in page.samples["everything"].rounds[0].rows}
    for word in ("pass", "fail"):
        for part in parts:
            lowest = sorted(row["sample_id"] for row in part if row["verdict"] == word)[:6]
            assert set(lowest) <= shown.keys()
    last = {row["sample_id"]: row["verdict"] for part in parts for row in part}
    assert {name: row.verdict for name, row in shown.items()} == {name: last[name] for name in shown}
    judged = min(row["sample_id"] for row in parts[0])
    assert shown[judged].held_in == tuple(
        f"everything/round_01/{name}" for name in ("voted", "verified", "judged")
    )


def test_numbers_and_charts_have_intervals_and_rounds_are_compared(page, nodes):
    (accuracy,) = [column for column in accuracy_table(page.summary) if column.label == "evaluation"]
    assert [found.value for found in accuracy.estimates] == list(accuracy.values)
    assert all(found.low < found.value < found.high or found.value in (0, 1) for found in accuracy.estimates)
    assert nodes["round_01/at_k"].estimates.keys() == {"pass_at_1", "pass_at_4"}
    by_label = {one.label: one for one in page.differences}
    assert [each.round for each in by_label["evaluation"].rounds] == [1, 2, 3] and by_label[
        "at_k"
    ].headline == "pass_at_1"
    third = by_label["evaluation"].rounds[2]
    assert third.previous.prompts == third.start.prompts == 10 and third.other is None
    html = render(page, RunFacts((), (), None, {}))
    assert (
        'class="bounds s0"' in html
        and "More than noise?" in html
        and by_label["evaluation"].shown(third.start) in html
    )


def test_warnings_of_the_evaluations_stand_at_the_head(page):
    warned = [told for told in page.standing.warned if "/at_k: " in told]
    assert [told.partition(":")[0] for told in warned] == [
        f"everything/round_0{number}/at_k" for number in ROUNDS
    ]
    assert all("pass_at_4" in told and "is above 0" in told for told in warned)
    assert f"<dt>warning</dt><dd>{warned[0]}" in render(page, RunFacts((), (), None, {}))
