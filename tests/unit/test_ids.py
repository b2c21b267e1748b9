"""Canonical JSON, ids and seeds."""

import hashlib
import json
import math
from enum import IntEnum, StrEnum

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lineal.data.ids import (
    canonical_json,
    digest_of,
    digest_of_list,
    id_of_list,
    row_id,
    row_ids,
    row_seed,
    seed_of_list,
)

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(values)
def test_canonical_json_reads_back_equal(value):
    assert json.loads(canonical_json(value)) == value


@given(st.dictionaries(st.text(), st.integers(), min_size=2))
def test_canonical_json_ignores_key_order(mapping):
    assert digest_of(mapping) == digest_of(dict(reversed(mapping.items())))


@given(st.integers(-(2**52), 2**52))
def test_canonical_json_gives_whole_floats_and_integers_one_form(number):
    assert canonical_json(float(number)) == canonical_json(number)


@pytest.mark.parametrize("value", [math.nan, math.inf, {1, 2}, object(), {1: "a"}, b"x"])
def test_canonical_json_refuses_what_has_no_form(value):
    with pytest.raises(TypeError):
        canonical_json(value)


def test_row_id_separates_its_parts():
    assert row_id("ab", "c") != row_id("a", "bc")
    assert len(row_id("a")) == 20


@given(st.integers(0, 2**40), st.text(), st.integers(0, 1000))
def test_row_seed_is_an_unsigned_64_bit_number(run_seed, prompt_id, index):
    assert 0 <= row_seed(run_seed, "round_01/generated", prompt_id, index) < 2**64


def test_ids_are_what_they_have_always_been():
    """A change here makes every artifact in the world stale."""
    assert row_id("letter_sort", "ba=", "ab") == "245e628aff26539b3c3a"
    assert row_seed(0, "round_01/generated", "p", 0) == 12816882720109979246
    assert (
        digest_of({"b": [1, 2.5], "a": None})
        == "e57f5d37865437a82e1108bafb4e5213dfe7e9085f5c253341ebbab30cac5faf"
    )


# -- the same bytes as ever ---------------------------------------------------------------------------------------------


def json_as_ever(value):
    """Canonical JSON as it was first written: the reference."""
    return json.dumps(normal(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def normal(value):
    if value is None or isinstance(value, bool | str | int):
        return value
    if isinstance(value, float):
        assert math.isfinite(value)
        return int(value) if value.is_integer() and abs(value) < 2**53 else value
    if isinstance(value, dict):
        return {key: normal(item) for key, item in value.items()}
    assert isinstance(value, list | tuple)
    return [normal(item) for item in value]


class Word(StrEnum):
    MAIN = 'a "word"\n'


class Level(IntEnum):
    HIGH = 7


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.sampled_from(
        [Word.MAIN, Level.HIGH, -0.0, 2.0**53, 1e16, 1e-5, 5e-324, "\x00\x1f\x7f\u2028\U0001f600"]
    ),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@settings(max_examples=300)
@given(anything)
def test_canonical_json_is_what_it_has_always_been(value):
    assert canonical_json(value) == json_as_ever(value)


parts = st.lists(
    st.text()
    | st.integers()
    | st.booleans()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.lists(st.text()),
    min_size=1,
)


@settings(max_examples=300)
@given(parts, st.integers(0, 2**63), st.text())
def test_ids_and_seeds_of_random_parts_are_what_they_have_always_been(provenance, run_seed, step):
    def sha256(value):
        return hashlib.sha256(json_as_ever(value).encode())

    texts = [canonical_json(part) for part in provenance]
    assert row_id(*provenance) == id_of_list(texts) == sha256(provenance).hexdigest()[:20]
    assert digest_of(provenance) == digest_of_list(texts) == sha256(provenance).hexdigest()
    seed = int.from_bytes(sha256([run_seed, step, *provenance]).digest()[:8], "big")
    assert row_seed(run_seed, step, *provenance) == seed
    assert seed_of_list([canonical_json(run_seed), canonical_json(step), *texts]) == seed


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": [1, {2}]}, r"value.a\[1\] is a set, which has no canonical form"),
        ([{"b": math.nan}], r"value\[0\].b is nan: a digest needs finite numbers"),
        ({"c": {1: 2}}, "value.c has keys that are not strings"),
    ],
)
def test_canonical_json_says_what_has_no_form_and_where(value, message):
    with pytest.raises(TypeError, match=message):
        canonical_json(value)


columns = st.fixed_dictionaries(
    {
        "parents": st.lists(st.text(), min_size=1, max_size=3),
        "text": st.none() | st.text(),
        '100% "own" {x}': st.none() | st.integers(-(2**63), 2**63 - 1),
        "number": st.none() | st.floats(allow_nan=False, allow_infinity=False),
        "list": st.none()
        | st.lists(st.none() | st.text(), max_size=3)
        | st.dictionaries(st.text(), st.text(), max_size=2),
    }
)


@settings(max_examples=100)
@given(st.lists(columns, max_size=10), st.text())
def test_ids_of_columns_are_those_of_their_rows(rows, step):
    content = [{name: value for name, value in row.items() if name != "parents"} for row in rows]
    by_column = {
        name: [row[name] for row in content] for name in ("text", '100% "own" {x}', "number", "list")
    }
    expected = [
        hashlib.sha256(
            json_as_ever(["digest", step, row["parents"], json_as_ever(own)]).encode()
        ).hexdigest()[:20]
        for row, own in zip(rows, content, strict=True)
    ]
    assert row_ids(("digest", step), [row["parents"] for row in rows], by_column) == expected
