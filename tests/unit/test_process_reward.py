"""Process reward models: what they learn of steps, that they say of a step what they say of its beginning, and who uses them."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import accumulate
from pathlib import Path

import pytest

from lineal.data.steps import steps_of
from lineal.engines.sampling.scoring import RewardScorer
from lineal.engines.sampling.step_scoring import StepScorer, encode_steps
from lineal.engines.text.tokens import Open, encode_pair, load_tokenizer
from lineal.engines.training.job import Checkpoint, TrainingJob
from lineal.engines.training.process_training import Chain, Rated, chains_of, train_process_reward
from lineal.errors import DataError
from lineal.recipe.compute import Compute
from tests.unit.chat_models import FAMILIES, tokenizer_of
from tests.unit.lab import Lab, evaluated, rows_of
from tests.unit.test_engines_conversations import conversation
from tests.unit.tiny_models import SETTINGS, in_order, put_model, tiny_model, weights, words

MARK = "="
ROWS = [(f"{word}=", f"{word}={in_order(word)}={word[0]}") for word in dict.fromkeys(words(40))]
"""A prompt, and three steps: the word itself, its letters in order, and a last step that nothing ends."""


def test_rated_steps_are_put_into_as_few_texts_as_hold_them() -> None:
    rows = [
        Rated("p", "a=", 1.0),
        Rated("p", "a=b", 0.5),
        Rated("p", "a=c=", 0.0),
        Rated("p", "a=", 0.0),
        Rated("q", "a=", 0.25),
    ]
    assert chains_of(rows, MARK) == [
        Chain("p", "a=b", {0: 0.5, 1: 0.5}),
        Chain("p", "a=c=", {1: 0.0}),
        Chain("q", "a=", {0: 0.25}),
    ]
    assert chains_of([Rated("p", "a=b=", 1.0)], MARK) == [Chain("p", "a=b=", {1: 1.0})], (
        "nothing is known of the first step"
    )


@pytest.mark.parametrize("name", FAMILIES)
def test_steps_are_encoded_as_they_are_sampled_one_after_another(name: str) -> None:
    tokenizer, talk, steps = tokenizer_of(name), conversation(name, 3), ["One.\n", "Two, too.\n", "Three"]
    prompt, written, ends = encode_steps(tokenizer, [(talk, "".join(steps))], "\n", False)[0]
    assert prompt == encode_pair(tokenizer, talk, "x", False)[0] and len(ends) == 3
    first = encode_pair(tokenizer, talk, Open(steps[0]), False)[1]
    second = encode_pair(tokenizer, talk.going_on(steps[0]), Open(steps[1]), False)[1]
    last = encode_pair(tokenizer, talk.going_on(steps[0] + steps[1]), steps[2], False)[1]
    assert written == first + second + last
    assert [end - len(prompt) + 1 for end in ends] == list(accumulate(map(len, (first, second, last))))


@pytest.fixture(scope="module")
def scorer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that learnt which steps hold an e."""
    home = tmp_path_factory.mktemp("process")
    rated = [
        Rated(prompt, begun, float("e" in last)) for prompt, text in ROWS for begun, last in _beginnings(text)
    ]
    settings = replace(SETTINGS, steps=80, batch_size=16, learning_rate=1e-2)
    for name in ("one", "two"):
        train_process_reward(
            TrainingJob(Checkpoint(tiny_model(home / f"init-{name}")), settings, home / name), rated, MARK
        )
    assert weights(home / "one") == weights(home / "two")
    return home / "one"


def _beginnings(text: str) -> list[tuple[str, str]]:
    steps = steps_of(text, MARK)
    return list(zip(accumulate(steps), steps, strict=True))


@pytest.mark.model
def test_model_learns_what_steps_are_good(scorer: Path) -> None:
    told = StepScorer(scorer, "cpu").score_steps(ROWS, MARK)
    right = [
        (score > 0.5) == ("e" in step)
        for (_, text), own in zip(ROWS, told, strict=True)
        for score, step in zip(own, steps_of(text, MARK), strict=True)
    ]
    assert len(right) == 3 * len(ROWS) and sum(right) > 0.85 * len(right)


@pytest.mark.model
def test_step_is_scored_as_its_beginning_alone_and_whatever_stands_beside_it(scorer: Path) -> None:
    model, alone = StepScorer(scorer, "cpu"), RewardScorer(scorer, "cpu")
    together = model.score_steps(ROWS, MARK)
    for (prompt, text), told in list(zip(ROWS, together, strict=True))[:8]:
        beginnings = [Open(begun) if begun.endswith(MARK) else begun for begun, _ in _beginnings(text)]
        logits = alone.score([(prompt, one) for one in beginnings])
        assert told == pytest.approx([1 / (1 + math.exp(-logit)) for logit in logits], abs=1e-6)
    assert model.score_steps(ROWS[::-1], MARK)[::-1] == together
    assert [model.score_steps([row], MARK)[0] for row in ROWS[:3]] == together[:3]
    ids, written, ends = encode_steps(load_tokenizer(scorer), [("ab=", "a=")], MARK, False)[0]
    assert (len(written), ends) == (2, [len(ids) + 1]), "what a separator ends goes on"


