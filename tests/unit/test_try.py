"""`lineal try`: a part on the rows of a file, without a pipeline, an artifact or a model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lineal.cli.main import run_command

SAMPLES = [
    {"prompt": "2+3=", "completion": "so 5", "answer": "5", "verdict": "pass", "score": 1.0},
    {"prompt": "2+3=", "completion": "6", "answer": "5", "verdict": "fail", "score": 0.0},
    {"prompt": "1+1=", "completion": "2", "answer": "2", "verdict": "pass", "score": 1.0},
]
OWN = """\
-- summary: Keeps what the other rows have as an answer.
-- needs: completion
-- input other: answer
-- param most: integer = 9
SELECT row_id, CASE WHEN position < $most AND completion IN (SELECT answer FROM other) THEN 'kept' ELSE 'dropped' END AS decision,
    'by answer' AS reason FROM rows
"""


@pytest.fixture
def root(tmp_path) -> Path:
    for folder in ("selectors", "templates"):
        (tmp_path / "pipelines" / folder).mkdir(parents=True)
    (tmp_path / "params.yaml").write_text("active: []\n")
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in SAMPLES))
    (tmp_path / "pipelines/templates/ask.txt").write_text("Q: {prompt}\n")
    (tmp_path / "pipelines/selectors/right.sql").write_text(OWN)
    unjudged = [{name: row[name] for name in ("prompt", "completion", "answer")} for row in SAMPLES]
    (tmp_path / "unjudged.json").write_text(json.dumps(unjudged))
    return tmp_path


def tried(capsys, root, *arguments, status=0):
    capsys.readouterr()
    got = run_command(["-C", str(root), "try", *arguments])
    out, err = capsys.readouterr()
    assert got == status, err
    return out if status == 0 else err


def test_verifier_is_tried_with_its_settings(capsys, root):
    rows = str(root / "unjudged.json")
    told = json.loads(tried(capsys, root, "exact_match", "--rows", rows, "--set", "extract=(\\d+)", "--json"))
    assert [row["verdict"] for row in told["main"]] == ["pass", "fail", "pass"]
    assert told["counts"]["pass"] == 2
    assert [row["prompt_id"] for row in told["main"]] == ["prompt 1", "prompt 1", "prompt 2"]
    text = tried(capsys, root, "exact_match", "--rows", rows)
    assert "row 1" in text and "fail" in text
    assert not (root / "artifacts").exists()


def test_selector_is_tried_with_further_rows(capsys, root):
    rows = str(root / "rows.jsonl")
    told = json.loads(tried(capsys, root, "right", "--rows", rows, "--rows", f"other={rows}", "--json"))
    assert [row["completion"] for row in told["main"]] == ["2"] and [
        row["reason"] for row in told["dropped"]
    ] == ["by answer"] * 2
    assert "right needs the rows of other: --rows other=FILE" in tried(
        capsys, root, "right", "--rows", rows, status=2
    )


def test_rows_at_which_a_run_would_stop_are_shown_with_a_warning(capsys, root):
    rows = [*SAMPLES[:1], {"prompt": "1+2=", "completion": None, "answer": "3"}]
    (root / "null.json").write_text(json.dumps([{"verdict": "fail", **row} for row in rows]))
    (root / "unjudged.json").write_text(
        json.dumps([{name: row[name] for name in ("prompt", "completion", "answer")} for row in rows])
    )
    told = tried(capsys, root, "exact_match", "--rows", str(root / "unjudged.json"))
    assert "the row has no completion" in told and "lineal show" not in told
    assert told.endswith("\nwarning: 1 of 2 verdicts are errors; a run stops above max_error_rate 0.05\n")
    told = tried(
        capsys, root, "exact_match", "--rows", str(root / "unjudged.json"), "--set", "max_error_rate=0.5"
    )
    assert "warning" not in told
    nothing = (root / "pipelines/selectors/right.sql").read_text().replace("'kept'", "'dropped'")
    (root / "pipelines/selectors/nothing.sql").write_text(nothing)
    given = ("nothing", "--rows", str(root / "null.json"), "--rows", f"other={root / 'null.json'}")
    told = tried(capsys, root, *given)
    assert (
        "dropped" in told and "by answer" in told and "warning: nothing is kept; a run stops at that" in told
    )
    assert "nothing is kept" in json.loads(tried(capsys, root, *given, "--json"))["warning"]


def test_template_is_rendered_for_every_row(capsys, root):
    told = tried(capsys, root, "ask", "--rows", str(root / "rows.jsonl"))
    assert told == "--- row 1\nQ: 2+3=\n--- row 2\nQ: 2+3=\n--- row 3\nQ: 1+1=\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("rihgt",),
            "'rihgt' is no verifier, and no file in pipelines/ of selectors, measures, templates. Did you mean 'right'?",
        ),
        (("exact_match", "--set", "extrct=x"), "--set extrct: unknown key 'extrct'. Did you mean 'extract'?"),
        (("exact_match", "--set", "extract"), "--set extract: write KEY=VALUE"),
        (("task_score",), "task_score needs a column 'entry' in rows, and the file has none"),
        (("reward", "--set", "scorer=m"), "reward needs a model (scorer), which lineal try has none of"),
        (("exact_match", "--rows", "other=nowhere.jsonl"), "--rows other=nowhere.jsonl: no such file"),
    ],
)
def test_what_cannot_be_tried_is_told(capsys, root, arguments, message):
    assert message in tried(capsys, root, *arguments, "--rows", str(root / "rows.jsonl"), status=2)
