"""`show`, `trace` and `report` as commands."""

import contextlib
import json
import os
import pty
import subprocess
import sys

import pytest
from click.testing import CliRunner

from lineal.cli.look import report, show, trace
from lineal.errors import UsageError
from tests.unit.audit_project import made_project


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return made_project(tmp_path_factory.mktemp("cli")).project.root


def run(command, root, *arguments):
    return CliRunner().invoke(command, arguments, obj=root, catch_exceptions=False)


def test_show_rendered_of_prompts_says_that_no_model_read_them(root):
    with pytest.raises(UsageError, match=r"tiny/tasks/train: --rendered shows what a model was given"):
        run(show, root, "tiny/tasks/train", "--rendered")


def test_show_json_feeds_trace_which_feeds_programs(root):
    shown = json.loads(run(show, root, "tiny/round_02/filtered", "--limit", "1", "--json").output)
    sample = shown["rows"][0]["sample_id"]
    graph = json.loads(run(trace, root, sample[:14], "--json").output)
    assert graph["root"] == f"row:{sample}"
    forward = json.loads(run(trace, root, sample, "--forward", "--json").output)
    assert "tiny/round_02/checkpoint" in [entry["key"] for entry in forward]


def test_commands_work_in_a_directory_below_the_root(root):
    assert "pretrain@2" in run(show, root / "pipelines", "tiny/start/checkpoint").output
    assert run(trace, root / "pipelines", "tiny/start/checkpoint").output.startswith(
        "tiny/start/checkpoint  pretrain@2"
    )


def test_trace_warns_of_a_broken_manifest_on_stderr(root, tmp_path):
    import shutil

    copy = shutil.copytree(root, tmp_path / "copy")
    (copy / "artifacts/control/tasks/test/manifest.json").write_text("{")
    result = run(trace, copy, "tiny/start/checkpoint")
    assert result.exit_code == 0
    assert "warning: control/tasks/test" in result.stderr


def test_report_writes_where_it_is_told_and_prints_the_path(root, tmp_path):
    path = tmp_path / "deep" / "page.html"
    assert run(report, root, "-o", str(path)).output.strip() == str(path)
    assert path.read_text().startswith("<!doctype html>")
    assert run(report, root).output.strip() == str(root / "reports" / "index.html")


def test_wrong_use_raises_for_exit_status_2(root):
    with pytest.raises(UsageError) as error:
        run(show, root, "tiny/round_01/verified", "--where", "SELECT")
    assert error.value.exit_status == 2


def test_commands_import_nothing_heavy_before_they_run():
    heavy = "{'duckdb', 'pyarrow', 'jinja2', 'numpy', 'pydantic', 'yaml', 'torch', 'dagster'}"
    code = f"import sys, lineal.cli.look; print(sorted({heavy} & set(sys.modules)))"
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()
        == "[]"
    )


MAIN = [sys.executable, "-c", "from lineal.cli.entry import main; main()"]


def test_reader_that_leaves_early_changes_no_exit_status(root):
    def piped(*arguments):
        with subprocess.Popen(
            [*MAIN, *arguments], cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as running:
            running.stdout.close()
            said = running.stderr.read().decode()
        return running.returncode, said

    assert piped("status") == piped("plan") == (0, "")
    assert piped("trace", "nothing")[0] == 2


def test_pipe_is_not_cut_to_a_width(root):
    done = subprocess.run(
        [*MAIN, "trace", "tiny/round_02/checkpoint"],
        cwd=root,
        env=os.environ | {"COLUMNS": "40"},
        text=True,
        capture_output=True,
        check=True,
    )
    assert "…" not in done.stdout and len(done.stdout.splitlines()[0]) > 200


def test_no_color_is_obeyed_on_a_terminal(root):
    def on_terminal(**environment):
        main, other = pty.openpty()
        with subprocess.Popen(
            [*MAIN, "status"], cwd=root, stdout=other, env=os.environ | environment
        ) as running:
            os.close(other)
            seen = b""
            with contextlib.suppress(OSError):  # the terminal's other end is closed
                while part := os.read(main, 65536):
                    seen += part
        os.close(main)
        return running.returncode, b"\x1b[" in seen

    assert on_terminal(NO_COLOR="") == (0, True)
    assert on_terminal(NO_COLOR="1") == (0, False)


def test_the_shell_completes_commands_but_not_hidden_ones():
    asked = {"_LINEAL_COMPLETE": "bash_complete", "COMP_WORDS": "lineal ", "COMP_CWORD": "1"}
    code = "from lineal.cli.main import run_command; run_command()"
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | asked, capture_output=True, text=True
    )
    offered = {line.partition(",")[2] for line in done.stdout.splitlines()}
    assert {"show", "trace", "run"} <= offered and not {"step", "round"} & offered
