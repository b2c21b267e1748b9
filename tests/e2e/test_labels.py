"""Files that arrive between rounds: docs/labels.md from the first run to the second round, and what a label file must be."""

from __future__ import annotations

import csv
import json
import re
import shlex

import dagster as dg
import pytest

from lineal.data.store import Rows, open_artifact
from lineal.errors import DataError, DeclarationError, RunFailure, UsageError, Waiting
from lineal.orchestrate.dagster_arrivals import arrivals, report_waiting
from lineal.orchestrate.dagster_definitions import definitions
from lineal.orchestrate.dagster_keys import asset_key
from lineal.orchestrate.dagster_run import materialize, use_project_instance
from lineal.step.labelling import _no_formula, labels_step, take_labels, write_to_label
from lineal.step.runner import run_step
from lineal.step.status import State, status_of
from lineal.step.waiting import ARRIVED
from tests.unit.tiny_models import tiny_model

from .toy_project import ROOT, command, edit, make_project, plan_of

PAGE = (ROOT / "docs" / "labels.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FIRST = "corrected/round_01/labelled"


@pytest.fixture
def root(tmp_path):
    """The page's project, with a stand-in for the model."""
    project = make_project(tmp_path)
    for _, name, text in BLOCK.findall(PAGE):
        if name:
            (project / name).write_text(text, encoding="utf-8")
    with (project / "params.yaml").open("a") as stream:
        stream.write("compute: {engine: fake, workers: 1}\n")
    tiny_model(project / "models" / "mine")
    return project


def rows_at(root, key):
    return Rows((open_artifact(key, root / "artifacts" / key),)).read().to_pylist()


def make(root, *names):
    plan = plan_of(root)
    for name in names:
        run_step(plan, f"corrected/{name}")
    return plan


def fill(path, wrong_are_corrected=True):
    """Labels every row as a person would who knows the answer; keeps the order backwards."""
    with path.open(newline="") as stream:
        lines = list(csv.DictReader(stream))
    for line in lines:
        line["verdict"] = "pass" if line["completion"] == line["answer"] else "Fail"
        line["correction"] = line["answer"] if line["verdict"] == "Fail" and wrong_are_corrected else ""
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, [*lines[0], "note"])
        writer.writeheader()
        writer.writerows(reversed(lines))
    return lines


def test_page_from_the_first_run_to_the_second_rounds_wait(root):
    first, second = [shlex.split(line) for text in _commands() for line in text.splitlines()], []
    run, write, take, again = first
    said = command(root, *run, status=3)
    assert (
        f"waiting: {FIRST} waits for labels/round_01.csv. Write the rows to a file: lineal label {FIRST} -o FILE"
        in said
    )
    assert "steps that follow wait too" in said
    command(root, *write)
    lines = fill(root / "to_label.csv")
    assert 0 < sum(line["verdict"] == "pass" for line in lines) < len(lines) == 12
    command(root, *take)
    assert (root / "labels" / "round_01.csv").read_text().splitlines()[0] == "sample_id,verdict,correction"
    assert "corrected/round_02/labelled waits for labels/round_02.csv" in command(root, *again, status=3)
    labelled, learned = rows_at(root, FIRST), rows_at(root, "corrected/round_01/learned")
    assert [row["verdict"] for row in labelled] == [line["verdict"].lower() for line in lines]
    assert {row["score"] for row in labelled} == {0.0, 1.0}
    assert len(learned) == 12 and all(
        row["completion"] == "".join(sorted(row["prompt"].strip("="))) for row in learned
    )
    corrected = next(
        row
        for row in learned
        if row["parents"][0] in {row["sample_id"] for row in labelled if not row["score"]}
    )
    traced = command(root, "lineal", "trace", corrected["sample_id"])
    assert corrected["parents"][0] in traced and "labels/round_01.csv" not in traced.splitlines()[0]
    second = json.loads(command(root, "lineal", "run", "--json", status=3).partition("\nwaiting:")[0])
    assert second["steps"] == [] and second["waiting"][0] == "corrected/round_02/labelled"
    assert "file_arrived" in _dagster_knows_that_it_waits(root)
    waiting = plan_of(root).step("corrected/round_02/labelled")
    with pytest.raises(RunFailure, match="labelled waits for labels/round_02.csv"):
        materialize(plan_of(root), [waiting])
    requests = _arrival_of_the_second_file(root)
    assert [len(request.asset_selection) for request in requests] == [5]


