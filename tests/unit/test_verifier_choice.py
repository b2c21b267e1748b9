"""Multiple choice: by letter or text, and by likelihood."""

from __future__ import annotations

import json
import math

import pytest

from lineal.data.conversations import Conversation, Turn
from lineal.recipe.compute import Compute
from tests.unit.chat_models import chat_model
from tests.unit.lab import Lab, rows_of
from tests.unit.tiny_models import put_model, tiny_model

OPTIONS = ["Paris", "London", "Rome"]


def rows(lab, pairs):
    return lab.put(
        "round_01/generated",
        [
            {
                "sample_id": f"s{i}",
                "prompt_id": f"p{i}",
                "prompt": "ba=",
                "completion": completion,
                "answer": answer,
                "options": json.dumps(options),
            }
            for i, (completion, answer, options) in enumerate(pairs)
        ],
    )


def test_choice_tells_the_right_option_another_and_none_apart(tmp_path):
    lab = Lab(tmp_path)
    pairs = [
        ("(A)", "A", OPTIONS),
        ("It is Rome.", "A", OPTIONS),
        ("B", "London", OPTIONS),
        ("no idea", "A", OPTIONS),
    ]
    made = rows_of(lab.run("choice", "round_01/verified", {"rows": rows(lab, pairs)})[""])
    assert [(row["verdict"], row["detail"]) for row in made] == [
        ("pass", None),
        ("fail", "chose C"),
        ("pass", None),
        ("fail", "names no option"),
    ]


def test_choice_by_letter_or_by_text_alone_ignores_the_other(tmp_path):
    lab = Lab(tmp_path)
    judged = rows(lab, [("A", "A", OPTIONS), ("Paris", "A", OPTIONS)])
    for by, expected in (("letter", ["pass", "fail"]), ("text", ["fail", "pass"])):
        made = rows_of(lab.run("choice", f"round_01/{by}", {"rows": judged}, by=by)[""])
        assert [row["verdict"] for row in made] == expected


def test_choice_rows_whose_options_or_answer_make_no_sense_are_errors(tmp_path):
    lab = Lab(tmp_path)
    pairs = [("A", "Z", OPTIONS), ("A", "A", ["x"]), ("A", "A", ["x", "x"]), ("A", "A", ["b", "a"])]
    made = rows_of(lab.run("choice", "round_01/verified", {"rows": rows(lab, pairs)}, max_error_rate=1.0)[""])
    assert [row["verdict"] for row in made] == ["error"] * 4
    assert "is no option" in made[0]["detail"] and "names two options" in made[3]["detail"]


@pytest.mark.model
def test_choice_likelihood_passes_the_likeliest_option_and_scores_its_share(tmp_path):
    lab = Lab(tmp_path, Compute(workers=1))
    scorer = put_model(lab, "start/checkpoint", tiny_model(tmp_path / "tiny"))
    pairs = [("", answer, ["a", "ab", "ba"]) for answer in "ABC"]
    made = rows_of(
        lab.run("choice_likelihood", "round_01/judged", {"rows": rows(lab, pairs), "scorer": scorer})[""]
    )
    assert sorted(row["verdict"] for row in made) == ["fail", "fail", "pass"]
    assert (
        math.isclose(sum(row["score"] for row in made), 1.0)
        and max(made, key=lambda row: row["score"])["verdict"] == "pass"
    )
    assert {row["detail"] for row in made if row["verdict"] == "fail"} == {
        f"chose {'ABC'[[row['verdict'] for row in made].index('pass')]}"
    }


@pytest.mark.model
def test_choice_likelihood_of_a_conversation_is_that_after_its_turns_and_not_after_its_short_form(tmp_path):
    lab = Lab(tmp_path, Compute(workers=1))
    scorer = put_model(lab, "start/checkpoint", chat_model(tmp_path / "chat", "chatml"))
    row = {
        "sample_id": "s",
        "prompt_id": "p",
        "prompt": "Hi",
        "answer": "A",
        "options": json.dumps(["hello", "friend"]),
    }
    talks = {"text": None, "talk": Conversation((Turn("user", "Hi"),)).for_rows()}
    judged = {
        name: rows_of(
            lab.run(
                "choice_likelihood",
                f"round_01/{name}_judged",
                {"rows": lab.put(f"round_01/{name}", [made]), "scorer": scorer},
            )[""]
        )[0]["score"]
        for name, turns in talks.items()
        for made in [row if turns is None else row | {"messages": turns}]
    }
    assert judged["text"] != judged["talk"]


def test_dataset_gives_options_as_json_whether_the_file_has_a_list_or_a_text(tmp_path):
    lab = Lab(tmp_path)
    (tmp_path / "quiz.jsonl").write_text(json.dumps({"q": "?", "a": "A", "o": OPTIONS}) + "\n")
    made = lab.run(
        "dataset", "tasks/quiz", path="quiz.jsonl", columns={"prompt": "q", "answer": "a", "options": "o"}
    )[""]
    assert [json.loads(row["options"]) for row in rows_of(made)] == [OPTIONS]
