"""`--rev`: what another commit recorded, from DVC's cache or remote, with the working tree left as it is."""

import json
import re
import shutil
import subprocess

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from lineal.cli.look import report, show, trace
from lineal.cli.planning import plan, status
from lineal.cli.prove import contamination, diff, round_
from lineal.cli.sharing import export
from lineal.data.digests import NAME as DIGESTS
from lineal.errors import CheckFailure, ProjectError, UsageError
from lineal.orchestrate.dvc_lock import locked_artifacts
from lineal.orchestrate.revisions import commit_of, project_at

from .toy_project import command, edit

KEY = "toy/round_01/filtered"
FILES = {"in_git": "git", "added": "dvc add", "lying": "nothing"}
"""Files of prompts that the second commit's pipeline reads, and what keeps their bytes."""


def git(root, *arguments):
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    return subprocess.run(
        ["git", *identity, *arguments], cwd=root, check=True, text=True, stdout=subprocess.PIPE
    ).stdout


def commit(root, message):
    git(root, "add", "--all")
    git(root, "commit", "-q", "-m", message)


def run(root, subcommand, *arguments):
    return CliRunner().invoke(subcommand, arguments, obj=root, catch_exceptions=False)


def shown(root, *arguments):
    return json.loads(run(root, show, *arguments, "--limit", "1000", "--json").stdout)


def tree(root):
    """Every file outside git's and DVC's own directories, with what a change would show in."""
    left_out = {".git", ".dvc", DIGESTS}  # the record of digests grows with what was read
    files = [
        path
        for path in root.rglob("*")
        if path.is_file() and not left_out & set(path.relative_to(root).parts)
    ]
    return {
        str(path.relative_to(root)): (path.stat().st_mtime_ns, path.stat().st_ino, path.read_bytes())
        for path in files
    }


def push_and_lose_cache(root, store):
    command(root, "dvc", "remote", "add", "--local", "--default", "store", str(store))
    command(root, "dvc", "push", "--all-commits")
    shutil.rmtree(root / ".dvc" / "cache")


def write_files(root):
    """Adds a file of one prompt to the project for each way to keep it, and a task that reads it."""
    (root / "data").mkdir()
    for name in FILES:
        (root / "data" / f"{name}.jsonl").write_text(
            json.dumps({"prompt": f"{name}?", "answer": "yes"}) + "\n"
        )
        task = f"tasks:\n  {name}: {{use: dataset, path: data/{name}.jsonl}}\n"
        edit(root / "pipelines" / "toy.yaml", "tasks:\n", task)
    edit(root / ".gitignore", "/artifacts/\n", "/artifacts/\n/data/lying.jsonl\n")
    command(root, "dvc", "add", "data/added.jsonl")


@pytest.fixture(scope="module")
def committed_twice(finished_once, tmp_path_factory):
    """A project with two commits: before and after a selector's setting changed and files came in; and what it showed before."""
    root = tmp_path_factory.mktemp("revisions") / "project"
    shutil.copytree(finished_once, root, symlinks=True)
    commit(root, "one per prompt")
    before = {key: shown(root, key) for key in locked_artifacts(root)}
    edit(root / "pipelines" / "toy.yaml", "max_per_prompt: 1", "max_per_prompt: 2")
    write_files(root)
    command(root, "lineal", "run")
    commit(root, "two per prompt, and prompts from files")
    return root, before


@pytest.fixture
def project(committed_twice, tmp_path):
    root = tmp_path / "project"
    shutil.copytree(committed_twice[0], root, symlinks=True)
    git(root, "status")
    return root


@pytest.fixture
def before(committed_twice):
    return committed_twice[1]


def test_show_at_the_last_commit_gives_its_rows_and_touches_nothing(project, before):
    now, files = shown(project, KEY), tree(project)
    assert now["matching"] > before[KEY]["matching"]
    assert shown(project, KEY, "--rev", "HEAD~1") == before[KEY]
    assert shown(project, KEY, "--rev", "HEAD") == now
    assert tree(project) == files
    assert git(project, "status", "--porcelain") == ""


def test_every_artifact_of_a_revision_is_what_it_was(project, before):
    assert set(before) < set(locked_artifacts(project))
    assert len(before) > 10
    for key, expected in before.items():
        assert shown(project, key, "--rev", "HEAD~1") == expected


def test_a_broken_working_tree_does_not_matter(project, before):
    (project / "pipelines" / "toy.yaml").write_text("method: [")
    (project / "params.yaml").write_text("active: [gone]")
    shutil.rmtree(project / "artifacts")
    assert shown(project, KEY, "--rev", "HEAD~1") == before[KEY]


def test_trace_at_a_revision_finds_the_old_checkpoints(project, before):
    digest = before["toy/round_02/checkpoint"]["manifest"]["digest"]
    graph = json.loads(run(project, trace, digest, "--rev", "HEAD~1", "--json").stdout)
    assert before["toy/round_01/checkpoint"]["manifest"]["digest"] in json.dumps(graph)
    with pytest.raises(UsageError, match="begins with"):
        run(project, trace, digest)