def _commands():
    return [text for language, name, text in BLOCK.findall(PAGE) if language == "sh"]


def _dagster_knows_that_it_waits(root):
    """Checks Dagster's latest evaluation of the check; `lineal run` has reported it, so nothing is new."""
    use_project_instance(root)
    assert report_waiting(plan_of(root)) == 0
    check = dg.AssetCheckKey(asset_key("corrected/round_02/labelled"), ARRIVED)
    with dg.DagsterInstance.get() as instance:
        record = instance.event_log_storage.get_latest_asset_check_execution_by_key([check])[check]
    evaluated = record.event.asset_check_evaluation
    assert not evaluated.passed and evaluated.severity is dg.AssetCheckSeverity.WARN
    assert evaluated.description.startswith("corrected/round_02/labelled waits for labels/round_02.csv")
    return evaluated.check_name


def _arrival_of_the_second_file(root):
    """Checks what the sensor requests before and after the file has arrived."""
    assert "awaited_files" in {sensor.name for sensor in definitions(root).sensors}
    assert list(arrivals(plan_of(root))) == []
    (root / "labels" / "round_02.csv").write_text("sample_id,verdict,correction\n")
    requests = list(arrivals(plan_of(root)))
    assert [request.run_key for request in requests] == [
        request.run_key for request in arrivals(plan_of(root))
    ]
    return requests


@pytest.fixture
def sampled(root):
    """The project with the first round's samples, and its labelling step."""
    plan = make(root, "tasks/train", "start/checkpoint", "round_01/generated")
    return root, plan, *labels_step(plan, FIRST)


def test_step_whose_file_is_missing_says_so_in_status_and_alone(sampled):
    _, plan, step, _ = sampled
    found = {entry.key: entry for entry in status_of(plan)}[FIRST]
    assert (found.state, found.reasons[0].partition(". ")[0]) == (
        State.MISSING,
        f"{FIRST} waits for labels/round_01.csv",
    )
    with pytest.raises(Waiting, match="waits for labels/round_01.csv"):
        run_step(plan, step.key)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda lines: lines[:7],
            r"labels 6 of 12 rows; 6 are missing \(\w+, \w+, \w+ and 3 more\)\. Label them too",
        ),
        (
            lambda lines: [*lines[:11], "ffff" + lines[11], "eeee" + lines[12]],
            r"2 of 12 ids are of none of the 12 rows \(ffff",
        ),
        (lambda lines: [*lines, lines[1]], "line 14 labels .* a second time"),
        (
            lambda lines: [*lines[:12], lines[12].partition(",")[0] + ",,"],
            "column 'verdict' is empty in 1 of 12 rows",
        ),
        (
            lambda lines: [*lines[:12], lines[12].partition(",")[0] + ",yes,"],
            "column 'verdict' must be pass, fail or error",
        ),
        (
            lambda lines: [lines[0].replace("verdict", "judgement"), *lines[1:]],
            "line 2 has no column 'verdict'",
        ),
    ],
)
def test_label_file_that_is_not_of_just_these_rows_is_refused_with_counts(sampled, change, said):
    root, plan, step, labels = sampled
    filled = root / "filled.csv"
    ids = [row["sample_id"] for row in rows_at(root, "corrected/round_01/generated")]
    filled.write_text(
        "\n".join(change(["sample_id,verdict,correction", *(f"{name},pass," for name in ids)])) + "\n"
    )
    with pytest.raises(DataError, match=f"filled.csv: .*{said}"):
        take_labels(plan, step, labels, filled)
    assert not (root / "labels").exists()
    (root / "labels").mkdir()
    filled.rename(root / "labels" / "round_01.csv")
    with pytest.raises(DataError, match=f"labels/round_01.csv: .*{said}"):
        run_step(plan, step.key)


