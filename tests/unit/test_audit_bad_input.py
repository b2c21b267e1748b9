"""What every audit command says to input that cannot be: ids, keys, SQL, artifacts that are not here or were edited."""

import shutil

import pytest

from lineal.cli.main import run_command
from lineal.data.ids import file_digest
from tests.unit.audit_project import made_project, record_in_dvc

LOCK = """schema: '2.0'
stages:
  a: {cmd: x, outs: [{path: artifacts/tiny/round_01/mixed, md5: 0a.dir}]}
  b: {cmd: x, outs: [{path: artifacts/tiny/round_02/mixed, md5: 0b.dir}]}
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return made_project(tmp_path_factory.mktemp("made")).project.root


@pytest.fixture
def root(made, tmp_path):
    return shutil.copytree(made, tmp_path / "copy")


def said(capsys, root, *arguments):
    """Exit status and stderr."""
    status = run_command(["-C", str(root), *arguments])
    return status, capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trace", "zzz"], "begins with 'zzz'. No id is near it"),
        (["trace", "tiny/round_01/mixd"], "Did you mean 'tiny/round_01/mixed'?"),
        (["trace", "tiny/round_01/mixed", "--samples"], "is no prompt"),
        (
            ["show", "tiny/round_01/filt"],
            "begins the keys of 2 artifacts: tiny/round_01/filtered, tiny/round_01/filtered.dropped",
        ),
        (["export", "tiny/round_01/filt", "x"], "begins the keys of 2 artifacts"),
        (["taint", "--where", "true", "--in", "tiny/round_01/mixd"], "Did you mean 'tiny/round_01/mixed'?"),
        (["diff", "tiny/round_0", "tiny/round_02"], "tiny/round_0 is none. Did you mean 'tiny/round_0"),
        (["diff", "tiny/round_01/mixd", "tiny/round_01/mixed"], "Did you mean 'tiny/round_01/mixed'?"),
        (["show", "tiny/round_9", "--verify"], "no round 'tiny/round_9' here. Did you mean 'tiny/round_0"),
        (["show", "tiny", "--verify"], "Known: control/round_01"),
        (["contamination", "tiny/round_01/mixd"], "Did you mean 'tiny/round_01/mixed'?"),
        (["status", "tiny/round_01/mixd"], "Did you mean 'tiny/round_01/mixed'?"),
    ],
)
def test_unknown_and_ambiguous_names_list_candidates(made, capsys, arguments, message):
    status, text = said(capsys, made, *arguments)
    assert status == 2
    assert message in text


@pytest.mark.parametrize("command", [["show", "tiny/round_01/mixed"], ["taint"]])
@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("verdict =", "syntax error"),
        ("1 = 1; DROP TABLE rows", "syntax error"),
        ("1 = 1; COPY rows TO 'out.csv'", "syntax error"),
        ("true) UNION SELECT * FROM (VALUES (1)", "one condition"),
        ("prompt_id IN (SELECT content FROM read_text('params.yaml'))", "disabled by configuration"),
        ("prompt_id IN (FROM 'params.yaml')", "does not exist"),
        ("prompt_id IN (SELECT name FROM read_csv('http://127.0.0.1:9/x.csv'))", ""),
    ],
)
def test_sql_that_is_wrong_writes_or_reads_files_is_refused(
    root, capsys, monkeypatch, command, where, message
):
    monkeypatch.chdir(root)
    before = sorted(path for path in root.rglob("*") if path.is_file())
    status, text = said(capsys, root, *command, "--where", where)
    assert status == 2
    assert "--where" in text
    assert message in text
    assert sorted(path for path in root.rglob("*") if path.is_file()) == before


@pytest.mark.parametrize("command", [["show"], ["export"]])
def test_missing_artifact_names_the_pull_that_brings_it(root, capsys, tmp_path, command):
    shutil.rmtree(root / "artifacts/tiny/round_01/mixed")
    target = [str(tmp_path / "out")] if command == ["export"] else []
    status, text = said(capsys, root, *command, "tiny/round_01/mixed", *target)
    assert status == 1
    assert "lineal run tiny/round_01/mixed, or bring it: dvc pull artifacts/tiny/round_01/mixed" in text


@pytest.mark.parametrize(
    "arguments",
    [
        ["trace", "tiny/round_02/checkpoint"],
        ["taint", "--where", "verdict = 'fail'"],
        ["diff", "tiny/round_01", "tiny/round_02"],
        ["show", "tiny/round_02"],
    ],
)
def test_answers_that_miss_recorded_artifacts_say_so(root, capsys, arguments):
    (root / "dvc.lock").write_text(LOCK)
    shutil.rmtree(root / "artifacts/tiny/round_01/mixed")
    status, text = said(capsys, root, *arguments)
    assert status == 0
    assert (
        "not here, though dvc.lock records it: tiny/round_01/mixed. Bring it: lineal run --pull tiny/round_01/mixed"
        in text
    )
    shutil.rmtree(root / "artifacts/tiny/round_02/mixed")
    assert "tiny/round_01/mixed and 1 more" in said(capsys, root, *arguments)[1]


@pytest.mark.parametrize(
    "arguments",
    [
        ["trace", "abcdef"],
        ["show", "abcdef"],
        ["taint", "--where", "true"],
    ],
)
def test_project_without_artifacts_is_no_clean_answer(root, capsys, arguments):
    shutil.rmtree(root / "artifacts")
    for path in (root / "pipelines").glob("*.yaml"):
        path.unlink()
    (root / "params.yaml").write_text("active: []\n")
    status, text = said(capsys, root, *arguments)
    assert status == 2
    assert "lineal run --pull" in text


@pytest.mark.parametrize(
    "arguments",
    [
        ["show", "tiny/round_01/verified"],
        ["taint", "--where", "verdict = 'fail'"],
        ["diff", "tiny/round_01", "tiny/round_02"],
        ["export", "tiny/round_01/verified", "out"],
        ["show", "tiny/round_01", "--verify"],
    ],
)
def test_artifact_that_was_edited_by_hand_is_named(root, capsys, monkeypatch, tmp_path, arguments):
    monkeypatch.chdir(tmp_path)
    path = root / "artifacts/tiny/round_01/verified/part-00000.parquet"
    path.write_bytes(path.read_bytes()[:-20] + b"edited by hand, alas")
    status, text = said(capsys, root, *arguments)
    assert status == 1
    assert "tiny/round_01/verified" in text
    assert not (tmp_path / "out").exists()


MISSING_PACKAGE = """\
method: Others
summary: Uses a component of a package that is not installed here.
tasks:
  test: {use: their_tasks}