@pytest.mark.model
def test_components_train_on_steps_and_score_with_what_they_learnt(tmp_path: Path) -> None:
    lab = Lab(tmp_path, Compute(workers=1, device="cpu"))
    init = put_model(lab, "start/checkpoint", tiny_model(tmp_path / "tiny"))
    rows = [
        {
            "sample_id": f"{place}-{number}",
            "prompt_id": prompt,
            "prompt": prompt,
            "prefix": begun[: -len(step)],
            "completion": step,
            "value": None if number == 2 else 0.5,
        }
        for place, (prompt, text) in enumerate(ROWS[:8])
        for number, (begun, step) in enumerate(_beginnings(text))
    ]
    steps = lab.put("round_01/steps", rows)
    made = lab.run(
        "process_reward_model",
        "round_01/prm",
        {"rows": steps, "init": init},
        steps=2,
        batch_size=4,
        separator=MARK,
    )[""]
    assert lab.counts == {"in": 24, "without a value": 8}
    whole = lab.put(
        "round_01/rows", [{"sample_id": t, "prompt_id": p, "prompt": p, "completion": t} for p, t in ROWS[:8]]
    )
    for by, reduce in (
        ("min", min),
        ("last", lambda own: own[-1]),
        ("product", math.prod),
        ("mean", lambda own: sum(own) / 3),
    ):
        scored = rows_of(
            lab.run("process_reward", "round_01/s", {"rows": whole, "scorer": made}, by=by, separator=MARK)[
                ""
            ]
        )
        assert all(
            len(row["step_scores"]) == 3 and row["score"] == pytest.approx(reduce(row["step_scores"]))
            for row in scored
        )
    of_steps = rows_of(
        lab.run("process_reward", "round_01/s", {"rows": steps, "scorer": made}, separator=MARK, by="last")[
            ""
        ]
    )
    assert [row["score"] for row in of_steps if row["sample_id"].endswith("-2")] == pytest.approx(
        [row["step_scores"][-1] for row in scored]
    )
    rewarded = lab.run("reward", "round_01/r", {"rows": whole, "scorer": made})[""]
    assert [1 / (1 + math.exp(-row["score"])) for row in rows_of(rewarded)] == pytest.approx(
        [row["step_scores"][-1] for row in scored]
    )


@pytest.mark.parametrize(
    ("value", "message"),
    [(None, "none of 1 rows has a 'value' to learn"), (1.5, "1 values in 'value' are not from 0 to 1")],
)
def test_process_reward_model_refuses_what_is_no_value(
    tmp_path: Path, value: float | None, message: str
) -> None:
    lab = Lab(tmp_path, Compute(engine="fake", workers=1))
    row = {
        "sample_id": "s",
        "prompt_id": "p",
        "prompt": "p",
        "prefix": "",
        "completion": "a\n",
        "value": value,
    }
    rows = lab.put("round_01/steps", [row, {**row, "sample_id": "t", "value": 1.0}] if value else [row])
    with pytest.raises(DataError, match=message):
        lab.run("process_reward_model", "round_01/prm", {"rows": rows, "init": rows}, steps=1)


def test_best_of_n_and_grpo_take_process_rewards(tmp_path: Path) -> None:
    """The fake process reward finds shorter steps better, and every second of the fake sampler's completions is in order."""
    lab = Lab(tmp_path, Compute(engine="fake", workers=1))
    prompts = lab.put(
        "tasks/test", [{"prompt_id": p, "prompt": p, "answer": in_order(p[:-1])} for p, _ in ROWS[:6]]
    )
    inputs = {"model": prompts, "scorer": prompts, "prompts": prompts}
    found = lab.run(
        "best_of_n",
        "round_01/b",
        inputs,
        samples=4,
        max_tokens=9,
        score_by="process_reward",
        steps={"by": "last"},
    )[""]
    assert {row["scorer_score"] for row in rows_of(found)} <= {
        1 / (1 + len(p[:-1])) for p, _ in ROWS[:6]
    } and evaluated(found)["prompts"] == 6
    with pytest.raises(ValueError, match="steps is about score_by: process_reward"):
        lab.parse("best_of_n", inputs, samples=4, steps={"by": "last"})
    inputs = {"init": prompts, "prompts": prompts, "rewards.steps.scorer": prompts}
    rewards = {"steps": {"use": "process_reward", "scorer": "start.prm", "by": "min"}}
    made = lab.run("grpo", "round_01/g", inputs, rewards=rewards, samples=2, steps=1, max_tokens=9)[
        "rollouts"
    ]
    assert all(row["score"] == pytest.approx(1 / (1 + len(row["completion"]))) for row in rows_of(made))
