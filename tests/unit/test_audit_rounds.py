"""`lineal show ROUND`: the page says what made a round, and `--verify` names whatever was edited by hand."""

import json
import shutil
import subprocess

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from lineal.cli.look import show
from lineal.cli.main import lineal
from lineal.data.ids import file_digest
from lineal.data.manifest import FileEntry, content_digest, read_manifest
from lineal.errors import CheckFailure, UsageError
from tests.unit.audit_project import made_project, run_all, write_project


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    return made_project(tmp_path_factory.mktemp("rounds")).project.root


@pytest.fixture
def root(clean, tmp_path):
    """A copy whose files can be edited."""
    return shutil.copytree(clean, tmp_path / "copy")


def run(root, *arguments):
    return CliRunner().invoke(show, arguments, obj=root)


def page(root, *arguments):
    return json.loads(run(root, *arguments, "--json").stdout)


def manifest_of(root, key):
    return read_manifest(root / "artifacts" / key, key)


def edit_rows(root, key, change, keep_digests=False):
    """Edits a row file; `keep_digests` makes the manifest fit the new bytes, as somebody who cheats would."""
    directory = root / "artifacts" / key
    path = directory / "part-00000.parquet"
    table = pq.read_table(path)
    pq.write_table(change(table), path)
    if keep_digests:
        manifest = manifest_of(root, key)
        entry = FileEntry(
            sha256=file_digest(path), size_bytes=path.stat().st_size, rows=manifest.files[path.name].rows
        )
        files = {**manifest.files, path.name: entry}
        manifest.model_copy(update={"files": files, "digest": content_digest(files)}).write(directory)


def without_first(table):
    return table.slice(1)


def all_passing(table):
    return table.set_column(
        table.column_names.index("verdict"), "verdict", pa.array(["pass"] * table.num_rows)
    )


def edit_manifest(root, key, **changes):
    manifest_of(root, key).model_copy(update=changes).write(root / "artifacts" / key)


def problems(root, key="tiny/round_02"):
    done = run(root, key, "--verify", "--json")
    assert isinstance(done.exception, CheckFailure), done.output
    assert done.exception.exit_status == 1
    found = json.loads(done.stdout)["verified"]["problems"]
    assert all(name in str(done.exception) for name in found)
    return found


def test_page_names_base_init_mix_verifiers_and_digests(root):
    found = page(root, "tiny/round_02")
    (checkpoint,) = found["checkpoints"]
    assert checkpoint["init"]["key"] == "tiny/round_01/checkpoint"
    assert checkpoint["base"]["key"] == "tiny/start/checkpoint"
    assert checkpoint["other_models"] == []
    assert (
        sum(part["rows"] for part in checkpoint["mix"]["rows"])
        == manifest_of(root, "tiny/round_02/checkpoint").counts["in"]
    )
    assert {part["sampled_by"] for part in checkpoint["mix"]["rows"]} == {
        "tiny/round_01/checkpoint",
        "tiny/start/checkpoint",
        None,
    }
    assert {entry["key"] for entry in found["verifiers"]} == {
        "tiny/round_02/verified",
        "tiny/round_02/evaluation",
    }
    assert all(entry["verifier"].startswith("exact_match@2") for entry in found["verifiers"])
    artifacts = {entry["key"]: entry for entry in found["artifacts"]}
    assert artifacts["tiny/round_02/filtered"]["digest"] == manifest_of(root, "tiny/round_02/filtered").digest
    assert len(artifacts["tiny/round_02/filtered"]["source_digest"]) == 64
    assert found["seeds"] == [0]
    assert found["verified"] is None


def test_page_as_text_says_the_same(root):
    text = run(root, "tiny/round_02").stdout
    assert "base        tiny/start/checkpoint  pretrain@2" in text
    assert "init        tiny/round_01/checkpoint" in text
    assert "sampled by tiny/round_01/checkpoint in round 2" in text
    assert "not verified" in text


def test_untouched_round_is_verified_with_all_that_it_was_made_from(root):
    done = run(root, "tiny/round_02", "--verify")
    assert done.exit_code == 0, done.output
    assert "verified: 17 artifacts" in done.stdout
    assert run(root, "tiny/start", "--verify").exit_code == 0


