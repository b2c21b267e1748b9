"""Engines of packages: equal texts to the reference engine's, and what happens when one misbehaves."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import pydantic
import pytest
import torch

from lineal.engines.sampling.sampler import Request, Sampler, SamplingSettings
from lineal.engines.sampling.token_engine import TokenEngine, engine_class
from lineal.engines.text.stop_texts import StopTexts
from lineal.errors import EngineError
from lineal.recipe import plugins
from lineal.recipe.compute import Compute

from .tiny_models import tiny_model

pytestmark = pytest.mark.model


class Greedy(TokenEngine):
    """The likeliest token each time, by whole forward passes; answers the last request first."""

    def load(self, checkpoint: Path, base: Path | None, device: str, *, steps: int = 1000) -> None:
        from transformers import AutoModelForCausalLM

        self.model, self.steps = AutoModelForCausalLM.from_pretrained(checkpoint), steps

    def draw(self, requests, settings):
        for place in reversed(range(len(requests))):
            ids, total = list(requests[place].prompt_ids), 0.0
            drawn = []
            while not drawn or (
                drawn[-1] not in requests[place].end_ids and len(drawn) < settings.max_tokens
            ):
                with torch.no_grad():
                    told = self.model(torch.tensor([ids + drawn])).logits[0, -1].log_softmax(-1)
                told[self.never_ids] = -torch.inf
                drawn.append(int(told.argmax()))
                total += float(told.max())
            yield place, drawn, total


class Broken(Greedy):
    """Gives what it is told to give."""

    answers: tuple = ()

    def draw(self, requests, settings):
        yield from self.answers


class Drawless(TokenEngine):
    """Lacks `draw`."""

    def load(self, checkpoint, base, device):
        pass


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("engine") / "model")


REQUESTS = [Request("dcba=", 1), Request("x=", 2), Request("dcba=", 3)]


@pytest.mark.parametrize("stop", [None, "a"])
def test_engine_of_a_package_gives_the_texts_and_probabilities_of_the_reference_engine(checkpoint, stop):
    settings = SamplingSettings(
        temperature=0.0, max_tokens=12, stop=None if stop is None else StopTexts((stop,))
    )
    own = Greedy(checkpoint, None, "cpu", {"steps": 3})
    found = list(own.stream(REQUESTS, settings))
    assert [place for place, _ in found] == [2, 1, 0] and own.steps == 3
    expected = Sampler(checkpoint, "cpu").sample(REQUESTS, settings)
    for place, one in found:
        assert (one.text, one.finish_reason) == (expected[place].text, expected[place].finish_reason)
        if stop is None:
            assert one.token_ids == expected[place].token_ids and one.logprob == pytest.approx(
                expected[place].logprob, abs=1e-4
            )


END = 2
"""The id of the tiny model's end token; 5, 6 and 7 are letters."""


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        (((5, [END], 0.0),), "answered request 5, which was not asked"),
        (
            ((0, [END], 0.0), (0, [END], 0.0)),
            "answered request 0, which was not asked or is answered already",
        ),
        (((0, [], 0.0),), "drew 0 tokens for request 0, expected 1 to 4"),
        (((0, [5] * 5, 0.0),), "drew 5 tokens"),
        (((0, [END], 0.0),), "left 2 of 3 requests unanswered"),
        (
            ((0, [5, 6, 7], -1.0),),
            "drew 3 tokens without an end for request 0; expected one of its `end_ids` .*, or 4",
        ),
        (((0, [5, END, END], -1.0),), f"drew 3 tokens for request 0, and id {END} before the last"),
        (
            ((0, [END], 3.0),),
            "gave the ids of request 0 the log-probability 3.0, expected a finite number of at most 0",
        ),
        (((0, [END], float("nan")),), "gave the ids of request 0 the log-probability nan"),
        (((0, [END], -float("inf")),), "gave the ids of request 0 the log-probability -inf"),
        (("xyz",), r"yielded 'xyz', expected \(place, ids, logprob\)"),
        (((0, [END]),), rf"yielded \(0, \[{END}\]\), expected \(place, ids, logprob\).*not enough values"),
        (((0, [END], None),), r"yielded .*None\), expected \(place, ids, logprob\)"),
        (((0, "text", 0.0),), "yielded .*'text'.*, expected"),
        ((7,), "yielded 7, expected"),
    ],
)
def test_engine_that_misbehaves_is_named(checkpoint, answers, message):
    engine = Broken(checkpoint, None, "cpu", {})
    engine.answers = answers
    with pytest.raises(EngineError, match=f"the engine Broken {message}"):
        list(engine.stream(REQUESTS, SamplingSettings(max_tokens=4)))