def test_written_json_lines_are_taken_back_as_they_are(sampled):
    root, plan, step, labels = sampled
    assert write_to_label(plan, step, labels, root / "todo.jsonl") == 12
    lines = [json.loads(line) for line in (root / "todo.jsonl").read_text().splitlines()]
    assert list(lines[0]) == [
        "sample_id",
        "prompt_id",
        "prompt",
        "completion",
        "answer",
        "verdict",
        "correction",
    ]
    assert (lines[0]["verdict"], lines[0]["correction"]) == (None, None)
    (root / "todo.jsonl").write_text(
        "".join(json.dumps({**line, "verdict": "fail", "correction": "=1"}) + "\n" for line in lines)
    )
    assert take_labels(plan, step, labels, root / "todo.jsonl") == 12
    run_step(plan, step.key)
    assert {row["correction"] for row in rows_at(root, FIRST)} == {"=1"}
    with pytest.raises(UsageError, match="todo.jsonl is there already"):
        write_to_label(plan, step, labels, root / "todo.jsonl")


def test_what_a_model_wrote_is_no_formula_in_a_spreadsheet():
    assert [_no_formula(text) for text in ("=1+1", "@x", "-1", "-x", "x", None)] == [
        "'=1+1",
        "'@x",
        "-1",
        "'-x",
        "x",
        None,
    ]


def test_key_of_the_rows_names_the_step_that_labels_them(sampled):
    _, plan, _, _ = sampled
    with pytest.raises(UsageError, match=f"takes no labels. Its rows are labelled by {FIRST}: lineal label"):
        labels_step(plan, "corrected/round_01/generated")


def test_paths_without_a_round_and_columns_that_rows_have_are_refused_in_the_plan(root):
    pipeline = root / "pipelines" / "corrected.yaml"
    edit(pipeline, "labels/round_{round}.csv", "labels/all.csv")
    with pytest.raises(
        DeclarationError, match=r"yaml:\d+: round.labelled: path 'labels/all.csv' is the same in all"
    ):
        plan_of(root)
    edit(pipeline, "labels/all.csv", "labels/round_{round}.csv")
    edit(pipeline, "{verdict: verdict, correction: correction}", "{answer: verdict, correction: correction}")
    with pytest.raises(DeclarationError, match="the rows have a column 'answer' already"):
        plan_of(root)


def test_dataset_of_a_round_may_arrive_later_and_only_in_rounds(root):
    pipeline = root / "pipelines" / "corrected.yaml"
    node = '{use: dataset, path: "in/{round}.jsonl", columns: {prompt: question, answer: reply}}'
    edit(pipeline, "  learned:", f"  collected: {node}\n  learned:")
    plan = plan_of(root)
    assert plan.step("corrected/round_02/collected").component.awaited("x").path == "in/02.jsonl"
    with pytest.raises(Waiting, match="corrected/round_02/collected waits for in/02.jsonl. Put it there"):
        run_step(plan, "corrected/round_02/collected")
    (root / "in").mkdir()
    (root / "in" / "02.jsonl").write_text('{"question": "2+2=", "reply": "4"}\n')
    run_step(plan_of(root), "corrected/round_02/collected")
    assert [row["answer"] for row in rows_at(root, "corrected/round_02/collected")] == ["4"]
    edit(pipeline, "start:\n", f"start:\n  early: {node}\n")
    with pytest.raises(DeclarationError, match="start.early: path 'in/{round}.jsonl' names the round, but"):
        plan_of(root)
