"""The canonical form of a selector: comments and white space decide nothing, everything else does."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from lineal.components.selectors.canonical import selector_digest, tokens
from lineal.components.selectors.header import read_selector
from lineal.components.selectors.named_before import NAMED_BEFORE
from lineal.data.ids import file_digest

SELECTORS = sorted((Path(__file__).parents[2] / "pipelines" / "selectors").glob("*.sql"))
QUERY = """\
-- summary: Keep what is right.
-- needs: verdict
-- param least: integer = 1
SELECT row_id, CASE WHEN score >= $least THEN 'kept' ELSE 'dropped' END AS decision, 'it''s -- no comment' AS reason
FROM rows WHERE "a -- column" <> $$/* text */$$ AND x < -1.5e-3 ORDER BY position
"""


def digest_of_text(tmp_path, text):
    path = tmp_path / "one.sql"
    path.write_text(text)
    return selector_digest(read_selector("one", path, "one.sql"))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("right.", "wrong."),
        ("-- needs: verdict\n", "-- source: arXiv:1\n-- free text\n"),
        ("integer = 1", "integer = 1  -- at least"),
        ("SELECT row_id,", "\n\nSELECT\n\trow_id /* the row's /* own */ id */ , -- here\r\n"),
        ("ORDER BY position\n", "ORDER BY position;  -- the end"),
    ],
)
def test_comments_and_white_space_decide_nothing(tmp_path, old, new):
    assert old in QUERY
    assert digest_of_text(tmp_path, QUERY.replace(old, new)) == digest_of_text(tmp_path, QUERY)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("it''s -- no comment", "it''s  -- no comment"),
        ('"a -- column"', '"a --column"'),
        ("$$/* text */$$", "$$/* texts */$$"),
        ("'kept' ELSE", "'Kept' ELSE"),
        ("< -1.5e-3", "< - 1.5e-4"),
        (">= $least", "> $least"),
        ("row_id,", "row_id -- ,\n,,"),
        ("-- needs: verdict\n", "-- optional: difficulty\n"),
        ("-- needs: verdict\n", "-- empty: nothing was right\n"),
        ("-- param least: integer = 1", "-- param least: number = 1"),
    ],
)
def test_everything_else_decides(tmp_path, old, new):
    assert old in QUERY
    assert digest_of_text(tmp_path, QUERY.replace(old, new)) != digest_of_text(tmp_path, QUERY)


def test_strings_on_lines_of_their_own_are_one_string():
    assert tokens("SELECT 'a' 'b'") != tokens("SELECT 'a'\n'b'") == tokens("SELECT 'a' -- and\n 'b'")


def test_an_open_comment_or_string_takes_the_rest_and_no_time():
    assert tokens("SELECT 1 /* open") == ["SELECT", "1"]
    assert tokens("SELECT 'open")[:2] == ["SELECT", "'"]
    assert tokens("/*" * 5000) == []


def test_shipped_selectors_keep_the_digest_that_rows_were_named_with():
    """Ids of rows made before go by it. A selector whose query changed since, or that is new, is in no table."""
    known = [
        path
        for path in SELECTORS
        if selector_digest(read_selector(path.stem, path, path.name)) in NAMED_BEFORE.values()
    ]
    assert len(known) > 30
    unedited = [path for path in known if file_digest(path) in NAMED_BEFORE.values()]
    assert (
        all(
            selector_digest(read_selector(path.stem, path, path.name)) == file_digest(path)
            for path in unedited
        )
        and unedited
    )


@pytest.mark.parametrize("path", SELECTORS, ids=lambda path: path.stem)
def test_shipped_selectors_with_comments_in_random_places_are_the_same(tmp_path, path):
    """A comment between any two tokens: what DuckDB reads is the same, and so is the form."""
    drawn = random.Random(path.stem)
    lines = path.read_text().splitlines()
    header = [line for line in lines if line.startswith("--")]
    parts = tokens("\n".join(line for line in lines if not line.startswith("--")))
    text = "".join(part + drawn.choice([" ", "\n", " -- x\n", "/* y */ "]) for part in parts if part != "\n")
    if "\n" not in parts:
        changed = digest_of_text(tmp_path, "\n".join([*header, text]) + "\n")
        assert changed == selector_digest(read_selector(path.stem, path, path.name))