def test_export_at_a_revision_has_the_old_rows(project, before, tmp_path):
    run(project, export, KEY, str(tmp_path / "out"), "--rev", "HEAD~1")
    assert pq.read_table(tmp_path / "out" / "data").num_rows == before[KEY]["matching"]
    assert not any(path.is_symlink() for path in (tmp_path / "out").rglob("*"))


def states(root, *arguments):
    return {
        entry["key"]: entry["state"] for entry in json.loads(run(root, status, "--json", *arguments).stdout)
    }


def spoil(root):
    """A working tree of which nothing that is kept can be read."""
    (root / "params.yaml").write_text("active: [gone]")
    (root / "data" / "in_git.jsonl").write_text("not JSON")
    (root / "data" / "added.jsonl").unlink()
    shutil.rmtree(root / "artifacts")


def test_status_and_plan_at_a_revision_read_that_revision_s_files(project):
    now, planned = states(project), run(project, plan, "--json").stdout
    assert set(now.values()) == {"done"}
    spoil(project)
    files = tree(project)
    assert states(project, "--rev", "HEAD") == now
    assert run(project, plan, "--json", "--rev", "HEAD").stdout == planned
    then = states(project, "--rev", "HEAD~1")
    assert set(now) - set(then) == {f"toy/tasks/{name}" for name in FILES}
    assert set(then.values()) == {"done"}
    assert tree(project) == files


def test_file_that_only_lay_there_is_named_once_its_bytes_are_gone(project):
    (project / "data" / "lying.jsonl").write_text("changed")
    done = CliRunner().invoke(show, ["toy/tasks/lying", "--rev", "HEAD"], obj=project)
    assert "lying?" in done.stdout
    assert "data/lying.jsonl is neither in git nor in DVC's cache" in done.stderr
    failed = CliRunner().invoke(status, ["--rev", "HEAD"], obj=project)
    assert "path 'data/lying.jsonl': no such file in the project" in str(failed.exception)


def test_plan_refuses_to_write_or_check_another_revision(project):
    for option in ("--write", "--check"):
        assert CliRunner().invoke(plan, [option, "--rev", "HEAD"], obj=project).exit_code == 2


def test_round_at_a_revision_shows_its_revision_and_verifies(project, before):
    shutil.rmtree(project / "artifacts")
    files = tree(project)
    page = json.loads(run(project, round_, "toy/round_01", "--verify", "--json", "--rev", "HEAD~1").stdout)
    assert page["git"] == {"revision": git(project, "rev-parse", "HEAD~1").strip(), "changed": False}
    assert page["verified"]["problems"] == {}
    shown_then = {one["key"]: one["digest"] for one in page["artifacts"]}
    assert shown_then == {
        key: then["manifest"]["digest"] for key, then in before.items() if key.startswith("toy/round_01/")
    }
    assert tree(project) == files


def test_round_at_a_revision_names_an_object_of_the_cache_that_is_not_what_it_says(project):
    with project_at(project, "HEAD~1") as view:
        part = (view.project.directory(KEY) / "part-00000.parquet").resolve()
    part.chmod(0o644)
    part.write_bytes(b"PAR1" + part.read_bytes()[4:] + b"x")
    with pytest.raises(CheckFailure, match=KEY):
        run(project, round_, "toy/round_01", "--verify", "--rev", "HEAD~1")


def test_round_and_diff_at_a_revision_come_from_the_remote(project, tmp_path):
    push_and_lose_cache(project, tmp_path / "store")
    shutil.rmtree(project / "artifacts")
    assert run(project, round_, "toy/round_01", "--rev", "HEAD~1").exit_code == 0
    assert "verified" in run(project, diff, "toy/round_01", "toy/round_02", "--rev", "HEAD~1").stdout


def test_diff_of_two_revisions_names_what_the_second_commit_changed(project):
    spoil(project)
    files = tree(project)
    found = json.loads(run(project, diff, "HEAD~1", "HEAD", "--json").stdout)
    nodes = {one["label"]: one for one in found["artifacts"]}
    assert nodes["toy/round_01/generated"]["same_bytes"] and not nodes[KEY]["same_bytes"]
    assert nodes[KEY]["settings"] == {"max_per_prompt": {"before": 1, "after": 2}}
    (changed,) = nodes[KEY]["rows"]["decisions"]
    assert (changed["before"], changed["after"], changed["count"]) == (
        "dropped",
        "kept",
        nodes[KEY]["rows"]["added"],
    )
    assert sorted(found["only_after"]) == sorted(f"toy/tasks/{name}" for name in FILES)
    assert tree(project) == files


def test_diff_of_two_revisions_whose_cache_is_gone_tells_numbers_by_the_records(project):
    whole = run(project, diff, "HEAD~1", "HEAD").stdout
    shutil.rmtree(project / ".dvc" / "cache")
    told = run(project, diff, "HEAD~1", "HEAD").stdout
    numbers = [
        line
        for line in whole.splitlines()
        if line.startswith(("  accuracy  ", "  kept rows", "  max_per_prompt"))
    ]
    assert len(numbers) > 3 and set(numbers) <= set(told.splitlines())
    assert [line for line in told.splitlines() if "only in" in line] == [
        line for line in whole.splitlines() if "only in" in line
    ]
    assert f"rows: unknown, since {KEY}" in told


