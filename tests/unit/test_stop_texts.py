"""Stop texts: the text that is complete first ends a completion, and what was drawn stays what is trained."""

from __future__ import annotations

import random
import string
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from lineal.components.generators.stopping import stop_texts
from lineal.data.ids import digest_of
from lineal.engines.fake import FakeSampler
from lineal.engines.sampling.sampler import Completion, Request, Sampler, SamplingSettings, settings_from
from lineal.engines.text.stop_texts import StopTexts, TextWatch, ids_of_text
from lineal.engines.text.tokens import decode_completions
from lineal.engines.training.job import Checkpoint, TrainingJob
from lineal.engines.training.settings import Example, TrainingSettings
from lineal.engines.training.train import initialise, train_sft
from lineal.errors import EngineError
from lineal.recipe.compute import Compute
from tests.unit.chat_models import tokenizer_of
from tests.unit.lab import Lab, rows_of
from tests.unit.test_judge import ROWS, checkpoint
from tests.unit.tiny_models import SHAPE, in_order, put_model, words

REQUESTS = [Request(word + "=", seed) for seed, word in enumerate(words(200, 5))]


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """A model that writes sorted letters and ends, more or less."""
    directory = tmp_path_factory.mktemp("stops")
    settings = TrainingSettings(steps=30, epochs=None, batch_size=16, learning_rate=1e-2, seed=0, threads=1)
    initialise(SHAPE, 0, directory / "init")
    train_sft(
        TrainingJob(Checkpoint(directory / "init"), settings, directory / "trained"),
        [Example(word + "=", in_order(word)) for word in words(256)],
    )
    return directory / "trained"


@pytest.fixture(scope="module")
def sampler(model) -> Sampler:
    return Sampler(model, device="cpu")


def settings(*texts: str, keep: bool = False) -> SamplingSettings:
    return SamplingSettings(max_tokens=12, stop=StopTexts(texts, keep) if texts else None)


@pytest.mark.parametrize(
    ("texts", "keep", "expected"),
    [
        (("b",), False, "a"),
        (("b",), True, "ab"),
        (("cb", "c"), True, "abc"),
        (("bcx", "cb"), True, "abcb"),
        (("a",), False, ""),
        (("bc", "c"), False, "a"),
        (("x",), True, None),
    ],
)
def test_text_that_is_complete_first_ends(texts: tuple[str, ...], keep: bool, expected: str | None) -> None:
    assert (
        StopTexts(texts, keep).ended("abcbcx" if expected else "abcb" if expected == "" else "abc")
        == expected
    )


@pytest.mark.model
@pytest.mark.parametrize("texts", [("m",), ("t", "j", "e"), ("ee", "am", "eg", "de", "jn", "da")])
def test_stopped_completion_is_the_beginning_of_the_one_without_stop(
    sampler: Sampler, texts: tuple[str, ...]
) -> None:
    whole, cut, kept = (
        sampler.sample(REQUESTS, each) for each in (settings(), settings(*texts), settings(*texts, keep=True))
    )
    stopped = 0
    for one, short, long in zip(whole, cut, kept, strict=True):
        ends = [one.text.find(text) + len(text) for text in texts if text in one.text]
        if not ends:
            assert one == short == long
            continue
        stopped += 1
        (end,) = {text for text in texts if one.text[: min(ends)].endswith(text)}
        assert (long.text, short.text) == (one.text[: min(ends)], one.text[: min(ends)].removesuffix(end))
        assert long.token_ids == one.token_ids[: long.tokens] and short.tokens == long.tokens, (
            "the stop text was drawn too"
        )
        assert short.token_ids == long.token_ids[: len(short.token_ids)]
        assert decode_completions(sampler._tokenizer, [long.token_ids, short.token_ids]) == [
            long.text,
            short.text,
        ]
        assert short.logprob == long.logprob >= one.logprob
        assert {short.finish_reason, long.finish_reason} == {"stop"}
    assert 10 < stopped < 190


@pytest.mark.model
def test_stops_do_not_depend_on_batch_size_or_neighbours(model: Path, sampler: Sampler) -> None:
    expected = sampler.sample(REQUESTS, settings("st", "m"))
    order = random.Random(0).sample(range(200), 200)
    other = Sampler(model, device="cpu", batch_size=1).sample(
        [REQUESTS[place] for place in order], settings("st", "m")
    )
    assert other == [expected[place] for place in order]


