"""The dataset source: all file formats read the same, and every bad input named by file, row and column."""

import gzip
import json

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pydantic
import pytest

from lineal.components.sources.base import in_split
from lineal.data.ids import file_digest
from lineal.errors import DataError
from tests.unit.lab import Lab, rows_of

MAPPING = {"prompt": "question", "answer": "solution", "prompt_id": "id"}
ROWS = [
    {"id": f"i{number}", "question": f"what is {number}?", "solution": str(number)} for number in range(40)
]


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
        write(lab, "a.tsv", table.replace(",", "\t")),
        "data/a.parquet",
        write(lab, "lists.json", json.dumps({name: [row[name] for row in ROWS] for name in ROWS[0]})),
        write(
            lab,
            "pandas.json",
            json.dumps({name: {n: row[name] for n, row in enumerate(ROWS)} for name in ROWS[0]}, indent=1),
        ),
        "data/saved",
    ]
    pq.write_table(pa.Table.from_pylist(ROWS), lab.path / "data" / "a.parquet")
    datasets.Dataset.from_list(ROWS).save_to_disk(lab.path / "data/saved", num_shards=2)
    made = [rows_of(load(lab, path)) for path in paths]
    assert all(rows == made[0] for rows in made)
    assert made[0][3] == {"prompt_id": "i3", "prompt": "what is 3?", "answer": "3"}


def test_dataset_pattern_reads_all_files_in_the_order_of_their_names(lab):
    for name, rows in (("b.jsonl", ROWS[:2]), ("a.jsonl", ROWS[2:5]), ("c.txt", [])):
        write(lab, name, lines(rows))
    assert [row["prompt_id"] for row in rows_of(load(lab, "data/*.jsonl"))] == ["i2", "i3", "i4", "i0", "i1"]
    (lab.path / "data" / "z.jsonl.dvc").write_text("outs: []")
    assert list(lab.parse("dataset", path="data/*.jsonl", columns=MAPPING).files()) == [
        "data/a.jsonl",
        "data/b.jsonl",
        "data/z.jsonl",
    ]
    (lab.path / "data" / "z.jsonl.dvc").unlink()
    write(lab, "b.jsonl", lines(ROWS[:1]) + "{}\n")
    with pytest.raises(DataError, match=r"data/b\.jsonl: line 2, column 'question'"):
        load(lab, "data/*.jsonl")
    with pytest.raises(ValueError, match=r"path 'data/x\*.csv': no such file"):
        load(lab, "data/x*.csv")
    with pytest.raises(ValueError, match="names the round and matches several files"):
        load(lab, "data/round_{round}_*.csv")


def test_dataset_files_of_a_pattern_may_differ_in_types_that_fit_together(lab):
    types = {
        "a": (pa.int32(), pa.large_string()),
        "b": (pa.int64(), pa.string()),
        "c": (pa.null(), pa.string()),
    }
    for name, (number, text) in types.items():
        grades = pa.array([None if name == "c" else 3], number)
        columns = {"question": pa.array([name], text), "solution": pa.array(["x"], text), "grade": grades}
        pq.write_table(pa.table(columns), lab.path / f"data/{name}.parquet")
    columns = {"prompt": "question", "answer": "solution", "grade": "grade"}
    settings = {"columns": columns, "optional": ["grade"]}
    assert [row["grade"] for row in rows_of(load(lab, "data/?.parquet", **settings))] == [3, 3, None]
    write(lab, "d.parquet", "")
    pq.write_table(
        pa.table({"question": ["d"], "solution": [4], "grade": ["good"]}), lab.path / "data/d.parquet"
    )
    own = r"data/d\.parquet: row 1, column 'grade' holds text here but integer in data/a\.parquet: row 1; make all of one type"
    with pytest.raises(DataError, match=own):
        load(lab, "data/?.parquet", **settings)
    known = r"d\.parquet: row 1, column 'solution' is a number here but a text in data/a\.parquet: row 1; make all of one type"
    with pytest.raises(DataError, match=known):
        load(lab, "data/?.parquet", columns={"prompt": "question", "answer": "solution"})
    pq.write_table(pa.table({"question": ["d"]}), lab.path / "data/d.parquet")
    with pytest.raises(
        DataError, match=r"data/d\.parquet: columns: \{answer: solution\} names no column of the file"
    ):
        load(lab, "data/?.parquet", columns={"prompt": "question", "answer": "solution"})


