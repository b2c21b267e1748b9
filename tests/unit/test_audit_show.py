"""`lineal show`: manifest, rows, values, and conditions that cannot leave their cage."""

import json
import shutil

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineal.audit.catalog import Catalog, read_catalog
from lineal.audit.keys import find_artifact
from lineal.audit.query import matching_rows
from lineal.audit.show.artifact import _ordered, as_json, as_text, look_at
from lineal.audit.terminal import CUT, cut, display_width, printable, show_value, shown, table
from lineal.data.manifest import FileEntry, Manifest
from lineal.data.store import Artifact, write_rows
from lineal.errors import ArtifactError, UsageError
from lineal.recipe.compute import Compute
from lineal.recipe.project import open_project
from lineal.recipe.references import ArtifactKind
from tests.unit.audit_project import made_project

COMPUTE = Compute(workers=1)


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    return made_project(tmp_path_factory.mktemp("show"))


@pytest.fixture
def look(plan):
    catalog = read_catalog(plan.project)

    def shown(key, where=None, limit=10):
        return look_at(catalog, find_artifact(plan.project, catalog, key), where, limit, COMPUTE)

    return shown


def test_show_rows_tells_manifest_counts_inputs_and_rows(look):
    shown = look("tiny/round_01/filtered", limit=2)
    text = as_text(shown, 200)
    kept = shown.artifact.manifest.counts["kept"]
    assert "select@1" in text
    assert shown.artifact.digest in text
    assert f"kept={kept}" in text
    assert "rows: tiny/round_01/verified" in text
    assert f"{kept} rows; the first 2:" in text
    assert shown.rows[0]["completion"] in text


def test_show_where_keeps_only_matching_rows_and_counts_them_all(look):
    shown = look("tiny/round_01/verified", "verdict = 'pass'  -- a comment", limit=1)
    assert shown.matching == shown.artifact.manifest.counts["pass"]
    assert [row["verdict"] for row in shown.rows] == ["pass"]
    assert f"{shown.matching} of 60 rows match; the first 1:" in as_text(shown, 200)


def test_show_json_holds_every_column_and_the_keys_of_inputs(look):
    found = json.loads(json.dumps(as_json(look("tiny/round_02/generated", limit=1))))
    assert set(found["rows"][0]) == set(found["manifest"]["columns"])
    assert [entry["key"] for entry in found["inputs"]] == ["tiny/round_01/checkpoint", "tiny/tasks/train"]


def test_show_metrics_tells_values_and_model_tells_files(look):
    shown = look("tiny/start/evaluation")
    assert f"{shown.values['accuracy']:.4g}" in as_text(shown, 120)
    assert "config.json" in as_text(look("tiny/start/checkpoint"), 120)


@pytest.mark.parametrize(
    "where",
    [
        "verdict = 'pass'; DROP TABLE rows",
        "true) UNION SELECT * FROM rows WHERE (true",
        "true) LIMIT (3",
        "true) GROUP BY (verdict",
        "(SELECT count(*) FROM read_text('/etc/passwd')) > 0",
        "(SELECT count(*) FROM '/etc/passwd') > 0",
        "(SELECT count(*) FROM glob('/*')) > 0",
        "verdict = (",
        "no_such_column = 1",
        "",
    ],
)
def test_show_where_that_is_no_condition_on_the_rows_is_refused(look, where):
    with pytest.raises(UsageError, match="--where"):
        look("tiny/round_01/verified", where)


def test_show_where_error_names_the_columns_that_are_there(look):
    with pytest.raises(UsageError, match=r"verdikt(.|\n)*has columns .*verdict"):
        look("tiny/round_01/verified", "verdikt = 'pass'")


def test_show_where_on_a_checkpoint_is_refused(look):
    with pytest.raises(UsageError, match="model artifact without rows"):
        look("tiny/start/checkpoint", "true")


def test_show_key_may_be_the_beginning_of_one_key_only(look):
    assert look("tiny/start/eval").artifact.key == "tiny/start/evaluation"
    assert look("tiny/round_01/filtered").artifact.key == "tiny/round_01/filtered"
    with pytest.raises(UsageError, match="begins the keys of 2 artifacts: tiny/round_01/filtered, "):
        look("tiny/round_01/filt")


def test_show_unknown_key_suggests_the_nearest(look):
    with pytest.raises(UsageError, match="Did you mean 'tiny/round_01/verified'"):
        look("tiny/round_01/verifyed")


def test_show_planned_but_missing_key_says_how_to_make_it(plan, tmp_path):
    root = shutil.copytree(plan.project.root, tmp_path / "copy")
    shutil.rmtree(root / "artifacts/tiny/round_02/verified")
    project = open_project(root)
    with pytest.raises(ArtifactError, match="Make it: lineal run tiny/round_02/verified"):
        find_artifact(project, read_catalog(project), "tiny/round_02/verified")


def test_show_finds_artifacts_of_pipelines_that_are_not_active_or_gone(plan, tmp_path):
    root = shutil.copytree(plan.project.root, tmp_path / "copy")
    (root / "params.yaml").write_text("active: [tiny]\n")
    (root / "pipelines" / "control.yaml").unlink()
    project = open_project(root)
    assert (
        find_artifact(project, read_catalog(project), "control/round_01/filtered").manifest.counts["kept"]
        == 60
    )


