"""Rows with `messages`: sampled, kept, learnt, scored, and loaded by others."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from lineal.audit.catalog import Catalog
from lineal.audit.show.rendered import rendered
from lineal.data.conversations import Conversation, Turn, conversation_of, prompt_of
from lineal.data.store import Rows
from lineal.engines.endpoints.address import Address
from lineal.engines.endpoints.messages import body_of, path_of, require_sayable
from lineal.engines.sampling.sampler import Request, Sampler, SamplingSettings
from lineal.engines.sampling.scoring import LikelihoodScorer
from lineal.engines.text.tokens import (
    Sampled,
    encode_conversations,
    encode_pair,
    encode_prompt,
    load_tokenizer,
)
from lineal.engines.training.job import Checkpoint, TrainingJob
from lineal.engines.training.settings import Example, TrainingSettings
from lineal.engines.training.train import train_sft
from lineal.engines.vllm.sampler import VllmSampler
from lineal.errors import DataError, EngineError, UsageError
from lineal.recipe.compute import Compute, Endpoint, VllmCompute
from tests.unit.chat_models import chat_model, tokenizer_of
from tests.unit.lab import Lab, rows_of
from tests.unit.tiny_models import put_model, weights

SHORT = {"steps": 2, "batch_size": 4, "threads": 1}
SYSTEM = {"role": "system", "content": "Answer with a number.", "tool_calls": None, "name": None}
TALKS = [
    [SYSTEM, {"role": "user", "content": f"What is {one} plus 4?", "tool_calls": None, "name": None}]
    for one in range(4)
]
PROMPTS = [
    {"prompt_id": f"p{place}", "prompt": f"{place}+4", "messages": talk, "answer": "7"}
    for place, talk in enumerate(TALKS)
]
ROWS = [
    {
        "sample_id": f"s{place}",
        **row,
        "completion": "hello",
        "label": place % 2 == 0,
        "chosen": "hello",
        "rejected": "The answer",
    }
    for place, row in enumerate(PROMPTS)
]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return chat_model(tmp_path_factory.mktemp("chat") / "checkpoint", "chatml_endoftext")


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


@pytest.mark.model
def test_samples_carry_the_conversation_and_the_drawn_tokens(lab: Lab, checkpoint: Path) -> None:
    model, settings = (
        put_model(lab, "start/checkpoint", checkpoint),
        {"samples": 8, "max_tokens": 6, "token_ids": True},
    )
    mixed = [*PROMPTS[:2], PROMPTS[2] | {"messages": None, "prompt": "hello"}]
    rows = rows_of(
        lab.run(
            "sample",
            "round_01/generated",
            {"model": model, "prompts": lab.put("tasks/train", mixed)},
            **settings,
        )[""]
    )
    tokenizer = load_tokenizer(checkpoint)
    assert [row["messages"] for row in rows[::8]] == [TALKS[0], TALKS[1], None]
    assert {row["prompt"] for row in rows} == {"0+4", "1+4", "hello"}
    assert [tokenizer.decode(row["token_ids"], skip_special_tokens=True) for row in rows] == [
        row["completion"] for row in rows
    ]
    assert [len(row["token_ids"]) for row in rows] == [row["tokens"] for row in rows]
    plain = rows_of(
        lab.run(
            "sample",
            "round_01/generated",
            {"model": model, "prompts": lab.put("tasks/train", mixed)},
            samples=8,
            max_tokens=6,
        )[""]
    )
    assert plain == [{name: value for name, value in row.items() if name != "token_ids"} for row in rows]


@pytest.mark.model
def test_another_conversation_under_the_same_prompt_id_has_other_samples(lab: Lab) -> None:
    from lineal.engines.fake import write_fake_checkpoint
    from lineal.recipe.references import ArtifactKind

    lab = Lab(lab.path, Compute(engine="fake", workers=1))
    workspace = lab._workspace("start/checkpoint", {})
    write_fake_checkpoint(workspace.directory(), "base")
    model = lab._publish(workspace, "", ArtifactKind.MODEL)

    def ids(prompts: list[dict[str, Any]]) -> list[str]:
        inputs = {"model": model, "prompts": lab.put("tasks/train", prompts)}
        return [row["sample_id"] for row in rows_of(lab.run("sample", "round_01/generated", inputs)[""])]

    other = [row | {"messages": row["messages"][1:]} for row in PROMPTS]
    text = [{name: value for name, value in row.items() if name != "messages"} for row in PROMPTS]
    assert len({*ids(PROMPTS), *ids(other), *ids(text)}) == 12
    assert ids([row | {"messages": None} for row in PROMPTS]) == ids(text)


@pytest.fixture(scope="module")
def trained(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that answers the first conversation with `hello`."""
    made = tmp_path_factory.mktemp("trained") / "checkpoint"
    settings = TrainingSettings(steps=25, epochs=None, batch_size=4, learning_rate=2e-2, seed=7, threads=1)
    train_sft(
        TrainingJob(Checkpoint(checkpoint), settings, made), [Example(conversation_of(TALKS[0]), "hello")] * 4
    )
    return made


