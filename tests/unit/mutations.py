"""Wrong files out of right ones, by a fixed seed: values replaced in YAML and JSON, text and bytes damaged."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from typing import Any

ODD: tuple[Any, ...] = (
    None,
    True,
    0,
    7,
    -1,
    2**70,
    1.5,
    float("inf"),
    float("nan"),
    "",
    "x",
    "é\u202e\x07",
    "previous.checkpoint",
    "history.filtered",
    "tasks.train",
    "start.checkpoint.x",
    "x[*]",
    "sample",
    "../../x",
    "/dev/null",
    [],
    [1],
    [[]],
    ["a", None],
    {},
    {"a": 1},
    {"use": "sample"},
    {"each": {}},
    {"": None},
)
LETTERS = [
    "\n",
    "\t",
    ":",
    "- ",
    "{",
    "}",
    "[",
    "]",
    "'",
    '"',
    "&a ",
    "*a",
    "!!int ",
    "!x ",
    "? ",
    "|",
    "#",
    "%",
    "\x00",
    "\ufeff",
    "0",
]


def mutated_value(value: Any, random: random.Random) -> Any:
    """A copy of nested dicts and lists with one to three places replaced, renamed, copied elsewhere or taken away."""
    changed = copy.deepcopy(value)
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        holders = list(_holders(changed))
        if not holders:
            return random.choice(ODD)
        _mutate(random.choice(holders), holders, random)
    return changed


def _holders(value: Any) -> Iterator[Any]:
    """Every dict and list that holds something."""
    if isinstance(value, dict | list) and value:
        yield value
        for item in list(value.values()) if isinstance(value, dict) else value:
            yield from _holders(item)


def _mutate(holder: Any, holders: list[Any], random: random.Random) -> None:
    place = random.choice(list(holder)) if isinstance(holder, dict) else random.randrange(len(holder))
    other = random.choice(holders)
    donated = copy.deepcopy(random.choice(list(other.values()) if isinstance(other, dict) else other))
    action = random.randrange(5)
    if action == 0:
        holder.pop(place)
    elif action == 1 and isinstance(holder, dict):
        holder[random.choice(["x", "each", "use", "rows", "per_round", "", "step", *holder])] = holder.pop(
            place
        )
    elif action == 2:
        holder[place] = donated
    else:
        holder[place] = copy.deepcopy(random.choice(ODD))


def mutated_text(text: str, random: random.Random) -> str:
    """A text with one to four lines or letters taken away, doubled, moved or put in."""
    for _ in range(random.randrange(1, 5)):
        start = random.randrange(len(text) + 1)
        stop = min(len(text), start + random.choice((0, 1, 1, 3, 20, 200)))
        put = random.choice(("", text[start:stop] * 2, random.choice(LETTERS), text[: random.randrange(40)]))
        text = text[:start] + put + text[stop:]
    return text


def mutated_bytes(data: bytes, random: random.Random) -> bytes:
    """Bytes with some flipped, cut off, put in or zeroed."""
    changed = bytearray(data)
    for _ in range(random.randrange(1, 4)):
        place = random.randrange(len(changed) + 1)
        action = random.randrange(4)
        if action == 0:
            del changed[place:]
        elif action == 1:
            changed[place:place] = random.randbytes(random.choice((1, 8, 64)))
        elif action == 2:
            changed[place : place + 8] = bytes(8)
        elif place < len(changed):
            changed[place] ^= 1 << random.randrange(8)
    return bytes(changed)
