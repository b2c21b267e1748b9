"""The dataset source: four file formats read the same, and every bad input named by file, row and column."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pydantic
import pytest

from lineal.components.sources.base import in_split
from lineal.data.ids import file_digest
from lineal.errors import DataError
from tests.unit.lab import Lab, rows_of

MAPPING = {"prompt": "question", "answer": "solution", "prompt_id": "id"}
ROWS = [{"id": f"i{number}", "question": f"what is {number}?", "solution": str(number)} for number in range(40)]


@pytest.fixture
def lab(tmp_path):
    (tmp_path / "data").mkdir()
    return Lab(tmp_path)


def write(lab, name, text):
    (lab.path / "data" / name).write_text(text, encoding="utf-8")
    return f"data/{name}"


def lines(rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


def load(lab, path, **settings):
    return lab.run("dataset", "tasks/train", path=path, **{"columns": MAPPING, **settings})[""]


def test_dataset_formats_give_the_same_rows(lab):
    table = "id,question,solution\n" + "".join(f"{r['id']},{r['question']},{r['solution']}\n" for r in ROWS)
    paths = [
        write(lab, "a.jsonl", lines(ROWS)),
        write(lab, "a.json", json.dumps(ROWS)),
        write(lab, "a.csv", table),
        "data/a.parquet",
    ]
    pq.write_table(pa.Table.from_pylist(ROWS), lab.path / "data" / "a.parquet")
    made = [rows_of(load(lab, path)) for path in paths]
    assert made[0] == made[1] == made[2] == made[3]
    assert made[0][3] == {"prompt_id": "i3", "prompt": "what is 3?", "answer": "3"}


def test_dataset_file_digest_enters_identity(lab):
    path = write(lab, "a.jsonl", lines(ROWS))
    (name, file), *rest = lab.parse("dataset", path=path, columns=MAPPING).files().items()
    assert (name, rest) == (path, []) and file_digest(file) == file_digest(lab.path / path)


def test_dataset_size_and_split_choose_rows(lab):
    path = write(lab, "a.jsonl", lines(ROWS))
    assert [row["prompt_id"] for row in rows_of(load(lab, path, size=3))] == ["i0", "i1", "i2"]
    train = [row["prompt_id"] for row in rows_of(load(lab, path, split="train"))]
    assert train == [row["id"] for row in ROWS if in_split(row["id"], "train")] and 0 < len(train) < 40


def test_dataset_without_an_id_column_makes_ids_from_the_text(lab):
    path = write(lab, "a.jsonl", lines(ROWS))
    rows = rows_of(load(lab, path, columns={"prompt": "question", "answer": "solution"}))
    assert len({row["prompt_id"] for row in rows}) == 40 and all(len(row["prompt_id"]) == 20 for row in rows)


def test_dataset_numbers_become_text_and_digits_numbers(lab):
    path = write(lab, "a.csv", "q,s,d\nwhat,4,1.5\n")
    row = rows_of(load(lab, path, columns={"prompt": "q", "answer": "s", "difficulty": "d"}))[0]
    assert (row["answer"], row["difficulty"]) == ("4", 1.5)


BAD = [
    ([{**ROWS[0]}, {"id": "x", "question": "q"}], r"data/a.jsonl: line 2, column 'solution' \(for answer\) is missing"),
    ([{**ROWS[0], "question": None}], r"line 1, column 'question' \(for prompt\) is null"),
    ([ROWS[0], {**ROWS[1], "solution": 4}], r"line 2, column 'solution' is a number here but a text in line 1"),
    ([{**ROWS[0], "question": ["a"]}], r"line 1, column 'question' must be a text, got \['a'\]"),
    ([ROWS[0], {**ROWS[1], "id": "i0"}], r"line 2 has the same prompt id as line 1 \('i0'\)"),
    ([], r"data/a.jsonl has no rows"),
]


@pytest.mark.parametrize(("rows", "message"), BAD)
def test_dataset_bad_rows_are_named_by_file_row_and_column(lab, rows, message):
    with pytest.raises(DataError, match=message):
        load(lab, write(lab, "a.jsonl", lines(rows)))


def test_dataset_missing_column_suggests_a_near_one(lab):
    with pytest.raises(DataError, match="Did you mean 'solution'"):
        load(lab, write(lab, "a.jsonl", lines(ROWS)), columns={"prompt": "question", "answer": "soluton"})


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.jsonl", lines(ROWS[:1]) + '{"id": \n', "data/a.jsonl: line 2: not valid JSON"),
        ("a.jsonl", "[1]\n", "line 1: must be an object"),
        ("a.json", json.dumps([ROWS[0], 5]), "row 2: must be an object"),
        ("a.csv", "id,question,solution\n1,2\n", "line 2: has 2 fields, but the header has 3"),
        ("a.parquet", "no parquet", "data/a.parquet: cannot be read"),
    ],
)
def test_dataset_unreadable_file_is_named_with_its_line(lab, name, text, message):
    with pytest.raises(DataError, match=message):
        load(lab, write(lab, name, text))


def test_dataset_that_is_not_utf8_is_refused(lab):
    (lab.path / "data" / "a.csv").write_bytes(b"id,question,solution\n\xff,b,c\n")
    with pytest.raises(DataError, match="not UTF-8 text"):
        load(lab, "data/a.csv")


@pytest.mark.parametrize("path", ["../outside.jsonl", "/etc/passwd", "data/../../x.jsonl"])
def test_dataset_outside_the_project_is_refused(lab, path):
    with pytest.raises(ValueError, match="leads out of the project"):
        lab.parse("dataset", path=path)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "needs either path"),
        ({"path": "data/a.jsonl", "id": "a/b"}, "needs either path"),
        ({"path": "data/none.jsonl"}, "no such file"),
        ({"path": "data/a.txt"}, "must end in"),
        ({"id": "a/b", "revision": "main"}, "commit's SHA of 40 hex digits"),
        ({"id": "a/b"}, "commit's SHA of 40 hex digits"),
        ({"path": "data/a.jsonl", "revision": "f" * 40}, "revision belongs to id"),
    ],
)
def test_dataset_origin_that_cannot_be_is_refused(lab, settings, message):
    write(lab, "a.jsonl", lines(ROWS))
    with pytest.raises(ValueError, match=message):
        lab.parse("dataset", **settings)


@pytest.mark.parametrize("columns", [{"promt": "q"}, {"answer": "a"}, {"prompt": "q", "verdict": "v"}])
def test_dataset_columns_that_it_cannot_fill_are_refused(lab, columns):
    write(lab, "a.jsonl", lines(ROWS))
    with pytest.raises(pydantic.ValidationError):
        lab.parse("dataset", path="data/a.jsonl", columns=columns)


def test_dataset_tracked_by_dvc_but_not_here_can_be_planned(lab):
    write(lab, "big.jsonl.dvc", "outs: []")
    assert lab.parse("dataset", path="data/big.jsonl").outputs({})[""].columns == ("prompt_id", "prompt", "answer")


def test_dataset_takes_lists_of_tests_as_they_are(tmp_path):
    lab = Lab(tmp_path)
    (tmp_path / "mbpp.jsonl").write_text('{"text": "Add.", "test_list": ["assert add(1, 2) == 3", "assert add(0, 0) == 0"]}\n')
    columns = {"prompt": "text", "tests": "test_list"}
    (row,) = rows_of(lab.run("dataset", "tasks/train", path="mbpp.jsonl", columns=columns)[""])
    assert row["tests"] == '["assert add(1, 2) == 3","assert add(0, 0) == 0"]'