def test_git_revision_and_uncommitted_changes_are_told(root):
    assert page(root, "tiny/round_01")["git"] is None
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org"]
    for command in (["init", "-q"], ["add", "params.yaml"], ["commit", "-qm", "x"]):
        subprocess.run([*git, *command], cwd=root, check=True)
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=root, check=True, capture_output=True, text=True
    ).stdout.strip()
    assert page(root, "tiny/round_01")["git"] == {"revision": head, "changed": False}
    (root / "params.yaml").write_text((root / "params.yaml").read_text() + "\n")
    assert page(root, "tiny/round_01")["git"]["changed"]


@pytest.mark.parametrize("key", ["tiny/round_02/filtered", "tiny/round_01/verified", "tiny/tasks/train"])
def test_edited_rows_are_named(root, key):
    edit_rows(root, key, without_first)
    found = problems(root)
    assert set(found) == {key}
    assert any("is not what its manifest says" in problem for problem in found[key])


def test_edited_rows_with_a_fitted_manifest_break_counts_and_what_was_made_from_them(root):
    edit_rows(root, "tiny/round_02/verified", all_passing, keep_digests=True)
    found = problems(root)
    assert {"tiny/round_02/verified", "tiny/round_02/filtered"} <= set(found)
    assert any("rows are 'pass'" in problem for problem in found["tiny/round_02/verified"])
    assert any("round_02/verified@" in problem for problem in found["tiny/round_02/filtered"])


def test_removed_row_with_a_fitted_digest_breaks_the_row_count(root):
    edit_rows(root, "tiny/round_02/mixed", without_first, keep_digests=True)
    assert any("rows, its manifest says" in problem for problem in problems(root)["tiny/round_02/mixed"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": 7}, "settings and inputs give"),
        ({"settings": {}}, "settings and inputs give"),
        ({"digest": "0" * 64}, "the manifest was edited"),
        ({"counts": {"in": 60, "kept": 59, "dropped": 1}}, "rows are 'kept'"),
    ],
)
def test_edited_manifest_is_named(root, changes, message):
    edit_manifest(root, "tiny/round_02/filtered", **changes)
    assert any(message in problem for problem in problems(root)["tiny/round_02/filtered"])


def test_edited_checkpoint_and_broken_manifest_are_named(root):
    config = root / "artifacts/tiny/start/checkpoint/config.json"
    config.write_text(config.read_text() + " ")
    (root / "artifacts/tiny/round_02/evaluation/manifest.json").write_text("{")
    assert {"tiny/start/checkpoint", "tiny/round_02/evaluation"} <= set(problems(root))


def test_truncated_file_is_named_with_its_artifact(root):
    path = root / "artifacts/tiny/round_02/generated/part-00000.parquet"
    path.write_bytes(path.read_bytes()[:100])
    assert list(problems(root)) == ["tiny/round_02/generated"]


def test_more_reasons_than_a_manifest_counts_are_no_edit(tmp_path):
    root = write_project(tmp_path, rounds=1)
    selector = root / "pipelines/selectors/right.sql"
    selector.write_text(selector.read_text().replace("verdict AS reason", "nullif(row_id, '') AS reason"))
    run_all(root)
    assert "dropped: other reasons" in manifest_of(root, "tiny/round_01/filtered.dropped").counts
    done = run(root, "tiny/round_01", "--verify")
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize("key", ["tiny/round_2", "tiny", "tiny/round_02/filtered", "/", "nothing/round_01"])
def test_what_is_no_round_is_refused_with_a_suggestion(root, key):
    with pytest.raises(
        UsageError, match=f"no round '{key.strip('/')}' here. (Did you mean 'tiny/round_02'|)"
    ):
        CliRunner().invoke(show, [key, "--verify"], obj=root, catch_exceptions=False)


def test_round_is_the_former_name_of_show_and_says_so_on_stderr(clean):
    former = CliRunner().invoke(lineal, ["-C", str(clean), "round", "tiny/round_01", "--json"])
    assert former.exit_code == 0 and json.loads(former.stdout) == page(clean, "tiny/round_01")
    assert former.stderr.startswith(
        "hint: `lineal round` goes away in the next release; use: lineal show tiny/round_01\n"
    )
    assert " round " not in CliRunner().invoke(lineal, ["--help"]).output


def test_options_for_rows_are_refused_for_a_round(clean):
    result = run(clean, "tiny/round_01", "--where", "true")
    assert result.exit_code == 2 and "--where and --rendered go with an artifact" in result.output


def test_verify_of_an_artifact_names_its_round(clean):
    result = run(clean, "tiny/round_01/filtered", "--verify")
    assert isinstance(result.exception, UsageError) and "Did you mean 'tiny/round_01'" in str(
        result.exception
    )
