"""YAML documents: no surprises in values, a line for every key, clear errors."""

import pytest
from dvc.utils.serialize import loads_yaml

from lineal.errors import DeclarationError
from lineal.recipe.document import parse_document, read_document


def test_document_scalars_follow_yaml_12():
    text = "a: 1e-3\nb: no\nc: 010\nd: 12:30\ne: null\nf: true\ng: -2.5\nh: yes\ni: ~"
    assert parse_document(text, "x").value == {
        "a": 1e-3,
        "b": "no",
        "c": "010",
        "d": "12:30",
        "e": None,
        "f": True,
        "g": -2.5,
        "h": "yes",
        "i": None,
    }


@pytest.mark.parametrize("date", ["2026-11-01", "2026-11-01T10:00:00Z"])
def test_document_date_without_quotes_is_refused_since_dvc_reads_another_value(date):
    assert not isinstance(loads_yaml(f"a: {date}")["a"], str)
    with pytest.raises(
        DeclarationError, match=rf'x.yaml:2: start.revision: got {date}, expected text. .* Write "{date}"'
    ):
        parse_document(f"start:\n  revision: {date}", "x.yaml", dvc_reads=True)
    assert parse_document(f"a: '{date}'\nb: 2026-11", "x", dvc_reads=True).value == {
        "a": date,
        "b": "2026-11",
    }
    assert parse_document(f"a: {date}", "x").value == {"a": date}


def test_document_key_twice_names_both_lines():
    with pytest.raises(DeclarationError, match=r"x.yaml:3: 'a' occurs twice \(first at line 1\)"):
        parse_document("a: 1\nb: 2\na: 3", "x.yaml")


def test_document_broken_yaml_names_file_and_line():
    with pytest.raises(DeclarationError, match=r"x.yaml:\d+: not valid YAML"):
        parse_document("a: 1\nb: [1, 2", "x.yaml")


def test_document_python_tag_is_refused():
    with pytest.raises(DeclarationError, match=r"x.yaml:1: the tag .* is refused"):
        parse_document("a: !!python/object/apply:os.system ['true']", "x.yaml")


MERGED = """\
a: &a {use: sft, steps: 2, lr: 1}
b: &b
  lr: 3
  rows: kept
c: {steps: 5, <<: *a}
d:
  <<: [*b, *a]
  steps: 7
"""


def test_document_merge_keys_are_filled_in_as_dvc_does():
    document = parse_document(MERGED, "x.yaml")
    assert document.value["c"] == {"use": "sft", "steps": 5, "lr": 1}
    assert document.value["d"] == {"use": "sft", "steps": 7, "lr": 3, "rows": "kept"}
    assert document.value == loads_yaml(MERGED)
    assert (document.lines["d", "steps"], document.lines["d", "rows"], document.lines["c", "use"]) == (
        8,
        4,
        1,
    )
    assert parse_document("'<<': 1", "x").value == {"<<": 1}


@pytest.mark.parametrize("value", ["1", "[1]", "&a [b]"])
def test_document_merge_key_of_no_mapping_is_told(value):
    with pytest.raises(DeclarationError, match="x.yaml:2: '<<' takes keys and values from elsewhere"):
        parse_document(f"a:\n  <<: {value}", "x.yaml")


def test_document_anchors_are_plain_values():
    assert parse_document("a: &x [1]\nb: *x", "x").value == {"a": [1], "b": [1]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "a: &a [x, x]\n"
            + "".join(f"b{n}: &b{n} [{', '.join([f'*b{n - 1}' if n else '*a'] * 9)}]\n" for n in range(9)),
            r"f\.yaml:1: aliases repeat more than 10,000 values",
        ),
        ("a: &a\n  b: *a\n", r"f\.yaml:1: an alias stands inside the value that it names"),
        ("a: " + "[" * 200 + "]" * 200, r"f\.yaml:1: values are nested more than 100 deep"),
        ("\na: " + "[" * 200_000, r"f\.yaml:2: values are nested more than 100 deep"),
        ("- " * 200_000, r"f\.yaml:1: values are nested more than 100 deep"),
    ],
    ids=["aliases of aliases", "alias in itself", "deep", "very deep", "deep blocks"],
)
def test_document_that_would_grow_without_bound_is_refused(text, message):
    with pytest.raises(DeclarationError, match=message):
        parse_document(text, "f.yaml")


def test_document_error_names_nearest_existing_key():
    document = parse_document("round:\n  verified: {use: x}\n", "p.yaml")
    assert (
        str(document.error(("round", "verified", "sql"), "is missing"))
        == "p.yaml:2: round.verified.sql: is missing"
    )


def test_document_missing_file_is_a_declaration_error(tmp_path):
    with pytest.raises(DeclarationError, match="no such file"):
        read_document(tmp_path / "none.yaml")


def test_document_not_text_is_a_declaration_error(tmp_path):
    (tmp_path / "x.yaml").write_bytes(b"a: \xff")
    with pytest.raises(DeclarationError, match="not UTF-8"):
        read_document(tmp_path / "x.yaml")
