"""Comments in pipelines that name a setting and its value: `# code: top_p 0.9` beside a node that has no `top_p: 0.9`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml

from .test_pipelines_plan import NAMES, ROOT

NAMED = {
    "temperature": "temperature",
    "top[_-]p": "top_p",
    "top[_-]k": "top_k",
    "min[_-]p": "min_p",
    "max[_ ]tokens": "max_tokens",
    "samples": "samples",
    "learning[_ ]rate": "learning_rate",
    "warm-?up": "warmup",
    "weight[_ ]decay": "weight_decay",
    "dropout": "dropout",
    "batch[_ ]size": "batch_size",
    "epochs": "epochs",
    "beta": "beta",
    "beta2": "beta2",
    "max[_ ]grad[_ ]norm": "max_grad_norm",
    "threshold": "threshold",
}
"""How a comment may write a setting, and the setting."""
NUMBER = r"-?\d[\d,]*(?:\.\d+)?(?:e-?\d+)?"
KEY_AND_VALUE = re.compile(rf"\b({'|'.join(NAMED)})(?: of| is|:|=)? ?({NUMBER})(?![\w%])", re.IGNORECASE)
SOURCE_AND_VALUE = re.compile(rf"[^:;,]+: ({NUMBER})")
ANOTHER = re.compile(r"\bours\b|\bhere\b|not given")
"""A comment with one of these words says that what is set is another value than the source's."""


def number(text: str) -> float:
    return float(text.replace(",", ""))


def comments(text: str) -> Iterator[tuple[int, str, str]]:
    """Line number from 1 on, what stands before the comment, and the comment."""
    for line, content in enumerate(text.splitlines(), 1):
        found = re.fullmatch(r"(|.*?\s)#\s*(.*)", content)
        if found:
            yield line, found[1], found[2]


def nodes(text: str) -> list[tuple[int, int, Mapping[str, Any]]]:
    """First and last line of every mapping that says `use`, and what it sets."""
    found = []

    def look(node: yaml.Node, first: int) -> None:
        if isinstance(node, yaml.MappingNode):
            value = yaml.SafeLoader("").construct_document(node)
            if "use" in value:
                found.append((first, node.end_mark.line + (node.end_mark.column > 0), value))
            for key, child in node.value:
                look(child, key.start_mark.line + 1)

    look(yaml.compose(text, Loader=yaml.SafeLoader), 1)
    return found


def is_set(node: Mapping[str, Any], key: str, value: float) -> bool:
    """Tells whether the node gives the setting this value, in all rounds or in some."""
    moves = [node.get(moving, {}).get(key) for moving in ("per_round", "per_turn")]
    given = [
        node.get(key),
        *(item for move in moves for item in (move if isinstance(move, list) else [move])),
    ]
    return any(number(str(item)) == value for item in given if re.fullmatch(NUMBER, str(item)))


def false_comments(text: str) -> list[str]:
    """Lists values in comments that the nodes don't have: the node whose lines hold the comment, or if none, any node."""
    found = []
    declared = nodes(text)
    for line, before, comment in comments(text):
        inside = [node for first, last, node in declared if first <= line <= last] or [
            node for _, _, node in declared
        ]
        for match in KEY_AND_VALUE.finditer(comment):
            key = next(
                name for pattern, name in NAMED.items() if re.fullmatch(pattern, match[1], re.IGNORECASE)
            )
            if not ANOTHER.search(comment) and not any(
                is_set(node, key, number(match[2])) for node in inside
            ):
                found.append(f"{line}: {match[0]}")
        own, said = re.search(rf"^\s*\w+: ({NUMBER})\s*$", before), SOURCE_AND_VALUE.fullmatch(comment)
        if own and said and not ANOTHER.search(comment) and number(own[1]) != number(said[1]):
            found.append(f"{line}: {said[0]} beside {own[1]}")
    return found


NODE = "round:\n  generated:\n    use: sample\n    temperature: 0.9   # code: {comment}\n  other: {{use: sample, top_p: 0.8}}\n"