def test_saved_dataset_has_the_identity_of_its_rows(lab):
    for name in ("one", "two"):
        datasets.Dataset.from_list(ROWS).save_to_disk(lab.path / "data" / name)
    state = lab.path / "data/two/state.json"
    state.write_text(json.dumps(json.loads(state.read_text()) | {"_fingerprint": "another"}))
    digests = [saved_identity(lab, f"data/{name}") for name in ("one", "two")]
    assert digests[0] == digests[1]
    datasets.Dataset.from_list(ROWS[1:]).save_to_disk(lab.path / "data/three")
    assert saved_identity(lab, "data/three") != digests[0]


def saved_identity(lab, path):
    component = lab.parse("dataset", path=path, columns=MAPPING)
    ((name, directory),) = component.files().items()
    assert name == path
    return component.file_identity(directory)


def test_directory_that_is_no_saved_dataset_is_refused(lab):
    (lab.path / "data/plain").mkdir()
    with pytest.raises(ValueError, match=r"path 'data/plain' is a directory without state\.json"):
        load(lab, "data/plain")
    datasets.DatasetDict({name: datasets.Dataset.from_list(ROWS) for name in ("train", "test")}).save_to_disk(
        lab.path / "data/both"
    )
    with pytest.raises(ValueError, match="holds the splits test, train; name the directory of one"):
        load(lab, "data/both")
    assert len(rows_of(load(lab, "data/both/train"))) == 40
    (lab.path / "data/both/train/state.json").write_text("{}")
    with pytest.raises(ValueError, match=r"has a state\.json that names no files"):
        load(lab, "data/both/train")


def test_json_of_one_conversation_is_a_row_and_no_columns(lab):
    path = write(lab, "one.json", json.dumps({"messages": [{"role": "user", "content": "Hi"}]}))
    assert [row["prompt"] for row in rows_of(load(lab, path, columns={"messages": "messages"}))] == ["Hi"]
    for bad in ({"question": ["a", "b"], "solution": ["c"]}, {"data": ROWS}):
        with pytest.raises(
            DataError,
            match="one object over several lines, expected a list of objects, one object per line, or",
        ):
            load(
                lab,
                write(lab, "bad.json", json.dumps(bad, indent=1)),
                columns={"prompt": "question", "answer": "solution"},
            )


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
    (
        [{**ROWS[0]}, {"id": "x", "question": "q"}],
        r"data/a.jsonl: line 2, column 'solution' \(for answer\) is missing",
    ),
    ([{**ROWS[0], "question": None}], r"line 1, column 'question' \(for prompt\) is null"),
    (
        [ROWS[0], {**ROWS[1], "solution": 4}],
        r"line 2, column 'solution' is a number here but a text in line 1",
    ),
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
    assert lab.parse("dataset", path="data/big.jsonl").outputs({})[""].columns == (
        "prompt_id",
        "prompt",
        "answer",
    )


def test_dataset_takes_lists_of_tests_as_they_are(tmp_path):
    lab = Lab(tmp_path)
    (tmp_path / "mbpp.jsonl").write_text(
        '{"text": "Add.", "test_list": ["assert add(1, 2) == 3", "assert add(0, 0) == 0"]}\n'
    )
    columns = {"prompt": "text", "tests": "test_list"}
    (row,) = rows_of(lab.run("dataset", "tasks/train", path="mbpp.jsonl", columns=columns)[""])
    assert row["tests"] == '["assert add(1, 2) == 3","assert add(0, 0) == 0"]'


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv"])
@pytest.mark.parametrize("ending", ["", ".gz"])
def test_dataset_with_a_byte_order_mark_or_compressed_reads_the_same(lab, name, ending):
    text = {"a.jsonl": lines(ROWS), "a.json": json.dumps(ROWS)}.get(name) or "\n".join(
        ["id,question,solution", *(f"{row['id']},{row['question']},{row['solution']}" for row in ROWS)]
    )
    data = b"\xef\xbb\xbf" + text.encode()
    (lab.path / "data" / (name + ending)).write_bytes(gzip.compress(data) if ending else data)
    assert rows_of(load(lab, f"data/{name}{ending}")) == rows_of(
        load(lab, write(lab, "plain.jsonl", lines(ROWS)))
    )


