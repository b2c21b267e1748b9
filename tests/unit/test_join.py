"""Joining: what several tables say of the same rows, side by side; and who said it."""

from __future__ import annotations

import random

import pytest

from lineal.audit.catalog import Catalog
from lineal.audit.trace.row_location import repeats_input
from lineal.data.manifest import InputEntry
from lineal.data.store import Artifact
from lineal.errors import DataError
from lineal.step.judges import ScoreSource, judges_of
from tests.unit.lab import Lab, rows_of, samples

ROWS = samples({"a": "pfe", "b": "pp"}, note=lambda prompt, index: "n")
BARE = [{name: value for name, value in row.items() if name not in ("verdict", "score")} for row in ROWS]


def judged(word: str, rows=BARE, order: int = 0):
    said = [{**row, "verdict": word, "score": float(place)} for place, row in enumerate(rows)]
    random.Random(order).shuffle(said)
    return said


@pytest.fixture
def lab(tmp_path) -> Lab:
    return Lab(tmp_path)


def joined(lab: Lab, rows, **tables):
    inputs = {name: lab.put(f"round_01/{name}", table) for name, table in {"rows": rows, **tables}.items()}
    return rows_of(lab.run("join", "round_01/panel", inputs)[""])


def test_tables_stand_beside_the_rows_under_their_names_whatever_their_order(lab):
    made = joined(lab, BARE, strict=judged("fail", order=1), kind=judged("pass", order=2))
    assert [row["sample_id"] for row in made] == [row["sample_id"] for row in BARE]
    assert [(row["strict_verdict"], row["kind_verdict"]) for row in made] == [("fail", "pass")] * 5
    assert (
        [row["strict_score"] for row in made]
        == [row["kind_score"] for row in made]
        == [0.0, 1.0, 2.0, 3.0, 4.0]
    )
    assert made[0].keys() == {*BARE[0], "strict_verdict", "strict_score", "kind_verdict", "kind_score"}
    assert lab.counts == {"in": 5, "out": 5, "joined": 2}


def test_rows_with_a_verdict_keep_it_beside_another(lab):
    made = joined(lab, ROWS, other=judged("fail"))
    assert [row["verdict"] for row in made] == [row["verdict"] for row in ROWS]
    assert {row["other_verdict"] for row in made} == {"fail"}


def test_a_column_that_begins_with_the_word_keeps_its_name(lab):
    (made, *_) = joined(lab, BARE, strict=[{**row, "strict_score": 1.0} for row in BARE])
    assert made["strict_score"] == 1.0 and "strict_strict_score" not in made


def test_rows_that_do_not_match_are_counted_on_both_sides(lab):
    other = [{**BARE[0], "sample_id": "c-0"}, {**BARE[0], "sample_id": "c-1"}]
    with pytest.raises(
        DataError, match="1 of 5 rows are not in strict, and 2 of 6 rows of strict are not in rows"
    ):
        joined(lab, BARE, strict=judged("pass", [*BARE[1:], *other]))


def test_a_table_with_a_row_twice_is_refused(lab):
    with pytest.raises(DataError, match="'strict'.*2 rows have id 'a-0'"):
        joined(lab, BARE, strict=judged("pass", [*BARE, BARE[0]]))


def test_other_columns_must_be_equal(lab):
    with pytest.raises(DataError, match="'note' of strict differs from that of rows in 1 of 5 rows"):
        joined(lab, BARE, strict=judged("pass", [{**BARE[0], "note": "another"}, *BARE[1:]]))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "join has no table"),
        ({"strict": 3}, "strict must be a lower-case word, and hold rows"),
        ({"Strict": "judged"}, "Strict must be a lower-case word"),
    ],
)
def test_wrong_settings_are_refused(lab, settings, message):
    with pytest.raises(ValueError, match=message):
        lab.parse("join", {"rows": ()}, **settings)


def test_columns_that_would_be_there_twice_are_refused_at_the_plan(lab):
    component = lab.parse("join", {"rows": ()}, strict="judged")
    with pytest.raises(ValueError, match="a column 'strict_score' already. Take another word than strict"):
        component.outputs({"rows": ("sample_id", "strict_score"), "strict": ("sample_id", "score")})
    with pytest.raises(ValueError, match="strict has no column that rows lacks"):
        component.outputs({"rows": ("sample_id", "prompt"), "strict": ("sample_id", "prompt")})


def test_who_judged_is_known_of_each_joined_score(lab):
    def by(component: str, artifact: Artifact, **inputs: Artifact) -> Artifact:
        told = {name: [InputEntry(step=one.manifest.step, digest=one.digest)] for name, one in inputs.items()}
        return Artifact(
            artifact.key,
            artifact.directory,
            artifact.manifest.model_copy(update={"component": component, "inputs": told}),
        )

    rows = by("exact_match", lab.put("round_01/rows", ROWS))
    strict = by("reward", lab.put("round_01/strict", judged("fail")))
    panel = by(
        "join",
        lab.run("join", "round_01/panel", {"rows": rows, "strict": strict})[""],
        rows=rows,
        strict=strict,
    )
    given = {panel.key: [("rows", rows), ("strict", strict)]}
    found = judges_of(panel, lambda artifact: given.get(artifact.key, []))
    assert found == {
        "score": frozenset({ScoreSource("exact_match", 1)}),
        "strict_score": frozenset({ScoreSource("reward", 1)}),
    }
    catalog = Catalog({artifact.key: artifact for artifact in (rows, strict, panel)})
    assert repeats_input(catalog, panel)
