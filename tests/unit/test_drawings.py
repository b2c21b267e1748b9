"""`drawings` and `svg_match`: answers draw what is described; the scores of equal, different and hostile drawings."""

import re

import pytest

from lineal.components.verifiers.svg_match import score_drawing, shapes_of
from tests.unit.lab import Lab, rows_of

RED = '<rect x="1" y="2" width="3" height="1" fill="red"/>'
DOT = '<circle cx="4" cy="4" r="2" fill="blue"/>'


def scored(completion: str, answer: str = RED):
    return score_drawing({"completion": completion, "answer": answer, "size": 16})


@pytest.mark.parametrize(
    ("completion", "answer", "score"),
    [
        (RED, RED, 1.0),
        (f"\n{DOT} {RED}\n", f"{RED}{DOT}", 13 / 14),  # one pixel is covered by the other shape
        (RED.replace('"1" y', '"1.0" y'), RED, 1.0),
        (RED.replace('"3"', '"4"'), RED, 3 / 4),
        (RED.replace("red", "blue"), RED, 0.0),
        (DOT.replace("circle", "ellipse").replace('r="2"', 'rx="2" ry="2"'), DOT, 1.0),
        ("", RED, 0.0),
        (RED.replace('"1" y', '"-1" y'), RED, 1 / 4),
    ],
)
def test_svg_match_scores_the_share_of_equal_pixels(completion, answer, score):
    assert scored(completion, answer)[0] == score


@pytest.mark.parametrize(
    ("completion", "reason"),
    [
        ('<!DOCTYPE a [<!ENTITY b "cc">]>' + RED, "no shape at character 1"),
        (RED.replace("red", "&b;"), "no shape"),
        (f"<g>{RED}</g>", "no shape"),
        ('<image href="file"/>', "<image> is no shape"),
        (f"Here it is: {RED}", "no shape at character 1"),
        (f"{RED} done", "no shape at character"),
        (RED.replace('"3"', '"99999"'), "width is no number"),
        (RED.replace('"3"', '"NaN"'), "width is no number"),
        (RED.replace('"3"', '"1e3"'), "width is no number"),
        (RED.replace('"3"', '"٣"'), "width is no number"),
        (RED.replace('"3"', '"-3"'), "width is not above 0"),
        (RED.replace('"3"', '"0"'), "width is not above 0"),
        (RED.replace(' y="2"', ""), "<rect> needs"),
        (RED.replace(' y="2"', ' y="2" y="2"'), "<rect> needs"),
        (RED.replace(' y="2"', ' y="2" onload="x"'), "<rect> needs"),
        (RED.replace("red", "url(x)"), "fill is no colour"),
        (RED * 201, "more than 200 shapes"),
        (RED * 1_000_000, "more than 20,000 characters"),
    ],
)
def test_svg_match_fails_what_it_cannot_read(completion, reason):
    score, detail = scored(completion)
    assert score == 0.0
    assert reason in detail


@pytest.mark.parametrize("answer", ["no drawing", "", RED.replace('x="1"', 'x="99"')])
def test_svg_match_cannot_judge_by_a_reference_that_is_no_drawing(answer):
    with pytest.raises(ValueError, match="the reference answer"):
        scored(RED, answer)


def test_drawings_answers_draw_what_the_prompt_tells(tmp_path):
    rows = rows_of(Lab(tmp_path).run("drawings", "tasks/test", size=60, shapes=[1, 3])[""])
    for row in rows:
        told = row["prompt"].removesuffix("=").split("; ")
        shapes = shapes_of(row["answer"])
        assert row["difficulty"] == len(told) == len(shapes)
        assert [re.findall("[0-9]+", each) for each in told] == [
            [str(length // 1000) for length in lengths] for _, lengths, _ in shapes
        ]
        assert scored(row["answer"], row["answer"]) == (1.0, None)
    assert {row["difficulty"] for row in rows} == {1.0, 2.0, 3.0}