@pytest.mark.parametrize("ids", [[5, END], [5, 6], [5, 6, 7, 5]])
def test_engine_may_end_at_a_stop_text_by_itself_and_gives_its_ids(checkpoint, ids):
    engine = Broken(checkpoint, None, "cpu", {})
    engine.answers = ((torch.tensor(0), torch.tensor(ids), torch.tensor(-1.0)),)
    last = engine._model.tokenizer.decode([6])
    (found,) = engine.stream(REQUESTS[:1], SamplingSettings(max_tokens=4, stop=StopTexts((last,))))
    assert (
        found[0] == 0
        and found[1].finish_reason == "stop"
        and found[1].text == engine._model.tokenizer.decode([5])
    )
    with pytest.raises(EngineError, match="the ids of a whole stop text, or 4 tokens"):
        engine.answers = ((0, [5, 7], -1.0),)
        list(engine.stream(REQUESTS[:1], SamplingSettings(max_tokens=4, stop=StopTexts((last,)))))


@pytest.mark.parametrize("number", [1, -1, 1_000_000])
def test_id_without_a_token_is_refused(checkpoint, number):
    engine = Broken(checkpoint, None, "cpu", {})
    engine.never_ids, engine.answers = [1], ((0, [number], 0.0),)
    with pytest.raises(EngineError, match=f"drew id {number} for request 0, which no token has"):
        list(engine.stream(REQUESTS, SamplingSettings(max_tokens=4)))


def test_prompt_that_does_not_fit_and_options_that_are_not_known_are_refused(checkpoint):
    with pytest.raises(EngineError, match=r"more than the \d+ positions of the model"):
        list(Greedy(checkpoint, None, "cpu", {}).stream(REQUESTS, SamplingSettings(max_tokens=1000)))
    with pytest.raises(
        EngineError, match=r"got {'speed': 2}, expected steps: .*1000 as Greedy.load .*'speed'"
    ):
        Greedy(checkpoint, None, "cpu", {"speed": 2})


def test_unknown_engine_and_options_without_one_are_refused():
    with pytest.raises(
        pydantic.ValidationError, match="unknown engine 'vlm'. Did you mean 'vllm'.*install that package here"
    ):
        Compute(engine="vlm")
    with pytest.raises(
        pydantic.ValidationError,
        match="engine_options are for engines of packages; for engine: vllm write compute.vllm",
    ):
        Compute(engine="vllm", engine_options={"dtype": "float32"})


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("json:dumps", "is a function, expected a subclass"),
        ("json:nothing", "cannot be loaded from .*AttributeError"),
        (
            "tests.unit.test_token_engine:Drawless",
            "is Drawless without draw, expected the methods load and draw",
        ),
    ],
)
def test_entry_point_that_is_no_engine_is_told(monkeypatch, value, message):
    point = importlib.metadata.EntryPoint("odd", value, "lineal.engines")
    monkeypatch.setattr(plugins, "outside", lambda group: (point,))
    assert Compute(engine="odd").engine == "odd"
    with pytest.raises(EngineError, match=f"engine 'odd' .*{message}"):
        engine_class("odd")


def test_what_an_engine_raises_names_it(checkpoint):
    engine = Broken(checkpoint, None, "cpu", {})
    engine.answers = None
    with pytest.raises(
        EngineError, match="the engine Broken failed: TypeError: 'NoneType' object is not iterable"
    ):
        list(engine.stream(REQUESTS, SamplingSettings(max_tokens=4)))
