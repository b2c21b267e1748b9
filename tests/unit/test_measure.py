"""Measures: an evaluation's numbers by SQL, with intervals where the query has a row for each prompt."""

import json

import pytest

from lineal.components.evaluators.reading import read_evaluation
from lineal.data.estimates import mean
from lineal.data.file_names import DETAILS_FILE, PROMPTS_FILE
from lineal.errors import DataError, DeclarationError
from tests.unit.lab import Lab, samples

HEADER = "-- summary: A test.\n"


@pytest.fixture
def lab(tmp_path):
    return Lab(tmp_path)


def measured(lab, rows, sql, **settings):
    inputs = rows if isinstance(rows, dict) else {"rows": rows}
    put = {name: lab.put(f"round_01/{name}", value) for name, value in inputs.items()}
    return lab.run("measure", "round_01/measured", put, sql=sql, **settings)[""]


def written(lab, query, header="-- gives: number\n"):
    (lab.path / "pipelines" / "measures").mkdir(parents=True, exist_ok=True)
    (lab.path / "pipelines" / "measures" / "own.sql").write_text(HEADER + header + query)
    return "own"


def test_numbers_of_prompts_are_means_with_intervals_and_by_difficulty(lab):
    rows = samples(
        {"a": "ppff", "b": "pppp", "c": "ffff"}, completion=lambda prompt, index: f"{prompt}{index // 2}"
    )
    found = read_evaluation(measured(lab, rows, "coverage").directory)
    assert found.headline == "any_right" and found.numbers["prompts"] == 3
    assert found.numbers["any_right"] == pytest.approx(2 / 3, abs=1e-6)
    assert (found.numbers["one_right"], found.numbers["vote_right"]) == (0.5, pytest.approx(2 / 3, abs=1e-6))
    assert found.numbers["gap"] == pytest.approx(1 / 6, abs=1e-6)
    expected = mean([1.0, 1.0, 0.0]).estimate
    assert (found.estimates["any_right"].low, found.estimates["any_right"].high) == (
        pytest.approx(expected.low, abs=1e-6),
        pytest.approx(expected.high, abs=1e-6),
    )


def test_what_was_gained_and_lost_since_another_evaluation(lab):
    before, now = (samples(dict(zip("abcd", text, strict=True))) for text in ("ffpp", "pfpf"))
    artifact = measured(lab, {"rows": now, "before": before}, "gained")
    numbers = read_evaluation(artifact.directory).numbers
    assert (numbers["gained"], numbers["lost"], numbers["net_gain"]) == (0.25, 0.25, 0.0)
    assert json.loads((artifact.directory / PROMPTS_FILE).read_text()) == {
        "a": 1.0,
        "b": 0.0,
        "c": 0.0,
        "d": -1.0,
    }
    assert json.loads((artifact.directory / DETAILS_FILE).read_text())["by_difficulty"]


def test_one_row_without_prompts_is_taken_as_it_is_and_null_is_left_out(lab):
    header = "-- gives: number, other, exact, is_so\n-- better: lower\n"
    sql = written(
        lab,
        "SELECT count(*) AS number, NULL::DOUBLE AS other, 0.25 AS exact, true AS is_so FROM rows",
        header,
    )
    numbers = read_evaluation(measured(lab, samples({"a": "pp"}), sql).directory).numbers
    assert numbers == {"number": 2, "exact": 0.25, "is_so": 1}
    assert not lab.parse("measure", {"rows": ()}, sql=sql).higher_is_better


def test_headline_that_is_null_for_every_prompt_is_left_out_and_counted(lab):
    sql = written(
        lab, "SELECT prompt_id, NULL::DOUBLE AS number, 1 AS other FROM rows", "-- gives: number, other\n"
    )
    artifact = measured(lab, samples({"a": "p", "b": "p"}), sql)
    found = read_evaluation(artifact.directory)
    assert (
        found.numbers == {"prompts": 2, "other": 1} and found.headline == "number" and found.by_prompt == {}
    )
    assert artifact.manifest.counts == {"without number": 2}


@pytest.mark.parametrize(
    ("query", "header", "error", "message"),
    [
        (
            "SELECT 1 AS number",
            "",
            DeclarationError,
            r"own\.sql:1: the header has no '-- gives: NAME, \.\.\.' line",
        ),
        (
            "SELECT 1 AS number",
            "-- gives: number\n-- better: more\n",
            DeclarationError,
            "'-- better: higher', lower or neither, got 'more'",
        ),
        (
            "SELECT 'x' AS number",
            "-- gives: number\n",
            DeclarationError,
            "'number' must be a number, got VARCHAR",
        ),
        (
            "SELECT 1 AS numbr",
            "-- gives: number\n",
            DeclarationError,
            "must be a number, got no such column, only numbr",
        ),
        (
            "SELECT 1 AS number, 2 AS x",
            "-- gives: number\n",
            DeclarationError,
            "gives a column 'x' that '-- gives' doesn't name",
        ),
        (
            "SELECT position AS number FROM rows",
            "-- gives: number\n",
            DataError,
            "gave 2 rows without prompt_id, expected one",
        ),
        (
            "SELECT 1e300 * 1e300 AS number",
            "-- gives: number\n",
            DataError,
            "gave inf as 'number', expected a number",
        ),
        (
            "SELECT prompt_id, 1 AS number FROM rows",
            "-- gives: number\n",
            DataError,
            "gave two rows of one prompt",
        ),
        (
            "SELECT prompt_id, 1 AS number FROM rows WHERE false",
            "-- gives: number\n",
            DataError,
            "gave no row, so there",
        ),
    ],
)
def test_what_a_measure_may_not_do_is_named(lab, query, header, error, message):
    with pytest.raises(error, match=message):
        measured(lab, samples({"a": "pp"}), written(lab, query, header))
