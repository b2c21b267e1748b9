"""Dirty files by chance, the same ones every time: every value arrives as it was, or the file is refused in words."""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
import random
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lineal.errors import LinealError
from tests.unit.lab import Lab, rows_of

COLUMNS = {"prompt": "q", "answer": "a", "difficulty": "d", "source": "s"}
TEXTS = [
    "",
    " ",
    "x",
    "two\nlines",
    "a,b",
    '"',
    "\0",
    "\ud800",
    "\ufeff",
    "é😀",
    "\u2028",
    "\r",
    "NaN",
    "null",
    "1e5",
    "x" * 140_000,
]
VALUES: list[Any] = [
    None,
    True,
    False,
    0,
    -7,
    2**53 + 1,
    2**70,
    0.1,
    3.0,
    1e-9,
    1e300,
    math.nan,
    math.inf,
    -0.0,
    [],
    {},
    [1, "x"],
    {"k": None},
    *TEXTS,
]
ROLES = ["system", "user", "assistant", "tool", "human", "gpt", "narrator", "", None, 5]


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


def attempt(lab: Lab, name: str, data: bytes, **settings: Any) -> list[dict[str, Any]] | None:
    """The rows, or None where the file is refused by an error that can be shown."""
    (lab.path / name).write_bytes(data)
    try:
        return rows_of(lab.run("dataset", "tasks/train", path=name, **settings)[""])
    except (LinealError, ValueError) as error:
        assert isinstance(error, LinealError), repr(error)
        assert name in str(error) or "no rows" in str(error)
        str(error).encode()
        return None


def same(got: Any, given: Any) -> bool:
    """Tells whether a value arrived unchanged, by other means than the reader's."""
    if isinstance(given, list | dict):
        return json.loads(got) == given
    if isinstance(given, bool):
        return got in (given, str(given).lower())
    if isinstance(given, int | float) and isinstance(got, str):
        return Decimal(got) == Decimal(repr(given))
    if isinstance(given, str) and isinstance(got, float):
        return got == float(given)
    return bool(got == given)


def row(draw: random.Random) -> dict[str, Any]:
    """A row that is mostly usable, since one bad value is enough for a file to be refused."""
    plain = {"q": f"q{draw.random()}", "a": draw.choice(["1", "é"]), "d": draw.random(), "s": "web"}
    if draw.random() < 0.3:
        plain[draw.choice(list(plain))] = draw.choice(VALUES)
    return plain


def written(draw: random.Random, rows: list[dict[str, Any]]) -> tuple[str, bytes]:
    """The rows in one of the formats, in one of its spellings."""
    kind = draw.choice(["jsonl", "json", "csv"])
    if kind == "csv":
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator=draw.choice(["\n", "\r\n"]))
        writer.writerows(
            [list(COLUMNS.values()), *([one[name] for name in COLUMNS.values()] for one in rows)]
        )
        text = stream.getvalue()
    else:
        lines = [json.dumps(one, ensure_ascii=draw.random() < 0.5) for one in rows]
        text = "\n".join(lines) if kind == "jsonl" else f"[{', '.join(lines)}]"
    data = b"\xef\xbb\xbf" * (draw.random() < 0.3) + text.encode("utf-8", "surrogatepass")
    return (f"a.{kind}.gz", gzip.compress(data, 1)) if draw.random() < 0.3 else (f"a.{kind}", data)


def test_values_of_dirty_files_arrive_or_are_refused(lab: Lab) -> None:
    taken = 0
    for seed in range(150):
        draw = random.Random(seed)  # noqa: S311 - the same every time
        given = [row(draw) for _ in range(draw.randint(1, 3))]
        name, data = written(draw, given)
        found = attempt(lab, name, data, columns=COLUMNS, optional=draw.choice([[], ["answer", "source"]]))
        if found is None:
            continue
        taken += 1
        assert len(found) == len(given)
        for got, one in zip(found, given, strict=True):
            for ours, theirs in COLUMNS.items():
                value = one[theirs]
                if ".csv" in name:
                    value = None if value in (None, "") else value if isinstance(value, str) else str(value)
                assert same(got[ours], value), (seed, name, ours, got[ours], value)
    assert 40 < taken < 140


def test_bytes_changed_by_chance_end_in_rows_or_in_words(lab: Lab) -> None:
    rows = [{"q": f"q{number}", "a": "1", "d": 1.5, "s": "é"} for number in range(3)]
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows), sink)
    texts = "\n".join(json.dumps(one) for one in rows).encode()
    table = b"q,a,d,s\n" + "".join(f"q{number},1,1.5,é\n" for number in range(3)).encode()
    files = {
        "a.jsonl": texts,
        "a.json": f"[{texts.decode().replace(chr(10), ',')}]".encode(),
        "a.csv": table,
        "a.jsonl.gz": gzip.compress(texts),
        "a.parquet": sink.getvalue().to_pybytes(),
    }
    for seed in range(150):
        draw = random.Random(seed)  # noqa: S311 - the same every time
        name = draw.choice(list(files))
        data = bytearray(files[name])
        for _ in range(draw.randint(1, 3)):
            place = draw.randrange(len(data))
            change = draw.random()
            if change < 0.5:
                data[place] = draw.randrange(256)
            elif change < 0.75:
                del data[place : place + draw.randint(1, 9)]
            else:
                data[place:place] = draw.choice(
                    [b"\0", b'"', b"\n", b"\xff", b"{", b",", b"NaN", b"\\ud800", b"[" * 3000]
                )
        attempt(lab, name, bytes(data), columns=COLUMNS)


def conversation(draw: random.Random) -> list[Any]:
    """Turns that are mostly as they should be, by either spelling."""
    roles = draw.choice([["user"], ["system", "user"], ["user", "assistant"], ["user", "assistant", "user"]])
    named = draw.random() < 0.7
    turns: list[Any] = [{"role": role, "content": draw.choice(["x", "é"])} for role in roles]
    if not named:
        spelled = {"user": "human", "assistant": "gpt"}
        turns = [
            {"from": spelled.get(turn["role"], turn["role"]), "value": turn["content"]} for turn in turns
        ]
    if draw.random() < 0.5:
        turn = draw.choice(turns)
        turn[draw.choice([*turn, "name", "tool_calls", "tool_call_id", "weight"])] = draw.choice(
            [*VALUES, *ROLES]
        )
    if draw.random() < 0.1:
        turns[draw.randrange(len(turns))] = draw.choice(VALUES)
    return turns


def test_dirty_conversations_arrive_or_are_refused(lab: Lab) -> None:
    taken = 0
    for seed in range(150):
        draw = random.Random(seed)  # noqa: S311 - the same every time
        messages = conversation(draw)
        settings = draw.choice([{}, {"last_turn": "keep"}, {"last_turn": "completion"}])
        found = attempt(
            lab, "a.jsonl", json.dumps({"m": messages}).encode(), columns={"messages": "m"}, **settings
        )
        if found is None:
            continue
        taken += 1
        turns = found[0]["messages"] + (
            [{"content": found[0]["completion"]}] if "completion" in found[0] else []
        )
        texts = [one.get("content", one.get("value")) for one in messages]
        assert [turn["content"] for turn in turns] == [
            "" if text in (None, []) else text for text in texts
        ], seed
    assert taken > 15