@pytest.mark.parametrize(
    "data", [gzip.compress(b'{"question": "q"}', mtime=0)[:-4], b"no gzip"], ids=["cut short", "no gzip"]
)
def test_dataset_broken_gzip_is_named(lab, data):
    (lab.path / "data" / "a.jsonl.gz").write_bytes(data)
    with pytest.raises(DataError, match=r"data/a\.jsonl\.gz: cannot be read"):
        load(lab, "data/a.jsonl.gz")


def test_dataset_long_csv_field_is_read_whole(lab):
    rows = rows_of(load(lab, write(lab, "a.csv", f"id,question,solution\n1,q,{'x' * 200_000}\n")))
    assert len(rows[0]["answer"]) == 200_000


DIRTY = [
    ("a.csv", "id,question,solution,solution\n1,q,a,b\n", "has 2 columns 'solution', expected one. Rename"),
    (
        "a.csv",
        "id,question,solutoin\n1,q,s\n",
        r"data/a.csv: columns: \{answer: solution\} names no column of the file. Did you mean 'solutoin'\?",
    ),
    (
        "a.csv",
        "id,question,solution\n1,q,\n",
        r"line 2, column 'solution' \(for answer\) is null.*optional: \[answer\]",
    ),
    ("a.csv", 'id,question,solution\n1,q,"a\n', "not valid CSV: .*closing quote"),
    (
        "a.jsonl",
        '{"id": "1", "question": "q", "question": "r", "solution": "a"}',
        "line 1: .*key 'question' comes twice",
    ),
    (
        "a.jsonl",
        '{"id": "1", "question": "\\ud800", "solution": "a"}',
        "line 1, column 'question' has half of a surrogate pair",
    ),
    (
        "a.jsonl",
        '{"id": "1", "question": "a\\u0000b", "solution": "a"}',
        "line 1, column 'question' has a NUL at character 2",
    ),
    ("a.jsonl", '{"id": "1", "question": " ", "solution": "a"}', "line 1: the prompt is empty"),
    (
        "a.jsonl",
        '{"id": "1", "question": "q", "solution": NaN}',
        "line 1: not valid JSON: NaN is no JSON number",
    ),
    (
        "a.jsonl",
        '{"id": "1", "question": "q", "solution": 1e999999}',
        "line 1, column 'solution' is .*expected a finite number",
    ),
    (
        "a.jsonl",
        f'{{"id": "1", "question": "q", "solution": {"9" * 5000}}}',
        "line 1: not valid JSON: Exceeds the limit",
    ),
    ("a.json", '{\n"id": "1"\n}', "one object over several lines, expected a list of objects"),
]


@pytest.mark.parametrize(("name", "text", "message"), DIRTY)
def test_dataset_dirty_file_is_refused_with_its_row(lab, name, text, message):
    with pytest.raises(DataError, match=message):
        load(lab, write(lab, name, text))


@pytest.mark.parametrize("value", ["NaN", "inf", "1_000", "", "hard"])
def test_dataset_difficulty_that_is_no_finite_number_is_refused(lab, value):
    with pytest.raises(DataError, match="line 2, column 'd'"):
        load(lab, write(lab, "a.csv", f"q,d\nwhat,{value}\n"), columns={"prompt": "q", "difficulty": "d"})