round:
  evaluation: {use: accuracy, model: previous.evaluation, prompts: tasks.test}
"""


@pytest.mark.parametrize(("command", "printed"), [("status", "tiny/"), ("report", "index.html")])
def test_pipeline_whose_package_is_missing_is_left_out_of_status_and_report(root, capsys, command, printed):
    (root / "pipelines" / "others.yaml").write_text(MISSING_PACKAGE)
    params = (root / "params.yaml").read_text()
    (root / "params.yaml").write_text(params.replace("active: [", "active: [others, "))
    (root / "artifacts" / "others").mkdir()
    (root / "artifacts" / "others" / "manifest.json").write_text("{}")
    status = run_command(["-C", str(root), command])
    output = capsys.readouterr()
    assert (status, printed in output.out) == (2, True)
    assert (
        "others is left out: pipelines/others.yaml:4: tasks.test.use: unknown component 'their_tasks'"
        in output.err
    )
    assert (
        "(entry points 'lineal.components'), install that package" in output.err
        and "Its 1 artifacts" in output.err
    )


@pytest.fixture(scope="module")
def recorded(made, tmp_path_factory):
    root = shutil.copytree(made, tmp_path_factory.mktemp("recorded") / "copy")
    record_in_dvc(root)
    return root


def flipped(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def replaced(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def swapped(first, second):
    first.rename(first.with_name("aside"))
    second.rename(first)
    first.with_name("aside").rename(second)


def cached(root, path):
    """Returns the path of a file's bytes in DVC's cache."""
    digest = file_digest(path)
    return next(
        one for one in (root / ".dvc/cache").rglob("*") if one.is_file() and file_digest(one) == digest
    )


CHECKPOINT, ROWS, VALUES = "tiny/round_02/checkpoint", "tiny/round_02/mixed", "tiny/round_02/evaluation"
WEIGHTS, SHARD, METRICS = f"{CHECKPOINT}/config.json", f"{ROWS}/part-00000.parquet", f"{VALUES}/metrics.json"
CORRUPTIONS = {
    "flipped byte": (CHECKPOINT, lambda made, root: flipped(made / WEIGHTS)),
    "truncated shard": (
        ROWS,
        lambda made, root: (made / SHARD).write_bytes((made / SHARD).read_bytes()[:200]),
    ),
    "missing file": (CHECKPOINT, lambda made, root: (made / WEIGHTS).unlink()),
    "extra file": (CHECKPOINT, lambda made, root: (made / CHECKPOINT / "extra.bin").write_bytes(b"x")),
    "swapped directories": (
        CHECKPOINT,
        lambda made, root: swapped(made / CHECKPOINT, made / "tiny/round_01/checkpoint"),
    ),
    "edited manifest": (
        CHECKPOINT,
        lambda made, root: replaced(made / CHECKPOINT / "manifest.json", '"seed": 0', '"seed": 1'),
    ),
    "edited columns": (ROWS, lambda made, root: replaced(made / ROWS / "manifest.json", '"in": ', '"in": 1')),
    "edited metrics": (VALUES, lambda made, root: replaced(made / METRICS, '"accuracy":0', '"accuracy":1')),
    "edited dvc.lock": (
        CHECKPOINT,
        lambda made, root: replaced(
            root / "dvc.lock",
            f"{CHECKPOINT}\n      hash: md5\n      md5: ",
            f"{CHECKPOINT}\n      hash: md5\n      md5: 0",
        ),
    ),
    "empty cache": ("more artifacts like it", lambda made, root: shutil.rmtree(root / ".dvc/cache")),
    "corrupt cache": (CHECKPOINT, lambda made, root: flipped(cached(root, made / WEIGHTS))),
}


RECORDED_AGAIN = ("edited dvc.lock", "empty cache", "corrupt cache")
"""The artifact is whole and has its identity: its record is mended, and it is not made again."""


def test_project_that_is_whole_is_named_nowhere(recorded, capsys):
    assert (
        said(capsys, recorded, "trace", CHECKPOINT) == said(capsys, recorded, "trace", CHECKPOINT) == (0, "")
    )
    assert run_command(["-C", str(recorded), "status"]) == 0
    assert "34 done, 0 stale, 0 missing" in capsys.readouterr().out


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_every_corruption_is_named_by_what_looks_and_stops_what_leaves(recorded, capsys, tmp_path, kind):
    root = shutil.copytree(recorded, tmp_path / "copy")
    named, corrupt = CORRUPTIONS[kind]
    corrupt(root / "artifacts", root)
    for command in (["trace", CHECKPOINT], ["report"]):
        assert named in said(capsys, root, *command)[1], command
    status, text = said(capsys, root, "export", CHECKPOINT, str(tmp_path / "out"))
    assert named in text
    stopped = named in (CHECKPOINT, VALUES) and kind != "corrupt cache"
    assert (status, (tmp_path / "out").exists()) == ((1, False) if stopped else (0, True))
    assert run_command(["-C", str(root), "status"]) == 0
    printed = capsys.readouterr().out
    if kind in RECORDED_AGAIN:
        assert (
            "that lineal run records again and does not rerun" in printed and "0 stale, 0 missing" in printed
        )
    else:
        assert any(
            named in line for line in printed.splitlines() if "stale" in line and " is stale" not in line
        )
