"""Judging: readings become verdicts, judgments are rows, and what cannot be read is counted."""

from __future__ import annotations

import pydantic
import pytest

from lineal.data.store import Artifact
from lineal.engines.fake import write_fake_checkpoint
from lineal.errors import CheckFailure, DataError, DeclarationError
from lineal.recipe.compute import Compute
from lineal.recipe.references import ArtifactKind
from tests.unit.lab import Lab, rows_of

ROWS = [
    {
        "sample_id": f"s{i}",
        "prompt_id": f"p{i // 2}",
        "prompt": f"{i // 2}=",
        "completion": text,
        "answer": "x",
    }
    for i, text in enumerate(["ab", "ba", "cd", "db", "bc", "ca"])
]
FIRST_LETTER = {"template": "{completion}", "extract": "^(.)", "threshold": 0.5}
"""The fake engine writes the letters of what it is given up or down, by the seed: a judgment begins with the first or last."""


@pytest.fixture
def lab(tmp_path) -> Lab:
    return Lab(tmp_path, Compute(engine="fake", workers=1))


def checkpoint(lab: Lab) -> Artifact:
    workspace = lab._workspace("start/checkpoint", {})
    write_fake_checkpoint(workspace.directory(), "base")
    return lab._publish(workspace, "", ArtifactKind.MODEL)


def judged(lab: Lab, rows=None, **settings):
    inputs = {"model": checkpoint(lab), "rows": lab.put("round_01/generated", ROWS if rows is None else rows)}
    made = lab.run("judge", "round_01/judged", inputs, **{**FIRST_LETTER, "max_error_rate": 1.0, **settings})
    return rows_of(made[""]), rows_of(made["judgments"])


def test_judge_scores_a_row_by_the_mean_of_its_judgments(lab):
    rows, judgments = judged(lab, samples=8, words={"a": 1, "b": 0.0, "c": 0.5, "d": 0.25})
    for row in rows:
        own = [j for j in judgments if j["parents"] == [row["sample_id"]]]
        assert len(own) == 8 and row["score"] == sum(j["score"] for j in own) / 8
        assert (
            row["verdict"] == ("pass" if row["score"] >= 0.5 else "fail")
            and row["detail"] == own[0]["completion"]
        )
    assert len({row["score"] for row in rows}) > 2 and {row["verdict"] for row in rows} == {"pass", "fail"}


def test_judge_keeps_every_row_in_order_and_every_judgment_beside_it(lab):
    rows, judgments = judged(lab, samples=3, words={"a": 1.0})
    assert [row["sample_id"] for row in rows] == [row["sample_id"] for row in ROWS]
    assert [j["parents"][0] for j in judgments] == [row["sample_id"] for row in ROWS for _ in range(3)]
    assert lab.counts["in"] == lab.counts["out"] == 6 and lab.counts["judgments"] == 18


def test_judge_judgments_are_rows_that_can_train(lab):
    _, judgments = judged(lab, template="?{prompt}{completion}:", samples=2)
    assert [j["prompt"] for j in judgments[:4]] == ["?0=ab:", "?0=ab:", "?0=ba:", "?0=ba:"]
    assert len({j["sample_id"] for j in judgments}) == 12 and len({j["prompt_id"] for j in judgments}) == 6
    assert not {j["prompt_id"] for j in judgments} & {row["prompt_id"] for row in ROWS}
    assert "answer" not in judgments[0]


@pytest.mark.parametrize("column", ["answer", "entry"])
def test_judge_template_may_name_columns_that_its_judgments_do_not_have(lab, column):
    rows = [{**row, "answer": "de", "entry": "de"} for row in ROWS]
    _, judgments = judged(lab, rows, template=f"?{{{column}}}{{completion}}:", words={"d": 1.0, "e": 0.0})
    assert [j["prompt"] for j in judgments[:2]] == ["?deab:", "?deba:"] and not {"answer", "entry"} & set(
        judgments[0]
    )