@pytest.mark.model
def test_the_end_of_a_turn_is_learnt_and_ends_a_completion(trained: Path) -> None:
    """With another eos than the template's end of a turn, as in the base models of Qwen."""
    talk, tokenizer = conversation_of(TALKS[0]), load_tokenizer(trained)
    (found,) = Sampler(trained, "cpu").sample(
        [Request(talk, 1)], SamplingSettings(temperature=0, max_tokens=8)
    )
    assert (found.text, found.finish_reason) == ("hello", "stop")
    assert found.token_ids == encode_pair(tokenizer, talk, "hello", chat=False)[1]
    assert tokenizer.convert_ids_to_tokens(found.token_ids[-1:]) == ["<|im_end|>"]
    assert tokenizer.eos_token == "<|endoftext|>"  # noqa: S105 - no password


@pytest.mark.model
def test_the_end_of_a_turn_ends_rollouts_and_the_model_stays_as_it_declares(lab: Lab, trained: Path) -> None:
    inputs = {
        "prompts": lab.put("tasks/train", PROMPTS[:1]),
        "init": put_model(lab, "start/checkpoint", trained),
    }
    settings = {
        "rewards": {"right": "exact_match"},
        "samples": 4,
        "max_tokens": 8,
        "temperature": 0.01,
        **SHORT,
    }
    made = lab.run("grpo", "round_01/checkpoint", inputs, **settings)
    assert {(row["completion"], row["finish_reason"]) for row in rows_of(made["rollouts"])} == {
        ("hello", "stop")
    }
    before, after = (
        json.loads((path / "generation_config.json").read_text()) for path in (trained, made[""].directory)
    )
    assert before["eos_token_id"] == after["eos_token_id"] == load_tokenizer(trained).eos_token_id


@pytest.mark.model
def test_vllm_is_told_where_each_request_stops(checkpoint: Path, tmp_path: Path) -> None:
    engine = VllmSampler(checkpoint, VllmCompute(python=sys.executable), tmp_path / "vllm.log")
    tokenizer, talk = load_tokenizer(checkpoint), conversation_of(TALKS[0])
    asked, settings = [Request(talk, 1), Request("hello", 2)], SamplingSettings(max_tokens=4)
    message = engine._message(asked, engine._model.encode(asked, settings.chat), settings)
    end, eos = tokenizer.convert_tokens_to_ids("<|im_end|>"), tokenizer.eos_token_id
    assert [stops for _, _, stops in message["draws"]] == [sorted([eos, end]), [eos]]
    assert message["prompts"] == [encode_prompt(tokenizer, prompt, chat=False) for prompt in (talk, "hello")]


def test_selection_passes_conversations_on(lab: Lab) -> None:
    rows = [row | {"token_ids": [1, 2]} for row in ROWS]
    kept = rows_of(
        lab.run("select", "round_01/kept", {"rows": lab.put("round_01/rows", rows)}, sql="keep_all")[""]
    )
    assert [(row["messages"], row["token_ids"]) for row in kept] == [
        (row["messages"], row["token_ids"]) for row in rows
    ]


