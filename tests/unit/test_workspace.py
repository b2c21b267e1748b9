"""A step's workspace: finished shards are found again, publication is one rename, one process at a time."""

import pyarrow as pa
import pytest

from lineal.data.store import Artifact, Rows, write_rows
from lineal.data.workspace import Workspace, conform, open_partial, replace_directory, step_lock
from lineal.errors import DataError, StepBusy
from lineal.recipe.compute import Compute
from tests.unit.test_store import manifest_of


@pytest.fixture
def rows(tmp_path):
    counts = write_rows(
        tmp_path / "in", [pa.table({"prompt_id": [f"p{i}" for i in range(100)], "tokens": list(range(100))})]
    )
    return Rows((Artifact("p/in", tmp_path / "in", manifest_of(tmp_path / "in", counts)),))


def workspace(tmp_path, shard_rows=16):
    partial = tmp_path / ".out.partial"
    open_partial(partial, "identity")
    return Workspace(tmp_path, "round_01/out", 1, 0, Compute(shard_rows=shard_rows), {}, partial)


def test_map_rows_after_a_crash_redoes_only_the_unfinished_shards(tmp_path, rows):
    seen = []

    def transform(table, progress):
        if len(seen) == 3:
            raise KeyboardInterrupt
        seen.append(table.num_rows)
        return table

    with pytest.raises(KeyboardInterrupt):
        workspace(tmp_path).map_rows(rows, transform)
    again = workspace(tmp_path)
    redone = []
    written = again.map_rows(rows, lambda table, progress: redone.append(table.num_rows) or table)
    assert (written, seen, redone) == (100, [16, 16, 16], [16, 16, 16, 4])
    assert again.facts["resumed_shards"] == 3


@pytest.mark.parametrize(
    ("shard_rows", "again"), [(16, []), (8, []), (48, []), (7, [7] * 14 + [2]), (32, [32] * 3 + [4])]
)
def test_map_rows_takes_saved_rows_where_they_are_whole_slices(tmp_path, rows, shard_rows, again):
    """What was saved together, slices 0 to 3 of 16 rows and then the rest, serves other slices that it holds whole."""

    def stopping(table, progress):
        if table["prompt_id"][0].as_py() == "p48":
            raise KeyboardInterrupt
        return table

    with pytest.raises(KeyboardInterrupt):
        workspace(tmp_path).map_rows(rows, stopping)
    workspace(tmp_path).map_rows(rows, lambda table, progress: table)
    assert [path.stem for path in sorted((tmp_path / ".out.partial" / "shards").iterdir())] == [
        "000000000000-000000000048",
        "000000000048-000000000100",
    ]
    redone, last = [], workspace(tmp_path, shard_rows)
    last.map_rows(rows, lambda table, progress: redone.append(table.num_rows) or table)
    assert redone == again
    write_rows(tmp_path / "reference", [rows.read()])
    made = last.directory() / "part-00000.parquet"
    assert made.read_bytes() == (tmp_path / "reference" / "part-00000.parquet").read_bytes()


def test_slices_are_saved_by_time_and_what_belongs_to_them_goes_then(tmp_path, rows, monkeypatch):
    now, step, left = [0.0], workspace(tmp_path, 10), []
    monkeypatch.setattr("lineal.data.shards.time.monotonic", lambda: now[0])

    def transform(table, progress):
        left.append(step.unsaved.exists())
        step.unsaved.mkdir(exist_ok=True)
        now[0] += 0.4
        return table

    step.map_rows(rows, transform)
    saved = [path.stem.lstrip("0") for path in sorted((tmp_path / ".out.partial" / "shards").iterdir())]
    assert saved == ["-000000000030", "30-000000000060", "60-000000000090", "90-000000000100"]
    assert left == [False, True, True] * 3 + [False] and not step.unsaved.exists()


@pytest.mark.parametrize("shard_rows", [1, 7, 16, 100, 1000])
def test_map_rows_bytes_do_not_depend_on_the_shard_size(tmp_path, rows, shard_rows):
    made = workspace(tmp_path, shard_rows)
    made.map_rows(rows, lambda table, progress: table)
    reference = tmp_path / "reference"
    write_rows(reference, [rows.read()])
    path = made.directory() / "part-00000.parquet"
    assert path.read_bytes() == (reference / "part-00000.parquet").read_bytes()


def test_open_partial_of_another_identity_sweeps_old_work_away(tmp_path, rows):
    workspace(tmp_path).map_rows(rows, lambda table, progress: table)
    assert list((tmp_path / ".out.partial" / "shards").iterdir())
    open_partial(tmp_path / ".out.partial", "another")
    assert not (tmp_path / ".out.partial" / "shards").exists()


def test_replace_directory_leaves_only_the_new(tmp_path):
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    replace_directory(tmp_path / "new", tmp_path / "old")
    assert [path.name for path in tmp_path.rglob("*")] == ["old", "new"]


def test_step_lock_held_twice_names_the_holder(tmp_path):
    path = tmp_path / "deep" / ".x.lock"
    with (
        step_lock(path, "p/x"),
        pytest.raises(StepBusy, match=r"p/x is being made by process \d+"),
        step_lock(path, "p/x"),
    ):
        pass
    with step_lock(path, "p/x"):
        pass


def test_conform_gives_known_columns_their_type():
    table = conform(
        pa.table({"prompt_id": pa.nulls(2), "tokens": pa.array([1, 2], pa.int8()), "mine": [1.5, 2.5]})
    )
    assert [str(kind) for kind in table.schema.types] == ["string", "int64", "double"]


def test_conform_of_mixed_types_names_the_column():
    with pytest.raises(DataError, match="column 'tokens' must be int64, got string"):
        conform(pa.table({"tokens": ["many"]}))


def test_timed_phases_do_not_count_the_phases_inside_them(tmp_path, monkeypatch):
    clock = iter([0.0, 1.0, 4.0, 6.0])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    step = workspace(tmp_path)
    with step.timed("sample"), step.timed("load"):
        pass
    assert step.facts["seconds_by_phase"] == {"load": 3.0, "sample": 3.0}