def test_judge_unreadable_judgments_are_counted_and_rows_without_any_are_errors(lab):
    rows, judgments = judged(lab, words={"a": 1.0, "b": 0.0}, samples=4)
    lost = [row for row in rows if row["verdict"] == "error"]
    assert lab.counts["unreadable"] == sum(j["score"] is None for j in judgments) > 0
    assert [row["completion"] for row in lost] == ["cd"] and lab.counts["error"] == 1
    assert lost[0]["score"] is None and lost[0]["detail"] in ("cd", "dc")


def test_judge_that_cannot_be_read_stops_the_step(lab):
    with pytest.raises(CheckFailure, match="6 of 6 verdicts are errors"):
        judged(lab, words={"yes": 1.0, "no": 0.0}, max_error_rate=0.5)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            {"words": {"yes": 1.0, "no": 0.0}},
            r"1 times: 'ab', in which extract '\^\(\.\)' finds none of yes, no\. Correct extract",
        ),
        (
            {"extract": None},
            r"1 times: 'ab', which without extract is no number\. Correct extract or the template",
        ),
        (
            {"extract": "^(x)", "repeats": "completion"},
            r"'ab', in which extract '\^\(x\)' finds nothing\. Correct",
        ),
        ({"max_tokens": 1, "extract": "(x)"}, "times: '[a-d]', in which"),
    ],
)
def test_judge_that_cannot_be_read_shows_a_judgment_and_the_setting(lab, settings, words):
    with pytest.raises(CheckFailure, match=words) as caught:
        judged(lab, **{"temperature": 0.0, "max_error_rate": 0.5, **settings})
    assert "lineal show" not in str(caught.value) and "saved" not in str(caught.value)


def test_judgments_in_a_message_are_escaped_and_cut_and_an_empty_one_is_said_to_be(lab):
    workspace = lab._workspace("round_01/judged", {})
    judge = lab.parse("judge", {"rows": ()}, model="m", **FIRST_LETTER)
    assert judge.explained(workspace, "\x1b[31m" + "é" * 300).startswith(
        r"'\x1b[31m" + "é" * 195 + "' ..., in which extract"
    )
    assert judge.explained(workspace, " \n").startswith("an empty text, in which extract")


def test_judge_reads_numbers_where_no_words_are_given(lab):
    rows, _ = judged(
        lab, [{**ROWS[0], "completion": "5"}, {**ROWS[1], "completion": "nan"}], extract="^(.*)$", threshold=5
    )
    assert [(row["verdict"], row["score"]) for row in rows] == [("pass", 5.0), ("error", None)]


def test_judge_that_revises_passes_the_rows_that_it_repeats(lab):
    texts = ["ab", " ba ", "cd", "dcb", "acb"]
    rows, judgments = judged(
        lab,
        [{**ROWS[i], "sample_id": f"r{i}", "completion": text} for i, text in enumerate(texts)],
        extract=None,
        repeats="completion",
        samples=8,
    )
    given = {row["sample_id"]: row["completion"].strip() for row in rows}
    assert [j["score"] for j in judgments] == [
        float(j["completion"].strip() == given[j["parents"][0]]) for j in judgments
    ]
    assert all(0 < row["score"] < 1 for row in rows[:4])
    assert (rows[4]["verdict"], rows[4]["score"], lab.counts["unreadable"]) == ("fail", 0.0, 0)


def test_judge_that_revises_reads_what_extract_finds_and_counts_what_it_cannot(lab):
    rows, _ = judged(
        lab,
        [{**ROWS[0], "completion": "ab", "told": "b"}, {**ROWS[1], "completion": "ba", "told": "x"}],
        extract="^(b)",
        repeats="told",
        samples=8,
    )
    assert [(row["verdict"], row["score"]) for row in rows] == [("pass", 1.0), ("fail", 0.0)]
    assert 0 < lab.counts["unreadable"] < 16


@pytest.mark.parametrize("told", [None, 3])
def test_judge_that_revises_a_row_without_a_text_to_repeat_names_the_row(lab, told):
    with pytest.raises(
        DataError, match=f"row s0 has no text in 'told' that a judgment could repeat, but {told}"
    ):
        judged(lab, [{**ROWS[0], "told": told}], extract=None, repeats="told")


