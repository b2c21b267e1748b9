"""`lineal check` and `lineal status --check`, and the workflow in docs/ci.md that runs them."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml

from lineal.cli.main import run_command
from lineal.orchestrate.dvc_yaml import write_dvc_yaml
from lineal.plan import make_plan
from lineal.recipe.project import open_project
from tests.unit.audit_project import record_in_dvc, run_all, write_project

ROOT = Path(__file__).parents[2]


@pytest.fixture
def root(tmp_path) -> Path:
    write_project(tmp_path)
    write_dvc_yaml(make_plan(open_project(tmp_path)))
    return tmp_path


def said(capsys, root: Path, *arguments: str, status: int = 0) -> str:
    got = run_command(["-C", str(root), *arguments])
    text = "".join(capsys.readouterr())
    assert got == status, text
    return text


def test_check_of_a_sound_project_needs_no_artifact(root, capsys):
    assert "steps are sound, and dvc.yaml is current" in said(capsys, root, "check")
    assert not (root / "artifacts").exists()


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("verdict = 'pass'", "verdickt = 'pass'", "verdickt"),
        ("verdict AS reason", "no_such_function(verdict) AS reason", "no_such_function"),
        ("verdict = 'pass'", "score + prompt > 1", "right.sql"),
        ("FROM rows", "FORM rows", "right.sql"),
        ("verdict = 'pass'", "verdict = $kep", "$kep is no parameter of the header"),
        ("\n", "\n-- param kep: text = null\n", "the query never uses its parameter $kep"),
    ],
)
def test_check_and_run_bind_sql_to_the_columns_that_the_plan_gives(root, capsys, old, new, told):
    selector = root / "pipelines/selectors/right.sql"
    assert old in selector.read_text()
    selector.write_text(selector.read_text().replace(old, new, 1))
    text = said(capsys, root, "check", status=1)
    assert told in text and "pipelines/selectors/right.sql" in text and "in tiny, node filtered" in text
    assert text.count("(in tiny, node filtered)") == 1  # not once a round
    for arguments in (("run", "--dry-run"), ("run",)):
        text = said(capsys, root, *arguments, status=2)
        assert told in text and text.count("(in tiny, node filtered)") == 1
    assert not (root / "artifacts").exists()


def test_check_looks_at_inactive_pipelines_and_at_dvc_yaml(root, capsys):
    params = root / "params.yaml"
    params.write_text(params.read_text().replace("active: [tiny, control]", "active: [tiny]"))
    control = root / "pipelines/control.yaml"
    control.write_text(control.read_text().replace("use: exact_match", "use: exact_mach"))
    text = said(capsys, root, "check", status=1)
    assert "Did you mean 'exact_match'" in text
    assert "dvc.yaml is stale" in text


def test_data_that_inactive_pipelines_lack_is_a_note_and_their_settings_are_checked(root, capsys):
    params, control = root / "params.yaml", root / "pipelines/control.yaml"
    tasks = "{use: dataset, path: data/gone.jsonl, columns: {prompt: q}}"
    control.write_text(re.sub(r"(train|test): *{.*}", rf"\1: {tasks}", control.read_text()))
    text = said(capsys, root, "check", status=1)
    assert "pipelines/control.yaml" in text and text.count("no such file") == 2 and "note" not in text
    params.write_text(params.read_text().replace("active: [tiny, control]", "active: [tiny]"))
    write_dvc_yaml(make_plan(open_project(root)))
    text = said(capsys, root, "check")
    assert "note: control: not active, and the data that it names is not here" in text
    assert "steps are sound" in text and "no such file" not in text
    control.write_text(control.read_text().replace("use: exact_match", "use: exact_match, extrct: x"))
    text = said(capsys, root, "check", status=1)
    assert "unknown key 'extrct'" in text and "no such file" not in text and "note" not in text


def test_status_check_fails_while_a_step_would_be_made(root, capsys):
    assert "lineal run" in said(capsys, root, "status", "--check", status=1)
    run_all(root)
    record_in_dvc(root)
    said(capsys, root, "status", "--check")


def test_workflow_of_the_docs_runs(root, capsys):
    text = (ROOT / "docs/ci.md").read_text()
    workflow = yaml.safe_load(text.partition("```yaml\n")[2].partition("```")[0])
    run_all(root)
    record_in_dvc(root)
    lines = [shlex.split(step["run"]) for step in workflow["jobs"]["check"]["steps"] if "run" in step]
    commands = [words[1:] for words in lines if words[0] == "lineal"]
    assert commands == [["check"], ["status", "--check"]]
    for words in commands:
        said(capsys, root, *words)