@pytest.mark.model
@pytest.mark.parametrize(
    ("use", "settings"),
    [
        ("sft", {}),
        ("sft", {"target": "messages"}),
        ("dpo", {}),
        ("kto", {}),
        ("reward_model", {}),
        ("grpo", {"rewards": {"right": "exact_match"}, "samples": 2, "max_tokens": 4}),
    ],
)
def test_trainers_learn_from_conversations(
    lab: Lab, checkpoint: Path, use: str, settings: dict[str, Any]
) -> None:
    answer = {"role": "assistant", "content": "hello", "tool_calls": None, "name": None}
    rows = (
        [row | {"messages": [*row["messages"], answer]} for row in ROWS] if settings.get("target") else ROWS
    )
    field = "prompts" if use == "grpo" else "rows"
    inputs = {field: lab.put("round_01/rows", rows), "init": put_model(lab, "start/checkpoint", checkpoint)}
    made = lab.run(use, "round_01/checkpoint", inputs, **SHORT, **settings)
    if use != "grpo":
        assert weights(made[""].directory) != weights(checkpoint)
    else:
        assert {row["messages"][1]["content"] for row in rows_of(made["rollouts"])} <= {
            talk[1]["content"] for talk in TALKS
        }


@pytest.mark.model
def test_conversations_are_scored_as_they_are_learnt(lab: Lab, checkpoint: Path) -> None:
    scorer = put_model(lab, "start/checkpoint", checkpoint)
    bare = [{name: value for name, value in row.items() if name != "messages"} for row in ROWS]

    def scores(rows: list[dict[str, Any]]) -> list[float]:
        inputs = {"rows": lab.put("round_01/rows", rows), "scorer": scorer}
        return [row["score"] for row in rows_of(lab.run("likelihood", "round_01/scored", inputs)[""])]

    pairs = [(conversation_of(row["messages"]), row["completion"]) for row in ROWS]
    assert scores(ROWS) == [found.logprob for found in LikelihoodScorer(checkpoint, "cpu").score(pairs)]
    assert scores(ROWS) != scores(bare)


@pytest.mark.model
def test_sampled_tokens_are_learnt_instead_of_the_text(lab: Lab, checkpoint: Path) -> None:
    tokenizer, init = load_tokenizer(checkpoint), put_model(lab, "start/checkpoint", checkpoint)
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    letters = [tokenizer.convert_tokens_to_ids(letter) for letter in "hello"]
    joined = encode_pair(tokenizer, conversation_of(TALKS[0]), "hello", chat=False)[1]

    def trained(ids: list[int] | None) -> str:
        rows = [row if ids is None else row | {"token_ids": ids} for row in ROWS]
        inputs = {"rows": lab.put("round_01/rows", rows), "init": init}
        return weights(lab.run("sft", "round_01/checkpoint", inputs, **SHORT)[""].directory)

    assert trained(None) == trained(joined) != trained([*letters, end])
    assert Sampled("hello", tuple(joined)) == Sampled("hello", tuple(joined))


@pytest.mark.model
def test_rows_load_in_datasets_and_train_in_trl_with_the_same_labels(
    lab: Lab, checkpoint: Path, tmp_path: Path
) -> None:
    from datasets import load_dataset
    from transformers import AutoModelForCausalLM
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer

    tokenizer = load_tokenizer(checkpoint)
    answer = {"role": "assistant", "content": "hello", "tool_calls": None, "name": None}
    put = lab.put("round_01/rows", [row | {"messages": [*row["messages"], answer]} for row in ROWS])
    loaded = load_dataset(
        "parquet",
        data_files=[str(path) for path in Rows((put,)).paths()],
        split="train",
        cache_dir=str(tmp_path / "hf"),
    )
    arguments = SFTConfig(
        output_dir=str(tmp_path / "out"),
        assistant_only_loss=True,
        max_steps=1,
        report_to="none",
        use_cpu=True,
        max_length=None,
        per_device_train_batch_size=4,
        save_strategy="no",
        disable_tqdm=True,
        activation_checkpointing=False,
    )
    model = AutoModelForCausalLM.from_pretrained(str(checkpoint))
    trainer = SFTTrainer(
        model=model,
        args=arguments,
        train_dataset=loaded.select_columns(["messages"]),
        processing_class=tokenizer,
    )
    batch = trainer.data_collator([trainer.train_dataset[0]])
    ids, written = encode_conversations(tokenizer, [conversation_of(loaded[0]["messages"])])[0]
    assert batch["input_ids"][0].tolist() == ids
    assert batch["labels"][0].tolist() == [
        token if own else -100 for token, own in zip(ids, written, strict=True)
    ]
    trainer.train()