def test_diff_takes_a_key_at_a_revision_and_refuses_what_is_neither(project):
    told = run(project, diff, f"HEAD~1:{KEY}", KEY).stdout
    assert "max_per_prompt" in told and "dropped -> kept" in told
    with pytest.raises(UsageError, match="Compare HEAD~1:toy/round_01"):
        run(project, diff, "HEAD~1", "toy/round_01")
    with pytest.raises(
        UsageError, match="'HEAD~99' is no round, artifact or pipeline. .* no git revision 'HEAD~99'"
    ):
        run(project, diff, "HEAD~99", "toy/round_01/nothing")


def test_report_and_contamination_at_a_revision_leave_the_current_ones(project):
    spoil(project)
    (project / "reports").mkdir()
    (project / "reports" / "index.html").write_text("current")
    files = tree(project)
    path = run(project, report, "--rev", "HEAD~1").stdout.strip()
    assert path == str(project / "reports" / f"{git(project, 'rev-parse', 'HEAD~1')[:12]}.html")
    assert "in_git" not in (project / path).read_text()
    looked = json.loads(run(project, contamination, "--json", "--rev", "HEAD~1").stdout)
    assert {found["key"] for found in looked["artifacts"]} > {
        "toy/round_01/filtered",
        "toy/round_02/generated",
    }
    (project / path).unlink()
    assert tree(project) == files


def test_missing_artifact_says_which_pull_brings_it_and_that_does(project, before, tmp_path):
    push_and_lose_cache(project, tmp_path / "store")
    command(project, "dvc", "remote", "modify", "--local", "store", "url", str(tmp_path / "empty"))
    hint = f"dvc pull --all-commits artifacts/{KEY} "
    told = run(project, show, KEY, "--rev", "HEAD~1")
    assert re.search(
        f"{KEY} at HEAD~1 is told by its record: .*neither DVC's cache nor its remote.*{hint}", told.stderr
    )
    assert "known by its record" in told.stdout
    command(project, "dvc", "remote", "modify", "--local", "store", "url", str(tmp_path / "store"))
    command(project, *hint.split())
    done = run(project, show, KEY, "--rev", "HEAD~1", "--limit", "1000", "--json")
    assert json.loads(done.stdout)["rows"] == before[KEY]["rows"]
    assert "warning: not in DVC's cache at HEAD~1: " in done.stderr


def test_wanted_artifact_comes_from_the_remote_into_the_cache_only(project, before, tmp_path):
    push_and_lose_cache(project, tmp_path / "store")
    files = tree(project)
    assert shown(project, KEY, "--rev", "HEAD~1")["rows"] == before[KEY]["rows"]
    assert tree(project) == files


def test_artifact_without_cache_and_remote_says_both(project):
    shutil.rmtree(project / ".dvc" / "cache")
    told = run(project, show, KEY, "--rev", "HEAD~1").stderr
    assert re.search("is told by its record: .*no remote specified.*dvc pull --all-commits", told)


def test_half_of_an_artifact_is_missing_not_shown(project):
    with project_at(project, "HEAD~1") as view:
        assert view.missing == {}
        inside = view.project.root
        part = (view.project.directory(KEY) / "part-00000.parquet").resolve()
    assert not inside.exists()
    part.unlink()
    with project_at(project, "HEAD~1") as view:
        assert list(view.missing) == [KEY]
        assert "part-00000.parquet" in view.missing[KEY]
        assert not view.project.directory(KEY).exists()


@pytest.mark.parametrize("revision", ["nowhere", "--help", "HEAD:params.yaml", "", "HEAD~9"])
def test_unknown_revision_is_refused(project, revision):
    with pytest.raises(UsageError, match="no git revision"), project_at(project, revision):
        pass


def test_revision_that_a_shallow_clone_lacks_is_told_with_what_fetches_it(project, tmp_path):
    clone = ["git", "clone", "-q", "--depth", "1", f"file://{project}", str(tmp_path / "clone")]
    subprocess.run(clone, check=True, capture_output=True)
    with pytest.raises(UsageError, match="This clone is shallow: git fetch --unshallow"):
        commit_of(tmp_path / "clone", "HEAD~1")


def test_revision_without_a_record_is_refused(project):
    git(project, "rm", "-q", "--cached", "dvc.lock")
    git(project, "commit", "-q", "-m", "no lock")
    with pytest.raises(ProjectError, match=r"dvc\.lock is not in git at HEAD"), project_at(project, "HEAD"):
        pass


def test_project_outside_git_is_refused(project, tmp_path):
    shutil.rmtree(project / ".git")
    with pytest.raises(ProjectError, match="git rev-parse failed"), project_at(project, "HEAD"):
        pass