def test_dataset_parquet_nan_and_nulls_are_refused(lab):
    for value, message in (
        (float("nan"), "must be a finite number"),
        (None, "is null; every row needs a value"),
    ):
        pq.write_table(
            pa.table({"q": ["a", "b"], "d": pa.array([1.0, value])}), lab.path / "data" / "a.parquet"
        )
        with pytest.raises(DataError, match=f"row 2, column 'd'.*{message}"):
            load(lab, "data/a.parquet", columns={"prompt": "q", "difficulty": "d"})


def test_dataset_parquet_reads_only_what_it_is_asked_for(lab):
    odd = pa.array([2**62 + 1], pa.timestamp("ns"))
    table = pa.table([["q"], ["a"], odd, odd], names=["question", "solution", "when", "when"])
    pq.write_table(table, lab.path / "data" / "a.parquet")
    (row,) = rows_of(load(lab, "data/a.parquet", columns={"prompt": "question", "answer": "solution"}))
    assert row["answer"] == "a"


def test_dataset_numbers_and_truths_have_one_text(lab):
    written = ["3.0", "0.1", "1e-7", "12e3", "0.3333333333333333333333", "-0.0", "true", "false", "7"]
    text = "".join(f'{{"q": "{number}", "a": {value}}}\n' for number, value in enumerate(written))
    for kinds, expected in (
        (slice(0, 6), ["3", "0.1", "0.0000001", "12000", "0.3333333333333333333333", "0"]),
        (slice(6, 8), ["true", "false"]),
    ):
        path = write(lab, "a.jsonl", "".join(text.splitlines(keepends=True)[kinds]))
        assert [
            row["answer"] for row in rows_of(load(lab, path, columns={"prompt": "q", "answer": "a"}))
        ] == expected
    pq.write_table(pa.table({"q": ["x", "y"], "a": [3.0, 0.1]}), lab.path / "data" / "a.parquet")
    assert [
        row["answer"] for row in rows_of(load(lab, "data/a.parquet", columns={"prompt": "q", "answer": "a"}))
    ] == ["3", "0.1"]


def test_dataset_answers_in_some_rows_only_are_taken_where_that_is_said(lab):
    path = write(lab, "a.jsonl", '{"q": "a", "a": "1"}\n{"q": "b"}\n{"q": "c", "a": null}\n')
    rows = rows_of(load(lab, path, columns={"prompt": "q", "answer": "a"}, optional=["answer"]))
    assert [row["answer"] for row in rows] == ["1", None, None]
    with pytest.raises(DataError, match="column 'aa' .for answer. has no value in any row"):
        load(lab, path, columns={"prompt": "q", "answer": "aa"}, optional=["answer"])


def test_dataset_labels_of_a_csv_are_truths(lab):
    path = write(lab, "a.csv", "q,c,l\na,x,True\nb,y,false\n")
    rows = rows_of(load(lab, path, columns={"prompt": "q", "completion": "c", "label": "l"}))
    assert [row["label"] for row in rows] == [True, False]


def test_dataset_own_columns_keep_their_type(lab):
    rows = [
        {"q": "a", "n": 1, "f": 1, "s": "x", "t": True, "r": {"k": [1, None]}},
        {"q": "b", "n": 2, "f": 2.5, "s": "y", "t": False, "r": []},
    ]
    columns = {"prompt": "q", "number": "n", "ratio": "f", "source": "s", "checked": "t", "record": "r"}
    artifact = load(lab, write(lab, "a.jsonl", lines(rows)), columns=columns)
    assert artifact.manifest.columns == {
        "prompt_id": "string",
        "prompt": "string",
        "number": "int64",
        "ratio": "double",
        "source": "string",
        "checked": "bool",
        "record": "string",
    }
    assert [row["record"] for row in rows_of(artifact)] == ['{"k": [1, null]}', "[]"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1, "x"], "line 2, column 's' holds text here but integer in line 1"),
        ([2**63], "64 bits don't hold"),
        ([1.5, True], "line 2, column 's' holds truth here but number in line 1"),
    ],
)
def test_dataset_own_column_of_two_types_is_refused(lab, values, message):
    rows = [{"q": str(number), "s": value} for number, value in enumerate(values)]
    with pytest.raises(DataError, match=message):
        load(lab, write(lab, "a.jsonl", lines(rows)), columns={"prompt": "q", "source": "s"})


