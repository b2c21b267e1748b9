"""Open completions: no end is learnt or scored behind a completion that goes on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from lineal.components.trainers.ends import answers_with_ends
from lineal.engines.sampling.scoring import LikelihoodScorer
from lineal.engines.text.tokens import Open, Sampled, character_tokenizer, encode_pair, encode_prompt
from lineal.engines.training.job import Checkpoint, TrainingJob
from lineal.engines.training.settings import Example
from lineal.engines.training.train import train_sft
from lineal.errors import DataError, EngineError
from lineal.recipe.compute import Compute
from tests.unit.chat_models import FAMILIES, tokenizer_of
from tests.unit.lab import Lab, rows_of
from tests.unit.test_engines_conversations import ANSWER, conversation
from tests.unit.test_trainers_preference import LABELS, PAIRS, SHORT
from tests.unit.tiny_models import SETTINGS, put_model, tiny_model, weights, words


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("tiny") / "checkpoint")


def test_open_text_has_no_eos_and_sampled_ids_stay_as_they_are() -> None:
    tokenizer = character_tokenizer("ab>=")
    prompt, closed = encode_pair(tokenizer, "ab=", "a>", chat=False)
    assert closed[-1] == tokenizer.eos_token_id
    assert encode_pair(tokenizer, "ab=", Open("a>"), chat=False) == (prompt, closed[:-1])
    assert encode_pair(tokenizer, "ab=", Sampled("a>", tuple(closed[:-1])), chat=False) == (
        prompt,
        closed[:-1],
    )
    assert encode_pair(tokenizer, "ab=", "", chat=False)[1] == [tokenizer.eos_token_id]
    for nothing in (Open(""), Sampled("", ())):
        with pytest.raises(EngineError, match="1 of 1 are empty and open"):
            encode_pair(tokenizer, "ab=", nothing, chat=False)


@pytest.mark.parametrize("name", FAMILIES)
def test_open_answer_leaves_its_turn_open(name: str) -> None:
    tokenizer, talk = tokenizer_of(name), conversation(name, 3)
    prompt, closed = encode_pair(tokenizer, talk, ANSWER, chat=False)
    given, written = encode_pair(tokenizer, talk, Open(ANSWER), chat=False)
    assert given == prompt and written == closed[: len(written)] and len(written) < len(closed)
    assert tokenizer.decode(written).strip().endswith(ANSWER)


def test_ends_says_which_completions_go_on(tmp_path: Path) -> None:
    def ends(use: str, **settings: Any) -> Any:
        return Lab(tmp_path).parse(use, {"init": None, "rows": None}, steps=2, **settings)

    assert answers_with_ends(["a>", "b", "c~"], True) == ["a>", "b", "c~"]
    assert answers_with_ends(["a>", "b"], False) == [Open("a>"), Open("b")]
    for form in (">", [">"]):
        unless = ends("dpo", ends={"unless": form})
        assert answers_with_ends(["a>", "b", "c~"], unless.ends) == [Open("a>"), "b", "c~"]
        assert unless.identity()["ends"] == {"unless": [">"]}
    for use in ("dpo", "kto", "sft", "reward_model"):
        assert "ends" not in ends(use).identity() and ends(use, ends=False).identity()["ends"] is False
    for wrong in ({"unless": []}, {"unless": ""}, "no", {}):
        with pytest.raises(ValidationError):
            ends("sft", ends=wrong)
    with pytest.raises(ValidationError, match="target: messages learns whole turns, which end"):
        ends("sft", target="messages", ends=False)


@pytest.mark.model
def test_training_on_open_completions_counts_no_end_and_lets_the_model_go_on(
    checkpoint: Path, tmp_path: Path
) -> None:
    settings = replace(SETTINGS, steps=None, epochs=4.0, learning_rate=1e-2)
    texts = [(word + "=", word) for word in words(64)]
    tokens = sum(len(prompt) + len(text) + 1 for prompt, text in texts)
    closed = train_sft(
        TrainingJob(Checkpoint(checkpoint), settings, tmp_path / "closed"), [Example(*row) for row in texts]
    )
    opened = train_sft(
        TrainingJob(Checkpoint(checkpoint), settings, tmp_path / "open"),
        [Example(prompt, Open(text)) for prompt, text in texts],
    )
    assert (closed.tokens, opened.tokens) == (4 * (tokens + 64), 4 * tokens)

    def end(name: str) -> float:
        scorer = LikelihoodScorer(tmp_path / name, "cpu")
        whole, begun = (
            sum(one.logprob for one in scorer.score(rows))
            for rows in (texts, [(p, Open(t)) for p, t in texts])
        )
        return (whole - begun) / len(texts)

    assert end("closed") > end("open") + 1, "one learnt to end, the other not to"


@pytest.mark.model
def test_components_leave_the_end_out_where_they_are_told(checkpoint: Path, tmp_path: Path) -> None:
    lab = Lab(tmp_path, Compute(workers=1, device="cpu"))
    init = put_model(lab, "start/checkpoint", checkpoint)
    pairs, labelled = lab.put("round_01/pairs", PAIRS), lab.put("round_01/labelled", LABELS)
    for use, rows in (("dpo", pairs), ("kto", labelled), ("reward_model", pairs)):
        found = [
            weights(
                lab.run(use, f"round_01/{use}", {"rows": rows, "init": init}, ends=ends, **SHORT)[
                    ""
                ].directory
            )
            for ends in (True, {"unless": "="}, False)
        ]
        assert found[0] == found[1] != found[2], "no completion ends with ="
    scored = [
        [
            row["score"]
            for row in rows_of(
                lab.run("likelihood", "round_01/scored", {"rows": labelled, "scorer": init}, ends=e)[""]
            )
        ]
        for e in (True, False)
    ]
    assert all(closed < begun for closed, begun in zip(*scored, strict=True))


def test_steps_are_sampled_to_a_mark_and_the_next_goes_on_from_there(tmp_path: Path) -> None:
    lab = Lab(tmp_path, Compute(engine="fake", workers=1))
    base = lab.put("tasks/base", [{"prompt_id": "0", "prompt": "a=", "answer": "a"}])
    model = lab.run("pretrain", "start/checkpoint", {"rows": base}, steps=1)[""]
    prompts = lab.put(
        "tasks/train", [{"prompt_id": one, "prompt": f"{one}=", "answer": one} for one in ("dacb", "hfge")]
    )
    stop = {"texts": ["c", "g"], "keep": True}
    first = lab.run("sample", "round_01/step_1", {"model": model, "prompts": prompts}, samples=2, stop=stop)[
        ""
    ]
    begun = {row["sample_id"]: row for row in rows_of(first)}
    assert {row["completion"] for row in begun.values()} <= {"abc", "dc", "efg", "hg"}
    second = lab.run("continue", "round_01/step_2", {"model": model, "rows": first}, samples=2, stop=stop)[""]
    assert len({row["prompt_id"] for row in rows_of(second)}) == len(begun) == 4 and len(rows_of(second)) == 8
    for row in rows_of(second):
        (parent,) = row["parents"]
        assert (
            row["prompt"] == begun[parent]["prompt"] + begun[parent]["completion"]
            and row["answer"] == begun[parent]["answer"]
        )
    trained = lab.run(
        "sft", "round_01/checkpoint", {"init": model, "rows": second}, steps=1, ends={"unless": ["c", "g"]}
    )
    assert trained[""].manifest.counts["in"] == 8


def test_in_a_chat_the_next_step_goes_on_in_the_same_turn(tmp_path: Path) -> None:
    lab = Lab(tmp_path, Compute(engine="fake", workers=1))
    base = lab.put("tasks/base", [{"prompt_id": "0", "prompt": "a=", "answer": "a"}])
    model = lab.run("pretrain", "start/checkpoint", {"rows": base}, steps=1)[""]
    prompts = lab.put("tasks/train", [{"prompt_id": "1", "prompt": "dacb=", "answer": "abcd"}])
    made = lab.run("sample", "round_01/step_1", {"model": model, "prompts": prompts}, chat=True)[""]
    for number in (2, 3):
        (before,) = rows_of(made)
        made = lab.run("continue", f"round_01/step_{number}", {"model": model, "rows": made}, chat=True)[""]
        (row,) = rows_of(made)
        begun = "".join(turn["content"] for turn in (before.get("messages") or [])[1:]) + before["completion"]
        assert [(turn["role"], turn["content"]) for turn in row["messages"]] == [
            ("user", "dacb="),
            ("assistant", begun),
        ]
    with pytest.raises(DataError, match=r"last turn is the assistant's, .* continue it \(use: continue\)"):
        lab.run("sample", "round_01/again", {"model": model, "prompts": made})


@pytest.mark.parametrize("name", FAMILIES)
def test_answer_in_two_parts_is_the_answer_in_one(name: str) -> None:
    tokenizer, talk = tokenizer_of(name), conversation(name, 3)
    first, second = ANSWER[:10], ANSWER[10:]
    begun = talk.going_on(first)
    assert begun.going_on("!").turns[-1].content == first + "!" and len(begun.turns) == len(talk.turns) + 1
    prompt, whole = encode_pair(tokenizer, talk, ANSWER, chat=False)
    given, rest = encode_pair(tokenizer, begun, second, chat=False)
    asked, open_first = encode_pair(tokenizer, talk, Open(first), chat=False)
    assert encode_prompt(tokenizer, begun, chat=False) == given == asked + open_first
    assert tokenizer.decode(given + rest) == tokenizer.decode(prompt + whole) and rest[-1] == whole[-1]