def test_made_pairs_keep_the_conversation_of_their_prompt(lab: Lab) -> None:
    judged = [
        row | {"sample_id": f"{row['sample_id']}-{verdict}", "completion": verdict, "verdict": verdict}
        for row in ROWS[:2]
        for verdict in ("pass", "fail")
    ]
    inputs = {"rows": lab.put("round_01/rows", judged)}
    pairs = rows_of(lab.run("select", "round_01/pairs", inputs, sql="correct_against_incorrect")[""])
    assert [(row["prompt_id"], row["messages"]) for row in pairs] == [("p0", TALKS[0]), ("p1", TALKS[1])]


def test_made_rows_with_another_prompt_or_completion_keep_nothing_of_the_old_one(lab: Lab) -> None:
    lab.selector(
        "shouted",
        """-- summary: Prompts and completions in capitals for the first row, as they are for the others.
-- needs: prompt_id, prompt, completion
-- makes rows: prompt_id, prompt, completion
SELECT [row_id] AS parents, prompt_id, CASE WHEN prompt_id = 'p0' THEN upper(prompt) || '!' ELSE prompt END AS prompt,
    CASE WHEN prompt_id = 'p0' THEN upper(completion) ELSE completion END AS completion FROM rows
""",
    )
    rows = lab.put("round_01/rows", [row | {"token_ids": [1, 2]} for row in ROWS])
    made = rows_of(lab.run("select", "round_01/made", {"rows": rows}, sql="shouted")[""])
    found = {row["prompt_id"]: (row["messages"], row["token_ids"]) for row in made}
    assert found == {"p0": (None, None)} | {f"p{place}": (TALKS[place], [1, 2]) for place in (1, 2, 3)}


@pytest.mark.parametrize("answers", [("completion",), ("chosen", "rejected"), ()])
def test_turns_of_a_row_are_a_prompt_of_trl(answers: tuple[str, ...]) -> None:
    """As docs/conversations.md puts rows together for SFT and KTO, for DPO and for GRPO."""
    from trl.data_utils import apply_chat_template, is_conversational

    tokenizer, row = tokenizer_of("chatml_endoftext"), ROWS[1]
    example = {"prompt": row["messages"]} | {
        name: [{"role": "assistant", "content": row[name]}] for name in answers
    }
    assert is_conversational(example)
    told = apply_chat_template(example, tokenizer)
    talk = conversation_of(row["messages"])
    assert tokenizer(told["prompt"])["input_ids"] == encode_prompt(tokenizer, talk, chat=False)
    for name in answers:
        _, ids = encode_pair(tokenizer, talk, str(row[name]), chat=False)
        assert tokenizer(told[name])["input_ids"][: len(ids)] == ids


def test_endpoint_is_sent_the_messages_the_tools_and_calls_with_ids() -> None:
    calls = json.dumps([{"function": {"name": "add", "arguments": {"one": 3}}}])
    tools = json.dumps([{"type": "function", "function": {"name": "add"}}])
    talk = Conversation(
        (Turn("user", "?"), Turn("assistant", "", calls), Turn("tool", "7", name="add")), tools
    )
    address = Address("compute.endpoints.judge", Endpoint(url="http://127.0.0.1:1/v1"), "big", "Start it")
    request, settings = Request(talk, 1), SamplingSettings()
    body = body_of(address, request, settings)
    call = {"id": "call_1_0", "type": "function", "function": {"name": "add", "arguments": '{"one": 3}'}}
    assert body["messages"] == [
        {"role": "user", "content": "?"},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "7", "name": "add", "tool_call_id": "call_1_0"},
    ]
    assert body["tools"] == json.loads(tools)
    assert path_of(request, settings) == "chat/completions"
    assert path_of(Request("?", 1), settings) == "completions"