SOLVED = [{"q": f"q{number}", "a": f"{number} and so\non\n#### {number}"} for number in range(5000)]


def test_dataset_extract_takes_the_first_group(lab):
    settings = {
        "columns": {"prompt": "q", "answer": "a", "completion": "a"},
        "extract": {"answer": "#### (.+)$"},
    }
    rows = rows_of(load(lab, write(lab, "a.jsonl", lines(SOLVED)), **settings))
    assert [(row["answer"], row["completion"]) for row in rows] == [
        (str(i), row["a"]) for i, row in enumerate(SOLVED)
    ]


def test_dataset_extract_counts_the_rows_that_it_misses(lab):
    settings = {"columns": {"prompt": "q", "answer": "a"}}
    path = write(lab, "a.jsonl", lines([*SOLVED, {"q": "x", "a": "no answer"}, {"q": "y", "a": "none"}]))
    with pytest.raises(
        DataError, match=r"matches 0 of 5,002 rows; the first that it misses ends, in line 1: .*#### 0'"
    ):
        load(lab, path, **settings, extract={"answer": "=> (.+)$"})
    with pytest.raises(DataError, match="matches 5,000 of 5,002 rows; .* line 5001: 'no answer'.*optional"):
        load(lab, path, **settings, extract={"answer": "#### (.+)$"})
    rows = rows_of(load(lab, path, **settings, extract={"answer": "#### (.+)$"}, optional=["answer"]))
    assert [row["answer"] for row in rows[-3:]] == ["4999", None, None]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"extract": {"answr": "(x)"}}, "extract: 'answr' is no column.* Did you mean 'answer'"),
        ({"extract": {"answer": "x"}}, "needs a group in parentheses"),
        ({"optional": ["prompt"]}, "optional: 'prompt' is no column"),
        ({"columns": {"prompt": "q", "Answer": "a"}}, "must be a lower-case word"),
        ({"columns": {"prompt": "q", "verdict": "a"}}, "cannot fill 'verdict', which only lineal knows"),
    ],
)
def test_dataset_settings_about_columns_that_are_not_there_are_refused(lab, settings, message):
    write(lab, "a.jsonl", lines(ROWS))
    with pytest.raises(ValueError, match=message):
        lab.parse("dataset", path="data/a.jsonl", **settings)


def test_dataset_extract_that_is_no_expression_is_refused(lab):
    with pytest.raises((DataError, ValueError), match="is no RE2 expression"):
        load(lab, write(lab, "a.jsonl", lines(ROWS)), extract={"answer": "(?=x)(y)"})


def test_dataset_with_an_id_twice_is_refused_wherever_the_two_stand(lab, monkeypatch):
    """Looked for while rows come, and at the end; the file is read once more only where it is so."""
    many = [{"id": f"i{number}", "question": f"what is {number}?", "solution": "1"} for number in range(70)]
    monkeypatch.setattr("lineal.components.sources.dataset_rows.FIRST_LOOK", 16)
    for first, second in ((2, 5), (2, 60), (31, 69)):
        rows = [*many[:second], {**many[second], "id": f"i{first}"}, *many[second + 1 :]]
        with pytest.raises(
            DataError, match=rf"line {second + 1} has the same prompt id as line {first + 1} \('i{first}'\)"
        ):
            load(lab, write(lab, "a.jsonl", lines(rows)))
    assert len(rows_of(load(lab, write(lab, "a.jsonl", lines(many))))) == 70


def test_dataset_whose_texts_are_not_plain_further_down_is_refused_there(lab):
    for text, message in (("a\0b", "has a NUL at character 2"), ("a\ud800", "has half of a surrogate pair")):
        rows = [*ROWS[:3], {**ROWS[3], "question": text}]
        with pytest.raises(DataError, match=rf"line 4, column 'question' {message}"):
            load(lab, write(lab, "a.jsonl", lines(rows)))