def test_judge_bytes_do_not_depend_on_shards(tmp_path):
    digests = set()
    for number, shard_rows in enumerate((1, 4, 4096)):
        lab = Lab(tmp_path / str(number), Compute(engine="fake", workers=1, shard_rows=shard_rows))
        inputs = {"model": checkpoint(lab), "rows": lab.put("round_01/generated", ROWS)}
        made = lab.run(
            "judge",
            "round_01/judged",
            inputs,
            **FIRST_LETTER,
            words={"a": 1.0, "b": 0.0, "c": 0.0},
            samples=3,
        )
        digests.add((made[""].digest, made["judgments"].digest))
    assert len(digests) == 1


def test_judge_of_no_rows_writes_no_rows(lab):
    rows = lab.run("select", "round_01/none", {"rows": lab.put("round_01/generated", ROWS)}, sql="keep_all")[
        ""
    ]
    empty = lab.put("round_01/empty", rows_table(rows).slice(0, 0))
    made = lab.run("judge", "round_01/judged", {"model": checkpoint(lab), "rows": empty}, **FIRST_LETTER)
    assert rows_of(made[""]) == rows_of(made["judgments"]) == []


def rows_table(artifact):
    from lineal.data.store import Rows

    return Rows((artifact,)).read()


def test_judge_beside_an_earlier_verdict_takes_a_name(lab):
    rows, _ = judged(
        lab,
        [{**row, "verdict": "fail"} for row in ROWS],
        name="judge",
        words={"a": 1.0, "b": 0.0, "c": 0.0, "d": 0.0},
    )
    assert {row["verdict"] for row in rows} == {"fail"} and {row["judge_verdict"] for row in rows} <= {
        "pass",
        "fail",
    }


def test_judge_of_the_same_row_twice_is_refused(lab):
    with pytest.raises(DataError, match="sample s0 stands 2 times among the samples"):
        judged(lab, [ROWS[0], ROWS[0]])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"words": {}}, "must give a number for each word"),
        (
            {"template": "no_such"},
            "template 'no_such' has no {column} in it, and is no file in pipelines/templates/",
        ),
        ({"extract": "no group"}, "needs a group"),
        ({"threshold": None}, "threshold"),
        ({"words": {"y": 1.0}, "repeats": "completion"}, "a judgment is read in one way"),
    ],
)
def test_judge_settings_that_cannot_be_are_refused_at_the_plan(lab, settings, message):
    with pytest.raises((pydantic.ValidationError, ValueError)) as caught:
        lab.parse("judge", {"rows": ()}, model="m", **{**FIRST_LETTER, **settings})
    assert message in str(caught.value)


def test_judge_needs_the_columns_of_its_template(lab):
    component = lab.parse(
        "judge", model="m", rows="r", template="{prompt} {completion} {{rubric}}", threshold=1.0
    )
    assert component.needs() == {"rows": ("prompt", "completion", "rubric")}


def test_judge_needs_the_column_to_repeat_once(lab):
    needed = {
        column: lab.parse(
            "judge", model="m", rows="r", template="{prompt}{completion}", threshold=1.0, repeats=column
        ).needs()
        for column in ("completion", "voted")
    }
    assert needed == {
        "completion": {"rows": ("prompt", "completion")},
        "voted": {"rows": ("prompt", "completion", "voted")},
    }


def test_judge_template_may_be_a_file_beside_the_pipelines(lab):
    directory = lab.path / "pipelines" / "templates"
    directory.mkdir()
    (directory / "additive.txt").write_text("Rate {completion}\n")
    (directory / "constant.txt").write_text("Rate it\n")
    component = lab.parse("judge", model="m", rows="r", template="additive", threshold=1.0)
    assert component.files() == {"templates/additive.txt": directory / "additive.txt"}
    assert component._template.render({"completion": "{prompt}"}) == "Rate {prompt}"
    with pytest.raises(DeclarationError, match=r"pipelines/templates/constant.txt: no \{column\} in it"):
        lab.parse("judge", model="m", rows="r", template="constant", threshold=1.0)


def test_judge_of_a_row_without_a_column_names_the_row(lab):
    with pytest.raises(DataError, match="row s0 has no 'completion' to put into the template"):
        judged(lab, [{**ROWS[0], "completion": None}, ROWS[1]])