@pytest.mark.parametrize(
    ("family", "text", "stop", "tokens_hold_it"),
    [
        ("chatml", "hello world\nthere", "\n", True),
        ("chatml", "hello there, how are", "e, h", False),
        ("chatml", "a \N{SNOWMAN} b", "\N{SNOWMAN}", True),
        ("chatml", "The answer is 7.", "answer", True),
        ("mistral", "The answer is 7.", "answer", False),
        ("mistral", "a \N{SNOWMAN} b", "\N{SNOWMAN}", True),
        ("mistral", "hello  there", "  ", False),
    ],
)
def test_stop_text_that_spans_tokens_or_ends_inside_one(
    family: str, text: str, stop: str, tokens_hold_it: bool
) -> None:
    tokenizer = tokenizer_of(family)
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    watch = TextWatch(tokenizer, StopTexts((stop,), keep=True), [None, None])
    eos = tokenizer.eos_token_id
    ended = [place for place, token in enumerate(ids, start=1) if watch.add([0, 1], [eos, token]) == [1]]
    first = next(
        place for place in range(1, len(ids) + 1) if stop in decode_completions(tokenizer, [ids[:place]])[0]
    )
    assert (ended, watch.lengths) == ([first], {1: first})
    drawn = ids[:first]
    said = StopTexts((stop,), keep=True).ended(decode_completions(tokenizer, [drawn])[0])
    assert said == text[: text.index(stop) + len(stop)]
    kept = ids_of_text(tokenizer, drawn, said, None)
    assert (kept == drawn) == tokens_hold_it and (kept is None) != tokens_hold_it


def test_settings_without_stop_say_nothing_of_it_and_others_come_back() -> None:
    assert digest_of(SamplingSettings().described()) == digest_of(
        {"temperature": 1.0, "top_p": 1.0, "top_k": 0, "max_tokens": 64, "chat": False}
    )
    stopping = settings("a", "b", keep=True)
    assert (
        settings_from(stopping.described()) == stopping
        and settings_from(settings().described()) == settings()
    )
    with pytest.raises(EngineError, match="expected one or more texts"):
        settings("")


def test_fake_engine_stops_too() -> None:
    (_, one), *_ = FakeSampler().stream([Request("dacb=", 1)], settings("c"))
    assert one == Completion("ab", 3, "stop", -4.0)


def asked(tmp_path: Path, use: str = "ask", **settings: Any) -> list[dict[str, Any]]:
    lab = Lab(tmp_path, Compute(engine="fake", workers=1))
    inputs = {"model": checkpoint(lab), "rows": lab.put("round_01/generated", ROWS)}
    return rows_of(lab.run(use, "round_01/asked", inputs, template="{completion}", **settings)[""])


def test_a_text_a_list_and_the_long_form_are_one_setting(tmp_path: Path) -> None:
    component = Lab(tmp_path).parse("sample", {"model": None, "prompts": None})
    assert "stop" not in component.identity()
    forms = ["b", ["b"], {"texts": ["b"]}]
    found = [
        Lab(tmp_path).parse("sample", {"model": None, "prompts": None}, stop=form).identity()
        for form in forms
    ]
    assert found == [{**component.identity(), "stop": {"texts": ["b"], "keep": False}}] * 3
    for wrong in ("", [], [""], 3, {"keep": True}):
        with pytest.raises(ValidationError):
            Lab(tmp_path).parse("sample", {"model": None, "prompts": None}, stop=wrong)
    assert stop_texts(None) is None


def test_asked_rows_are_stopped_and_get_ids_of_their_own(tmp_path: Path) -> None:
    plain, stopped = asked(tmp_path / "plain"), asked(tmp_path / "stopped", stop="b")
    assert [row["completion"].partition("b")[0] for row in plain] == [row["completion"] for row in stopped]
    assert not {row["sample_id"] for row in plain} & {row["sample_id"] for row in stopped}


@pytest.mark.model
def test_accuracy_judges_what_stands_before_the_stop_text(tmp_path: Path, model: Path) -> None:
    lab = Lab(tmp_path, Compute(workers=1, device="cpu"))
    letters = string.ascii_lowercase
    prompts = [{"prompt_id": one, "prompt": f"{one}=", "answer": ""} for one in letters]
    inputs = {"model": put_model(lab, "start/checkpoint", model), "prompts": lab.put("tasks/train", prompts)}
    rows = rows_of(lab.run("accuracy", "round_01/evaluation", inputs, max_tokens=8, stop=list(letters))[""])
    assert {row["completion"] for row in rows} <= {"", "="} and {row["finish_reason"] for row in rows} == {
        "stop"
    }
