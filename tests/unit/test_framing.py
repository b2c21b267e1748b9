"""System turn, template and examples around prompts: the model is given them, the rows say so, and training can do without."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lineal.audit.catalog import Catalog
from lineal.audit.trace.backward import trace_back
from lineal.audit.trace.taint import taint
from lineal.audit.trace.target import Target, TargetKind
from lineal.data.manifest import InputEntry
from lineal.data.store import Artifact
from lineal.engines.fake import write_fake_checkpoint
from lineal.errors import DataError
from lineal.recipe.compute import Compute
from lineal.recipe.references import ArtifactKind
from tests.unit.lab import Lab, rows_of

PROMPTS = [
    {"prompt_id": str(number), "prompt": f"q{number}", "answer": f"a{number}", "hard": number > 1}
    for number in range(3)
]
CHAT = [
    row | {"messages": [{"role": "user", "content": row["prompt"], "tool_calls": None, "name": None}]}
    for row in PROMPTS
]
SHOTS = {"examples": {"rows": "tasks.shots", "count": 2, "reply": " {answer}", "separator": "; "}}


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path, Compute(engine="fake", workers=1))


def checkpoint(lab: Lab) -> Artifact:
    workspace = lab._workspace("start/checkpoint", {})
    write_fake_checkpoint(workspace.directory(), "base")
    return lab._publish(workspace, "", ArtifactKind.MODEL)


def drawn(lab, use="sample", rows=PROMPTS, shots=PROMPTS, **settings):
    inputs = {"model": checkpoint(lab), "prompts": lab.put("tasks/train", rows)}
    if "examples" in settings:
        inputs["examples"] = lab.put("tasks/shots", shots)
    return rows_of(lab.run(use, f"round_01/{use}", inputs, **settings)[""])


def turns(row):
    return [(message["role"], message["content"]) for message in row["messages"]]


@pytest.mark.parametrize("use", ["sample", "accuracy"])
def test_template_and_examples_make_the_prompt_of_a_text_model(lab, use):
    assert [row["prompt"] for row in drawn(lab, use, template="Q: {prompt} A:", **SHOTS)] == [
        "Q: q1 A: a1; Q: q2 A: a2; Q: q0 A:",
        "Q: q0 A: a0; Q: q2 A: a2; Q: q1 A:",
        "Q: q0 A: a0; Q: q1 A: a1; Q: q2 A:",
    ]


@pytest.mark.parametrize("use", ["sample", "accuracy"])
def test_system_and_examples_are_turns_of_a_chat_model(lab, use):
    row = drawn(lab, use, chat=True, system="S", template="Q: {prompt}", **SHOTS)[0]
    assert turns(row) == [
        ("system", "S"),
        ("user", "Q: q1"),
        ("assistant", " a1"),
        ("user", "Q: q2"),
        ("assistant", " a2"),
        ("user", "Q: q0"),
    ]
    assert row["prompt"] == "q0"


def test_every_evaluator_that_draws_takes_a_frame(lab):
    component = lab.parse("best_of_n", model="m", prompts="p", scorer="s", samples=2, chat=True, system="S")
    assert "messages" in component.outputs({"prompts": ("prompt_id", "prompt", "answer")})[""].columns


def test_conversations_are_framed_without_a_chat_setting(lab):
    own = [{**CHAT[0], "messages": [{"role": "system", "content": "S"}, *CHAT[0]["messages"]]}]
    row = drawn(lab, rows=own, shots=CHAT, template="Q: {prompt}", **SHOTS)[0]
    assert turns(row)[:2] == [("system", "S"), ("user", "Q: q1")] and turns(row)[-1] == ("user", "Q: q0")
    with pytest.raises(DataError, match="prompt 0: the conversation begins with a system turn of its own"):
        drawn(lab, rows=own, system="T")


def test_rows_may_keep_their_own_prompts_to_train_without_the_examples(lab):
    row = drawn(lab, template="Q: {prompt} A:", row_prompt="own", **SHOTS)[0]
    assert (row["prompt"], row["asked"], row["hinted"]) == ("q0", "Q: q1 A: a1; Q: q2 A: a2; Q: q0 A:", True)
    chat = drawn(lab, rows=CHAT, shots=CHAT, system="S", row_prompt="own", samples=2)
    assert turns(chat[0]) == [("user", "q0")] and len(chat) == 6
    assert [message["role"] for message in json.loads(chat[1]["asked"])["messages"]] == ["system", "user"]


def test_seeds_stay_and_ids_change_with_the_frame(lab):
    plain, one, other = (
        drawn(lab, **settings) for settings in ({}, {"template": "A{prompt}"}, {"template": "B{prompt}"})
    )
    assert [row["seed"] for row in plain] == [row["seed"] for row in one]
    assert len({row["sample_id"] for rows in (plain, one, other) for row in rows}) == 9


def test_examples_of_one_prompt_count_once(lab):
    shots = [PROMPTS[0], {**PROMPTS[0], "answer": "again"}, PROMPTS[1], PROMPTS[2]]
    assert drawn(lab, shots=shots, **SHOTS)[2]["prompt"] == "q0 a0; q1 a1; q2"


@pytest.mark.parametrize("use", ["sample", "accuracy"])
def test_rows_shown_as_examples_are_parents_after_the_prompt(lab, use):
    shots = [row | {"sample_id": f"s{row['prompt_id']}"} for row in PROMPTS]
    assert [row["parents"] for row in drawn(lab, use, shots=shots, **SHOTS)] == [
        ["0", "s1", "s2"],
        ["1", "s0", "s2"],
        ["2", "s0", "s1"],
    ]
    assert [row["parents"] for row in drawn(lab, use)] == [["0"], ["1"], ["2"]]


def test_taint_and_trace_follow_an_example_into_what_was_drawn_with_it(lab):
    shots, prompts = (
        lab.put("tasks/shots", [row | {"prompt_id": f"shot{row['prompt_id']}"} for row in PROMPTS]),
        lab.put("tasks/train", PROMPTS),
    )
    inputs = {"model": checkpoint(lab), "prompts": prompts, "examples": shots}
    made = lab.run("sample", "round_01/generated", inputs, **SHOTS)[""]
    links = {name: [InputEntry(step=one.manifest.step, digest=one.digest)] for name, one in inputs.items()}
    made = Artifact(made.key, made.directory, made.manifest.model_copy(update={"inputs": links}))
    catalog = Catalog({one.key: one for one in (*inputs.values(), made)})
    touched = {one.key: one.made for one in taint(catalog, "prompt_id = 'shot1'", lab.compute, shots).touched}
    assert touched == {"p/tasks/shots": 1, "p/round_01/generated": 3}
    name = rows_of(made)[0]["sample_id"]
    graph = trace_back(catalog, Target(TargetKind.ROW, name, (made.key,)), lab.compute)
    assert {(edge.relation, edge.target) for edge in graph.below(f"row:{name}")} >= {
        ("prompt", "row:0"),
        ("example", "row:shot0"),
        ("example", "row:shot1"),
    }


def test_too_few_examples_are_told(lab):
    with pytest.raises(
        DataError, match="examples: count is 2, but the rows have 1 other prompts than 0. Lower count"
    ):
        drawn(lab, shots=PROMPTS[:2], **SHOTS)


def test_template_fills_in_columns_of_the_users_own(lab):
    assert drawn(lab, template="{hard} {prompt}")[0]["prompt"] == "False q0"
    assert lab.parse("sample", model="m", prompts="p", template="{hard}", **SHOTS).needs() == {
        "prompts": ("prompt_id", "prompt", "hard"),
        "examples": ("prompt_id", "prompt", "hard", "answer"),
    }


def test_frame_enters_the_identity_and_its_absence_does_not(lab):
    assert {"system", "template", "examples", "row_prompt"}.isdisjoint(
        lab.parse("sample", model="m", prompts="p").identity()
    )
    assert {"system", "template", "examples"}.isdisjoint(
        lab.parse("accuracy", model="m", prompts="p").identity()
    )
    framed = lab.parse("sample", model="m", prompts="p", chat=True, system="S", template="{prompt}", **SHOTS)
    assert framed.identity()["examples"] == {
        "count": 2,
        "reply": " {answer}",
        "separator": "; ",
        "parents": True,
    }
    assert framed.references()["examples"][0] == ["tasks.shots"] and framed.identity()["system"] == "S"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"hint": "hard", "template": "{prompt}"},
            "hint and system, template or examples exclude each other",
        ),
        ({"row_prompt": "own"}, "row_prompt: own is about system"),
        ({"examples": {"rows": "r", "count": 1, "reply": "yes"}}, "reply must hold a {column}"),
        ({"examples": {"rows": "r", "count": 0}}, "greater than or equal to 1"),
        ({"template": "no_such"}, "is no file in pipelines/templates"),
    ],
)
def test_frames_that_cannot_be_are_refused(lab, settings, message):
    with pytest.raises(ValueError, match=message):
        lab.parse("sample", model="m", prompts="p", **settings)


def test_system_turn_for_a_text_model_is_refused_in_the_plan(lab):
    with pytest.raises(
        ValueError, match="system needs a conversation, but the prompts are texts and chat is off"
    ):
        lab.parse("sample", model="m", prompts="p", system="S").outputs({"prompts": ("prompt_id", "prompt")})