def test_show_truncated_shard_names_artifact_and_fix(plan, tmp_path):
    root = shutil.copytree(plan.project.root, tmp_path / "copy")
    shard = root / "artifacts/tiny/round_01/generated/part-00000.parquet"
    shard.write_bytes(shard.read_bytes()[:200])
    project = open_project(root)
    catalog = read_catalog(project)
    with pytest.raises(
        ArtifactError, match=r"tiny/round_01/generated: its rows cannot be read(.|\n)*lineal run"
    ):
        look_at(catalog, catalog.artifacts["tiny/round_01/generated"], None, 3, COMPUTE)


def test_catalog_reports_a_broken_manifest_and_goes_on(plan, tmp_path):
    root = shutil.copytree(plan.project.root, tmp_path / "copy")
    (root / "artifacts/tiny/tasks/test/manifest.json").write_text("{")
    catalog = read_catalog(open_project(root))
    assert "tiny/tasks/test" not in catalog.artifacts
    assert "tiny/tasks/train" in catalog.artifacts
    assert len(catalog.problems) == 1


def hostile_artifact(directory, text):
    rows = pa.table({"sample_id": ["a"], "completion": [text], "score": [float("nan")]})
    files = {
        name: FileEntry(sha256="0", size_bytes=0, rows=count)
        for name, count in write_rows(directory, [rows]).items()
    }
    manifest = Manifest(
        step="round_01/x",
        kind=ArtifactKind.ROWS,
        component="sample",
        version=1,
        identity="0",
        settings={},
        seed=0,
        inputs={},
        files_read={},
        counts={},
        columns=dict.fromkeys(rows.column_names, "string"),
        files=files,
        digest="0",
    )
    return Artifact("p/round_01/x", directory, manifest)


def test_show_escapes_what_a_terminal_would_obey(tmp_path):
    artifact = hostile_artifact(tmp_path, "\x1b[31mred\x1b]0;title\x07\r\n\u202egnp.exe\x9b2J")
    catalog = Catalog({artifact.key: artifact})
    text = as_text(look_at(catalog, artifact, None, 5, COMPUTE), 400)
    assert all(letter.isprintable() or letter == "\n" for letter in text)
    assert r"\x1b[31mred" in text


def test_show_json_has_no_nan(tmp_path):
    _, rows = matching_rows(hostile_artifact(tmp_path, "x"), None, 5, COMPUTE)
    assert rows[0]["score"] is None


@pytest.mark.parametrize(("name", "counts"), [("", {"pass": 1}), ("our", {"pass": 1}), ("", {})])
def test_verifiers_own_columns_stand_beside_its_score(tmp_path, name, counts):
    given = ["sample_id", "prompt", "completion", "finish_reason", "tokens", "persona"]
    added = [f"{name}_{one}" if name else one for one in ("verdict", "score", "detail", "words")]
    manifest = hostile_artifact(tmp_path, "x").manifest.model_copy(
        update={
            "counts": counts,
            "settings": {"name": name},
            "columns": dict.fromkeys([*given, *added], "string"),
        }
    )
    ordered, verdict, score, detail, words = _ordered(manifest), *added
    beside = [verdict, score, words, detail] if counts else [verdict, score, detail, "finish_reason"]
    assert ordered[3:7] == beside and sorted(ordered) == sorted([*given, *added])


def test_cut_is_visible_and_counts_wide_letters_twice():
    assert cut("abcdef", 4) == "abc…"
    assert cut("abcd", 4) == "abcd"
    assert display_width(cut("漢字漢字", 5)) <= 5
    assert cut("漢字漢字", 5).endswith("…")


def test_printable_keeps_letters_of_any_language():
    assert printable("naïve 漢字 مرحبا") == "naïve 漢字 مرحبا"
    assert printable("a\tb\u200fc\U000e0041") == r"a\tb\u200fc\U000e0041"


def test_table_sets_numbers_to_the_right():
    assert table(["name", "n"], [["a", "5"], ["b", "1,234"]])[2:] == ["a         5", "b     1,234"]


# -- long values --------------------------------------------------------------------------------------------------------


def cut_letter_by_letter(text, width):
    if display_width(text) <= width:
        return text
    kept, used = [], 1
    for letter in text:
        used += display_width(letter)
        if used > width:
            break
        kept.append(letter)
    return "".join(kept) + CUT


@given(st.text(st.sampled_from("ab \u0301\u4e16\U0001f600"), max_size=30), st.integers(1, 20))
def test_cut_keeps_what_fits(text, width):
    assert cut(text, width) == cut_letter_by_letter(text, width)


@given(st.text() | st.lists(st.text()) | st.floats() | st.none(), st.integers(1, 60))
def test_shown_is_the_whole_value_cut(value, width):
    assert shown(value, width) == cut(show_value(value), width)


def test_of_a_long_value_the_beginning_is_shown():
    assert shown("a" * 5_000_000 + "\n", 40) == "a" * 39 + CUT
    assert shown("\u0301" * 5_000_000, 40).endswith(CUT), "letters without width"
    assert shown(list(range(5_000_000)), 12) == "[0, 1, 2, 3" + CUT
    assert shown([{"content": "b" * 5_000_000}], 20) == "[{'content': 'bbbbb" + CUT