@pytest.mark.parametrize(
    ("comment", "found"),
    [
        ("temperature 0.9", []),
        ("temperature 0.8", ["4: temperature 0.8"]),
        ("temperature 0.9 and top_p 0.8", ["4: top_p 0.8"]),
        ("warm-up 0.1", ["4: warm-up 0.1"]),
        ("0.8", ["4: code: 0.8 beside 0.9"]),
        ("0.9", []),
        ("temperature 0.8, here 0.9", []),
    ],
)
def test_comment_that_names_what_is_not_set_is_found(comment: str, found: list[str]):
    assert false_comments(NODE.format(comment=comment)) == found


def test_comment_over_all_nodes_is_of_any_of_them():
    text = NODE.format(comment="0.9")
    assert false_comments(f"# top_p 0.8 and temperature 0.9\n{text}") == []
    assert false_comments(f"# top_p 0.7\n{text}") == ["1: top_p 0.7"]


@pytest.mark.parametrize("name", NAMES)
def test_values_that_comments_name_are_set(name: str):
    assert false_comments((ROOT / "pipelines" / f"{name}.yaml").read_text()) == []


# -- every number has its source ----------------------------------------------------------------------------------------

ALL_OTHERS = re.compile(
    r"numbers? without another word|without \"(code|review)\"|The rest is ours|numbers without", re.IGNORECASE
)
"""How the comment over a file says where all numbers come from that have no comment of their own."""
OF_FORM = {"words", "k", "max_error_rate", "timeout", "part", "draw", "laziness"}
"""Settings that say how a verdict is read, which files are cut or what is counted, and are no paper's number."""
Number = tuple[tuple[str, ...], str, bool]


def declared_numbers(text: str) -> list[Number]:
    """Of the numbers that nodes of the `paper` profile set: their keys, their value, and whether a comment stands at them."""
    paper = text.partition("\nprofiles:")[0]
    lines, found = paper.splitlines(), []

    def look(node: yaml.Node, keys: tuple[str, ...], places: tuple[int, ...]) -> None:
        if isinstance(node, yaml.MappingNode):
            for key, child in node.value:
                look(child, (*keys, key.value), (*places, key.start_mark.line))
        elif isinstance(node, yaml.SequenceNode):
            for child in node.value:
                look(child, keys, places)
        elif node.tag in ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float") and len(keys) > 2:
            at = {node.start_mark.line, *places[1:]}
            said = any("#" in lines[line] for line in at) or lines[places[1] - 1].lstrip().startswith("#")
            found.append((keys, node.value, said))

    look(yaml.compose(paper, Loader=yaml.SafeLoader), (), ())
    return found


def without_source(text: str) -> list[str]:
    """Numbers whose source nothing says: at them, where the same setting has the same value, or over the file."""
    head, _, body = text.partition("method:")
    if "paper:" not in body or ALL_OTHERS.search(" ".join(head.replace("#", " ").split())):
        return []

    def setting(number: Number) -> tuple[str, str]:
        return next(key for key in number[0][2:] if key not in ("per_round", "per_turn")), number[1]

    numbers = declared_numbers(text)
    told = {setting(number) for number in numbers if number[2]}
    return [
        f"{'.'.join(keys)}: {value}"
        for keys, value, said in numbers
        if not said and not OF_FORM & set(keys) and setting((keys, value, said)) not in told
    ]


SOURCED = """\
# A method. {head}
method: A
paper: arXiv:1
round:
  generated: {{use: sample, samples: 8, max_tokens: 512}}   # section 2
  again: {{use: sample, samples: 8}}
  judged:
    use: judge
    words: {{yes: 1}}
    threshold: 0.5{comment}
profiles:
  laptop: {{round: {{generated: {{samples: 4}}}}}}
"""


@pytest.mark.parametrize(
    ("head", "comment", "found"),
    [
        ("", "", ["round.judged.threshold: 0.5"]),
        ("", "   # ours", []),
        ("A number without another word is ours.", "", []),
    ],
)
def test_number_without_a_source_is_found(head: str, comment: str, found: list[str]):
    assert without_source(SOURCED.format(head=head, comment=comment)) == found


@pytest.mark.parametrize("name", NAMES)
def test_every_number_of_a_paper_profile_says_where_it_comes_from(name: str):
    assert without_source((ROOT / "pipelines" / f"{name}.yaml").read_text()) == []
