"""Conversations in data sets: TRL's, OpenAI's and ShareGPT's shapes, split where the user says so, else refused by row."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lineal.errors import DataError
from tests.unit.lab import Lab, rows_of

QUESTION = {"role": "user", "content": "What is 2 + 2?"}
REPLY = {"role": "assistant", "content": "4"}
CALL = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"b": 2, "a": 2}'}}
TOOL = {
    "type": "function",
    "function": {"name": "add", "parameters": {"type": "object", "properties": {"a": {"type": "number"}}}},
}


@pytest.fixture
def lab(tmp_path):
    return Lab(tmp_path)


def load(lab, rows, **settings):
    (lab.path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return rows_of(
        lab.run(
            "dataset", "tasks/train", path="a.jsonl", **{"columns": {"messages": "messages"}, **settings}
        )[""]
    )


def turn(role, content, tool_calls=None, name=None):
    return {"role": role, "content": content, "tool_calls": tool_calls, "name": name}


def test_messages_that_end_with_the_user_are_a_prompt(lab):
    (row,) = load(lab, [{"messages": [{"role": "system", "content": "Be brief."}, QUESTION]}])
    assert row["messages"] == [turn("system", "Be brief."), turn("user", "What is 2 + 2?")]
    assert row["prompt"] == "What is 2 + 2?" and set(row) == {"prompt_id", "prompt", "messages"}


def test_openai_and_sharegpt_give_the_same_rows(lab):
    openai = load(
        lab, [{"messages": [{"role": "system", "content": "S"}, QUESTION, REPLY]}], last_turn="answer"
    )
    shared = [
        {"from": "system", "value": "S"},
        {"from": "human", "value": QUESTION["content"]},
        {"from": "gpt", "value": "4"},
    ]
    sharegpt = load(
        lab, [{"conversations": shared}], columns={"messages": "conversations"}, last_turn="answer"
    )
    assert openai == sharegpt and openai[0]["answer"] == "4"


@pytest.mark.parametrize("last_turn", ["completion", "answer"])
def test_last_turn_becomes_a_column_beside_the_prompt(lab, last_turn):
    (row,) = load(
        lab,
        [{"messages": [QUESTION, REPLY, {"role": "user", "content": "And 3?"}, {**REPLY, "content": "6"}]}],
        last_turn=last_turn,
    )
    assert (row[last_turn], row["prompt"], len(row["messages"])) == ("6", "And 3?", 3)


def test_kept_conversation_stays_whole(lab):
    (row,) = load(lab, [{"messages": [QUESTION, REPLY]}], last_turn="keep")
    assert [message["role"] for message in row["messages"]] == [
        "user",
        "assistant",
    ] and "completion" not in row


def test_extract_reads_the_last_turn(lab):
    (row,) = load(
        lab,
        [{"messages": [QUESTION, {**REPLY, "content": "2 + 2\n#### 4"}]}],
        last_turn="answer",
        extract={"answer": "#### (.+)$"},
    )
    assert row["answer"] == "4"


def test_trl_prompts_and_completions_are_messages(lab):
    (row,) = load(
        lab,
        [{"prompt": [QUESTION], "completion": [REPLY]}],
        columns={"messages": "prompt", "completion": "completion"},
    )
    assert (row["prompt"], row["completion"]) == ("What is 2 + 2?", "4")


def test_trl_pairs_share_their_first_turns(lab):
    pair = {"chosen": [QUESTION, REPLY], "rejected": [QUESTION, {**REPLY, "content": "5"}]}
    (row,) = load(lab, [pair], columns={"chosen": "chosen", "rejected": "rejected"})
    assert (row["prompt"], row["chosen"], row["rejected"]) == ("What is 2 + 2?", "4", "5")
    assert row["messages"] == [turn("user", "What is 2 + 2?")]


def test_trl_pairs_of_text_and_labels_stay_text(lab):
    columns = {"prompt": "prompt", "chosen": "chosen", "rejected": "rejected", "label": "label"}
    (row,) = load(lab, [{"prompt": "p", "chosen": "a", "rejected": "b", "label": False}], columns=columns)
    assert (row["chosen"], row["rejected"], row["label"]) == ("a", "b", False)


def test_pairs_of_one_prompt_have_ids_of_their_own(lab):
    pairs = [
        {"chosen": [QUESTION, REPLY], "rejected": [QUESTION, {**REPLY, "content": wrong}]} for wrong in "56"
    ]
    rows = load(lab, pairs, columns={"chosen": "chosen", "rejected": "rejected"})
    assert len({row["prompt_id"] for row in rows}) == 2


def test_text_parts_and_tool_calls_keep_what_the_model_reads(lab):
    parts = [{"type": "text", "text": "What is "}, {"type": "text", "text": "2 + 2?"}]
    messages = [
        {"role": "developer", "content": "Use tools."},
        {"role": "user", "content": parts, "name": "ann"},
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "content": "4", "tool_call_id": "c1"},
    ]
    (row,) = load(
        lab, [{"messages": messages, "tools": [TOOL]}], columns={"messages": "messages", "tools": "tools"}
    )
    calls = row["messages"][2]["tool_calls"]
    assert json.loads(calls)[0]["function"]["arguments"] == {"a": 2, "b": 2} and calls.index(
        '"b"'
    ) < calls.index('"a"')
    assert [message["role"] for message in row["messages"]] == ["system", "user", "assistant", "tool"]
    assert (
        row["messages"][1] == turn("user", "What is 2 + 2?", name="ann")
        and row["messages"][2]["content"] == ""
    )
    assert json.loads(row["tools"]) == [TOOL]


def test_nulls_that_parquet_fills_in_are_left_out_of_calls(lab):
    other = {"function": {"name": "sub", "arguments": {"c": 1}}}
    messages = [
        [
            QUESTION,
            {"role": "assistant", "content": "", "tool_calls": [call]},
            {"role": "tool", "content": "4"},
        ]
        for call in ({"function": {"name": "add", "arguments": {"a": 2}}}, other)
    ]
    pq.write_table(pa.Table.from_pylist([{"messages": each} for each in messages]), lab.path / "a.parquet")
    rows = rows_of(lab.run("dataset", "tasks/train", path="a.parquet", columns={"messages": "messages"})[""])
    assert [json.loads(row["messages"][1]["tool_calls"]) for row in rows][1] == [other]


def test_written_conversations_can_be_read_again(lab):
    rows = load(
        lab,
        [
            {
                "messages": [
                    QUESTION,
                    {"role": "assistant", "content": "", "tool_calls": [CALL]},
                    {"role": "tool", "content": "4", "tool_call_id": "c1"},
                ]
            }
        ],
    )
    assert load(lab, [{"messages": rows[0]["messages"]}]) == rows


def test_conversation_of_a_csv_is_json_text(lab):
    (lab.path / "a.csv").write_text('chat\n"[{""role"": ""user"", ""content"": ""hi""}]"\n')
    (row,) = rows_of(lab.run("dataset", "tasks/train", path="a.csv", columns={"messages": "chat"})[""])
    assert row["messages"] == [turn("user", "hi")]


def calling(call):
    return {"role": "assistant", "content": None, "tool_calls": [call]}


REFUSED = [
    ([QUESTION, REPLY], "the conversation ends with the assistant.* last_turn: completion"),
    (
        [{"role": "narrator", "content": "x"}],
        "message 1 has the role 'narrator', expected one of system, user.* Rename",
    ),
    ([{"role": "user", "content": None}], "message 1 has null content, expected a text"),
    ([{"role": "user"}], "message 1 has null content"),
    ([{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}], "part 1 must be a text part"),
    ([{**QUESTION, "weight": 0}], "message 1 has 'weight'; a message may have content, name, role"),
    ([{"from": "human", "value": "x", "role": "user"}], "message 1 has 'role'"),
    ([{"from": "observation", "value": "x"}], "has the role 'observation'"),
    ([], "holds no messages"),
    ("hello", "must be a list of messages"),
    ([QUESTION, 5], "message 2 must be an object"),
    ([{"role": "system", "content": "x"}], "must end with a turn of user or tool, but it ends with system"),
    ([{"role": "user", "content": "  "}], "the prompt is empty"),
    ([{**QUESTION, "tool_calls": [CALL]}], "only the assistant makes"),
    ([QUESTION, calling({"name": 5})], r"call 1 must be \{function"),
    ([QUESTION, calling({"name": "f", "arguments": "{"})], "must be a JSON object"),
    (
        [QUESTION, calling(CALL), {"role": "tool", "content": "4", "tool_call_id": "x"}],
        "3 answers call 'x', expected 'c1'",
    ),
]


@pytest.mark.parametrize(("messages", "message"), REFUSED)
def test_conversation_that_cannot_be_a_prompt_is_named_by_row_and_message(lab, messages, message):
    with pytest.raises(DataError, match=r"a\.jsonl: line 1.*" + message):
        load(lab, [{"messages": messages}])


def test_last_turn_of_the_user_is_no_completion(lab):
    with pytest.raises(
        DataError,
        match="last_turn: completion takes the assistant's turn off the end, but the last is .* user",
    ):
        load(lab, [{"messages": [QUESTION]}], last_turn="completion")


def test_last_turn_that_calls_tools_is_no_completion(lab):
    with pytest.raises(DataError, match="calls tools, but a completion is a text. Set last_turn: keep"):
        load(
            lab,
            [{"messages": [QUESTION, {"role": "assistant", "content": None, "tool_calls": [CALL]}]}],
            last_turn="completion",
        )


def test_messages_under_prompt_say_what_to_write(lab):
    with pytest.raises(DataError, match=r"must be a text, .* columns: \{messages: ...\}"):
        load(lab, [{"prompt": [QUESTION]}], columns={"prompt": "prompt"})


def test_pairs_that_differ_in_more_than_the_last_turn_are_refused(lab):
    pair = {
        "chosen": [QUESTION, REPLY, QUESTION, REPLY],
        "rejected": [QUESTION, {**REPLY, "content": "5"}, QUESTION, REPLY],
    }
    with pytest.raises(
        DataError, match="chosen after the 1 turns that both begin with must be one assistant message"
    ):
        load(lab, [pair], columns={"chosen": "chosen", "rejected": "rejected"})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"columns": {"prompt": "p"}, "last_turn": "keep"}, "last_turn is about conversations"),
        (
            {"columns": {"messages": "m", "answer": "a"}, "last_turn": "answer"},
            "both last_turn and columns say",
        ),
        ({"columns": {"messages": "m"}, "extract": {"messages": "(x)"}}, "extract: 'messages' is no column"),
        ({"columns": {"messages": "m"}, "optional": ["messages"]}, "optional: 'messages' is no column"),
        ({"columns": {"chosen": "c"}}, "columns must say what the prompt is"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(lab, settings, message):
    (lab.path / "a.jsonl").write_text("{}\n")
    with pytest.raises(ValueError, match=message):
        lab.parse("dataset", path="a.jsonl", **settings)


def test_system_turn_goes_before_the_conversation(lab):
    rows = load(lab, [{"messages": [QUESTION]}], system="Be brief.")
    assert rows[0]["messages"] == [turn("system", "Be brief."), turn("user", "What is 2 + 2?")]
    with pytest.raises(DataError, match="begins with a system turn of its own"):
        load(lab, [{"messages": [{"role": "system", "content": "S"}, QUESTION]}], system="Be brief.")


def test_system_and_template_stand_around_prompts_of_text(lab):
    rows, columns = [{"q": "2 + 2", "context": "Numbers."}], {"prompt": "q", "context": "context"}
    (plain,) = load(lab, rows, columns=columns)
    (row,) = load(lab, rows, columns=columns, template="{context} {prompt} =")
    assert row["prompt"] == "Numbers. 2 + 2 =" and row["prompt_id"] == plain["prompt_id"]
    (row,) = load(lab, rows, columns=columns, template="{context} {prompt} =", system="S")
    assert (
        row["messages"] == [turn("system", "S"), turn("user", "Numbers. 2 + 2 =")]
        and row["prompt"] == "2 + 2"
    )
    with pytest.raises(
        ValueError, match="template: the rows have no column 'contex'. Did you mean 'context'"
    ):
        lab.parse("dataset", path="a.jsonl", columns=columns, template="{contex}")


def test_synthetic_prompts_take_system_and_template(lab):
    settings = {"length": [3, 5], "size": 4}
    plain = rows_of(lab.run("letter_sort", "tasks/train", **settings)[""])
    told = rows_of(
        lab.run("letter_sort", "tasks/train", **settings, system="Sort.", template="Letters: {prompt}")[""]
    )
    assert [row["prompt_id"] for row in told] == [row["prompt_id"] for row in plain]
    assert (
        told[0]["messages"][1]["content"] == f"Letters: {plain[0]['prompt']}"
        and told[0]["prompt"] == plain[0]["prompt"]
    )


def test_template_words_the_last_user_turn_of_a_conversation(lab):
    (row,) = load(
        lab, [{"messages": [QUESTION, REPLY, {**QUESTION, "content": "And 3?"}]}], template="Q: {prompt}"
    )
    assert [message["content"] for message in row["messages"]] == ["What is 2 + 2?", "4", "Q: And 3?"]


def test_settings_that_are_not_used_stay_out_of_the_identity(lab):
    (lab.path / "a.jsonl").write_text("{}\n")
    assert set(lab.parse("dataset", path="a.jsonl").identity()) == {
        "split",
        "path",
        "id",
        "revision",
        "name",
        "hub_split",
        "columns",
        "size",
    }
    assert set(lab.parse("letter_sort", length=[3, 5], size=4).identity()) == {"split", "size", "length"}
