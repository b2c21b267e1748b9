"""Rendering: rows whose texts templates make of other rows', with parents and ids, and without a model."""

from __future__ import annotations

import pytest

from lineal.data.store import Rows
from lineal.errors import DataError
from lineal.recipe.compute import Compute
from tests.unit.lab import Lab, rows_of, samples


@pytest.fixture
def lab(tmp_path) -> Lab:
    return Lab(tmp_path)


def rendered(lab: Lab, rows, **templates):
    return rows_of(
        lab.run("render", "round_01/made", {"rows": lab.put("round_01/rows", rows)}, **templates)[""]
    )


def test_rendered_answer_keeps_the_prompt_and_drops_what_belongs_to_the_sample(lab):
    rows = samples({"a": "pf"}, voted=lambda prompt, index: f"v{index}", origin=lambda prompt, index: "web")
    made = rendered(lab, rows, answer="{voted}")
    assert [(row["prompt_id"], row["prompt"], row["answer"]) for row in made] == [
        ("a", "a=", "v0"),
        ("a", "a=", "v1"),
    ]
    assert made[0].keys() == {
        "sample_id",
        "parents",
        "prompt_id",
        "prompt",
        "answer",
        "difficulty",
        "origin",
        "round",
    }
    assert [row["parents"] for row in made] == [["a-0"], ["a-1"]] and len(
        {row["sample_id"] for row in made}
    ) == 2
    assert lab.counts == {"in": 2, "out": 2} and {row["round"] for row in made} == {1}


def test_rendered_prompts_get_ids_of_their_text(lab):
    first, second, third = rendered(
        lab, samples({"a": "pp", "b": "p"}), prompt="{prompt}?", completion="<{completion}>"
    )
    assert first["prompt_id"] == second["prompt_id"] != third["prompt_id"] and first["prompt_id"] != "a"
    assert (first["prompt"], first["completion"]) == ("a=?", "<a:0>")


def test_rendered_rows_of_a_text_may_have_columns_of_the_users_own(lab):
    (made,) = rendered(lab, samples({"a": "p"}), hint="{answer}{}{completion}")
    assert made["hint"] == "a{}a:0"


def test_rendered_ids_differ_by_step_parent_and_content(lab):
    rows = lab.put("round_01/rows", samples({"a": "pp"}))
    runs = [("round_01/x", "{answer}"), ("round_02/x", "{answer}"), ("round_01/x", "{completion}")]
    ids = [
        row["sample_id"]
        for step, text in runs
        for row in rows_of(lab.run("render", step, {"rows": rows}, answer=text)[""])
    ]
    assert len(set(ids)) == len(ids) == 6


def test_rendered_bytes_do_not_depend_on_shards(tmp_path):
    digests = set()
    for number, shard_rows in enumerate((1, 4, 4096)):
        lab = Lab(tmp_path / str(number), Compute(workers=1, shard_rows=shard_rows))
        rows = lab.put("round_01/rows", samples({"a": "ppp", "b": "pppp"}))
        digests.add(lab.run("render", "round_01/x", {"rows": rows}, prompt="{prompt}{completion}")[""].digest)
    assert len(digests) == 1


def test_conversations_and_token_ids_stay_with_the_text_that_they_belong_to(lab):
    talk = [{"role": "user", "content": "hi", "tool_calls": None, "name": None}]
    rows = [{**samples({"a": "p"})[0], "messages": talk, "tools": None, "token_ids": [1, 2]}]
    kept, *_ = rendered(lab, rows, completion="{completion}")
    assert kept["messages"] == talk and kept["token_ids"] == [1, 2]
    other, *_ = rendered(lab, rows, prompt="{prompt}!", completion="{completion}!")
    assert not {"messages", "tools", "token_ids"} & other.keys()


def test_prompt_rows_give_rows_that_a_sampler_takes(tmp_path):
    lab = Lab(tmp_path, Compute(engine="fake", workers=1))
    prompts = lab.put(
        "tasks/train", [{"prompt_id": "1", "prompt": "ba=", "answer": "ab", "options": '["ab", "ba"]'}]
    )
    made = lab.run("render", "round_01/x", {"rows": prompts}, prompt="{prompt}{prompt}")[""]
    (row,) = rows_of(made)
    assert row["parents"] == ["1"] and row["answer"] == "ab"
    inputs = {"model": lab.put("start/model", [{"prompt_id": "m", "prompt": "m"}]), "prompts": made}
    (drawn,) = Rows((lab.run("sample", "round_01/y", inputs)[""],)).read().to_pylist()
    assert drawn["parents"] == [row["sample_id"]] and drawn["prompt_id"] == row["prompt_id"]
    assert drawn["options"] == '["ab", "ba"]', "what a verifier of choices needs goes on to the samples"


def test_a_row_without_a_value_is_refused(lab):
    with pytest.raises(DataError, match="row a-0 has no 'voted'.*selector"):
        rendered(
            lab, samples({"a": "p"}, voted=lambda prompt, index: None) + samples({"b": "p"}), answer="{voted}"
        )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "no template. Write COLUMN: TEXT"),
        ({"verdict": "{answer}"}, "'verdict' is no column that a template can write"),
        ({"prompt_id": "{answer}"}, "'prompt_id' is no column"),
        ({"answer": 3}, "answer must be a text"),
        ({"answer": "forty-two"}, "no {column} in it"),
    ],
)
def test_wrong_settings_say_what_is_meant(lab, settings, message):
    with pytest.raises(ValueError, match=message.replace("{", "\\{").replace("}", "\\}")):
        lab.parse("render", {"rows": ()}, **settings)


def test_columns_that_templates_fill_in_are_needed(lab):
    component = lab.parse("render", {"rows": ()}, answer="{voted}", prompt="{prompt}")
    assert component.needs() == {"rows": ("voted", "prompt", "prompt_id")}
    assert lab.parse("render", {"rows": ()}, prompt="{completion}").needs() == {"rows": ("completion",)}
