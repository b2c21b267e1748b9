"""Asking: what a checkpoint writes about a row is a row of its own, with the row as its parent."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from lineal.components.base import Surroundings
from lineal.components.generators.template import Template, read_template
from lineal.errors import DataError
from lineal.recipe.compute import Compute
from tests.unit.lab import Lab, rows_of
from tests.unit.test_judge import ROWS, checkpoint

TEXT = st.text(max_size=8)


@pytest.fixture
def lab(tmp_path) -> Lab:
    return Lab(tmp_path, Compute(engine="fake", workers=1))


def asked(lab: Lab, rows=ROWS, **settings):
    inputs = {"model": checkpoint(lab), "rows": lab.put("round_01/generated", rows)}
    return rows_of(lab.run("ask", "round_01/asked", inputs, **{"template": "{completion}", **settings})[""])


def test_ask_makes_rows_that_teach_the_role(lab):
    made = asked(lab, template="+{prompt}{completion}:", samples=2)
    assert [row["prompt"] for row in made[:3]] == ["+0=ab:", "+0=ab:", "+0=ba:"]
    assert [row["parents"] for row in made] == [[row["sample_id"]] for row in ROWS for _ in range(2)]
    assert len({row["sample_id"] for row in made}) == 12 and len({row["prompt_id"] for row in made}) == 6
    assert {row["answer"] for row in made} == {"x"} and not any(row["hinted"] for row in made)


def test_ask_under_the_own_prompt_makes_further_answers_to_it(lab):
    made = asked(lab, template="+{prompt}{completion}:", row_prompt="own", max_tokens=16)
    assert [(row["prompt_id"], row["prompt"]) for row in made] == [
        (row["prompt_id"], row["prompt"]) for row in ROWS
    ]
    assert all(row["hinted"] and "+" in row["completion"] for row in made)
    assert [row["asked"] for row in made[:2]] == ["+0=ab:", "+0=ba:"]
    assert len({row["sample_id"] for row in made}) == len({row["seed"] for row in made}) == 6


def test_ask_about_prompts_names_them_as_parents(lab):
    prompts = [
        {"prompt_id": "1", "prompt": "ba=", "answer": "ab"},
        {"prompt_id": "2", "prompt": "dc=", "answer": "cd"},
    ]
    made = asked(lab, prompts, template="&{prompt}")
    assert [row["parents"] for row in made] == [["1"], ["2"]] and [row["prompt"] for row in made] == [
        "&ba=",
        "&dc=",
    ]
    kept = asked(lab, prompts, template="&{prompt}", row_prompt="own")
    assert [row["prompt_id"] for row in kept] == ["1", "2"]


def test_system_turn_stands_before_what_is_asked(lab):
    made = asked(lab, template="&{completion}", system="Be brief.", chat=True)
    assert [[(turn["role"], turn["content"]) for turn in row["messages"]] for row in made] == [
        [("system", "Be brief."), ("user", f"&{row['completion']}")] for row in ROWS
    ]
    plain = asked(lab, template="&{completion}", chat=True)
    assert [row["prompt"] for row in made] == [row["prompt"] for row in plain] and "messages" not in plain[0]
    assert not {row["sample_id"] for row in made} & {row["sample_id"] for row in plain}
    own = asked(lab, template="&{completion}", system="Be brief.", chat=True, row_prompt="own")
    assert [json.loads(row["asked"])["messages"][0]["content"] for row in own] == [
        "Be brief."
    ] * 6 and "messages" not in own[0]
    with pytest.raises(ValidationError, match="system needs chat: true"):
        asked(lab, system="Be brief.")


def test_judge_takes_a_system_turn_and_its_judgments_hold_it(lab):
    inputs = {"model": checkpoint(lab), "rows": lab.put("round_01/generated", ROWS)}
    settings = {"template": "{completion}", "threshold": 0.5, "repeats": "completion", "chat": True}
    made = lab.run("judge", "round_01/judged", inputs, system="Be just.", **settings)
    assert {row["messages"][0]["content"] for row in rows_of(made["judgments"])} == {"Be just."}
    assert "system" not in lab.parse("judge", inputs, **settings).identity()


def test_ask_keeps_columns_of_the_users_own_and_no_verdict_of_the_parent(lab):
    (made,) = asked(lab, [{**ROWS[0], "verdict": "fail", "score": 0.0, "origin": "web"}])
    assert made["origin"] == "web" and not {"verdict", "score"} & made.keys()


def test_ask_bytes_do_not_depend_on_shards(tmp_path):
    digests = set()
    for number, shard_rows in enumerate((1, 4, 4096)):
        lab = Lab(tmp_path / str(number), Compute(engine="fake", workers=1, shard_rows=shard_rows))
        inputs = {"model": checkpoint(lab), "rows": lab.put("round_01/generated", ROWS)}
        digests.add(lab.run("ask", "round_01/asked", inputs, template="{completion}", samples=3)[""].digest)
    assert len(digests) == 1


def test_ask_about_rows_with_and_without_ids_is_refused(lab):
    with pytest.raises(DataError, match="1 of the rows have no sample_id"):
        asked(lab, [ROWS[0], {**ROWS[1], "sample_id": None}])


@given(TEXT, TEXT)
def test_template_never_reads_a_row_as_a_template(prompt, completion):
    row = {"prompt": "{completion}" + prompt, "completion": "{prompt}{0}%s$1\\1" + completion}
    filled = Template("<{prompt}|{completion}|{}{0}{Prompt}>").render(row)
    assert filled == f"<{row['prompt']}|{row['completion']}|{{}}{{0}}{{Prompt}}>"


def test_template_lists_each_column_once(tmp_path):
    template = read_template("{prompt} {completion} {prompt}", Surroundings(tmp_path, tmp_path))
    assert template.columns == ("prompt", "completion")