def test_endpoint_with_a_system_prompt_refuses_a_conversation_with_another() -> None:
    address = Address(
        "compute.endpoints.judge", Endpoint(url="http://127.0.0.1:1/v1"), "big", "Start it", system="Grade."
    )
    with pytest.raises(
        EngineError, match=r"big has a system prompt, and so has the conversation 'What is 0 plus 4\?'"
    ):
        require_sayable(address, [Request(conversation_of(TALKS[0]), 1)], SamplingSettings())
    require_sayable(address, [Request(conversation_of(TALKS[0][1:]), 1)], SamplingSettings())


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        ([], "got 0 turns"),
        (
            [{"role": "human", "content": "?"}],
            r"messages\[0\]\.role: got 'human', expected one of system, user, assistant, tool",
        ),
        ([{"role": "user", "content": None}], r"messages\[0\]\.content: got null"),
        (
            [{"role": "assistant", "content": None, "tool_calls": "[[]]"}],
            r"tool_calls: got '\[\[\]\]', expected a JSON list",
        ),
        ([{"role": "assistant", "content": "", "tool_calls": "{"}], r"expected JSON"),
    ],
)
def test_messages_that_are_no_conversation_name_row_and_turn(
    messages: list[dict[str, Any]], words: str
) -> None:
    with pytest.raises(DataError, match=rf"row p7: .*{words}"):
        prompt_of({"prompt_id": "p7", "prompt": "?", "messages": messages})


@pytest.mark.model
def test_conversation_longer_than_the_model_is_an_error(checkpoint: Path) -> None:
    talk = Conversation((Turn("user", "hello " * 300),))
    with pytest.raises(
        EngineError, match=r"prompt 'hello hello .* has \d+ tokens, with max_tokens 4 .*256 positions"
    ):
        Sampler(checkpoint, "cpu").sample([Request(talk, 1)], SamplingSettings(max_tokens=4))


@pytest.mark.model
def test_show_rendered_tells_control_tokens_from_texts_that_spell_them(lab: Lab, checkpoint: Path) -> None:
    model = put_model(lab, "start/checkpoint", checkpoint)
    spelled = [PROMPTS[0], {"prompt_id": "p9", "prompt": "a<|im_end|>", "messages": None, "answer": "7"}]
    made = lab.run(
        "sample",
        "round_01/generated",
        {"model": model, "prompts": lab.put("tasks/train", spelled)},
        max_tokens=2,
    )[""]
    talk, text = rendered(Catalog({each.key: each for each in (model, made)}), made, rows_of(made))
    assert talk.text == (
        "⟦<|im_start|>⟧system\nAnswer with a number.⟦<|im_end|>⟧\n⟦<|im_start|>⟧user\nWhat is 0 plus 4?⟦<|im_end|>⟧\n"
        "⟦<|im_start|>⟧assistant\n"
    )
    assert talk.tokens == len(
        encode_prompt(load_tokenizer(checkpoint), conversation_of(TALKS[0]), chat=False)
    )
    assert text.text == "a<|im_end|>"
    assert talk.as_text().startswith(
        f"{talk.row}  {talk.tokens} tokens, read by p/start/checkpoint\n  ⟦<|im_start|>⟧system\n"
    )


def test_show_rendered_of_what_no_model_drew_says_so(lab: Lab) -> None:
    prompts = lab.put("tasks/train", PROMPTS)
    with pytest.raises(
        UsageError, match=r"p/tasks/train: --rendered shows what a model was given.*they name no checkpoint"
    ):
        rendered(Catalog({prompts.key: prompts}), prompts, rows_of(prompts))
    drawn = lab.put("round_01/generated", [row | {"checkpoint": "0" * 64} for row in ROWS])
    with pytest.raises(UsageError, match="drawn by the checkpoint 000000000000, which is not here"):
        rendered(Catalog({drawn.key: drawn}), drawn, rows_of(drawn))
