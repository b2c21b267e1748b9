"""Parquet files: the same bytes however rows arrive, and clear errors for damaged ones."""

import hashlib
import shutil
import threading

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lineal.data import store
from lineal.data.manifest import Manifest, content_digest, list_files, read_manifest, verify_files
from lineal.data.store import Artifact, Rows, write_rows
from lineal.errors import ArtifactError, DataError
from lineal.recipe.references import ArtifactKind


def manifest_of(directory, row_counts):
    files = list_files(directory, row_counts)
    return Manifest(
        step="round_01/x",
        kind=ArtifactKind.ROWS,
        component="c",
        version=1,
        identity="i",
        settings={},
        seed=0,
        inputs={},
        files_read={},
        counts={},
        columns={},
        files=files,
        digest=content_digest(files),
    )


def table(start, stop):
    schema = pa.schema({"prompt_id": pa.string(), "tokens": pa.int64()})
    return pa.table(
        {"prompt_id": [f"p{i}" for i in range(start, stop)], "tokens": list(range(start, stop))},
        schema=schema,
    )


def digests(directory):
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(directory.glob("*.parquet"))
    }


@given(cuts=st.lists(st.integers(0, 700), max_size=6))
@settings(max_examples=25)
def test_write_rows_bytes_do_not_depend_on_how_rows_arrive(tmp_path_factory, monkeypatch_module, cuts):
    directory = tmp_path_factory.mktemp("rows")
    edges = [0, *sorted(cuts), 700]
    write_rows(directory / "whole", [table(0, 700)])
    counts = write_rows(directory / "cut", [table(a, b) for a, b in zip(edges, edges[1:], strict=False)])
    assert digests(directory / "whole") == digests(directory / "cut")
    assert counts == {"part-00000.parquet": 256, "part-00001.parquet": 256, "part-00002.parquet": 188}


@pytest.fixture(scope="module")
def monkeypatch_module():
    patch = pytest.MonkeyPatch()
    patch.setattr(store, "ROWS_PER_FILE", 256)
    patch.setattr(store, "ROWS_PER_GROUP", 64)
    yield
    patch.undo()


def test_write_rows_without_rows_gives_one_empty_file(tmp_path):
    assert write_rows(tmp_path / "x", [table(0, 0)]) == {"part-00000.parquet": 0}


@pytest.mark.parametrize("count", [1, 700])
def test_write_rows_that_cannot_be_written_fails(tmp_path, monkeypatch_module, count):
    def tables():
        shutil.rmtree(tmp_path / "x")
        yield table(0, count)

    with pytest.raises(FileNotFoundError, match="part-00000"):
        write_rows(tmp_path / "x", tables())


def test_write_rows_of_a_source_that_fails_ends_its_thread(tmp_path, monkeypatch_module):
    def tables():
        yield table(0, 640)
        raise DataError("no more")

    before = threading.active_count()
    with pytest.raises(DataError, match="no more"):
        write_rows(tmp_path / "x", tables())
    assert threading.active_count() == before


@given(size=st.integers(1, 400))
@settings(max_examples=20)
def test_rows_slices_cover_all_rows_in_order(tmp_path_factory, monkeypatch_module, size):
    directory = tmp_path_factory.mktemp("slices")
    artifacts = []
    for name, (start, stop) in {"a": (0, 170), "b": (170, 300)}.items():
        counts = write_rows(directory / name, [table(start, stop)])
        artifacts.append(Artifact(name, directory / name, manifest_of(directory / name, counts)))
    rows = Rows(tuple(artifacts))
    slices = list(rows.slices(size))
    assert rows.count == 300
    assert [value for _, _, part in slices for value in part["tokens"].to_pylist()] == list(range(300))
    assert [(start, stop) for start, stop, _ in slices] == [
        (s, min(s + size, 300)) for s in range(0, 300, size)
    ]


def test_rows_of_a_truncated_file_name_the_file(tmp_path):
    counts = write_rows(tmp_path / "x", [table(0, 50)])
    artifact = Artifact("x", tmp_path / "x", manifest_of(tmp_path / "x", counts))
    path = tmp_path / "x" / "part-00000.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ArtifactError, match=r"part-00000.parquet cannot be read as Parquet"):
        Rows((artifact,)).read()
    with pytest.raises(ArtifactError, match=r"part-00000.parquet cannot be read as Parquet"):
        next(Rows((artifact,)).slices(10))
    with pytest.raises(
        ArtifactError, match=r"x: .*part-00000.parquet is not what its manifest says \(got \d+ bytes"
    ):
        verify_files(artifact.directory, artifact.manifest, "x")


def test_verify_files_names_missing_and_extra_files(tmp_path):
    counts = write_rows(tmp_path / "x", [table(0, 5)])
    manifest = manifest_of(tmp_path / "x", counts)
    (tmp_path / "x" / "notes.txt").write_text("mine")
    with pytest.raises(ArtifactError, match="does not name: notes.txt"):
        verify_files(tmp_path / "x", manifest, "x")
    (tmp_path / "x" / "notes.txt").rename(
        tmp_path / "x" / ".turn_1.lock"
    )  # of another plan, in which x has turns
    verify_files(tmp_path / "x", manifest, "x")
    (tmp_path / "x" / "part-00000.parquet").unlink()
    with pytest.raises(ArtifactError, match="file part-00000.parquet is missing"):
        verify_files(tmp_path / "x", manifest, "x")


def test_read_manifest_tells_half_written_from_absent(tmp_path):
    with pytest.raises(ArtifactError, match="p/x is not there .* Make it: lineal run p/x"):
        read_manifest(tmp_path / "x", "p/x")
    (tmp_path / "x").mkdir()
    with pytest.raises(ArtifactError, match="p/x is half-written"):
        read_manifest(tmp_path / "x", "p/x")
    (tmp_path / "x" / "manifest.json").write_text("{}")
    with pytest.raises(ArtifactError, match="is not a manifest of this format"):
        read_manifest(tmp_path / "x", "p/x")


@pytest.mark.parametrize("size", [1, 4, 100])
def test_rows_slices_of_artifacts_with_different_columns_have_all_columns(tmp_path, size):
    parts = {"a": pa.table({"prompt_id": ["p1", "p2"]}), "b": pa.table({"prompt_id": ["p3"], "mine": [1.5]})}
    artifacts = []
    for name, part in parts.items():
        counts = write_rows(tmp_path / name, [part])
        artifacts.append(Artifact(name, tmp_path / name, manifest_of(tmp_path / name, counts)))
    tables = [part for _, _, part in Rows(tuple(artifacts)).slices(size)]
    assert {tuple(part.column_names) for part in tables} == {("prompt_id", "mine")}
    assert pa.concat_tables(tables)["mine"].to_pylist() == [None, None, 1.5]
